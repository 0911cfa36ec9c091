"""A binary heap on two arrays: entries leave by time, those of one time by code."""

from __future__ import annotations

from . import point


@point
def push(times, codes, size, time, code):
    """Put an entry into a heap of so many; return how many there are now."""
    times[size], codes[size] = time, code
    at = size
    while at > 0 and _before(times, codes, at, (at - 1) // 2):
        _swap(times, codes, at, (at - 1) // 2)
        at = (at - 1) // 2
    return size + 1


@point
def pop(times, codes, size):
    """Take the root away, its place is filled by the last entry; return how many are left."""
    size -= 1
    times[0], codes[0] = times[size], codes[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            return size
        if child + 1 < size and _before(times, codes, child + 1, child):
            child += 1
        if not _before(times, codes, child, at):
            return size
        _swap(times, codes, child, at)
        at = child


@point
def _before(times, codes, a, b):
    return times[a] < times[b] or (times[a] == times[b] and codes[a] < codes[b])


@point
def _swap(times, codes, a, b):
    times[a], times[b] = times[b], times[a]
    codes[a], codes[b] = codes[b], codes[a]
