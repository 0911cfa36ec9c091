"""Measured traces for simulated elements: the choice of a trace, and its value at a time."""

from __future__ import annotations

import numpy as np

from . import loop, point, share
from .philox import philox10


@point
def nearest(value, levels):
    """Return the index of the entry of an ascending vector that is nearest to a value."""
    low, left = 0, levels.size
    while left > 1:  # no branch inside: the comparison is a coin toss for the processor
        half = left >> 1
        low += half * (levels[low + half - 1] < value)
        left -= half
    # Now low is the first entry that is not below the value, or the last one if all are.
    if low > 0 and value - levels[low - 1] <= levels[low] - value:
        return low - 1
    return low


@point
def _uniform(word, count):
    """Return a number that is uniform on 0..count-1 to within count / 2^32, of a random word."""
    return np.int64((np.uint64(word) * np.uint64(count)) >> np.uint64(32))


@loop
def draw(target, programmed, levels, starts, width, core_cols, core_cells, key, trace, part, parts):
    """Choose a trace for every element.

    Where ``width`` is 0: among the traces ``starts[l]`` to ``starts[l + 1]`` of a level l, all with
    the same chance. Of the two levels beside a target the upper one is taken with the chance
    (target - lower) / (upper - lower), so that every average over traces is interpolated linearly
    between levels; outside the levels the nearest one serves. Where every trace is a level of its
    own (``width`` > 0): among ``width`` traces around the target.

    Parameters
    ----------
    target : (E, R, C) float32, siemens
        Conductance that every element is written to.
    programmed : (E, R, C) bool
        False gives trace -1.
    levels : (L,) float64, siemens
        Targets of the measured traces, ascending.
    starts : (L + 1,) int64
        First trace of every level, and the number of traces.
    width : int
        0 or the number of neighbours, at most L.
    core_cols, core_cells, key : int, int, (2,) uint32
        As of :func:`aimc_sim.kernels.pcm.program`.
    trace : (E, R, C) int32, written
        Number of the trace that an element follows.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    elements, rows, cols = target.shape
    zero = np.uint32(0)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            if not programmed[e, r, c]:
                trace[e, r, c] = -1
                continue
            aim = np.float64(target[e, r, c])
            address = np.uint32(e * core_cells + r * core_cols + c)
            word, other, _, _ = philox10(address, zero, zero, zero, key[0], key[1])
            level = nearest(aim, levels)
            if width > 0:
                first = min(max(level - width // 2, 0), levels.size - width)
                count = width
            else:
                low = level - (levels[level] > aim)
                if low >= 0 and low + 1 < levels.size:
                    upper = (aim - levels[low]) / (levels[low + 1] - levels[low])
                    level = low + (np.float64(other) < upper * 4294967296.0)
                first = starts[level]
                count = starts[level + 1] - first
            trace[e, r, c] = first + _uniform(word, count)


@loop
def conductance(target, trace, course, offset, lowest, shrunk, now, part, parts):
    """Take the elements from their traces: ``now = max(0, course[i] target + f offset[i])``.

    Parameters
    ----------
    target : (E, R, C) float32, siemens
        Conductance that an element was written to; taken as it is where ``trace`` is -1.
    trace : (E, R, C) int32
        Number of the trace that an element follows.
    course : (N,) float64
        Share of its beginning that every trace keeps at this time.
    offset : (N,) float64, siemens
        Programming error and noise of every trace at this time.
    lowest, shrunk : float
        Below ``lowest`` siemens f falls linearly, from 1 there to ``shrunk`` at zero; else it is 1.
    now : (E, R, C) float32, siemens, written
        Conductance at this time.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    elements, rows, cols = target.shape
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            i = trace[e, r, c]
            aim = np.float64(target[e, r, c])
            if i < 0:
                now[e, r, c] = aim
                continue
            factor = 1.0
            if aim < lowest:
                factor = shrunk + (1.0 - shrunk) * aim / lowest
            now[e, r, c] = max(0.0, course[i] * aim + factor * offset[i])


@loop
def at_time(offsets, times, conductances, t, value, part, parts):
    """Interpolate every trace at a time, linearly in the logarithm of time.

    Before the first and after the last read the trace is held constant. After a read at time zero,
    which has no logarithm, time itself is interpolated.

    Parameters
    ----------
    offsets : (N + 1,) int64
        First read of every trace, and the number of reads.
    times : (R,) float64, seconds
        Times of the reads.
    conductances : (R,) float64, siemens
        Conductances of the reads.
    t : float, seconds
        Evaluation time.
    value : (N,) float64, siemens, written
        Conductance of every trace at this time.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    for i in share(value.size, part, parts):
        low, high = offsets[i], offsets[i + 1] - 1
        if t <= times[low]:
            value[i] = conductances[low]
            continue
        if t >= times[high]:
            value[i] = conductances[high]
            continue
        while high - low > 1:  # times[low] < t < times[high]
            middle = (low + high) // 2
            if times[middle] <= t:
                low = middle
            else:
                high = middle
        if times[low] > 0.0:
            between = np.log(t / times[low]) / np.log(times[high] / times[low])
        else:
            between = t / times[high]
        value[i] = conductances[low] + between * (conductances[high] - conductances[low])
