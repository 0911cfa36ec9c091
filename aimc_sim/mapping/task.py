"""The task of placing blocks, as a value, and its solutions, which a process keeps.

A placement depends on the flows between blocks and on the links, not on weights or devices. So
``explain`` and ``from_model`` of one network, the trials of a study and the points of a search
ask for one placement; it is found once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Self

from aimc_sim.errors import MappingError
from aimc_sim.mapping.direct import Paths, place_one_hop
from aimc_sim.mapping.route import Flow
from aimc_sim.mapping.shorten import distances, place_blocks
from aimc_sim.spec import ChipSpec, FabricSpec

KEPT = 16
"""Placements kept at most; one of 1,317 blocks with 12,866 flows takes 4 MB."""


@dataclass(frozen=True)
class Task:
    """All that decides a placement; tasks with equal content are equal.

    Attributes
    ----------
    names : tuple of str, (blocks,)
        Name of every block, or of every group of blocks that share a core.
    flows : tuple of Flow
        Data that the blocks exchange; producer and consumer are places in ``names``.
    fixed : tuple of (int, int)
        Blocks whose core is given beforehand, as (number of the block, core).
    fabric : FabricSpec
        Cores and links of one chip.
    chips : int
        Number of chips.
    placement : str
        The method, ``mapping.placement`` of the specification.
    spec : ChipSpec
        The machine that the rest of the attributes was taken from. It is not compared: machines
        that differ in their devices have equal tasks.
    """

    names: tuple[str, ...]
    flows: tuple[Flow, ...]
    fixed: tuple[tuple[int, int], ...]
    fabric: FabricSpec
    chips: int
    placement: str
    spec: ChipSpec = field(compare=False, repr=False)

    @classmethod
    def of(
        cls, names: Sequence[str], flows: Sequence[Flow], fixed: Mapping[int, int], spec: ChipSpec
    ) -> Self:
        """Return the task of placing blocks on a machine.

        Parameters
        ----------
        names : sequence of str, (blocks,)
            Name of every block.
        flows : sequence of Flow
            Data that the blocks exchange.
        fixed : mapping of int to int
            Cores that are given beforehand, by number of the block.
        spec : ChipSpec
            The machine.

        Returns
        -------
        Task
            The task, with its parts in a form that can be compared and hashed.
        """
        return cls(
            tuple(names), tuple(flows), tuple(sorted(fixed.items())), spec.fabric, spec.chips,
            spec.mapping.placement, spec,
        )  # fmt: skip


@lru_cache(maxsize=KEPT)
def solve(task: Task) -> tuple[tuple[int, ...], Paths]:
    """Return a core for every block.

    Parameters
    ----------
    task : Task
        The blocks, their flows and the machine.

    Returns
    -------
    cores : tuple of int, (blocks,)
        Core of every block.
    paths : mapping of (int, int) to tuple of int
        Cores passed by the flows that go over relays, by (producer's core, consumer's core).

    Raises
    ------
    MappingError
        If the task asks for direct links and there is no such placement. A failure is not kept:
        another try may have more time.
    CapacityError
        If there are more blocks than cores.
    """
    count, fixed = len(task.names), dict(task.fixed)
    if task.placement == "search":
        return tuple(place_blocks(count, task.flows, task.spec, fixed=fixed)), MappingProxyType({})
    try:
        cores, paths = place_one_hop(task.names, task.flows, task.spec, fixed)
    except MappingError as error:
        nearest = place_blocks(count, task.flows, task.spec, fixed=fixed)
        raise MappingError(f"{error}. {_linkless(nearest, task)}") from None
    return tuple(cores), MappingProxyType(paths)


def _linkless(cores: Sequence[int], task: Task) -> str:
    """Return a sentence that names the flows without a link of their own in a placement."""
    distance = distances(task.spec)
    pairs = dict.fromkeys((flow.producer, flow.consumer) for flow in task.flows)
    far = [(a, b) for a, b in pairs if distance[cores[a], cores[b]] > 1]
    some = ", ".join(f"{task.names[a]} -> {task.names[b]}" for a, b in far[:3])
    return (
        f"The placement by search leaves {len(far)} of {len(pairs)} without a link: {some}"
        f"{', ...' * (len(far) > 3)}"
    )
