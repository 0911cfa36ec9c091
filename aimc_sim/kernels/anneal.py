"""Placement by simulated annealing: exchanges of two places, on bare arrays."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .philox import philox7

_TO_UNIT = 1.0 / 4294967296.0


@point
def _length(item, place, starts, others, weights, distance):
    here, total = place[item], 0.0
    for i in range(starts[item], starts[item + 1]):
        total += weights[i] * distance[here, place[others[i]]]
    return total


@point
def _gain(a, b, place, starts, others, weights, distance):
    """Return the change of the summed length if items a and b exchange places (done here)."""
    before = _length(a, place, starts, others, weights, distance)
    before += _length(b, place, starts, others, weights, distance)
    place[a], place[b] = place[b], place[a]
    after = _length(a, place, starts, others, weights, distance)
    after += _length(b, place, starts, others, weights, distance)
    # Distances are symmetric, so what a and b send to each other counts alike on both sides.
    return after - before


@serial
def anneal(place, items, count, starts, others, weights, distance, moves, hot, cold, key0, key1):
    """Improve a placement by random exchanges under a falling temperature.

    Parameters
    ----------
    place : (n,) int64
        Place of every item, a permutation. Untouched.
    items : (m,) int64
        Items that may exchange places: first the movable ones, then those that stand for free
        places, to which nothing is sent.
    count : int
        Number of the former.
    starts : (n + 1,) int64
    others, weights : (flows x 2,) int64, float64
        Partners of item i are ``others[starts[i]:starts[i + 1]]``; each flow stands at both ends.
    distance : (n, n) float64, symmetric
    moves : int
    hot, cold : float
        Temperatures at the beginning and the end, in units of weight x distance.
    key0, key1 : uint32
        Random numbers belong to the number of the move.

    Returns
    -------
    (n,) int64
        The best placement seen.
    """
    place = place.copy()
    best = place.copy()
    total, lowest = 0.0, 0.0
    n = items.size
    ratio = np.exp(np.log(cold / hot) / max(1, moves))
    temperature = hot
    for move in range(moves):
        first, second, third, _ = philox7(
            np.uint32(move), np.uint32(0), np.uint32(0), np.uint32(0), key0, key1
        )
        chosen = np.int64(first) % count
        other = np.int64(second) % (n - 1)
        other += other >= chosen
        a, b = items[chosen], items[other]
        change = _gain(a, b, place, starts, others, weights, distance)
        if change > 0.0 and np.exp(-change / temperature) < third * _TO_UNIT:
            place[a], place[b] = place[b], place[a]
        else:
            total += change
            if total < lowest - 1e-9:
                lowest = total
                for i in range(place.size):
                    best[i] = place[i]
        temperature *= ratio
    return best


@serial
def polish(place, items, count, starts, others, weights, distance):
    """Exchange places pairwise, in place, until no exchange shortens the summed length."""
    improved = True
    while improved:
        improved = False
        for chosen in range(count):
            for other in range(chosen + 1, items.size):
                a, b = items[chosen], items[other]
                if _gain(a, b, place, starts, others, weights, distance) < -1e-9:
                    improved = True
                else:
                    place[a], place[b] = place[b], place[a]
