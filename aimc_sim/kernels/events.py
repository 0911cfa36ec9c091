"""Event-driven execution of a schedule: integer times, a binary heap, counters, no objects.

Four kinds of events move the clock. Numbers of events, by which equal times are ordered:

- ``s``: the MVM of stage s is over (the inputs that it read are free)
- ``S + s``: the stream of stage s is over (its latch is empty)
- ``2 S + p``: the head of a stream enters hop p of an edge's route (it may have to queue there)
- ``2 S + P + e``: edge e has the element that its consumer waits for

At one time all events are taken first, in the order of their numbers, then every stage that they
may concern tries to begin something, the most downstream (highest number) first; this is repeated
as long as something begins and ends at the same time. The rules are derived in
:mod:`aimc_sim.chip.pipeline`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aimc_sim.kernels import point, serial
from aimc_sim.kernels.heap import pop, push

IDLE, RUNNING, HELD = 0, 1, 2
EMPTY, LOADED, STREAMING = 0, 1, 2
FINISHED, STUCK = 0, 1


# numba's cache on disk finds a function by its file, name and line, and names the classes of its
# arguments. A class that is renamed needs ``run`` on another line (these comments moved it): the
# index of an older release would be unpickled before it is compared, and has the former name.
class ScheduleArrays(NamedTuple):
    """A schedule as arrays (int64; times in ticks of any length, here ps).

    ``S`` stages, ``E`` edges, ``P`` hops of all edges together, ``L`` links, ``C`` cores. Edge
    tables are parts of ``tables``: that of edge e begins at ``need_at[e]`` or ``free_at[e]``.
    """

    firings: np.ndarray  # (S,) per image
    mvm: np.ndarray  # (S,) time of one MVM
    stream: np.ndarray  # (S,) time of one stream of results
    latency: np.ndarray  # (S,) begin of a stream to its head at the first hop
    lanes: np.ndarray  # (S,) copies of the stage that take turns, firing by firing
    lane_at: np.ndarray  # (S + 1,) lanes of a stage among all lanes
    core: np.ndarray  # (S,) stages with the same number take turns
    units: np.ndarray  # (C,) MVM units and outputs of a core: the lanes of its stages
    mates_at: np.ndarray  # (C + 1,) stages of a core: mates[mates_at[c] : mates_at[c + 1]]
    mates: np.ndarray  # (S,)
    producer: np.ndarray  # (E,)
    consumer: np.ndarray  # (E,)
    elements: np.ndarray  # (E,) per image: one per firing of the producer
    joins_mvm: np.ndarray  # (E,) 1: needed when the MVM begins; 0: when the stream does
    capacity: np.ndarray  # (E,) elements
    tail: np.ndarray  # (E,) head at the consumer to what the consumer waits for
    need_at: np.ndarray  # (E,)
    free_at: np.ndarray  # (E,)
    tables: np.ndarray  # per image: need and free by firing of the consumer
    in_at: np.ndarray  # (S + 1,) edges into a stage: ins[in_at[s] : in_at[s + 1]]
    ins: np.ndarray  # (E,)
    out_at: np.ndarray  # (S + 1,)
    outs: np.ndarray  # (E,)
    hop_at: np.ndarray  # (E + 1,) hops of an edge
    hop_edge: np.ndarray  # (P,)
    hop_link: np.ndarray  # (P,)
    hop_busy: np.ndarray  # (P,) time on the link per element of the edge
    hop_latency: np.ndarray  # (P,) head on the link to head at its end


class Record(NamedTuple):
    """Counters and trace of a run, int64, zero before it."""

    fired: np.ndarray  # (S,) MVMs begun
    streamed: np.ndarray  # (S,) streams begun
    done: np.ndarray  # (S, images) end of the last stream of every image
    claimed: np.ndarray  # (E,) elements that were given a slot
    arrived: np.ndarray  # (E,)
    freed: np.ndarray  # (E,)
    peak_claimed: np.ndarray  # (E,) most slots taken at once
    peak_live: np.ndarray  # (E,) most elements present at once
    starved: np.ndarray  # (E,) time that a consumer waited for elements
    blocked: np.ndarray  # (E,) time that a producer waited for a slot
    turns: np.ndarray  # (S,) time that a stage waited for its core
    waits: np.ndarray  # (2, S) why MVM and stream wait now: 0, 1 + e, 1 + E + e, 1 + 2 E
    link_busy: np.ndarray  # (L,)
    link_queued: np.ndarray  # (L,) time that heads waited
    trace: np.ndarray  # (T, 5): stage, 0 MVM or 1 stream, firing, begin, end; or edge, 2, element,
    # arrival twice; in the order in which they happened
    totals: np.ndarray  # (3,) events, last time, rows of the trace


@point
def _total(tables, start, firings, elements, firing):
    """Return a table's entry for a firing counted over all images."""
    image = firing // firings
    return image * elements + tables[start + firing - image * firings]


@point
def _missing(p, r, stage, firing, joins_mvm):
    """Return an edge whose elements a firing still needs, or -1."""
    for k in range(p.in_at[stage], p.in_at[stage + 1]):
        e = p.ins[k]
        if p.joins_mvm[e] == joins_mvm:
            need = _total(p.tables, p.need_at[e], p.firings[stage], p.elements[e], firing)
            if r.arrived[e] < need:
                return e
    return -1


@point
def _full(p, r, stage, firing):
    """Return an edge that has no slot for the element that a firing writes, or -1."""
    for k in range(p.out_at[stage], p.out_at[stage + 1]):
        e = p.outs[k]
        if firing >= r.freed[e] + p.capacity[e]:
            return e
    return -1


@point
def _claim(p, r, stage, firing):
    for k in range(p.out_at[stage], p.out_at[stage + 1]):
        e = p.outs[k]
        r.claimed[e] = firing + 1
        r.peak_claimed[e] = max(r.peak_claimed[e], r.claimed[e] - r.freed[e])


@point
def _release(p, r, stage, firing, joins_mvm, dirty):
    """Free the elements that a firing was the last to read; its producers may have a slot now."""
    for k in range(p.in_at[stage], p.in_at[stage + 1]):
        e = p.ins[k]
        if p.joins_mvm[e] == joins_mvm:
            r.freed[e] = _total(p.tables, p.free_at[e], p.firings[stage], p.elements[e], firing)
            dirty[p.producer[e]] = True


@point
def _wait(waits, since, turns, blocked, starved, unit, stage, cause, now):
    """Book the time since the last event on the cause that was found then; store the new cause."""
    old, edges = waits[unit, stage], len(starved)
    time = now - since[unit, stage]
    if old > 2 * edges:
        turns[stage] += time
    elif old > edges:
        blocked[old - 1 - edges] += time
    elif old > 0:
        starved[old - 1] += time
    waits[unit, stage] = cause
    since[unit, stage] = now


@point
def _note(trace, totals, stage, unit, firing, begin, end):
    row = totals[2]
    if row < len(trace):
        trace[row, 0], trace[row, 1], trace[row, 2] = stage, unit, firing
        trace[row, 3], trace[row, 4] = begin, end
        totals[2] = row + 1


@point
def _lane(lane_at, lanes, stage, firing):
    return lane_at[stage] + firing % lanes[stage]


@serial
def run(p, r, images, claim_early):
    """Run a schedule until all images are through or nothing can move.

    Parameters
    ----------
    p : ScheduleArrays
        Schedule to be run.
    r : Record
        Counters and trace, zero before; filled in.
    images : int
        Number of images that are sent through back to back.
    claim_early : bool
        Slots are claimed when an MVM begins (else when its stream begins).

    Returns
    -------
    int
        :data:`FINISHED` or :data:`STUCK`.
    """
    stages, edges, hops = len(p.firings), len(p.producer), len(p.hop_link)
    lanes, cores = p.lane_at[stages], len(p.units)
    mvm_state, latch = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    mvm_taken, ldpu_taken = np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    ended, finished = np.zeros(stages, np.int64), np.zeros(stages, np.int64)
    link_free, since = np.zeros(len(r.link_busy), np.int64), np.zeros((2, stages), np.int64)
    dirty = np.ones(stages, np.bool_)
    margin = 2 * lanes + 1  # most events that one round of beginnings adds
    for e in range(edges):
        margin += p.lanes[p.producer[e]]
    times, codes = np.empty(4 * margin, np.int64), np.empty(4 * margin, np.int64)
    size, now = 0, 0
    while True:
        # ---- beginnings, downstream first
        if size + margin > len(times):
            times = np.concatenate((times, np.empty_like(times)))
            codes = np.concatenate((codes, np.empty_like(codes)))
        for s in range(stages - 1, -1, -1):
            if not dirty[s]:
                continue
            dirty[s] = False
            core = p.core[s]
            while latch[_lane(p.lane_at, p.lanes, s, r.streamed[s])] == LOADED:
                firing, cause = r.streamed[s], 0
                e = _missing(p, r, s, firing, 0)
                if e >= 0:
                    cause = 1 + e
                elif not claim_early:
                    e = _full(p, r, s, firing)
                    if e >= 0:
                        cause = 1 + edges + e
                if cause == 0 and ldpu_taken[core] == p.units[core]:
                    cause = 1 + 2 * edges
                _wait(r.waits, since, r.turns, r.blocked, r.starved, 1, s, cause, now)
                if cause:
                    break
                latch[_lane(p.lane_at, p.lanes, s, firing)] = STREAMING
                ldpu_taken[core] += 1
                r.streamed[s] += 1
                if not claim_early:
                    _claim(p, r, s, firing)
                size = push(times, codes, size, now + p.stream[s], stages + s)
                _note(r.trace, r.totals, s, 1, firing, now, now + p.stream[s])
                for k in range(p.out_at[s], p.out_at[s + 1]):
                    e = p.outs[k]
                    if p.hop_at[e] < p.hop_at[e + 1]:
                        time, code = now + p.latency[s], 2 * stages + p.hop_at[e]
                    else:
                        time, code = now + p.latency[s] + p.tail[e], 2 * stages + hops + e
                    size = push(times, codes, size, time, code)
            # One result waits in a latch at most: with a second one in the counters a core that
            # is shared could wait for itself.
            while r.fired[s] < images * p.firings[s]:
                firing, cause = r.fired[s], 0
                lane = _lane(p.lane_at, p.lanes, s, firing)
                if mvm_state[lane] != IDLE or latch[lane] == LOADED:
                    break
                e = _missing(p, r, s, firing, 1)
                if e >= 0:
                    cause = 1 + e
                elif claim_early:
                    e = _full(p, r, s, firing)
                    if e >= 0:
                        cause = 1 + edges + e
                if cause == 0 and mvm_taken[core] == p.units[core]:
                    cause = 1 + 2 * edges
                _wait(r.waits, since, r.turns, r.blocked, r.starved, 0, s, cause, now)
                if cause:
                    break
                mvm_state[lane] = RUNNING
                mvm_taken[core] += 1
                r.fired[s] += 1
                if claim_early:
                    _claim(p, r, s, firing)
                size = push(times, codes, size, now + p.mvm[s], s)
                _note(r.trace, r.totals, s, 0, firing, now, now + p.mvm[s])
        # ---- the next time, and all its events
        if size == 0:
            break
        now = times[0]
        while size > 0 and times[0] == now:
            code = codes[0]
            size = pop(times, codes, size)
            r.totals[0] += 1
            if code < 2 * stages:
                s = code if code < stages else code - stages
                core = p.core[s]
                # The lanes of a stage take equally long, so they end in the order of firings.
                if code < stages:
                    firing = ended[s]
                    ended[s] += 1
                    _release(p, r, s, firing, 1, dirty)
                    mvm_state[_lane(p.lane_at, p.lanes, s, firing)] = HELD
                else:
                    firing = finished[s]
                    finished[s] += 1
                    _release(p, r, s, firing, 0, dirty)
                    latch[_lane(p.lane_at, p.lanes, s, firing)] = EMPTY
                    ldpu_taken[core] -= 1
                    r.done[s, firing // p.firings[s]] = now
                lane = _lane(p.lane_at, p.lanes, s, firing)
                if mvm_state[lane] == HELD and latch[lane] == EMPTY:
                    latch[lane], mvm_state[lane] = LOADED, IDLE
                    mvm_taken[core] -= 1
                for k in range(p.mates_at[core], p.mates_at[core + 1]):
                    dirty[p.mates[k]] = True
            elif code < 2 * stages + hops:
                hop = code - 2 * stages
                e, link = p.hop_edge[hop], p.hop_link[hop]
                begin = max(now, link_free[link])
                link_free[link] = begin + p.hop_busy[hop]
                r.link_busy[link] += p.hop_busy[hop]
                r.link_queued[link] += begin - now
                head = begin + p.hop_latency[hop]
                if hop + 1 < p.hop_at[e + 1]:
                    size = push(times, codes, size, head, code + 1)
                else:
                    size = push(times, codes, size, head + p.tail[e], 2 * stages + hops + e)
            else:
                e = code - 2 * stages - hops
                _note(r.trace, r.totals, e, 2, r.arrived[e], now, now)
                r.arrived[e] += 1
                r.peak_live[e] = max(r.peak_live[e], r.arrived[e] - r.freed[e])
                dirty[p.consumer[e]] = True
    r.totals[1] = now
    for s in range(stages):
        if finished[s] < images * p.firings[s]:
            return STUCK
    return FINISHED
