"""The network on the chip: placed and simulated anew from the study's network and machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import mapping, own
from ..analysis.layout import Layout, layout
from ..analysis.performance import Performance, performance
from ..chip.ledger import Energies
from ..chip.program import Program
from ..runtime.sizes import output_pixels
from ..spec import ChipSpec
from ..studies import inputs, settings
from ..studies.schema import Study
from .headline import Headline
from .material import Material
from .tables import Table, TableCell, shown

IMAGES = 4
"""Images under way in the simulation, as in ``aimc-sim perf``."""

TRACE = 4_000_000
"""Events kept for the picture of the pipeline: 160 MB at most."""

MOST_MACHINES = 6
"""Machines that are simulated: the one in front, and others that differ in more than devices."""


class Unavailable(ValueError):
    """The network cannot be placed or simulated here; the text says why."""


@dataclass(frozen=True, eq=False)
class Machine:
    """A network on a machine.

    Attributes
    ----------
    label : str
        Of the setting.
    spec : ChipSpec
        The machine.
    compiled : Program
        The network, placed on it.
    layout : Layout
        Places of its layers.
    performance : Performance
        Of :data:`IMAGES` images, with the trace.
    """

    label: str
    spec: ChipSpec
    compiled: Program
    layout: Layout
    performance: Performance


def build(material: Material, head: Headline, given: inputs.Inputs) -> list[Machine]:
    """Place and simulate the machine in front, then others that differ in more than devices.

    Parameters
    ----------
    material : Material
        Its table has the column ``label``.
    head : Headline
        The setting in front.
    given : Inputs
        From :func:`load`.

    Returns
    -------
    list of Machine
        At least one, at most :data:`MOST_MACHINES`.

    Raises
    ------
    Unavailable
        If the network does not fit, or has parts that the simulation does not have.
    """
    shape = given.images.shape[1:]
    front = material.specs[head.spec_id]
    table = material.table[material.table["network_id"] == head.first["network_id"]]
    rest = table[table["label"] != head.label].drop_duplicates("spec_id")
    others = [material.specs[name] for name in rest["spec_id"]]
    candidates = [(head.label, front), *zip(rest["label"], others, strict=True)]
    found: dict[str, Machine] = {}
    for label, spec in candidates:
        # Neither places nor times nor energies depend on the devices.
        key = spec.with_({"core.device": front.core.device}).id()
        if key not in found and len(found) < MOST_MACHINES:
            try:
                found[key] = _machine(label, given, spec, shape)
            except Unavailable:
                if not found:
                    raise
    return list(found.values())


def studies_of(material: Material, head: Headline) -> list[Study]:
    """Return the studies of a folder that may hold the setting in front.

    Parameters
    ----------
    material : Material
        With the studies.
    head : Headline
        The setting in front.
    """
    found = []
    for study in material.studies:
        names = own.label(study.network.name), own.label(study.data.name)
        if names != (head.first["network"], head.first["data"]):
            continue
        few = settings.count(study) <= settings.CHECKED_AT_ONCE
        if few and head.setting not in {s.name for s in settings.settings(study)}:
            continue
        found.append(study)
    return found


def load(material: Material, head: Headline) -> inputs.Inputs:
    """Return network and images of the setting in front, as the sweep had them.

    Parameters
    ----------
    material : Material
        With the studies.
    head : Headline
        The setting in front.

    Raises
    ------
    Unavailable
        If they are not to be had, or the network is another one now.
    """
    row, tried = head.first, []
    for study in studies_of(material, head):
        try:
            given = inputs.gather(study)
        except (ValueError, KeyError, TypeError, OSError) as error:
            tried.append(str(error.args[0] if isinstance(error, KeyError) else error))
            continue
        if given.network_id.startswith(row["network_id"]):
            return given
        tried.append(f"'{study.network.name}' has other weights now than in these results")
    raise Unavailable(
        "; ".join(dict.fromkeys(tried)) or "the folder holds no study that names this network"
    )


def _machine(label: str, given: inputs.Inputs, spec: ChipSpec, shape: tuple[int, ...]) -> Machine:
    try:
        compiled = mapping.compile_network(given.network, spec)
        place = layout(compiled, spec, output_pixels(compiled, shape))
        speed = performance(compiled, spec, shape, images=IMAGES, trace=TRACE)
    except (ValueError, KeyError, TypeError, NotImplementedError, RuntimeError) as error:
        raise Unavailable(" ".join(str(error.args[0] if error.args else error).split())) from error
    return Machine(label, spec, compiled, place, speed)


def machine_table(machines: list[Machine]) -> Table:
    """Return cores, time and energy of every machine."""
    rows = []
    for m in machines:
        book, speed = m.performance.ledger, m.performance
        rows.append(
            [
                TableCell(m.label),
                TableCell(
                    f"{m.layout.cores_used} of {m.layout.cores_available}", m.layout.cores_used
                ),
                _seconds(speed.pipeline.first_image_seconds),
                _seconds(book.seconds),
                TableCell(f"{1 / book.seconds:,.0f}", 1 / book.seconds),
                TableCell(shown(book.joules, "J"), book.joules),
                TableCell(f"{speed.tops_per_watt:.3g}", speed.tops_per_watt),
                TableCell(speed.estimate.busiest),
            ]
        )
    return Table(
        "Machines: time and energy of the placed network (model, not measurement)",
        ("setting", ">cores", ">first image", ">interval", ">images/s", ">energy per image",
         ">TOPS/W", "interval set by"),
        rows,
    )  # fmt: skip


def energy_tables(machine: Machine) -> list[Table]:
    """Return the energy of one image by part, by layer without static power, and its sums.

    Parameters
    ----------
    machine : Machine
        A network on a machine.
    """
    book = machine.performance.ledger
    by_layer = {k: v for k, v in book.by("layer").items() if k}
    return [
        _shares("Energy of one image, by part (model)", "part", book.by("component")),
        _shares("Energy of one image, by layer, without static power (model)", "layer", by_layer),
        sums_table(machine.performance.energies),
    ]


def sums_table(found: Energies) -> Table:
    """Return the sums of the energy of one image, as ``perf.json`` and reports of a chip name them.

    Parameters
    ----------
    found : Energies
        Of one image.
    """
    named = found.to_dict()
    meanings = {
        "joules_per_image": "all parts",
        "mvm_joules_per_image": "MVMs: array, modulators and converters, of whole arrays",
        "published_mvm_joules_per_image": "the same MVMs as the chip paper counts them: with their "
        "share of the chip's static power",
    }
    rows = [
        [TableCell(text), TableCell(shown(named[name], "J"), named[name]), TableCell(name)]
        for name, text in meanings.items()
    ]
    caption = f"Sums of the energy of one image, with {found.core_mvms:,} core MVMs (model)"
    return Table(caption, ("sum", ">energy", "in reports and perf.json"), rows)


def _shares(caption: str, name: str, joules: Mapping[Any, float]) -> Table:
    total, most = sum(joules.values()), max(joules.values())
    rows = [
        [
            TableCell(str(key)),
            TableCell(shown(value, "J"), value, bar=value / most if most else 0.0),
            TableCell(_share(value / total if total else 0.0), value),
        ]
        for key, value in joules.items()
    ]
    return Table(caption, (name, ">energy", ">share"), rows)


def layer_table(machine: Machine) -> Table:
    """Return every layer's place and work."""
    stages, speed = machine.performance.pipeline.schedule.stages, machine.performance
    busy: dict[str, list[float]] = {}
    for stage, share in zip(stages, speed.pipeline.mvm_utilisation, strict=True):
        if stage.layer:
            busy.setdefault(stage.layer, []).append(float(share))
    roofs = {roof.layer: roof for roof in speed.roofs}
    rows = []
    for layer in machine.layout.layers:
        share = float(np.mean(busy.get(layer.name, [0.0])))
        rows.append(
            [
                TableCell(layer.name),
                TableCell(f"{layer.rows:,} × {layer.cols:,}", layer.rows * layer.cols),
                TableCell(f"{layer.mvms:,}", layer.mvms),
                TableCell(f"{len(set(layer.cores))}", len(set(layer.cores))),
                TableCell(" ".join(map(str, layer.cores)), min(layer.cores)),
                TableCell(f"{100 * layer.cells:.0f} %", layer.cells),
                TableCell(f"{100 * share:.0f} %", share, bar=share),
                TableCell(roofs[layer.name].bound),
            ]
        )
    return Table(
        "Layers on the chip",
        ("layer", ">matrix", ">MVMs per image", ">cores", "which", ">cells in use",
         ">busy with MVMs", "limited by"),
        rows,
    )  # fmt: skip


def _share(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _seconds(value: float) -> TableCell:
    return TableCell(shown(value, "s"), value)
