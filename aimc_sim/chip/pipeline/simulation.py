"""Run a schedule event by event."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from aimc_sim.chip.pipeline.errors import check_buffers, explain
from aimc_sim.chip.pipeline.pipeline_report import PipelineReport
from aimc_sim.chip.pipeline.plan import UNBOUNDED, Schedule
from aimc_sim.kernels import events
from aimc_sim.kernels.events import Record, ScheduleArrays


def simulate(schedule: Schedule, images: int = 4, trace: int = 0) -> PipelineReport:
    """Send images through a schedule, back to back.

    Parameters
    ----------
    schedule : Schedule
        Stages, edges and links to run.
    images : int
        At least 1; from 2 on there is an interval between images.
    trace : int
        Beginnings of MVMs and streams, and arrivals, that are kept, for a Gantt chart.

    Returns
    -------
    PipelineReport

    Raises
    ------
    DeadlockError
        If buffers are too small; explains which stage waits for which.
    """
    if images < 1:
        raise ValueError(f"images = {images}: send at least one through")
    check_buffers(schedule)
    together = 1 if schedule.sequential else images
    record = _empty_record(schedule, together, trace)
    if events.run(_compile_schedule(schedule), record, together, schedule.claim == "mvm"):
        raise explain(schedule, record, images)
    if schedule.sequential:
        record = _repeated(record, images)
    return PipelineReport(schedule, images, record)


def _compile_schedule(schedule: Schedule) -> ScheduleArrays:
    """Return the arrays that the kernel runs; equal tables are stored once."""
    stages, edges = schedule.stages, schedule.edges
    names: dict[object, int] = {}
    cores = [
        names.setdefault(("own", i) if s.core is None else s.core, len(names))
        for i, s in enumerate(stages)
    ]
    units = np.zeros(len(names), np.int64)
    np.maximum.at(units, cores, [s.lanes for s in stages])
    tables = _Tables()
    offsets = [[tables.place(getattr(edge, key)) for edge in edges]
               for key in ("need", "free")]  # fmt: skip
    hops = [
        (number, link, busy, schedule.links[link].latency_ps)
        for number, edge in enumerate(edges)
        for link, busy in zip(edge.route, schedule.hop_busy_ps(number), strict=True)
    ]
    hop_edge, hop_link, hop_busy, hop_latency = (
        zip(*hops, strict=True) if hops else ((), (), (), ())
    )
    columns = {
        "firings": [s.firings for s in stages],
        "mvm": [s.mvm_ps for s in stages],
        "stream": [s.stream_ps for s in stages],
        "latency": [s.latency_ps for s in stages],
        "lanes": [s.lanes for s in stages],
        "lane_at": list(accumulate((s.lanes for s in stages), initial=0)),
        "core": cores,
        "units": units,
        **_groups("mates", cores, len(names)),
        "producer": [e.producer for e in edges],
        "consumer": [e.consumer for e in edges],
        "elements": [e.elements for e in edges],
        "joins_mvm": [e.joins == "mvm" for e in edges],
        "capacity": [UNBOUNDED if e.capacity is None else e.capacity for e in edges],
        "tail": [schedule.tail_ps(number) for number in range(len(edges))],
        **dict(zip(("need_at", "free_at"), offsets, strict=True)),
        "tables": tables.joined(),
        **_groups("ins", [e.consumer for e in edges], len(stages), "in_at"),
        **_groups("outs", [e.producer for e in edges], len(stages), "out_at"),
        "hop_at": list(accumulate((len(e.route) for e in edges), initial=0)),
        "hop_edge": hop_edge,
        "hop_link": hop_link,
        "hop_busy": hop_busy,
        "hop_latency": hop_latency,
    }
    return ScheduleArrays(**{key: np.asarray(column, np.int64) for key, column in columns.items()})


def _empty_record(schedule: Schedule, images: int, trace: int = 0) -> Record:
    """Return the counters of a run that has not begun."""
    count = {"S": len(schedule.stages), "E": len(schedule.edges), "L": len(schedule.links)}
    shapes = {
        "fired": "S", "streamed": "S", "claimed": "E", "arrived": "E", "freed": "E",
        "peak_claimed": "E", "peak_live": "E", "starved": "E", "blocked": "E", "turns": "S",
        "link_busy": "L", "link_queued": "L",
    }  # fmt: skip
    arrays = {key: np.zeros(count[axis], np.int64) for key, axis in shapes.items()}
    return Record(
        **arrays,
        done=np.zeros((count["S"], images), np.int64),
        waits=np.zeros((2, count["S"]), np.int64),
        trace=np.zeros((trace, 5), np.int64),
        totals=np.zeros(3, np.int64),
    )


def _repeated(record: Record, images: int) -> Record:
    """Return the counters of images that go through one after another, from those of one."""
    once = {"done", "peak_claimed", "peak_live", "waits", "trace", "totals"}
    sums = {key: value * images for key, value in record._asdict().items() if key not in once}
    starts = record.totals[1] * np.arange(images)
    totals = record.totals * [images, images, 1]
    return record._replace(**sums, done=record.done + starts, totals=totals)


def _groups(name: str, owners: list[int], count: int, start: str = "") -> dict[str, np.ndarray]:
    """Return members sorted by owner, and where each owner's begin."""
    owner = np.asarray(owners, np.int64)
    starts = np.searchsorted(np.sort(owner), np.arange(count + 1))
    return {name: np.argsort(owner, kind="stable"), start or f"{name}_at": starts}


class _Tables:
    """Tables one after another; many layers have the same ones."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._seen: dict[bytes, int] = {}
        self._size = 0

    def place(self, table: np.ndarray) -> int:
        key = table.tobytes()
        if key not in self._seen:
            self._seen[key] = self._size
            self._parts.append(table)
            self._size += len(table)
        return self._seen[key]

    def joined(self) -> np.ndarray:
        return np.concatenate([*self._parts, np.zeros(0, np.int64)])
