"""Measured traces for simulated elements: which one, and what it is worth at a moment."""

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


@loop
def draw(target, programmed, levels, starts, width, core_cols, core_cells, key, trace, part, parts):
    """Choose a trace for every element, all with the same chance.

    Among the traces ``starts[l]`` to ``starts[l + 1]`` of the nearest level l, or, where
    ``width`` > 0 and every trace is a level of its own, among ``width`` traces around it.

    Parameters
    ----------
    target : (E, R, C) float32, siemens.
    programmed : (E, R, C) bool; False gives trace -1.
    levels : (L,) float64, siemens, ascending; starts : (L + 1,) int64.
    width : int, 0 or the number of neighbours, at most L.
    core_cols, core_cells, key : as in :func:`aimc_sim.kernels.pcm.program`.
    trace : (E, R, C) int32, written.
    """
    elements, rows, cols = target.shape
    zero = np.uint32(0)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            if not programmed[e, r, c]:
                trace[e, r, c] = -1
                continue
            level = nearest(np.float64(target[e, r, c]), levels)
            if width > 0:
                first = min(max(level - width // 2, 0), levels.size - width)
                count = width
            else:
                first = starts[level]
                count = starts[level + 1] - first
            address = np.uint32(e * core_cells + r * core_cols + c)
            word, _, _, _ = philox10(address, zero, zero, zero, key[0], key[1])
            # The high word of the product is uniform on 0..count-1 to within count / 2^32.
            trace[e, r, c] = first + np.int64((np.uint64(word) * np.uint64(count)) >> np.uint64(32))


@loop
def conductance(target, trace, value, level, now, part, parts):
    """Look the elements up: ``now = max(0, value[trace] + target - level[trace])``.

    Parameters
    ----------
    target : (E, R, C) float32, siemens; stands for itself where ``trace`` is -1.
    trace : (E, R, C) int32.
    value, level : (N,) float64, siemens: every trace at this moment, and its level.
    now : (E, R, C) float32, siemens, written.
    """
    elements, rows, cols = target.shape
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            i = trace[e, r, c]
            aim = np.float64(target[e, r, c])
            now[e, r, c] = aim if i < 0 else max(0.0, value[i] + aim - level[i])


@loop
def at_time(offsets, times, conductances, t, value, part, parts):
    """Interpolate every trace at a time, linearly in the logarithm of time.

    Before the first and after the last read the trace stands still. After a read at time zero,
    which has no logarithm, time itself is interpolated.

    Parameters
    ----------
    offsets : (N + 1,) int64; times, conductances : (R,) float64, seconds and siemens.
    t : float, seconds.
    value : (N,) float64, siemens, written.
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
