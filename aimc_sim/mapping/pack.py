"""Packing: several small blocks on one core, side by side in its crossbar.

A core reads one of its blocks at a time: rows of the others get no input and draw no current,
columns of the others are not converted. So blocks may share rows or columns, not cells, and they
take turns: fewer cores, more time. Blocks go, the largest first, into the first core with room
(first fit decreasing), there into the first corner that is free of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Spot(NamedTuple):
    """The place of a block before cores are chosen.

    Attributes
    ----------
    group : int
        Number of the core that holds the block, counted before placement.
    slot : int
        Number of the block among those of its core.
    row, col : int
        First row and column of the block in the crossbar, cells.
    """

    group: int
    slot: int
    row: int
    col: int


@dataclass(eq=False)
class _Core:
    """Rectangles in use: (row, col, rows, cols)."""

    rows: int
    cols: int
    taken: list[tuple[int, int, int, int]] = field(default_factory=list)

    def corner(self, rows: int, cols: int) -> tuple[int, int] | None:
        """Return the first cell of free space for a block, or None.

        A free rectangle can be moved up and left until it meets the edge or a neighbour, so
        only the edges of neighbours need to be tried.
        """
        tops = sorted({0, *(r + h for r, _, h, _ in self.taken)})
        lefts = sorted({0, *(c + w for _, c, _, w in self.taken)})
        for top in tops:
            for left in lefts:
                if top + rows > self.rows or left + cols > self.cols:
                    continue
                if not any(
                    top < r + h and r < top + rows and left < c + w and c < left + cols
                    for r, c, h, w in self.taken
                ):
                    return top, left
        return None


def pack(
    shapes: Sequence[tuple[int, int]], rows: int, cols: int, blocks_per_core: int
) -> tuple[Spot, ...]:
    """Return where every block lies.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of every block, cells, in execution order; each fits a core.
    rows, cols : int
        Size of a crossbar, cells.
    blocks_per_core : int
        Largest number of blocks in one core; 1 gives every block a core of its own.

    Returns
    -------
    tuple of Spot
        Place of every block, in the order of ``shapes``; groups are numbered by their first
        block.
    """
    cores: list[_Core] = []
    spots: dict[int, Spot] = {}
    for number in sorted(range(len(shapes)), key=lambda i: -shapes[i][0] * shapes[i][1]):
        height, width = shapes[number]
        for core in cores:
            corner = core.corner(height, width) if len(core.taken) < blocks_per_core else None
            if corner is not None:
                break
        else:
            core, corner = _Core(rows, cols), (0, 0)
            cores.append(core)
        spots[number] = Spot(cores.index(core), len(core.taken), *corner)
        core.taken.append((*corner, height, width))
    return _in_execution_order([spots[number] for number in range(len(shapes))])


def _in_execution_order(spots: Sequence[Spot]) -> tuple[Spot, ...]:
    """Number groups by their first block, so that one block per core gives 0, 1, 2, ..."""
    groups: dict[int, int] = {}
    slots: dict[int, int] = {}
    ordered = []
    for spot in spots:
        group = groups.setdefault(spot.group, len(groups))
        slot = slots.get(group, 0)
        slots[group] = slot + 1
        ordered.append(Spot(group, slot, spot.row, spot.col))
    return tuple(ordered)
