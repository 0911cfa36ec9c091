"""Placement: one core per block, so that data crosses few links.

The blocks are laid along a serpentine over the grid in execution order, which keeps chains and
consecutive layers together; then blocks are moved to free cores or exchanged as long as that
shortens the sum of all distances. No randomness: equal inputs give equal placements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import networkx as nx

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.image import AnalogLayer
from aimc_sim.errors import CapacityError
from aimc_sim.mapping.lower import Step
from aimc_sim.mapping.route import Flow, dataflow
from aimc_sim.spec import ChipSpec

MAX_TRIALS = 150_000
"""Exchanges tried before the improvement stops: about a second."""


def place(steps: Sequence[Step], spec: ChipSpec) -> tuple[Step, ...]:
    """Give every block a core of its own.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        With blocks, as returned by :func:`aimc_sim.mapping.split.split`.
    spec : ChipSpec
        The chip.

    Returns
    -------
    tuple of AnalogLayer or DigitalStep
        The same steps with placed blocks.

    Raises
    ------
    CapacityError
        If there are more blocks than cores.
    """
    count = sum(len(step.blocks) for step in steps if isinstance(step, AnalogLayer))
    cores = iter(place_blocks(count, dataflow(steps), spec))
    return tuple(
        replace(step, blocks=tuple(replace(b, core=next(cores)) for b in step.blocks))
        if isinstance(step, AnalogLayer)
        else step
        for step in steps
    )


def place_blocks(count: int, flows: Sequence[Flow], spec: ChipSpec) -> list[int]:
    """Return the core of each block.

    Parameters
    ----------
    count : int
        Number of blocks.
    flows : sequence of Flow
        What the blocks send to each other; every flow counts its distance in links once.
    spec : ChipSpec
        The chip.

    Returns
    -------
    list of int
        (count,) different core numbers.
    """
    if count > spec.fabric.cores:
        raise CapacityError(
            f"{count} blocks do not fit on the {spec.fabric.cores} cores of '{spec.name}'; "
            f"use a narrower network or a larger fabric"
        )
    lengths = dict(nx.all_pairs_shortest_path_length(fabric_graph(spec.fabric)))
    return _improve(serpentine(spec.fabric.rows, spec.fabric.cols), count, flows, lengths)


def serpentine(rows: int, cols: int) -> list[int]:
    """Return all cores row by row, every second row from right to left."""
    cores = []
    for row in range(rows):
        line = range(row * cols, (row + 1) * cols)
        cores += line if row % 2 == 0 else reversed(line)
    return cores


def _improve(
    cores: list[int], count: int, flows: Sequence[Flow], lengths: dict[int, dict[int, int]]
) -> list[int]:
    """Exchange cores pairwise until nothing helps; entries from `count` on are free cores."""
    partners: list[list[int]] = [[] for _ in cores]
    for flow in flows:
        partners[flow.producer].append(flow.consumer)
        partners[flow.consumer].append(flow.producer)

    def length(block: int) -> int:
        here = lengths[cores[block]]
        return sum(here[cores[other]] for other in partners[block])

    trials, improved = 0, True
    while improved and trials < MAX_TRIALS:
        improved = False
        for first in range(count):
            trials += len(cores) - first - 1
            for second in range(first + 1, len(cores)):
                before = length(first) + length(second)
                cores[first], cores[second] = cores[second], cores[first]
                # Links have both directions, so a flow between the two counts alike in both.
                if length(first) + length(second) < before:
                    improved = True
                else:
                    cores[first], cores[second] = cores[second], cores[first]
    return cores[:count]
