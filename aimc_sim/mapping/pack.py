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
    """Where a block lies: number of its core (before placement), its number there, first cell."""

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
    shapes : sequence of (rows, cols)
        Of the blocks, in execution order; each fits a core.
    rows, cols : int
        Crossbar.
    blocks_per_core : int
        Blocks in one core at most; 1 gives every block a core of its own.

    Returns
    -------
    tuple of Spot
        In the order of the blocks; groups are numbered by their first block.
    """
    cores: list[_Core] = []
    spots: dict[int, Spot] = {}
    for number in sorted(range(len(shapes)), key=lambda i: -shapes[i][0] * shapes[i][1]):
        height, width = shapes[number]
        open_cores = [core for core in cores if len(core.taken) < blocks_per_core]
        corners = ((core, core.corner(height, width)) for core in open_cores)
        core, corner = next((found for found in corners if found[1]), (None, (0, 0)))
        if core is None:
            core = _Core(rows, cols)
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
