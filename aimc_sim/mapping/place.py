"""Placement: a core for every block, so that data crosses few links.

Blocks that share a core are placed together. They are laid along a serpentine over the grid in
execution order, which keeps chains and consecutive layers together. Simulated annealing
(Kirkpatrick et al. 1983, doi:10.1126/science.220.4598.671) then exchanges places, and in the end
exchanges are made as long as one shortens the sum of all distances. Equal inputs give equal
placements: the random numbers belong to the number of the move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import networkx as nx
import numpy as np
from scipy.sparse.csgraph import shortest_path

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.image import AnalogLayer, Block
from aimc_sim.errors import CapacityError, MappingError
from aimc_sim.kernels.anneal import anneal, polish
from aimc_sim.mapping.direct import Paths, place_one_hop
from aimc_sim.mapping.lower import Step
from aimc_sim.mapping.pack import Spot, pack
from aimc_sim.mapping.route import Flow, carried, dataflow
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import ChipSpec

MOVES_PER_PAIR = 1_000
"""Exchanges tried, for every pair of blocks: half a second for the 60 blocks of a ResNet-32."""

MOST_MOVES = 30_000_000
"""Exchanges tried at most: some seconds."""

HOT, COLD = 1.0, 0.1
"""Temperatures at the beginning and the end, in links: an exchange that makes one flow one link
longer is accepted every third time, and never."""

OTHER_CHIP = 32.0
"""Distance between cores of different chips, in links: far more than any way on one chip, so
that few values leave it."""


def place(steps: Sequence[Step], spec: ChipSpec) -> tuple[tuple[Step, ...], Paths]:
    """Give every block a core of its own.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        With blocks, as returned by :func:`aimc_sim.mapping.split.split`.
    spec : ChipSpec
        The chip.

    Returns
    -------
    steps : tuple of AnalogLayer or DigitalStep
        The same steps with placed blocks.
    paths : dict
        Ways over relays, by (producer's core, consumer's core); the others are the router's.

    Raises
    ------
    CapacityError
        If the blocks need more cores than there are.
    MappingError
        If ``mapping.placement`` asks for direct links and there is no such placement.
    """
    layers = [s for s in steps if isinstance(s, AnalogLayer) and s.devices is None]
    shapes = [block.shape for layer in layers for block in layer.blocks]
    spots = pack(shapes, spec.core.rows, spec.core.cols, spec.mapping.blocks_per_core)
    count = 1 + max(spot.group for spot in spots)
    _check_capacity(count, layers, spec)
    sent = dataflow(steps)
    if spec.mapping.carry_inputs:
        sent = carried(sent)
    flows = [
        flow._replace(producer=spots[flow.producer].group, consumer=spots[flow.consumer].group)
        for flow in sent
    ]
    fixed = _fixed(layers, spots, spec)
    between = [flow for flow in flows if flow.producer != flow.consumer]
    paths: Paths = {}
    if spec.mapping.placement == "search":
        cores = place_blocks(count, between, spec, fixed=fixed)
    else:
        names = _group_names(layers, spots)
        try:
            cores, paths = place_one_hop(names, between, spec, fixed)
        except MappingError as error:
            nearest = place_blocks(count, between, spec, fixed=fixed)
            raise MappingError(f"{error}. {_linkless(nearest, names, between, spec)}") from None
    spot = iter(spots)

    def placed(block: Block) -> Block:
        group, slot, row, col = next(spot)
        return replace(block, core=cores[group], slot=slot, row_offset=row, col_offset=col)

    blocks = {layer.name: tuple(placed(block) for block in layer.blocks) for layer in layers}
    done = tuple(
        replace(step, blocks=blocks[step.devices or step.name])
        if isinstance(step, AnalogLayer)
        else step
        for step in steps
    )
    return done, paths


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
    key = Key(0).child(Purpose.PLACEMENT).words()
    found = [start.copy()]
    if moves:
        found.append(
            anneal(start, items, len(movable), *partners, distance, moves, HOT, COLD, *key)
        )
    for cores in found:
        polish(cores, items, len(movable), *partners, distance)
    return min(found, key=lambda cores: _total(cores, flows, distance))[:count].tolist()


def _start(count: int, spec: ChipSpec, fixed: Mapping[int, int]) -> np.ndarray:
    """Return the serpentine, chip after chip, with the fixed blocks in their places."""
    line = [
        chip * spec.fabric.cores + core
        for chip in range(spec.chips)
        for core in serpentine(spec.fabric.rows, spec.fabric.cols)
    ]
    free = iter([core for core in line if core not in set(fixed.values())])
    return np.array([fixed[b] if b in fixed else next(free) for b in range(len(line))])


def distances(spec: ChipSpec) -> np.ndarray:
    """Return the links between any two cores, (cores, cores) float64; see :data:`OTHER_CHIP`."""
    links = nx.to_scipy_sparse_array(fabric_graph(spec.fabric), format="csr")
    on_chip = shortest_path(links, unweighted=True)
    matrix = np.full((spec.cores, spec.cores), OTHER_CHIP)
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


def _total(cores: np.ndarray, flows: Sequence[Flow], distance: np.ndarray) -> float:
    return sum(distance[cores[flow.producer], cores[flow.consumer]] for flow in flows)


def _partners(flows: Sequence[Flow], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts (n + 1,), others and weights (2 flows,): each flow seen from both ends."""
    ends = np.array([(flow.producer, flow.consumer) for flow in flows])
    here = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.argsort(here, kind="stable")
    others = np.concatenate([ends[:, 1], ends[:, 0]])[order]
    starts = np.searchsorted(here[order], np.arange(n + 1))
    return starts, others, np.ones(len(others))


def _group_names(layers: Sequence[AnalogLayer], spots: Sequence[Spot]) -> list[str]:
    """Return a name for every core in use: its blocks."""
    members: dict[int, list[str]] = {}
    blocks = (block for layer in layers for block in layer.blocks)
    for block, spot in zip(blocks, spots, strict=True):
        members.setdefault(spot.group, []).append(
            f"{block.layer}[{block.row_index},{block.col_index}]"
        )
    return [" + ".join(members[group]) for group in range(len(members))]


def _linkless(
    cores: Sequence[int], names: Sequence[str], flows: Sequence[Flow], spec: ChipSpec
) -> str:
    """Say which flows have no link of their own in a placement."""
    distance = distances(spec)
    pairs = dict.fromkeys((flow.producer, flow.consumer) for flow in flows)
    far = [(a, b) for a, b in pairs if distance[cores[a], cores[b]] > 1]
    some = ", ".join(f"{names[a]} -> {names[b]}" for a, b in far[:3])
    return (
        f"The placement by search leaves {len(far)} of {len(pairs)} without a link: {some}"
        f"{', ...' * (len(far) > 3)}"
    )


def _fixed(layers: Sequence[AnalogLayer], spots: Sequence[Spot], spec: ChipSpec) -> dict[int, int]:
    """Return the cores that the specification sets, by group of blocks."""
    groups: dict[str, list[int]] = {}
    for block, spot in zip((b for layer in layers for b in layer.blocks), spots, strict=True):
        groups.setdefault(block.layer, []).append(spot.group)
    fixed: dict[int, int] = {}
    for name, cores in spec.mapping.cores:
        where = f"mapping.cores: layer '{name}'"
        if name not in groups:
            raise ValueError(f"{where} does not exist; there are: {', '.join(groups)}")
        if len(cores) != len(groups[name]):
            raise ValueError(f"{where} has {len(groups[name])} blocks, {len(cores)} cores given")
        for group, core in zip(groups[name], cores, strict=True):
            if not 0 <= core < spec.cores:
                raise ValueError(f"{where}: there is no core {core}; use 0 to {spec.cores - 1}")
            if fixed.setdefault(group, core) != core:
                raise ValueError(f"{where} shares a core that is set to {fixed[group]} already")
    if len(set(fixed.values())) < len(fixed):
        twice = next(core for core, n in Counter(fixed.values()).items() if n > 1)
        raise ValueError(f"mapping.cores gives core {twice} twice; use every core once")
    return fixed


def _check_capacity(needed: int, layers: Sequence[AnalogLayer], spec: ChipSpec) -> None:
    if needed <= spec.cores:
        return
    biggest = sorted(layers, key=lambda layer: -len(layer.blocks))[:3]
    named = ", ".join(
        f"'{layer.name}' {len(layer.blocks)} ({layer.weight.shape[0]}x{layer.weight.shape[1]})"
        for layer in biggest
    )
    raise CapacityError(
        f"the network needs {needed} cores of {spec.core.rows}x{spec.core.cols}, the chip "
        f"'{spec.name}' has {spec.cores}; biggest layers (cores, weights): {named}; use a "
        f"narrower network, let small blocks share cores (mapping.blocks_per_core), take "
        f"{-(-needed // spec.fabric.cores)} chips (chips), or set fabric.rows and fabric.cols to "
        f"a larger chip"
    )
