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

MOVES_PER_PAIR = 1_000
"""Exchanges tried, for every pair of blocks: 0.3 s for the 60 blocks of a ResNet-32."""

ONLY_FREE = 64
"""Blocks up to which all exchanges are free, the cores of the published chip. A core's number is in
the address of its devices' noise, so another search there would draw all results of these networks
anew."""

MOST_MOVES = MOVES_PER_PAIR * ONLY_FREE**2
"""Exchanges tried at most by one search: 0.5 s for 434 blocks with 4 partners each, 2 s for 1,317
with 20."""

ONLY_NEAR = 256
"""Blocks above which free exchanges alone find nothing better any more."""

REACH = 16
"""Places next to a partner's own that a near exchange chooses from."""

HEAT_FREE, HEAT_NEAR = (1.0, 0.1), (4.0, 0.2)
"""Temperatures at the beginning and the end, in links. At 1.0 an exchange that makes one flow one
link longer is accepted every third time, at 0.1 never. The first one of near exchanges is that of
a block with one partner; it grows with the root of their mean number, as the spread of what
exchanges change does."""

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
        What the blocks send to each other; every flow counts its distance in links once.
    spec : ChipSpec
        Fabric, and the number of chips.
    moves : int, optional
        Exchanges of the annealing; 0 only improves the serpentine.
    fixed : mapping from block to core, optional
        Blocks that stay where they are put.

    Returns
    -------
    list of int
        (count,) different core numbers; chip c has ``c * fabric.cores`` and following.
    """
    if count > spec.cores:
        raise CapacityError(
            f"{count} blocks do not fit on the {spec.cores} cores of '{spec.name}'; use a "
            f"narrower network, a larger fabric, or chips = {-(-count // spec.fabric.cores)}"
        )
    start = _start(count, spec, fixed or {})
    movable = [block for block in range(count) if block not in (fixed or {})]
    items = np.array([*movable, *range(count, len(start))])
    if not flows or not movable or len(items) < 2:
        return start[:count].tolist()
    partners = _partners(flows, len(start))
    distance = distances(spec)
    if moves is None:
        moves = min(MOVES_PER_PAIR * len(movable) ** 2, MOST_MOVES)
    found = [start.copy()]
    if moves:
        for near, heat in _searches(len(movable), distance, len(partners[1]) / count):
            words = Key(0).child(Purpose.PLACEMENT).words()
            found.append(
                anneal(start, items, len(movable), *partners, distance, near, moves, *heat, *words)
            )
    for cores in found:
        polish(cores, items, len(movable), *partners, distance)
    return min(found, key=lambda cores: total(cores, flows, distance))[:count].tolist()


def total(cores: Sequence[int] | np.ndarray, flows: Sequence[Flow], distance: np.ndarray) -> int:
    """Return the sum of the distances of all flows, in links.

    Parameters
    ----------
    cores : (blocks,) int
    flows : sequence of Flow
    distance : (cores, cores) int16, links
    """
    return sum(int(distance[cores[flow.producer], cores[flow.consumer]]) for flow in flows)


def distances(spec: ChipSpec) -> np.ndarray:
    """Return the links between any two cores, (cores, cores) int16; see :data:`OTHER_CHIP`."""
    on_chip = fabric.distances(spec.fabric)
    matrix = np.full((spec.cores, spec.cores), OTHER_CHIP, np.int16)
    for chip in range(spec.chips):
        here = slice(chip * len(on_chip), (chip + 1) * len(on_chip))
        matrix[here, here] = on_chip
    return matrix


def serpentine(rows: int, cols: int) -> list[int]:
    """Return all cores row by row, every second row from right to left."""
    cores = []
    for row in range(rows):
        line = range(row * cols, (row + 1) * cols)
        cores += line if row % 2 == 0 else reversed(line)
    return cores


def _start(count: int, spec: ChipSpec, fixed: Mapping[int, int]) -> np.ndarray:
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
    """Return the searches for so many blocks: the near places of each, and its temperatures.

    Parameters
    ----------
    count : int
        Blocks that may be moved.
    distance : (n, n) int16, links
    partners : float
        Mean number of partners of a block.
    """
    searches = []
    if count <= ONLY_NEAR:
        searches.append((np.empty((len(distance), 0), np.int64), HEAT_FREE))
    if count > ONLY_FREE:
        near = np.argsort(distance, axis=1, kind="stable")[:, 1 : REACH + 1].copy()
        hot, cold = HEAT_NEAR
        searches.append((near, (hot * partners**0.5, cold)))
    return searches


def _partners(flows: Sequence[Flow], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts (n + 1,), others and weights (2 pairs,): each pair seen from both ends.

    A weight is the number of flows between two blocks, whatever their direction.
    """
    pairs = Counter((flow.producer, flow.consumer) for flow in flows)
    pairs += Counter((flow.consumer, flow.producer) for flow in flows)
    seen = np.array([(*ends, weight) for ends, weight in sorted(pairs.items())])
    starts = np.searchsorted(seen[:, 0], np.arange(n + 1))
    return starts, seen[:, 1].copy(), seen[:, 2].astype(np.int32)
