"""All events of one image, and their sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from aimc_sim import markup, units
from aimc_sim.chip.ledger.energy import shared_joules
from aimc_sim.chip.ledger.parts import mvm_parts
from aimc_sim.chip.ledger.times import (
    gdpu_seconds,
    membrane_seconds,
    mvm_seconds,
    operation_seconds,
    step_seconds,
)
from aimc_sim.chip.ledger.work import (
    Factors,
    ImageWork,
    busy_seconds,
    digital_seconds,
    filled,
    stage_seconds,
    used,
    write_seconds,
)
from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program, WrittenProduct
from aimc_sim.core import encodings
from aimc_sim.ops import OPERATIONS
from aimc_sim.spec import ChipSpec

if TYPE_CHECKING:
    import pandas as pd

COMPONENTS = (
    "array", "modulators", "converters", "shift and add", "local digital unit",
    "global digital unit", "digital steps", "writing", "links", "static, cores", "static, shared",
)  # fmt: skip
"""Where energy goes: the parts of an MVM (:mod:`.parts`); additions of the columns of one output
(:mod:`aimc_sim.core.encodings`); digital units with their own link; units of recurrent layers;
operations in floating point, such as softmax and norms; devices that are written at inference;
further links that data crosses; power of cores in use; power of the chip as a whole."""

MVM_PARTS = ("array", "modulators", "converters")
"""Components whose sum is the energy of the MVMs."""

_NOTHING = ImageWork()

STATIC = ("static, cores", "static, shared")
"""Components that are charged for the time per image."""


@dataclass(frozen=True)
class LedgerEntry:
    """Events of one kind in one place, per image.

    Attributes
    ----------
    component : str
        One of :data:`COMPONENTS`.
    layer : str
        Name of the analog layer; empty for events that belong to none.
    core : int
        Number of the core; -1 for the chip as a whole.
    events : int
        MVMs, outputs, or bytes times links; 0 for static power.
    busy_seconds : float, seconds
        Time for which the component works on them.
    joules : float, joules
        Energy of all of them.
    own : bool
        Whether they belong to MVMs of a layer with a specification of its own (``spec.layers``, and
        binary inputs), whose time and energy are not those of the chip's other cores.
    """

    component: str
    layer: str
    core: int
    events: int
    busy_seconds: float
    joules: float
    own: bool = False


@dataclass(frozen=True)
class Energies:
    """Sums over the events of one image, each under its only name.

    Reports of a chip, ``perf.json`` and the page of a study take them from here
    (:meth:`Ledger.energies`), so that one name is one number for one machine.

    Attributes
    ----------
    core_mvms : int
        MVMs summed over cores.
    joules : float, joules
        Energy of all components.
    mvm_joules : float, joules
        Energy of the MVMs: :data:`MVM_PARTS`, without static power.
    published_mvm_joules : float, joules
        The same MVMs as the chip paper counts them: with the share of a core in the power that all
        cores of a busy chip share, for as long as its MVMs take.
    """

    core_mvms: int
    joules: float
    mvm_joules: float
    published_mvm_joules: float

    def to_dict(self) -> dict[str, float]:
        """Return the sums by the names that stand in JSON files."""
        return {
            "core_mvms": self.core_mvms,
            "joules_per_image": self.joules,
            "mvm_joules_per_image": self.mvm_joules,
            "published_mvm_joules_per_image": self.published_mvm_joules,
        }

    def __str__(self) -> str:
        return mvm_text(self.to_dict())


def mvm_text(found: Mapping[str, float]) -> str:
    """Return the energy of MVMs in words, from :meth:`Energies.to_dict` or a report's ``cost``."""
    own, published = (
        units.show(found[name], "J")
        for name in ("mvm_joules_per_image", "published_mvm_joules_per_image")
    )
    return (
        f"{found['core_mvms']:,} core MVMs per image, {own} (array, modulators, converters; whole "
        f"arrays); {published} as the chip paper counts them, with their share of static power"
    )


@dataclass(frozen=True)
class Ledger:
    """Every event of one image, in a chip that is busy with images for `seconds` each."""

    entries: tuple[LedgerEntry, ...]
    seconds: float

    @property
    def joules(self) -> float:
        """Energy per image, J."""
        return sum(entry.joules for entry in self.entries)

    @property
    def core_mvms(self) -> int:
        """MVMs per image, summed over cores."""
        return sum(entry.events for entry in self.entries if entry.component == "array")

    def energies(self, spec: ChipSpec) -> Energies:
        """Return the sums that have a name, see :class:`Energies`.

        Parameters
        ----------
        spec : ChipSpec
            The machine of this ledger.
        """
        mvms = sum(entry.joules for entry in self.entries if entry.component in MVM_PARTS)
        share = self.core_mvms * shared_joules(spec)
        # MVMs of another length (a layer's own converters) have their share for their own time.
        arrays = [entry for entry in self.entries if entry.component == "array"]
        other = sum(e.busy_seconds - e.events * mvm_seconds(spec) for e in arrays if e.own)
        share += other * spec.cost.shared_watts / spec.fabric.cores
        return Energies(self.core_mvms, self.joules, mvms, mvms + share)

    def by(self, key: Literal["component", "layer", "core"]) -> dict[str | int, float]:
        """Return the energy in joules by component, layer or core; the sum is :attr:`joules`."""
        sums: defaultdict[str | int, float] = defaultdict(float)
        for entry in self.entries:
            sums[getattr(entry, key)] += entry.joules
        return dict(sums)

    _repr_pretty_ = markup.named

    def _repr_html_(self) -> str:
        rows = [
            (name, units.show(joules, "J"), f"{joules / self.joules:.1%}" if self.joules else "-")
            for name, joules in self.by("component").items()
        ]
        facts = [
            ("energy", f"{units.show(self.joules, 'J')} per image"),
            ("interval", f"{units.show(self.seconds, 's')} between two images"),
            ("entries", f"{len(self.entries):,}: .table() has all of them"),
        ]
        return markup.display(
            "Ledger", "a model, not measured on a chip", markup.facts(facts),
            markup.table(("energy of", ">per image", ">share"), rows),
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Return all entries as a table."""
        import pandas as pd

        return pd.DataFrame(self.entries, columns=list(LedgerEntry.__dataclass_fields__))


@dataclass(frozen=True)
class Cost:
    """Cost of one image.

    Attributes
    ----------
    energies : Energies
        Sums over all events, see :func:`ledger`.
    interval_seconds : float, seconds
        Time between two images when all layers work in a pipeline.
    busiest : str
        Name of the layer that sets the interval.
    macs : int
        Multiply-accumulates of the network itself.
    """

    energies: Energies
    interval_seconds: float
    busiest: str
    macs: int

    @property
    def images_per_second(self) -> float:
        """Throughput of the pipeline, 1/s."""
        return 1 / self.interval_seconds

    @property
    def tops_per_watt(self) -> float:
        """Operations (2 per MAC) per joule of everything, in 1e12/J."""
        return 2 * self.macs / self.energies.joules * 1e-12


def estimate(
    compiled: Program, spec: ChipSpec, pixels: Mapping[str, int], work: ImageWork = _NOTHING
) -> Cost:
    """Return the cost of one image.

    Parameters
    ----------
    compiled : Program
        Placed network whose image is counted.
    spec : ChipSpec
    pixels : mapping from layer name to MVMs per image of its cores
        Output pixels (1 for a vector), or patches of them.
    work : ImageWork, optional
        Operations of digital units and matrices that are written.

    Notes
    -----
    The busiest core sets the interval of a pipeline without stalls: the blocks that share it
    take turns. A recurrent layer begins no step before the previous one has ended, so that its time
    steps count with their latency. Derived here, not measured.
    """
    busy: defaultdict[int, float] = defaultdict(float)
    of: dict[int, str] = {}
    macs = 0
    for layer in compiled.layers:
        count = pixels[layer.name]
        macs += layer.macs * count
        for block in layer.blocks:
            seconds = step_seconds(block.footprint[1], _own(layer, spec))
            if layer.loop is not None:
                seconds = _loop_seconds(compiled, layer, block.footprint[1], spec)
            busy[block.core] += count * seconds
            of.setdefault(block.core, layer.name)
    for step in compiled.written:
        if step.name in work.written:
            factors = work.written[step.name]
            macs += round(factors.macs)
            for core, seconds in busy_seconds(step, factors, spec).items():
                busy[core] += seconds
                of.setdefault(core, step.name)
    core, interval = max(busy.items(), key=lambda item: item[1])
    digital = digital_seconds(sum(work.operations.values()), spec)
    busiest = of[core] if interval >= digital else "digital steps"
    interval = max(interval, digital)
    found = ledger(compiled, spec, pixels, interval, work=work).energies(spec)
    return Cost(found, interval, busiest, macs)


def one_by_one(
    compiled: Program, spec: ChipSpec, pixels: Mapping[str, int], work: ImageWork = _NOTHING
) -> dict[str, float]:
    """Return the time of every stage of one image, one after the other, in s.

    Parameters
    ----------
    compiled, spec, pixels, work
        As of :func:`estimate`.

    Returns
    -------
    dict of str to float, seconds
        In execution order: layers by name, digital steps by name, and of a written product
        ``NAME, written`` and ``NAME``. The sum is the time of an image where nothing overlaps.
    """
    found: dict[str, float] = {}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer):
            own = _own(step, spec)
            columns = max(block.footprint[1] for block in step.blocks)
            chain = max(len(chain) for chain in step.chains)
            latency = operation_seconds(columns, chain, own) - step_seconds(columns, own)
            found[step.name] = pixels[step.name] * step_seconds(columns, own) + max(0.0, latency)
        elif isinstance(step, WrittenProduct) and step.name in work.written:
            writing, reading = stage_seconds(step, work.written[step.name], spec)
            found[f"{step.name}, written"], found[step.name] = writing, reading
        elif step.name in work.operations:
            found[step.name] = digital_seconds(work.operations[step.name], spec)
    return found


def _loop_seconds(compiled: Program, layer: AnalogLayer, columns: int, spec: ChipSpec) -> float:
    """Return the time of one step of a recurrent layer: MVM, accumulation, gates, state.

    The partial sums of the input matrix are waiting; a projection follows in the same step.
    """
    chain = max(len(chain) for chain in layer.chains)
    own = operation_seconds(columns, chain, _own(layer, spec), gated(compiled, layer))
    neurons, sums = spiking(compiled, layer)
    own += membrane_seconds(neurons, sums, _own(layer, spec))
    others = [
        other for other in compiled.layers if other.loop == layer.loop and other.name != layer.name
    ]
    return own + sum(
        operation_seconds(
            max(block.footprint[1] for block in other.blocks),
            max(len(chain) for chain in other.chains),
            _own(other, spec),
            gated(compiled, other),
        )
        for other in others
    )


def gated(compiled: Program, layer: AnalogLayer) -> int:
    """Return the hidden states that the global digital unit makes of a layer's outputs, or 0."""
    if layer.loop is None or layer.source != layer.loop:
        return 0
    step = compiled.step(layer.loop)
    if not isinstance(step, AnalogLayer) and step.op == "spiking":
        return 0  # of neurons, see spiking()
    if isinstance(step, AnalogLayer):
        raise TypeError(f"loop '{layer.loop}' of '{layer.name}' is a layer; wanted a digital step")
    return int(step.attrs["hidden"])


def spiking(compiled: Program, layer: AnalogLayer) -> tuple[int, int]:
    """Return the spiking neurons that read a layer's outputs, per MVM, and their sums; or zeros.

    Parameters
    ----------
    compiled : Program
        Placed network.
    layer : AnalogLayer
        A layer, which neurons read directly or through steps that only order numbers; or the matrix
        through which their outputs come back, which is charged in place of the first one.
    """
    for step in compiled.steps:
        if not isinstance(step, DigitalStep) or step.op != "spiking":
            continue
        how, fed = step.attrs["neuron"], step.attrs["layers"].get("hh")
        sums = 1 + bool(how["gate"]) + (how["adaptation"] is not None)
        if layer.name == (fed or _behind(compiled, step.sources[0])):
            return layer.weight.shape[1] // sums, sums
    return 0, 0


def _behind(compiled: Program, value: str) -> str | None:
    """Return the layer whose outputs a value holds in some order, or None."""
    steps = {step.name: step for step in compiled.steps}
    while value in steps:
        step = steps[value]
        if isinstance(step, AnalogLayer):
            return value
        if OPERATIONS[step.op].kind != "codes" or len(step.sources) != 1:
            return None
        value = step.sources[0]
    return None


def _own(layer: AnalogLayer, spec: ChipSpec) -> ChipSpec:
    """Return the machine with which a layer is charged: its own converters and clocks."""
    return spec.for_layer(layer.owner)


def ledger(
    compiled: Program, spec: ChipSpec, pixels: Mapping[str, int], seconds: float,
    charges: Mapping[int, float] | None = None, work: ImageWork = _NOTHING,
) -> Ledger:  # fmt: skip
    """Return every event of one image.

    Parameters
    ----------
    compiled : Program
        Placed network whose image is counted.
    spec : ChipSpec
    pixels : mapping from layer name to MVMs per image of its cores
        Output pixels (1 for a vector), or patches of them.
    seconds : float
        Time per image, for which static power is charged: the interval of a pipeline, or the
        latency of a chip that works on one image at a time.
    charges : mapping from tile to coulombs, optional
        Through its array in one MVM: then the used rows and columns are charged for what they
        do. Without it, whole arrays under the load of the published measurement. Arrays that are
        written at inference are always charged for their rows and columns, under that load.
    work : ImageWork, optional
        Operations of digital units and matrices that are written.
    """
    entries = []
    cores = set()
    for layer in compiled.layers:
        count = pixels[layer.name]
        machine = _own(layer, spec)
        cost, clock = machine.cost, machine.core.ldpu.clock_hertz
        encoding = encodings.of(machine.core)
        parts, own_kind = mvm_parts(machine), machine is not spec
        for block in layer.blocks:
            outputs, codes = count * block.shape[1], count * block.footprint[1]
            own = parts
            if charges is not None:
                own = mvm_parts(machine, *block.footprint, charges[block.tile])
            added = count * encoding.additions(block.shape[1])
            if added:
                entries.append(
                    LedgerEntry("shift and add", layer.name, block.core, added, added / clock,
                          added * cost.addition_joules)
                )  # fmt: skip
            entries += [
                *(
                    LedgerEntry(part, layer.name, block.core, count, count * mvm_seconds(machine),
                          count * getattr(own, part), own_kind)
                    for part in ("array", "modulators", "converters")
                ),
                LedgerEntry("local digital unit", layer.name, block.core, outputs, codes / clock,
                      outputs * cost.ldpu_joules_per_output),
            ]  # fmt: skip
            cores.add(block.core)
        neurons, sums = spiking(compiled, layer)
        if neurons:
            entries.append(_membranes(layer, count, neurons, sums, machine))
        if hidden := gated(compiled, layer):
            outputs = count * hidden
            entries.append(
                LedgerEntry("global digital unit", layer.name, -1, outputs,
                      count * gdpu_seconds(outputs // max(1, count), spec),
                      outputs * spec.cost.gdpu_joules_per_output)
            )  # fmt: skip
    for transfer in compiled.transfers:
        # The first link is part of the digital unit's energy, as in the measurement.
        further = max(0, transfer.hops - 1) * transfer.channels * pixels[transfer.value]
        if further:
            entries.append(
                LedgerEntry("links", transfer.value, transfer.producer, further,
                      further / spec.fabric.link_hertz, further * spec.cost.relay_joules_per_byte)
            )  # fmt: skip
    for step in compiled.written:
        if step.name in work.written:
            entries += _written(step, work.written[step.name], spec)
            cores |= {block.core for block in step.blocks}
    for name, operations in work.operations.items():
        entries.append(
            LedgerEntry("digital steps", name, -1, round(operations),
                  digital_seconds(operations, spec),
                  operations * spec.cost.digital_joules)
        )  # fmt: skip
    for core in sorted(cores):
        entries.append(
            LedgerEntry("static, cores", "", core, 0, seconds, spec.cost.core_watts * seconds)
        )
    chips = len({core // spec.fabric.cores for core in cores})
    shared = chips * spec.cost.shared_watts * seconds
    entries.append(LedgerEntry("static, shared", "", -1, 0, seconds, shared))
    return Ledger(tuple(entries), seconds)


def _membranes(
    layer: AnalogLayer, count: int, neurons: int, sums: int, spec: ChipSpec
) -> LedgerEntry:
    """Return the event of all steps of a layer's spiking neurons; at its tail cores if local."""
    steps = count * neurons
    if spec.cost.membrane_unit == "global":
        return LedgerEntry(
            "global digital unit", layer.name, -1, steps,
            count * gdpu_seconds(neurons, spec, sums), steps * spec.cost.gdpu_joules_per_output,
        )  # fmt: skip
    core = layer.chains[0][-1].core
    seconds = count * neurons * sums / spec.core.ldpu.clock_hertz
    return LedgerEntry(
        "local digital unit", layer.name, core, steps, seconds, steps * spec.cost.membrane_joules
    )


def _written(step: WrittenProduct, factors: Factors, spec: ChipSpec) -> list[LedgerEntry]:
    """Return the events of a written product: writes, MVMs, additions, digital unit."""
    cost, own, clock = spec.cost, spec.written, spec.core.ldpu.clock_hertz
    whole = spec.core.rows * spec.core.cols
    entries = []
    for block in filled(step, factors):
        rows, cols = used(block, factors)
        devices = rows * cols * own.devices_per_value
        columns = round(cols * own.slices)
        vectors, outputs = round(factors.vectors), factors.vectors * cols
        parts = mvm_parts(spec, round(rows), columns)
        parts = replace(parts, array=parts.array * rows * columns / whole)
        added = factors.vectors * cols * (own.slices - 1)
        seconds = factors.vectors * mvm_seconds(spec)
        entries += [
            LedgerEntry("writing", step.name, block.core, round(devices),
                  write_seconds(block, factors, spec), devices * own.pulses * own.pulse_joules),
            *(
                LedgerEntry(part, step.name, block.core, vectors, seconds,
                      factors.vectors * getattr(parts, part))
                for part in MVM_PARTS
            ),
            LedgerEntry("local digital unit", step.name, block.core, round(outputs),
                  factors.vectors * columns / clock, outputs * cost.ldpu_joules_per_output),
        ]  # fmt: skip
        if added:
            entries.append(
                LedgerEntry("shift and add", step.name, block.core, round(added), added / clock,
                      added * cost.addition_joules)
            )  # fmt: skip
    return entries
