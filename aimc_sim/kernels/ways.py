"""The cheapest way between two cores, searched from both ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import point, serial
from .heap import pop, push


class Links(NamedTuple):
    """The links of one chip, listed from both ends, int64.

    Those that leave core c are ``out_core[out_at[c]:out_at[c + 1]]`` and ``out_link[...]``: where
    they lead, and their numbers; ``in_...`` holds those that arrive, and where they come from.
    """

    out_at: np.ndarray  # (cores + 1,)
    out_core: np.ndarray  # (links,)
    out_link: np.ndarray  # (links,)
    in_at: np.ndarray  # (cores + 1,)
    in_core: np.ndarray  # (links,)
    in_link: np.ndarray  # (links,)


@point
def _cost(load, total, cores):
    # All loads together weigh less than one link, so a way is never longer for their sake.
    return 1 + load / (total + 1) / cores


@point
def _path(meeting, before):
    """Return the cores from where forward to where backward search began."""
    length = np.zeros(2, np.int64)
    for side in range(2):
        core = before[side, meeting]
        while core >= 0:
            length[side] += 1
            core = before[side, core]
    path = np.empty(length[0] + 1 + length[1], np.int64)
    for side in range(2):
        core = meeting
        for i in range(length[side] + 1):
            path[length[0] + (i if side else -i)] = core
            core = before[side, core]
    return path


@serial
def cheapest(start, end, links, load, total):
    """Return the shortest way between two cores, the less loaded one where there are several.

    Dijkstra's algorithm from both ends in turn, which stops at the first core that both have
    done with. Of ways that cost the same, that of ``networkx.bidirectional_dijkstra`` is taken.

    Parameters
    ----------
    start, end : int
        Cores that a way connects.
    links : Links
        Links of the fabric.
    load : (links,) int64, bytes
        Load of every link so far.
    total : int, bytes
        Upper bound of the load of all links together.

    Returns
    -------
    (length + 1,) int64
        Cores passed, both ends included.
    """
    if start == end:
        return np.full(1, start)
    cores = links.out_at.size - 1
    done = np.zeros((2, cores), np.bool_)
    reached = np.full((2, cores), np.inf)
    before = np.full((2, cores), -1)
    # A core may wait in a heap once for each of its links. Entries of one cost leave in the order
    # in which they came, which is their number; `waiting` says which core has it.
    costs = np.empty((2, load.size + 1))
    numbers = np.empty((2, load.size + 1), np.int64)
    waiting = np.empty(2 * load.size + 2, np.int64)
    sizes = np.zeros(2, np.int64)
    made = 0
    for side in range(2):
        core = end if side else start
        reached[side, core] = 0.0
        waiting[made] = core
        sizes[side] = push(costs[side], numbers[side], 0, 0.0, made)
        made += 1
    lowest, meeting, side = np.inf, -1, 1
    while sizes[0] and sizes[1]:
        side = 1 - side
        core = waiting[numbers[side, 0]]
        sizes[side] = pop(costs[side], numbers[side], sizes[side])
        if done[side, core]:
            continue
        done[side, core] = True
        if done[1 - side, core]:
            break
        at = links.in_at if side else links.out_at
        others = links.in_core if side else links.out_core
        link = links.in_link if side else links.out_link
        for i in range(at[core], at[core + 1]):
            other = others[i]
            cost = reached[side, core] + _cost(load[link[i]], total, cores)
            if done[side, other] or cost >= reached[side, other]:
                continue
            reached[side, other] = cost
            before[side, other] = core
            waiting[made] = other
            sizes[side] = push(costs[side], numbers[side], sizes[side], cost, made)
            made += 1
            if cost + reached[1 - side, other] < lowest:
                lowest, meeting = cost + reached[1 - side, other], other
    return _path(meeting, before)
