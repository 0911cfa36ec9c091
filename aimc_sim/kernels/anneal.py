"""Placement by simulated annealing: exchanges of two places, on bare arrays.

The length of a placement is the sum of weight x distance over all pairs of items that exchange
data. All lengths are whole numbers, so their changes add up without rounding.
"""

from __future__ import annotations

import numpy as np

from . import point, serial
from .philox import philox7

_TO_UNIT = 1.0 / 4294967296.0

FAR = 16
"""Of 256 exchanges of neighbours, so many are with any item: they leave no place out of reach."""


@point
def _change(a, b, place, starts, others, weights, distance):
    """Return by how much the length grows if items a and b exchange places.

    The data between a and b keeps its length, because distances are symmetric.
    """
    at_a, at_b = place[a], place[b]
    change = 0
    for i in range(starts[a], starts[a + 1]):
        if others[i] != b:
            there = place[others[i]]
            change += weights[i] * (distance[at_b, there] - distance[at_a, there])
    for i in range(starts[b], starts[b + 1]):
        if others[i] != a:
            there = place[others[i]]
            change += weights[i] * (distance[at_a, there] - distance[at_b, there])
    return change


@point
def _below(n, word):
    """Return a 32-bit word scaled to 0 .. n - 1, which takes less time than a remainder."""
    return np.int64((np.uint64(word) * np.uint64(n)) >> np.uint64(32))


@point
def _near_partner(a, first, second, place, holder, starts, others, near):
    """Return the item that holds a place next to that of one of the partners of item a."""
    partner = others[starts[a] + _below(starts[a + 1] - starts[a], first)]
    return holder[near[place[partner], _below(near.shape[1], second)]]


@serial
def anneal(
    place, items, count, starts, others, weights, distance, near, moves, hot, cold, key0, key1
):
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
        Where the partners of every item begin in ``others``, and their number.
    others, weights : (pairs x 2,) int64, int32
        Partners of item i are ``others[starts[i]:starts[i + 1]]``; each pair stands at both ends.
    distance : (n, n) int16, symmetric
        Links between two places.
    near : (n, reach) int64
        Places next to every place, without itself. An item tries to go next to one of its
        partners; with reach 0 it exchanges its place with any item.
    moves : int
        Exchanges that are tried.
    hot, cold : float
        Temperatures at the beginning and the end, in units of weight x distance.
    key0, key1 : uint32
        Random numbers belong to the number of the move.

    Returns
    -------
    (n,) int64
        The best placement met, the given one included.
    """
    place = place.copy()
    best = place.copy()
    holder = np.empty_like(place)
    for item in range(place.size):
        holder[place[item]] = item
    movable = np.zeros(place.size, np.bool_)
    for item in items:
        movable[item] = True
    total, lowest = 0, 0
    n = items.size
    ratio = np.exp(np.log(cold / hot) / max(1, moves))
    cooled = hot
    for move in range(moves):
        temperature = cooled
        cooled *= ratio
        first, second, third, fourth = philox7(
            np.uint32(move), np.uint32(0), np.uint32(0), np.uint32(0), key0, key1
        )
        chosen = np.int64(first) % count
        a = items[chosen]
        if near.shape[1] and starts[a] < starts[a + 1] and fourth & 255 >= FAR:
            b = _near_partner(a, fourth, second, place, holder, starts, others, near)
            if a == b or not movable[b]:
                continue
        else:
            other = np.int64(second) % (n - 1)
            other += other >= chosen
            b = items[other]
        change = _change(a, b, place, starts, others, weights, distance)
        if change > 0 and np.exp(-change / temperature) < third * _TO_UNIT:
            continue
        place[a], place[b] = place[b], place[a]
        holder[place[a]], holder[place[b]] = a, b
        total += change
        if total < lowest:
            lowest = total
            for i in range(place.size):
                best[i] = place[i]
    return best


@point
def _shift(item, before, after, lengths, starts, others, weights, distance):
    """Account for an item that moved: the lengths of its partners at every place."""
    for i in range(starts[item], starts[item + 1]):
        row = lengths[others[i]]
        for there in range(row.size):
            row[there] += weights[i] * (distance[after, there] - distance[before, there])


@point
def _weight_between(a, b, starts, others, weights):
    weight = 0
    for i in range(starts[a], starts[a + 1]):
        if others[i] == b:
            weight += weights[i]
    return weight


@serial
def polish(place, items, count, starts, others, weights, distance):
    """Exchange places pairwise, in place, until no exchange shortens the summed length.

    ``lengths[i, p]`` is the length of all that item i exchanges with its partners if i were at
    place p. With it an exchange is judged by four numbers, whatever the number of partners.

    Returns
    -------
    int
        Exchanges made.
    """
    n, made = place.size, 0
    lengths = np.zeros((n, n), np.int32)
    for item in range(n):
        for i in range(starts[item], starts[item + 1]):
            row = distance[place[others[i]]]
            for there in range(n):
                lengths[item, there] += weights[i] * row[there]
    improved = True
    while improved:
        improved = False
        for chosen in range(count):
            a = items[chosen]
            for other in range(chosen + 1, items.size):
                b = items[other]
                at_a, at_b = place[a], place[b]
                change = lengths[a, at_b] - lengths[a, at_a] + lengths[b, at_a] - lengths[b, at_b]
                if change >= 0:  # the correction below is never negative
                    continue
                # The table counts the data between a and b as if the other one kept its place.
                change += 2 * _weight_between(a, b, starts, others, weights) * distance[at_a, at_b]
                if change < 0:
                    improved = True
                    made += 1
                    place[a], place[b] = at_b, at_a
                    _shift(a, at_a, at_b, lengths, starts, others, weights, distance)
                    _shift(b, at_b, at_a, lengths, starts, others, weights, distance)
    return made
