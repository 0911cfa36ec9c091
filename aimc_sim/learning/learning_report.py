"""Report of training in the arrays: pulses, time, energy, endurance, and a digital update beside.

Counted are the products' MVMs and the pulses of the devices; losses, norms, activations and the
accumulators of updates live in digital units and are not, except for the outer products.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aimc_sim import markup, units
from aimc_sim.chip.ledger.energy import mvm_joules
from aimc_sim.learning.cost import of_multiplications
from aimc_sim.learning.crossbars import Matrix
from aimc_sim.learning.synapses import Spent
from aimc_sim.spec import ChipSpec

WRITE_EDGES = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
"""First numbers of the classes of writes per device; the last class is open."""


@dataclass(frozen=True)
class ArrayRow:
    """One layer in the report.

    Attributes
    ----------
    name : str
        Path of the layer.
    rows, cols, crossbars : int
        Inputs, outputs, crossbars.
    devices : int
        Devices of all its arrays, those of the update included.
    pulses, resets, refreshed : int
        Pulses, RESETs among them, synapses that were refreshed.
    writes : tuple of int
        Devices by writes, in the classes of :data:`WRITE_EDGES`.
    most_writes : int
        Writes of the device that has most.
    adc_saturated_fraction : float
        Conversions beyond the range of the ADCs.
    """

    name: str
    rows: int
    cols: int
    crossbars: int
    devices: int
    pulses: int
    resets: int
    refreshed: int
    writes: tuple[int, ...]
    most_writes: int
    adc_saturated_fraction: float


@dataclass(frozen=True)
class LearningReport:
    """See :meth:`ArrayNetwork.report`.

    Attributes
    ----------
    preset, update, device : str
        Chip, update and devices.
    steps, vectors : int
        Steps of the optimiser; pairs of inputs and errors in all updates.
    clock_seconds : float, seconds
        Time on the network's clock.
    pulses, resets, refreshed : int
        Of all layers.
    reads : int
        Rows that were read to decide about pulses.
    pulse_seconds, pulse_joules : float
        Busy time of the arrays one after the other, and heat of pulses in the devices, without
        that of reads.
    mvms : int
        Products of one crossbar and one vector, forward and backward, evaluation included.
    mvm_joules : float, joules
        Their energy, each that of a whole core without static power.
    multiplications : int
        Of the outer products of all updates, and writes of weights in a digital memory.
    digital_joules : float, joules
        Those outer products in half-precision multipliers, memory not counted (assumption).
    essop_joules : float, joules
        The outer products from random bits, by the ratio of the paper.
    layers : tuple of ArrayRow
        Layers on arrays.
    """

    preset: str
    update: str
    device: str
    steps: int
    vectors: int
    clock_seconds: float
    pulses: int
    resets: int
    refreshed: int
    reads: int
    pulse_seconds: float
    pulse_joules: float
    mvms: int
    mvm_joules: float
    multiplications: int
    digital_joules: float
    essop_joules: float
    layers: tuple[ArrayRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain numbers, texts and lists, in SI units."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the report as text."""
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        (title, *_), *facts = self._facts()
        rows = [
            (
                row.name, f"{row.rows} x {row.cols}", f"{row.devices:,}", f"{row.pulses:,}",
                f"{row.most_writes:,}", f"{row.adc_saturated_fraction:.2%}",
            )
            for row in self.layers
        ]  # fmt: skip
        columns = (
            "layer", ">weights", ">devices", ">pulses", ">most writes of a device",
            ">ADC saturated",
        )  # fmt: skip
        return markup.display(
            "LearningReport", title,
            markup.facts((name, " ".join(texts)) for name, *texts in facts),
            markup.folded("layers", markup.table(columns, rows)),
        )  # fmt: skip

    def _facts(self) -> list[tuple[str, ...]]:
        """Return title, then names with one line of text or several."""
        devices = sum(row.devices for row in self.layers)
        writes = np.sum([row.writes for row in self.layers], 0)
        return [
            (f"Learning in the arrays of {self.preset}: {self.update} on {self.device}",),
            (
                "steps",
                f"{self.steps:,}, {self.vectors:,} updates by a vector, clock "
                f"{units.show(self.clock_seconds, 's')}",
            ),
            (
                "pulses",
                f"{self.pulses:,}: {self.pulses / max(1, devices):.3g} per device, "
                f"{self.resets:,} RESETs, {self.refreshed:,} refreshes",
            ),
            (
                "their cost",
                f"{units.show(self.pulse_joules, 'J')} in the devices, "
                f"{units.show(self.pulse_seconds, 's')}",
            ),
            ("products", f"{self.mvms:,} MVMs: {units.show(self.mvm_joules, 'J')} (whole cores)"),
            (
                "outer products",
                *of_multiplications(self.multiplications).lines(),
                "(digital updates: each of these multiplications also writes a weight, "
                "not counted)",
            ),
            (
                "writes",
                ", ".join(
                    f"{label}: {count:,}"
                    for label, count in zip(classes(), writes, strict=True)
                    if count
                ),
            ),
        ]

    def _lines(self) -> Iterable[str]:
        (title, *_), *facts = self._facts()
        yield title
        for name, *texts in facts:
            for number, line in enumerate(texts):
                yield f"{'' if number else name:15} {line}"
        width = max([5, *(len(row.name) for row in self.layers)])
        yield f"{'layer':{width}}  {'weights':>12} {'devices':>9} {'pulses':>9} {'most':>6}  ADC"
        for row in self.layers:
            yield (
                f"{row.name:{width}}  {f'{row.rows} x {row.cols}':>12} {row.devices:>9,} "
                f"{row.pulses:>9,} {row.most_writes:>6,}  {row.adc_saturated_fraction:.2%}"
            )


def classes() -> tuple[str, ...]:
    """Return the names of the classes of writes per device."""
    names = []
    for low, high in zip(WRITE_EDGES, (*WRITE_EDGES[1:], 0), strict=True):
        names.append(
            f"{low}" if high - low == 1 else f"{low}+" if high == 0 else f"{low}-{high - 1}"
        )
    return tuple(names)


def report_of(
    matrices: dict[str, Matrix], spec: ChipSpec, update: str, device: str, seconds: float
) -> LearningReport:
    """Return the report of a network.

    Parameters
    ----------
    matrices : dict of str to Matrix
        By the path of the layer.
    spec : ChipSpec
        The chip.
    update, device : str
        Names of update and devices.
    seconds : float, seconds
        Time on the clock.
    """
    rows, products, multiplications = [], 0, 0
    for name, matrix in matrices.items():
        book = matrix.book
        rows.append(_row(name, matrix))
        products += sum(book.vectors) * len(matrix.pieces)
        multiplications += book.updates * matrix.layout.rows * matrix.layout.cols
    cost, books = of_multiplications(multiplications), [m.book for m in matrices.values()]
    spent = sum((book.spent for book in books), Spent())
    return LearningReport(
        spec.name, update, device, max(book.steps for book in books),
        max(book.updates for book in books), seconds,
        spent.pulses, spent.resets, spent.refreshed, spent.reads, spent.seconds, spent.joules,
        products, products * mvm_joules(spec), multiplications, cost.fp16_joules,
        cost.essop_joules, tuple(rows),
    )  # fmt: skip


def _row(name: str, matrix: Matrix) -> ArrayRow:
    book = matrix.book
    counts = np.zeros(len(WRITE_EDGES), np.int64)
    devices, most = 0, 0
    for piece in matrix.pieces:
        for synapses in (piece.synapses, *piece.engine.others):
            writes = synapses.writes().reshape(-1)
            counts += np.bincount(
                np.searchsorted(WRITE_EDGES, writes, side="right") - 1, minlength=len(counts)
            )
            devices, most = devices + writes.size, max(most, int(writes.max(initial=0)))
    return ArrayRow(
        name, matrix.layout.rows, matrix.layout.cols, len(matrix.pieces), devices,
        book.spent.pulses, book.spent.resets, book.spent.refreshed,
        tuple(int(count) for count in counts), most, book.beyond / max(1, book.conversions),
    )  # fmt: skip
