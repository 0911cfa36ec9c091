"""Work of one image beside the MVMs of weights: operations of digital units, written matrices.

A product of which one factor is written into devices
(:class:`~aimc_sim.chip.program.WrittenProduct`) costs, per matrix of an image: a write of every row
of its blocks, ``rows_at_a_time`` of them in ``pulses x pulse_seconds``, with ``pulse_joules`` for
every device and pulse; then an MVM of every block per input vector, as of a block of weights;
additions of slices.
Blocks on different cores are written and read at the same time, those of one core in turn.

Operations of floating point in the digital units (softmax, norms, products of values that are not
written, layers off the cores) take ``cost.digital_joules`` each and share
``cost.digital_operations_per_clock``. Parameters and their sources: :class:`aimc_sim.spec.CostSpec`
and :class:`aimc_sim.spec.WrittenSpec`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aimc_sim.chip.ledger.times import step_seconds
from aimc_sim.chip.program import Program, WrittenBlock, WrittenProduct
from aimc_sim.spec import ChipSpec


@dataclass(frozen=True)
class Factors:
    """Sizes of a written product, per image; means where images differ.

    Attributes
    ----------
    heads : float
        Matrices.
    vectors : float
        Input vectors of each.
    rows, cols : float
        Values of each.
    """

    heads: float
    vectors: float
    rows: float
    cols: float

    @property
    def values(self) -> float:
        """Values that are written."""
        return self.heads * self.rows * self.cols

    @property
    def macs(self) -> float:
        """Multiply-accumulates."""
        return self.values * self.vectors


@dataclass(frozen=True)
class ImageWork:
    """Work of one image that no layer with weights does.

    Attributes
    ----------
    operations : mapping of str to float
        Arithmetic operations in floating point, by name of the digital step.
    written : mapping of str to Factors
        Sizes of the written products, by name.
    """

    operations: Mapping[str, float] = field(default_factory=dict)
    written: Mapping[str, Factors] = field(default_factory=dict)

    @property
    def values(self) -> float:
        """Values that are written."""
        return sum(one.values for one in self.written.values())


def digital_seconds(operations: float, spec: ChipSpec) -> float:
    """Return the time that the digital units take for operations in floating point, s."""
    return operations / (spec.cost.digital_operations_per_clock * spec.gdpu.clock_hertz)


def used(block: WrittenBlock, factors: Factors) -> tuple[float, float]:
    """Return the rows and columns of values of a block that a matrix fills."""
    rows = min(block.row_stop, factors.rows) - block.row_start
    cols = min(block.col_stop, factors.cols) - block.col_start
    return max(0.0, rows), max(0.0, cols)


def write_seconds(block: WrittenBlock, factors: Factors, spec: ChipSpec) -> float:
    """Return the time in which the part of a matrix on one block is written, s."""
    rows, cols = used(block, factors)
    own = spec.written
    return (-(-rows // own.rows_at_a_time) * own.row_seconds) if cols else 0.0


def read_seconds(block: WrittenBlock, factors: Factors, spec: ChipSpec) -> float:
    """Return the time of all MVMs of a block for one image, s."""
    rows, cols = used(block, factors)
    columns = round(cols * spec.written.slices)
    return factors.vectors * step_seconds(columns, spec) if rows and cols else 0.0


def filled(step: WrittenProduct, factors: Factors) -> Iterator[WrittenBlock]:
    """Return the blocks that the matrices of an image fill, wholly or in part."""
    for block in step.blocks:
        if block.head < factors.heads and min(used(block, factors)) > 0:
            yield block


def busy_seconds(step: WrittenProduct, factors: Factors, spec: ChipSpec) -> dict[int, float]:
    """Return how long every core of a written product works on one image, s."""
    found: dict[int, float] = {}
    for block in filled(step, factors):
        own = write_seconds(block, factors, spec) + read_seconds(block, factors, spec)
        found[block.core] = found.get(block.core, 0.0) + own
    return found


def stage_seconds(step: WrittenProduct, factors: Factors, spec: ChipSpec) -> tuple[float, float]:
    """Return the time of writing and of reading all matrices of one image, s.

    Cores work at the same time, blocks of one core in turn.
    """
    writing: defaultdict[int, float] = defaultdict(float)
    reading: defaultdict[int, float] = defaultdict(float)
    for block in filled(step, factors):
        writing[block.core] += write_seconds(block, factors, spec)
        reading[block.core] += read_seconds(block, factors, spec)
    return max(writing.values(), default=0.0), max(reading.values(), default=0.0)


def inferences(compiled: Program, spec: ChipSpec) -> float:
    """Return after how many images the first device has had as many writes as it endures.

    Every image writes each device once per product that its core serves, with all its pulses;
    infinite if nothing is written.
    """
    products = Counter(
        core for step in compiled.written for core in {block.core for block in step.blocks}
    )
    most = max(products.values(), default=0) * spec.written.pulses
    return spec.written.endurance_cycles / most if most else float("inf")
