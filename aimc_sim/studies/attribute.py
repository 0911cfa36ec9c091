"""Where the accuracy goes: effects switched on one at a time, off one at a time; layer by layer.

Every question is a setting of one study, so that all are answered with the same seeds and
images, and the answers are paired differences with intervals:

- *alone*: the machine with nothing but this effect, against the machine without any;
- *missing*: the machine with everything but this effect, against the whole machine;
- *layer*: one layer with the devices of the machine and the others with perfect ones, against
  all layers with perfect devices (same converters everywhere).

Effects act together: losses alone do not add up to the whole loss, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..spec import ChipSpec
from . import paired
from .schema import SettingChoice, Study, make_study
from .settings import settings

NOTHING, EVERYTHING = "nothing", "everything"
ALONE, MISSING, LAYER, NO_LAYER = "only ", "all but ", "layer ", "no layer"

_CIRCUITS: Mapping[str, Mapping[str, Any]] = {
    "read polarity": {"core.read.polarity": None},
    "IR drop": {"core.wires": None},
    "ADC": {"core.adc": {"kind": "symmetric", "bits": None, "full_scale_amperes": None}},
    "INT8 inputs and activations": {
        "core.dac.bits": None, "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
    },
}  # fmt: skip
"""Effects outside the devices by name, and the changes that switch each of them off."""


def switches(spec: ChipSpec) -> dict[str, Mapping[str, Any]]:
    """Return the effects that a kind of machine can have, and the changes that switch them off.

    Parameters
    ----------
    spec : ChipSpec
        The class of its device says which effects devices have, in which order.

    Returns
    -------
    dict from name to changes
        Devices first.
    """
    devices = {e.label: {f"core.device.{e.key}": e.off} for e in spec.core.device.effects}
    return devices | dict(_CIRCUITS)


def effects(spec: ChipSpec) -> list[str]:
    """Return the effects that a machine has: those whose absence would be another machine.

    An effect that cannot be switched off by itself is left out.
    """
    found = []
    for name, off in switches(spec).items():
        try:
            if spec.with_(off).id() != spec.id():
                found.append(name)
        except ValueError:
            continue
    return found


def sources(spec: ChipSpec) -> dict[str, str]:
    """Return where the laws of a machine's devices come from.

    Parameters
    ----------
    spec : ChipSpec
        The whole machine.

    Returns
    -------
    dict from str to str
        By label, for the effects that its devices have and that name a source.
    """
    present = set(effects(spec))
    found = {e.label: e.source(spec.core.device) for e in spec.core.device.effects}
    return {label: text for label, text in found.items() if text and label in present}


def has_imperfect_devices(spec: ChipSpec) -> bool:
    """Return whether a machine has any effect of its devices, the polarity of reads left out."""
    labels = {effect.label for effect in spec.core.device.effects}
    return bool(labels.intersection(effects(spec)))


def make(study: Study, *, layers: tuple[str, ...] = ()) -> Study:
    """Return the study that takes a machine apart.

    Parameters
    ----------
    study : Study
        Of exactly one setting, the whole machine.
    layers : tuple of str
        Layers that are taken one by one.

    Returns
    -------
    Study
        The same network, data, times, compensations and programmings.

    Raises
    ------
    ValueError
        If the study has several settings, or the machine is ideal.
    """
    machines = list(settings(study))
    if len(machines) != 1 or machines[0].layers is not None:
        raise ValueError(
            f"the study has {len(machines)} settings; attribution takes one machine apart: give "
            "one preset, and its changes under 'changes'"
        )
    whole = machines[0]
    names = effects(whole.spec)
    if not names:
        raise ValueError(f"'{whole.preset}' has no effect that could be switched off")
    base = dict(whole.changes)
    everything = SettingChoice(name=EVERYTHING, preset=whole.preset, changes=base)
    off = switches(whole.spec)
    found = [everything, _without(everything, NOTHING, off, names)]
    if len(names) > 1:
        for name in names:
            others = [n for n in names if n != name]
            found.append(_without(everything, f"{ALONE}{name}", off, others))
            found.append(_without(everything, f"{MISSING}{name}", off, [name]))
    if layers:
        found.append(_renamed(everything, NO_LAYER, layers=()))
    found += [_renamed(everything, f"{LAYER}{n}", layers=(n,)) for n in layers]
    data = study.model_dump(exclude_unset=True)
    data |= {"presets": whole.preset, "grid": {}, "settings": [c.model_dump() for c in found]}
    return make_study(data)


def _without(
    whole: SettingChoice, name: str, switched: Mapping[str, Mapping[str, Any]], names: list[str]
) -> SettingChoice:
    changes = {key: value for n in names for key, value in switched[n].items()}
    return _renamed(whole, name, changes={**whole.changes, **changes})


def _renamed(choice: SettingChoice, name: str, **fields: Any) -> SettingChoice:
    return SettingChoice.model_validate({**choice.model_dump(), "name": name, **fields})


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return what every effect and layer costs.

    Parameters
    ----------
    results : DataFrame
        Of a study made by :func:`make`, from :func:`aimc_sim.studies.results.load`.

    Returns
    -------
    DataFrame
        The columns of :func:`.paired.compare`, and before them ``kind`` ("alone", "missing",
        "layer" or "whole") and ``effect``. ``difference`` is the change of accuracy by the
        effect: negative is a loss.
    """
    found = [_named(paired.compare(results, NOTHING, EVERYTHING), "whole", "all effects")]
    for name in results["setting"].unique():
        if name.startswith(ALONE):
            rows = paired.compare(results, NOTHING, name)
            found.append(_named(rows, "alone", name.removeprefix(ALONE)))
        elif name.startswith(MISSING):
            rows = paired.compare(results, name, EVERYTHING)
            found.append(_named(rows, "missing", name.removeprefix(MISSING)))
        elif name.startswith(LAYER):
            rows = paired.compare(results, NO_LAYER, name)
            found.append(_named(rows, "layer", name.removeprefix(LAYER)))
    return pd.concat(found, ignore_index=True)


def _named(rows: pd.DataFrame, kind: str, effect: str) -> pd.DataFrame:
    rows.insert(0, "kind", kind)
    rows.insert(1, "effect", effect)
    return rows
