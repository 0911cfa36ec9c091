"""Splitting: cut each layer's weights into the fewest near-equal blocks that fit one core.

Row cuts of a convolution fall between input channels, so that every block is itself a smaller
convolution over a range of channels (no unfolding of feature maps is needed), and the sizes of
blocks differ by at most one channel. The chip paper splits like this: 2016 x 224 into
8 blocks of 252 x 224 (arXiv:2212.02872, weight mapping).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from aimc_sim.chip.program import AnalogLayer, Block
from aimc_sim.core import encodings
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.lower import Step
from aimc_sim.spec import ChipSpec, CoreSpec

_UNPLACED = -1
"""Core number of a block before placement."""


def split(steps: Sequence[Step], spec: ChipSpec) -> tuple[Step, ...]:
    """Give every analog layer its blocks, not placed yet.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, from :func:`aimc_sim.mapping.lower.lower`.
    spec : ChipSpec
        The machine: the size of its cores is read.

    Returns
    -------
    tuple of AnalogLayer or DigitalStep
        The steps in their order; the layers' blocks have ``core = UNPLACED``.
    """
    blocks = {
        step.name: split_for(step, spec.for_layer(step.owner).core)
        for step in steps
        if isinstance(step, AnalogLayer) and step.devices is None
    }
    return tuple(
        replace(step, blocks=blocks[step.devices or step.name])
        if isinstance(step, AnalogLayer)
        else step
        for step in steps
    )


def split_for(layer: AnalogLayer, core: CoreSpec) -> tuple[Block, ...]:
    """Cut one layer into blocks that fit a core under its encoding of weights.

    Parameters
    ----------
    layer : AnalogLayer
        With weight (weight rows, weight columns).
    core : CoreSpec
        Size of the crossbar, and the encoding, which decides how many columns an output takes.

    Returns
    -------
    tuple of Block
        As of :func:`split_layer`, with the columns that each takes of the crossbar.

    Raises
    ------
    CapacityError
        If a crossbar has too few columns for a single output.
    """
    encoding = encodings.of(core)
    outputs = encoding.capacity(core.cols)
    if outputs < 1:
        raise CapacityError(
            f"core.cols = {core.cols}: one output under core.encoding = '{core.encoding.kind}' "
            f"takes {encoding.columns(1)} columns; use wider crossbars or another encoding"
        )
    blocks = split_layer(layer, core.rows, outputs)
    if encoding.columns(outputs) == outputs:
        return blocks
    return tuple(replace(b, cell_columns=encoding.columns(b.shape[1])) for b in blocks)


def split_layer(layer: AnalogLayer, rows: int, cols: int) -> tuple[Block, ...]:
    """Cut one layer into blocks.

    Parameters
    ----------
    layer : AnalogLayer
        The layer; its weight has the shape (weight rows, weight columns).
    rows, cols : int
        Size of the largest block: inputs and outputs of one crossbar.

    Returns
    -------
    tuple of Block
        Blocks, column by column, each column from head to tail, with ``core = UNPLACED``.
    """
    rows_of_group, cols_of_group = (size // layer.groups for size in layer.weight.shape)
    area = layer.kernel_size[0] * layer.kernel_size[1]
    together = min(rows // rows_of_group, cols // cols_of_group, layer.groups)
    if layer.groups > 1 and together > 0:
        # Whole groups side by side along the diagonal: nothing to add up between crossbars.
        groups = pairwise(equal_cuts(layer.groups, together))
        return tuple(
            Block(
                layer.name, _UNPLACED, 0, index, first * rows_of_group, last * rows_of_group,
                first * cols_of_group, last * cols_of_group,
            )
            for index, (first, last) in enumerate(groups)
        )  # fmt: skip
    # A kernel larger than the crossbar has to be cut inside the channel.
    unit = area if area <= rows else 1
    row_cuts = [unit * cut for cut in equal_cuts(rows_of_group // unit, rows // unit)]
    col_cuts = equal_cuts(cols_of_group, cols)
    blocks = []
    for group in range(layer.groups):
        top, left = group * rows_of_group, group * cols_of_group
        for col_index, (start, stop) in enumerate(pairwise(col_cuts), group * (len(col_cuts) - 1)):
            blocks += [
                Block(
                    layer.name, _UNPLACED, row_index, col_index, top + first, top + last,
                    left + start, left + stop,
                )
                for row_index, (first, last) in enumerate(pairwise(row_cuts))
            ]  # fmt: skip
    return tuple(blocks)


def equal_cuts(total: int, largest: int) -> list[int]:
    """Return the cut positions 0, ..., total of the fewest parts of at most `largest` items.

    The sizes of the parts differ by at most one, the larger parts come first.

    Parameters
    ----------
    total : int
        Number of items, at least 1.
    largest : int
        Largest number of items in one part, at least 1.

    Returns
    -------
    list of int, (parts + 1,)
        Positions of the cuts, both ends included.

    Examples
    --------
    >>> equal_cuts(64, 28)
    [0, 22, 43, 64]
    """
    parts = -(-total // largest)
    size, larger = divmod(total, parts)
    return [i * size + min(i, larger) for i in range(parts + 1)]
