"""What decides a placement, and the placements that were found in this process.

A placement depends on who sends what to whom and on the links, not on weights or devices. So
``explain`` and ``from_model`` of one network, the trials of a study and the points of a search
ask for the same placement; it is found once.
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
    names : tuple of str
        Of the blocks, or of the groups that share a core.
    flows : tuple of Flow
        Between two of them.
    fixed : tuple of (block, core)
        Blocks that stay where they are put.
    fabric : FabricSpec
    chips : int
    placement : str
        As ``mapping.placement``.
    spec : ChipSpec
        The machine that the rest of the attributes was taken from. Not compared: machines that
        differ in their devices have the same task.
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
        """Return the task of placing blocks on a machine."""
        return cls(
            tuple(names), tuple(flows), tuple(sorted(fixed.items())), spec.fabric, spec.chips,
            spec.mapping.placement, spec,
        )  # fmt: skip


@lru_cache(maxsize=KEPT)
def solve(task: Task) -> tuple[tuple[int, ...], Paths]:
    """Return a core for every block, and ways over relays by (producer's, consumer's core).

    Raises
    ------
    MappingError
        If the task asks for direct links and there is no such placement. A failure is not kept:
        another try may have more time.
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
    """Say which flows have no link of their own in a placement."""
    distance = distances(task.spec)
    pairs = dict.fromkeys((flow.producer, flow.consumer) for flow in task.flows)
    far = [(a, b) for a, b in pairs if distance[cores[a], cores[b]] > 1]
    some = ", ".join(f"{task.names[a]} -> {task.names[b]}" for a, b in far[:3])
    return (
        f"The placement by search leaves {len(far)} of {len(pairs)} without a link: {some}"
        f"{', ...' * (len(far) > 3)}"
    )
