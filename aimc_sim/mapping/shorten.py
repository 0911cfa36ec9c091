"""The search behind placement: exchanges of places that shorten the sum of all ways.

Blocks are laid along a serpentine over the grid in execution order, which keeps chains and
consecutive layers together. Simulated annealing (Kirkpatrick et al. 1983,
doi:10.1126/science.220.4598.671) then exchanges places, and in the end exchanges are made as long
as one shortens the sum of all distances. Equal inputs give equal placements: the random numbers
belong to the number of the move.

Two kinds of exchange are tried. A *free* one is with any core. With many blocks nearly all of those
lead far away and are refused; so in a *near* one a block moves to where one of its partners is,
which takes a seventh of the exchanges for shorter ways. That search begins hotter, because such
exchanges are too small to leave a bad beginning behind. A few hundred blocks are searched in both
ways, and the better result counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from aimc_sim.chip import fabric
from aimc_sim.errors import CapacityError
from aimc_sim.kernels.anneal import anneal, polish
from aimc_sim.mapping.route import Flow
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import ChipSpec

_MOVES_PER_PAIR = 1_000
"""Exchanges tried for every pair of blocks; the 60 blocks of a ResNet-32 take 0.3 s."""

ONLY_FREE = 64
"""Blocks up to which all exchanges are free, the cores of the published chip. A core's number is in
the address of its devices' noise, so another search there would draw all results of these networks
anew."""

MOST_MOVES = _MOVES_PER_PAIR * ONLY_FREE**2
"""Exchanges tried at most by one search: 0.5 s for 434 blocks with 4 partners each, 2 s for 1,317
with 20."""

_ONLY_NEAR = 256
"""Blocks above which free exchanges alone find nothing better any more."""

_REACH = 16
"""Places next to a partner's own that a near exchange chooses from."""

HEAT_FREE, _HEAT_NEAR = (1.0, 0.1), (4.0, 0.2)
"""Temperatures at the beginning and the end, in links. At 1.0 an exchange that makes one flow one
link longer is accepted every third time, at 0.1 never. The first one of near exchanges is that of
a block with one partner; it grows with the root of the mean number of partners, like the standard
deviation of the changes in length that exchanges make."""

OTHER_CHIP = 32
"""Distance between cores of different chips, in links: far more than any way on one chip, so
that few values leave it."""


def place_blocks(
    count: int, flows: Sequence[Flow], spec: ChipSpec, moves: int | None = None,
    fixed: Mapping[int, int] | None = None,
) -> list[int]:  # fmt: skip
    """Return the core of each block.

    Parameters
    ----------
    count : int
        Number of blocks.
    flows : sequence of Flow
        Data that the blocks exchange; every flow counts its distance in links once.
    spec : ChipSpec
        The machine: its fabric and the number of chips are read.
    moves : int, optional
        Exchanges of the annealing; 0 only improves the serpentine. None: by the number of
        movable blocks.
    fixed : mapping of int to int, optional
        Cores that are given beforehand, by number of the block.

    Returns
    -------
    list of int, (count,)
        Different core numbers; chip c has ``c * fabric.cores`` and following.

    Raises
    ------
    CapacityError
        If there are more blocks than cores.
    """
    if count > spec.cores:
        raise CapacityError(
            f"{count} blocks do not fit on the {spec.cores} cores of '{spec.name}'; use a "
            f"narrower network, a larger fabric, or chips = {-(-count // spec.fabric.cores)}"
        )
    start = _start(spec, fixed or {})
    movable = [block for block in range(count) if block not in (fixed or {})]
    items = np.array([*movable, *range(count, len(start))])
    if not flows or not movable or len(items) < 2:
        return _numbers(start[:count])
    partners = _partners(flows, len(start))
    distance = distances(spec)
    if moves is None:
        moves = min(_MOVES_PER_PAIR * len(movable) ** 2, MOST_MOVES)
    found = [start.copy()]
    if moves:
        for near, heat in _searches(len(movable), distance, len(partners[1]) / count):
            words = Key(0).child(Purpose.PLACEMENT).words()
            found.append(
                anneal(start, items, len(movable), *partners, distance, near, moves, *heat, *words)
            )
    for cores in found:
        polish(cores, items, len(movable), *partners, distance)
    return _numbers(min(found, key=lambda cores: total(cores, flows, distance))[:count])


def total(cores: Sequence[int] | np.ndarray, flows: Sequence[Flow], distance: np.ndarray) -> int:
    """Return the sum of the distances of all flows, in links.

    Parameters
    ----------
    cores : sequence of int, or (blocks,) int64
        Core of every block.
    flows : sequence of Flow
        Data that the blocks exchange.
    distance : (cores, cores) int16
        Links between any two cores, from :func:`distances`.

    Returns
    -------
    int
        Sum over the flows, each counted once, in links.
    """
    return sum(int(distance[cores[flow.producer], cores[flow.consumer]]) for flow in flows)


def distances(spec: ChipSpec) -> np.ndarray:
    """Return the distances between any two cores of a machine.

    Parameters
    ----------
    spec : ChipSpec
        The machine: its fabric and the number of chips are read.

    Returns
    -------
    (cores, cores) int16
        Links on a shortest path; between cores of different chips :data:`OTHER_CHIP`.
    """
    on_chip = fabric.distances(spec.fabric)
    matrix = np.full((spec.cores, spec.cores), OTHER_CHIP, np.int16)
    for chip in range(spec.chips):
        here = slice(chip * len(on_chip), (chip + 1) * len(on_chip))
        matrix[here, here] = on_chip
    return matrix


def serpentine(rows: int, cols: int) -> list[int]:
    """Return all cores row by row, every second row from right to left.

    Parameters
    ----------
    rows, cols : int
        Size of the grid of cores.

    Returns
    -------
    list of int, (rows * cols,)
        Numbers of the cores; row r has ``r * cols`` and following.

    Examples
    --------
    >>> serpentine(2, 3)
    [0, 1, 2, 5, 4, 3]
    """
    cores: list[int] = []
    for row in range(rows):
        line = range(row * cols, (row + 1) * cols)
        cores += line if row % 2 == 0 else reversed(line)
    return cores


def _numbers(cores: np.ndarray) -> list[int]:
    """Return the entries of an array as Python's numbers."""
    return [int(core) for core in cores]


def _start(spec: ChipSpec, fixed: Mapping[int, int]) -> np.ndarray:
    """Return the serpentine, chip after chip, with the fixed blocks in their places."""
    line = [
        chip * spec.fabric.cores + core
        for chip in range(spec.chips)
        for core in serpentine(spec.fabric.rows, spec.fabric.cols)
    ]
    given = set(fixed.values())
    free = iter([core for core in line if core not in given])
    return np.array([fixed[b] if b in fixed else next(free) for b in range(len(line))])


def _searches(
    count: int, distance: np.ndarray, partners: float
) -> list[tuple[np.ndarray, tuple[float, float]]]:
    """Return the searches for a number of blocks: the near places of each, and its temperatures.

    Parameters
    ----------
    count : int
        Number of blocks that may be moved.
    distance : (n, n) int16
        Links between any two cores.
    partners : float
        Mean number of partners of a block.

    Returns
    -------
    list of ((n, reach) int64, (float, float))
        For every search the cores near each core (``reach`` is 0 for free exchanges), and the
        temperatures at its beginning and end, links.
    """
    searches = []
    if count <= _ONLY_NEAR:
        searches.append((np.empty((len(distance), 0), np.int64), HEAT_FREE))
    if count > ONLY_FREE:
        near = np.argsort(distance, axis=1, kind="stable")[:, 1 : _REACH + 1].copy()
        hot, cold = _HEAT_NEAR
        searches.append((near, (hot * partners**0.5, cold)))
    return searches


def _partners(flows: Sequence[Flow], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of blocks that exchange data, each listed at both of its ends.

    Returns
    -------
    starts : (n + 1,) int64
        Partners of block i are the entries ``starts[i]`` to ``starts[i + 1] - 1``.
    others : (2 pairs,) int64
        Number of the other block.
    weights : (2 pairs,) int32
        Flows between the two blocks, in either direction.
    """
    pairs = Counter((flow.producer, flow.consumer) for flow in flows)
    pairs += Counter((flow.consumer, flow.producer) for flow in flows)
    listed = np.array([(*ends, weight) for ends, weight in sorted(pairs.items())])
    starts = np.searchsorted(listed[:, 0], np.arange(n + 1))
    return starts, listed[:, 1].copy(), listed[:, 2].astype(np.int32)
