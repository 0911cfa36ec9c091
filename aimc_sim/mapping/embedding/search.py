"""Depth-first search for a one-hop embedding, exhaustive if it is given the time.

Each step places one node, which narrows the candidates of the others: no other node may take this
core; a neighbour needs a core that this one sends to (or receives from); a node d edges away needs
a core within d links. The next node is the one with the fewest candidates left. Its cores are
tried in the order of their free neighbours, fewest first, which fills a strip from one end
without holes.
"""

from __future__ import annotations

from time import monotonic

from aimc_sim.mapping.embedding.certificate import Outcome
from aimc_sim.mapping.embedding.problem import Problem, fewest
from aimc_sim.mapping.embedding.target import bits

_PLACED = -1


def search(problem: Problem, seconds: float, trials: int) -> tuple[Outcome, list[int]]:
    """Search for an embedding.

    Parameters
    ----------
    problem : Problem
        Pattern, fabric and first candidates.
    seconds : float
        Wall time, seconds, after which the search gives up.
    trials : int
        Placements of one node after which the search gives up.

    Returns
    -------
    outcome : {"found", "impossible", "unknown"}
        "impossible" is proved; "unknown" means that time or trials ran out.
    cores : list of int, (nodes,)
        Core number of every node if found, else empty.
    """
    if not problem.nodes:
        return "found", []
    deadline = monotonic() + seconds
    cores = [_PLACED] * len(problem.nodes)
    node = fewest(problem.candidates)
    stack = [(node, problem.candidates, _ordered(problem, problem.candidates, node))]
    while stack:
        node, candidates, values = stack[-1]
        if not values:
            stack.pop()
            continue
        trials -= 1
        if trials < 0 or (trials % 64 == 0 and monotonic() > deadline):
            return "unknown", []
        cores[node] = core = values.pop()
        remaining = _propagate(problem, candidates, node, core)
        if remaining is None:
            continue
        if len(stack) == len(cores):
            return "found", cores
        following = fewest(remaining)
        stack.append((following, remaining, _ordered(problem, remaining, following)))
    return "impossible", []


def _ordered(problem: Problem, candidates: list[int], node: int) -> list[int]:
    """Return a node's candidates, the one to try first at the end."""
    free = 0
    for mask in candidates:
        if mask != _PLACED:
            free |= mask
    return sorted(
        bits(candidates[node]),
        key=lambda core: ((problem.target.targets[core] & free).bit_count(), core),
        reverse=True,
    )


def _propagate(problem: Problem, candidates: list[int], node: int, core: int) -> list[int] | None:
    """Return the candidates after a placement, None if some node has none left."""
    target, balls = problem.target, problem.target.balls
    last = len(balls) - 1
    others = ~(1 << core)
    remaining = [
        mask if mask == _PLACED else mask & balls[min(distance, last)][core] & others
        for mask, distance in zip(candidates, problem.distances[node], strict=True)
    ]
    remaining[node] = _PLACED
    for u, v in problem.edges_of[node]:
        other, mask = (v, target.targets[core]) if u == node else (u, target.origins[core])
        if remaining[other] != _PLACED:
            remaining[other] &= mask
    union = 0
    waiting = 0
    for mask in remaining:
        if mask == 0:
            return None
        if mask != _PLACED:
            union |= mask
            waiting += 1
    return remaining if union.bit_count() >= waiting else None
