"""Latency and interval without events: one pass over the stages with numpy.

With unbounded buffers, and a core and links to itself, a stage obeys (rules 1 to 3 of the
package's description)

    fire[i] = max(ready[i], stream[i - 1])
    stream[i] = max(fire[i] + mvm, stream[i - 1] + stream_ps, joined[i])

where ready and joined are the arrivals of what the MVM and the stream wait for. Put together,
``stream[i] = max(r[i], stream[i - 1] + step)`` with ``r = max(ready + mvm, joined)`` and ``step =
max(mvm, stream_ps)``, which a running maximum solves: ``stream[i] = i step + max over j <= i of
(r[j] - j step)``. A second pass waits for slots, which are free as in the first one.

Elements that come back (feedback) are those of the pass before; passes are repeated until no time
changes, after one per time step at most. A loop takes its own time for every step, and an image
begins when the last step of the one before has come back.

Stages that share a core are first followed as if each had its own. Where a core would then have
more work than time, the whole pipeline slows down to its pace: the time of the first image is
stretched, piece by piece, by the load of the busiest core of that piece. For many images the
busiest stage, core or link sets the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import networkx as nx
import numpy as np

from aimc_sim.chip.pipeline.plan import Schedule


@dataclass(frozen=True, eq=False)
class PipelineEstimate:
    """Times in the schedule's unit, from :func:`estimate`.

    Attributes
    ----------
    first_image_ps : int
        From the first input to the last output of one image, no other being under way.
    interval_ps : int
        Between images: the longest busy time per image of a stage, core or link.
    busiest : str
        Name of the stage, core or link that sets the interval.
    stream_ps : tuple of (firings,) int64
        Begin of every stream of the first image, by stage.
    """

    first_image_ps: int
    interval_ps: int
    busiest: str
    stream_ps: tuple[np.ndarray, ...]

    def total_ps(self, images: int) -> int:
        """Return the time for some images back to back."""
        return self.first_image_ps + (images - 1) * self.interval_ps


def estimate(schedule: Schedule) -> PipelineEstimate:
    """Estimate a schedule's latency and interval.

    Parameters
    ----------
    schedule : Schedule
        Its buffers are taken to be large enough for full speed, see
        :func:`aimc_sim.chip.pipeline.enough`; their delay of the first image is found by one
        more pass. Queueing behind other producers' streams at links is left out of the latency,
        not of the interval.

    Returns
    -------
    PipelineEstimate
    """
    streams, read = _settled(schedule, None)
    if any(edge.capacity is not None for edge in schedule.edges):
        streams, read = _settled(schedule, read)
    streams = _stretched(schedule, streams)
    has_sink = any(stage.kind == "sink" for stage in schedule.stages)
    ends = [
        int(begin[-1]) + stage.stream_ps
        for begin, stage in zip(streams, schedule.stages, strict=True)
        if stage.kind == "sink" or not has_sink
    ]
    interval, busiest = _interval_of(schedule)
    if schedule.sequential:
        interval, busiest = max(ends), "images one after another"
    return PipelineEstimate(max(ends), interval, busiest, tuple(streams))


_Times = list[tuple[np.ndarray, np.ndarray]]
"""When each firing of a stage has read its MVM's inputs, and its stream's; (firings,) int64."""


def _settled(schedule: Schedule, read: _Times | None) -> tuple[list[np.ndarray], _Times]:
    """Return :func:`_one_pass` once elements that come back change nothing any more."""
    streams, times = _one_pass(schedule, read)
    while any(edge.kind == "feedback" for edge in schedule.edges):
        before = streams
        streams, times = _one_pass(schedule, read, before)
        if all(map(np.array_equal, streams, before)):
            break
    return streams, times


def _one_pass(
    schedule: Schedule, read: _Times | None, before: list[np.ndarray] | None = None
) -> tuple[list[np.ndarray], _Times]:
    """Return the begins of all streams; slots become free as in the pass before.

    ``before`` are the begins of the streams whose elements come back; None: they cost no time.
    """
    streams: list[np.ndarray] = []
    times: _Times = []
    for number, stage in enumerate(schedule.stages):
        mvm, joined = (np.zeros(stage.firings, np.int64) for _ in range(2))
        for e in _into(schedule, number):
            edge = schedule.edges[e]
            if edge.kind == "feedback" and before is None:
                continue
            made = streams if edge.kind != "feedback" or before is None else before
            needed = _arrivals(schedule, e, made[edge.producer])
            # Firings that need nothing wait for nothing.
            time = np.where(edge.need > 0, needed[np.maximum(edge.need - 1, 0)], 0)
            if edge.joins == "mvm":
                mvm = np.maximum(mvm, time)
            else:
                joined = np.maximum(joined, time)
        if read is not None:
            slots = _slots(schedule, number, read)
            mvm, joined = (
                (np.maximum(mvm, slots), joined)
                if schedule.claim == "mvm"
                else (mvm, np.maximum(joined, slots))
            )
        ready = np.maximum(mvm + stage.mvm_ps, joined)
        streams.append(_in_turn(ready, stage.step_ps, stage.lanes))
        earlier = np.concatenate([np.zeros(stage.lanes, np.int64), streams[-1]])[: stage.firings]
        times.append((np.maximum(mvm, earlier) + stage.mvm_ps, streams[-1] + stage.stream_ps))
    return streams, times


def _slots(schedule: Schedule, number: int, read: _Times) -> np.ndarray:
    """Return when every firing of a stage finds a slot at all its consumers, (firings,) int64."""
    found = np.zeros(schedule.stages[number].firings, np.int64)
    for _, consumer, key in schedule.graph.out_edges(number, keys=True):
        edge = schedule.edges[key]
        if edge.kind == "feedback":
            continue  # a slot is free before its element is made
        if edge.capacity is not None and edge.capacity < edge.elements:
            freed = read[consumer][edge.joins == "ldpu"]
            wanted = np.arange(1, edge.elements - edge.capacity + 1)
            late = freed[np.searchsorted(edge.free, wanted)]
            found[edge.capacity :] = np.maximum(found[edge.capacity :], late)
    return found


def _interval_of(schedule: Schedule) -> tuple[int, str]:
    """Return the longest busy time per image, and of which stage, core or link."""
    busy: dict[str, int] = {}
    on_core: dict[int, tuple[int, int]] = {}
    for stage in schedule.stages:
        busy[stage.name] = stage.busy_ps
        if stage.core is not None and stage.lanes == 1:
            mvm, stream = on_core.get(stage.core, (0, 0))
            on_core[stage.core] = (
                mvm + stage.firings * stage.mvm_ps, stream + stage.firings * stage.stream_ps
            )  # fmt: skip
    for core, times in on_core.items():
        busy[f"core {core}"] = max(times)
    busy.update(_loops(schedule))
    on_link = np.zeros(len(schedule.links), np.int64)
    for number, edge in enumerate(schedule.edges):
        for link, time in zip(edge.route, schedule.hop_busy_ps(number), strict=True):
            on_link[link] += time * edge.elements
    busy.update((f"link {x.name}", int(t)) for x, t in zip(schedule.links, on_link, strict=True))
    busiest = max(busy, key=lambda name: busy[name])
    return busy[busiest], busiest


def _loops(schedule: Schedule) -> dict[str, int]:
    """Return the time per image of every loop: its firings, each as long as one way around."""
    found: dict[str, int] = {}
    for number, edge in enumerate(schedule.edges):
        if edge.kind == "feedback":
            loop = nx.ancestors(schedule.graph, edge.producer) | {edge.producer}
            loop &= nx.descendants(schedule.graph, edge.consumer) | {edge.consumer}
            name = f"loop of {schedule.stages[edge.producer].name}"
            once = _around(schedule, loop, number)
            found[name] = max(found.get(name, 0), once * schedule.stages[edge.consumer].firings)
    return found


def _around(schedule: Schedule, loop: set[int], back: int) -> int:
    """Return the time from the begin of the MVMs of a loop to the arrival of what comes back."""
    streams: dict[int, int] = {}

    def arrival(number: int) -> int:
        edge = schedule.edges[number]
        ways = sum(schedule.links[link].latency_ps for link in edge.route)
        latency = schedule.stages[edge.producer].latency_ps
        return streams[edge.producer] + latency + ways + schedule.tail_ps(number)

    for number in sorted(loop):
        inner = [
            e for e in _into(schedule, number)
            if schedule.edges[e].kind != "feedback" and schedule.edges[e].producer in loop
        ]  # fmt: skip
        mvm, joined = (
            max((arrival(e) for e in inner if schedule.edges[e].joins == joins), default=0)
            for joins in ("mvm", "ldpu")
        )
        streams[number] = max(mvm + schedule.stages[number].mvm_ps, joined)
    return arrival(back)


_PIECES = 100
"""Pieces of the first image's time whose loads are taken to be even."""


def _stretched(schedule: Schedule, streams: list[np.ndarray]) -> list[np.ndarray]:
    """Return the begins of all streams when cores that are shared set the pace."""
    loads: dict[tuple[int, str], np.ndarray] = {}
    cores = [stage.core for stage in schedule.stages]
    ends = [begin[-1] + s.stream_ps for begin, s in zip(streams, schedule.stages, strict=True)]
    edges = np.linspace(0.0, float(max(ends)), _PIECES + 1)
    for stage, begin in zip(schedule.stages, streams, strict=True):
        if stage.core is None or cores.count(stage.core) < 2:
            continue
        for unit, first, length in (
            ("mvm", begin - stage.mvm_ps, stage.mvm_ps), ("stream", begin, stage.stream_ps),
        ):  # fmt: skip
            busy = np.diff(_busy_until(np.sort(first), length, edges))
            key = stage.core, unit
            loads[key] = loads.get(key, 0.0) + busy / (edges[1] - edges[0])
    if not loads:
        return streams
    pace = np.maximum(1.0, np.max(list(loads.values()), axis=0))
    times = np.concatenate([[0.0], np.cumsum(pace * np.diff(edges))])
    return [np.interp(begin, edges, times).astype(np.int64) for begin in streams]


def _busy_until(begins: np.ndarray, length: int, times: np.ndarray) -> np.ndarray:
    """Return the time spent until each of `times` on work of one length, begins in order."""
    begun = np.searchsorted(begins, times)
    done = np.searchsorted(begins + length, times)
    sums = np.concatenate([[0.0], np.cumsum(begins, dtype=np.float64)])
    spent: np.ndarray = done * length + (begun - done) * times - (sums[begun] - sums[done])
    return spent


def _in_turn(ready: np.ndarray, step: int, lanes: int) -> np.ndarray:
    """Return the earliest begins when every lane takes `step` per firing, (firings,) int64."""
    rows = -(-len(ready) // lanes)
    padded = np.full(rows * lanes, ready[-1])
    padded[: len(ready)] = np.maximum.accumulate(ready)
    steps = step * np.arange(rows, dtype=np.int64)[:, None]
    begins = steps + np.maximum.accumulate(padded.reshape(rows, lanes) - steps, axis=0)
    return begins.ravel()[: len(ready)]


def _into(schedule: Schedule, stage: int) -> list[int]:
    return [key for _, _, key in schedule.graph.in_edges(stage, keys=True)]


def _arrivals(schedule: Schedule, number: int, streams: np.ndarray) -> np.ndarray:
    """Return when each element of the first image is there, (elements,) int64."""
    edge = schedule.edges[number]
    head = streams + schedule.stages[edge.producer].latency_ps
    for link, busy in zip(edge.route, schedule.hop_busy_ps(number), strict=True):
        # A link that is slower than its producer makes later streams queue behind earlier ones;
        # what the producer sends to others over the same link counts as well.
        before, together = _same_link(schedule, number, link)
        sent = (busy + together) * np.arange(edge.elements, dtype=np.int64)
        head = sent + np.maximum.accumulate(head - sent) + before + schedule.links[link].latency_ps
    return head + schedule.tail_ps(number)


def _same_link(schedule: Schedule, number: int, link: int) -> tuple[int, int]:
    """Return the time per element on a link of its producer's other edges: earlier ones, all."""
    before = together = 0
    for _, _, other in schedule.graph.out_edges(schedule.edges[number].producer, keys=True):
        if other != number and link in schedule.edges[other].route:
            place = schedule.edges[other].route.index(link)
            time = schedule.hop_busy_ps(other)[place]
            before, together = before + time * (other < number), together + time
    return before, together


def paced(schedule: Schedule) -> int:
    """Return the time between two firings of the source that gives the estimated interval."""
    source = next(stage for stage in schedule.stages if stage.kind == "source")
    return ceil(_interval_of(schedule)[0] / ceil(source.firings / source.lanes))
