"""The report of spikes: how many, which rows they drive, and the energy that gating would save."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from .. import markup, units
from ..chip import ledger
from ..chip.program import DigitalStep
from . import events
from .counts import Counts
from .held import Held


@dataclass(frozen=True)
class NeuronRow:
    """Spikes of a layer of neurons, per input of the network.

    Attributes
    ----------
    name : str
        Of the step.
    outputs, spikes : float
        Outputs of all neurons at all time steps, and how many of them are spikes.
    words : float
        Words that hold all time steps of a neuron, one bit each, as LoAS packs them
        (arXiv:2407.14073); a stream has words of its pieces.
    silent, single : float
        How many of the words have no spike, and exactly one.
    """

    name: str
    outputs: float
    spikes: float
    words: float
    silent: float
    single: float

    @property
    def rate(self) -> float:
        """Share of the outputs that are spikes."""
        return self.spikes / self.outputs

    @property
    def silent_share(self) -> float:
        """Share of the neurons that never spike."""
        return self.silent / self.words


@dataclass(frozen=True)
class SpikedLayer:
    """Work of a layer whose inputs are spikes, per input of the network, on all its cores.

    Attributes
    ----------
    name : str
        Of the layer.
    mvms, silent_mvms : float
        MVMs of cores, and those in which no row is driven.
    rows, driven_rows : float
        Rows of all MVMs, and those that carry a spike.
    joules : float, joules
        Energy of the MVMs as used, every driver and converter working.
    row_joules : float, joules
        Part of it in drivers of rows without a spike: saved by gating rows.
    block_joules : float, joules
        Part of it in converters of MVMs without a driven row: saved on top by leaving these out.
    """

    name: str
    mvms: float
    silent_mvms: float
    rows: float
    driven_rows: float
    joules: float
    row_joules: float
    block_joules: float

    @property
    def gated_joules(self) -> float:
        """Energy with both kinds of gating, J."""
        return self.joules - self.row_joules - self.block_joules


@dataclass(frozen=True)
class AttentionRow:
    """Work of an attention of spikes, per input of the network.

    ``K^T V`` may be held in two ways. Counters go one up where a key and a value both spike:
    ``counted`` additions. Or it is written to memory that multiplies, value by value: ``written``
    values, once per block of time steps, and ``read_rows`` products of a vector of spikes with
    them. Which one a machine has is open here; time and energy of the digital units are those of
    additions, as of every other operation there.

    Attributes
    ----------
    name : str
        Of the step.
    block_steps : int
        Time steps of a block.
    worst : float
        Additions of either product where every neuron spikes: T N D d, of D numbers per token and d
        per head.
    counted, summed : float
        Additions of ``K^T V`` and of ``Q (K^T V)`` by the spikes that were there.
    written : float
        Values of ``K^T V`` of all blocks: D d per block.
    read_rows : float
        Rows of Q that read them: one per time step, token and head.
    """

    name: str
    block_steps: int
    worst: float
    counted: float
    summed: float
    written: float
    read_rows: float


@dataclass(frozen=True)
class SpikingReport:
    """See :meth:`aimc_sim.Chip.spiking_report`.

    Attributes
    ----------
    neurons : tuple of NeuronRow
        Layers of spiking neurons.
    layers : tuple of SpikedLayer
        Layers on crossbars whose inputs are spikes.
    joules : float, joules
        Energy of everything per input, without gating, as :meth:`aimc_sim.Chip.report` has it as
        used.
    attentions : tuple of AttentionRow
        Attention of spikes.
    """

    neurons: tuple[NeuronRow, ...]
    layers: tuple[SpikedLayer, ...]
    joules: float
    attentions: tuple[AttentionRow, ...] = ()

    @classmethod
    def of(cls, chip: Held) -> SpikingReport:
        """Collect the report of a chip; raise ValueError if nothing spikes, or nothing was run."""
        names = [
            step.name for step in chip.compiled.steps
            if isinstance(step, DigitalStep) and step.op == "spiking"
        ]  # fmt: skip
        binary = [
            layer.name for layer in chip.compiled.layers
            if chip.spec.for_layer(layer.owner).core.dac.binary
        ]  # fmt: skip
        if not names and not binary:
            raise ValueError(
                "the network has no spiking neurons and no layer that reads spikes; chip.report() "
                "has its time and energy"
            )
        used = chip.used_ledger()
        if used is None:
            raise ValueError("no input was run yet; run some: the report counts their spikes")
        neurons = [_neurons(name, chip.counts[name]) for name in names if chip.counts[name].fired]
        charges = chip.charges()
        rows = (_layer(chip, name, charges) for name in binary)
        attending = (
            _attention(step, chip.counts[step.name]) for step in chip.compiled.steps
            if isinstance(step, DigitalStep) and step.op == "spiking_attention"
        )  # fmt: skip
        return cls(tuple(neurons), tuple(rows), used.joules, tuple(attending))

    @property
    def spikes(self) -> float:
        """Spikes of all neurons per input."""
        return sum(row.spikes for row in self.neurons)

    @property
    def row_joules(self) -> float:
        """Energy per input that gating rows saves, J."""
        return sum(row.row_joules for row in self.layers)

    @property
    def block_joules(self) -> float:
        """Energy per input that leaving out silent MVMs saves on top, J."""
        return sum(row.block_joules for row in self.layers)

    @property
    def gated_joules(self) -> float:
        """Energy of everything per input with both kinds of gating, J."""
        return self.joules - self.row_joules - self.block_joules

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values, SI units."""
        sums = {"spikes": self.spikes, "row_joules": self.row_joules,
                "block_joules": self.block_joules, "gated_joules": self.gated_joules}  # fmt: skip
        return {**asdict(self), **sums}

    def __str__(self) -> str:
        return "\n".join([*markup.lines(self.facts()), "", *self._tables()])

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        return markup.display(
            "SpikingReport", "", markup.facts(self.facts()),
            *(markup.table(*shown) for shown in self._shown()),
        )  # fmt: skip

    def facts(self) -> list[tuple[str, str]]:
        """Return spikes and energies in words, by name."""
        found = [("spikes", "no spiking neurons")]
        if self.neurons:
            outputs = sum(row.outputs for row in self.neurons)
            words = sum(row.words for row in self.neurons)
            silent = sum(row.silent for row in self.neurons)
            text = (
                f"{self.spikes:,.1f} per input, {self.spikes / outputs:.1%} of all outputs; "
                f"{silent / words:.1%} of the neurons silent"
            )
            found = [("spikes", text)]
        energy = (
            f"{units.show(self.joules, 'J')} per input; {units.show(self.row_joules, 'J')} in "
            f"drivers of rows without a spike, {units.show(self.block_joules, 'J')} in converters "
            f"of silent MVMs; {units.show(self.gated_joules, 'J')} with both gated"
        )
        found.append(("gating", energy))
        if self.spikes:
            each = units.show(self.joules / self.spikes, "J")
            gated = units.show(self.gated_joules / self.spikes, "J")
            found.append(("per spike", f"{each} of all energy, {gated} gated"))
        return found

    def _neuron_rows(self) -> list[tuple[str, ...]]:
        return [
            (row.name, f"{row.spikes:,.1f}", f"{row.rate:.2%}", f"{row.silent_share:.1%}",
             f"{row.single / row.words:.1%}")
            for row in self.neurons
        ]  # fmt: skip

    def _layer_rows(self) -> list[tuple[str, ...]]:
        return [
            (row.name, f"{row.mvms:,.1f}", f"{row.silent_mvms:,.1f}",
             f"{1 - row.driven_rows / row.rows:.1%}", units.show(row.joules, "J"),
             units.show(row.joules - row.row_joules, "J"), units.show(row.gated_joules, "J"))
            for row in self.layers
        ]  # fmt: skip

    def _attention_rows(self) -> list[tuple[str, ...]]:
        return [
            (row.name, f"{row.block_steps}", f"{row.worst:,.0f}", f"{row.counted:,.1f}",
             f"{row.summed:,.1f}", f"{row.written:,.0f}", f"{row.read_rows:,.0f}")
            for row in self.attentions
        ]  # fmt: skip

    def _shown(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """Return the tables: columns and rows."""
        shown = [(_NEURONS, self._neuron_rows()), (_LAYERS, self._layer_rows())]
        return [*shown, (_ATTENTIONS, self._attention_rows())] if self.attentions else shown

    def _tables(self) -> list[str]:
        lines: list[str] = []
        for columns, rows in self._shown():
            heads = [column.removeprefix(">") for column in columns]
            sizes = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
            for row in (heads, *rows):
                first = f"{row[0]:<{sizes[0]}}"
                rest = (f"{part:>{n}}" for part, n in zip(row[1:], sizes[1:], strict=True))
                lines.append("  ".join([first, *rest]))
            lines.append("")
        return lines[:-1]


_NEURONS = ("neurons", ">spikes", ">rate", ">silent", ">one spike")
_LAYERS = ("layer", ">MVMs", ">silent", ">rows idle", ">energy", ">rows gated", ">both gated")

_ATTENTIONS = (
    "attention", ">steps", ">worst", ">K^T V counted", ">Q K^T V summed", ">or written",
    ">rows read",
)  # fmt: skip


def _attention(step: DigitalStep, seen: Counts) -> AttentionRow:
    found = torch.cat(seen.attended).sum(0).tolist()
    images = max(1, seen.images)
    return AttentionRow(step.name, int(step.attrs["steps"]), *(
        found[place] / images for place in (
            events.WORST, events.COUNTED, events.SUMMED, events.COUNTERS, events.ROWS_OF_Q
        )
    ))  # fmt: skip


def _neurons(name: str, seen: Counts) -> NeuronRow:
    found = torch.cat(seen.fired).sum(0).tolist()
    images = max(1, seen.images)
    return NeuronRow(name, *(found[place] / images for place in (
        events.OUTPUTS, events.SPIKES, events.WORDS, events.SILENT_WORDS, events.SINGLE_WORDS
    )))  # fmt: skip


def _layer(chip: Held, name: str, charges: dict[int, float]) -> SpikedLayer:
    """Return the row of a layer: energies of its blocks, each with its own rows and columns."""
    layer, seen = chip.compiled.layer(name), chip.counts[name]
    machine = chip.spec.for_layer(layer.owner)
    counted = (torch.stack(seen.driven).sum(0).double() / max(1, seen.images)).tolist()
    total = dict.fromkeys(("mvms", "silent", "rows", "driven", "joules", "row", "block"), 0.0)
    for blocks, found in zip(events.row_blocks(layer).values(), counted, strict=True):
        for block in blocks:
            rows, cols = block.footprint
            parts = ledger.mvm_parts(machine, rows, cols, charges[block.tile])
            idle = ledger.mvm_parts(machine, 1, cols, 0.0)  # a row, and converters of no current
            total["mvms"] += found[events.MVMS]
            total["silent"] += found[events.SILENT]
            total["rows"] += found[events.ROWS]
            total["driven"] += found[events.DRIVEN]
            total["joules"] += found[events.MVMS] * parts.joules
            total["row"] += (found[events.ROWS] - found[events.DRIVEN]) * idle.modulators
            total["block"] += found[events.SILENT] * idle.converters
    return SpikedLayer(name, *total.values())
