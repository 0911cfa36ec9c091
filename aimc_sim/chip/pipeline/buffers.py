"""How many elements every line buffer must hold for full speed.

Fed at exactly the rate that the busiest stage can take, a pipeline without limits on buffers
never lets a producer run ahead for no reason; the slots then taken at most are enough. (Stages
and buffers form a system in which nothing becomes faster by waiting, so with these capacities the
images are never later than in the fed run, whatever the source does; only where streams queue at
links or blocks share a core may the order of service differ.) For a 3 x 3 convolution
this gives the peak of live pixels, 2 W + 3, plus one for the pixel that is being written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aimc_sim.chip.pipeline.closed_form import paced
from aimc_sim.chip.pipeline.plan import Schedule
from aimc_sim.chip.pipeline.simulation import simulate


def enough(schedule: Schedule, images: int = 2) -> tuple[int, ...]:
    """Return a capacity for every edge with which no producer waits in steady state.

    Parameters
    ----------
    schedule : Schedule
        With one source.
    images : int
        Fed back to back to find the peaks.

    Returns
    -------
    tuple of int
        Elements, by edge: the most slots taken at once by a run fed at the estimated interval.
    """
    stages = tuple(
        replace(stage, mvm_ps=max(paced(schedule), stage.step_ps))
        if stage.kind == "source"
        else stage
        for stage in schedule.stages
    )
    edges = tuple(replace(edge, capacity=None) for edge in schedule.edges)
    run = simulate(replace(schedule, stages=stages, edges=edges), images)
    return tuple(
        max(int(peak), edge.smallest)
        for peak, edge in zip(run.record.peak_claimed, edges, strict=True)
    )


def with_buffers(
    schedule: Schedule, capacities: Mapping[int, int | None] | tuple[int | None, ...]
) -> Schedule:
    """Return the schedule with other buffers.

    Parameters
    ----------
    schedule : Schedule
        The schedule whose buffers are replaced.
    capacities : mapping or tuple
        Elements by number of the edge, None for no limit; edges that a mapping leaves out stay.
    """
    given = dict(capacities) if isinstance(capacities, Mapping) else dict(enumerate(capacities))
    unknown = sorted(set(given) - set(range(len(schedule.edges))))
    if unknown:
        raise ValueError(f"no edges {unknown}: the schedule has {len(schedule.edges)}")
    return replace(
        schedule,
        edges=tuple(
            replace(edge, capacity=given.get(number, edge.capacity))
            for number, edge in enumerate(schedule.edges)
        ),
    )
