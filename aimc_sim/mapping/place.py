"""Placement: a core for every block, so that data crosses few links.

Blocks that share a core are placed together. :mod:`aimc_sim.mapping.task` decides which core they
get; here blocks become a task, and its solution becomes their places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from aimc_sim import arguments
from aimc_sim.chip.program import AnalogLayer, Block
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.direct import Paths
from aimc_sim.mapping.lower import Step
from aimc_sim.mapping.pack import Spot, pack
from aimc_sim.mapping.route import carried, dataflow
from aimc_sim.mapping.task import Task, solve
from aimc_sim.spec import ChipSpec


def place(steps: Sequence[Step], spec: ChipSpec) -> tuple[tuple[Step, ...], Paths]:
    """Give every block a core of its own.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, whose layers have blocks, from
        :func:`aimc_sim.mapping.split.split`.
    spec : ChipSpec
        The machine.

    Returns
    -------
    steps : tuple of AnalogLayer or DigitalStep
        The steps in their order, with placed blocks.
    paths : mapping of (int, int) to tuple of int
        Cores passed by the flows that go over relays, by (producer's core, consumer's core);
        the router chooses the other paths.

    Raises
    ------
    CapacityError
        If the blocks need more cores than there are.
    MappingError
        If ``mapping.placement`` asks for direct links and there is no such placement.
    ValueError
        If ``mapping.cores`` names a layer or core that does not exist, gives a layer another
        number of cores than it has blocks, or gives one core twice.
    """
    layers = [s for s in steps if isinstance(s, AnalogLayer) and s.devices is None]
    shapes = [block.footprint for layer in layers for block in layer.blocks]
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
    between = tuple(flow for flow in flows if flow.producer != flow.consumer)
    cores, paths = solve(Task.of(_group_names(layers, spots), between, fixed, spec))
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


def _group_names(layers: Sequence[AnalogLayer], spots: Sequence[Spot]) -> list[str]:
    """Return a name for every core in use: its blocks."""
    members: dict[int, list[str]] = {}
    blocks = (block for layer in layers for block in layer.blocks)
    for block, spot in zip(blocks, spots, strict=True):
        members.setdefault(spot.group, []).append(
            f"{block.layer}[{block.row_index},{block.col_index}]"
        )
    return [" + ".join(members[group]) for group in range(len(members))]


def _fixed(layers: Sequence[AnalogLayer], spots: Sequence[Spot], spec: ChipSpec) -> dict[int, int]:
    """Return the cores that the specification sets, by group of blocks."""
    groups: dict[str, list[int]] = {}
    for block, spot in zip((b for layer in layers for b in layer.blocks), spots, strict=True):
        groups.setdefault(block.layer, []).append(spot.group)
    fixed: dict[int, int] = {}
    for name, cores in spec.mapping.cores:
        where = f"mapping.cores: layer '{name}'"
        if name not in groups:
            raise ValueError(arguments.unknown(f"{where} does not exist", name, groups))
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
    """Raise CapacityError if the blocks need more cores than there are."""
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
