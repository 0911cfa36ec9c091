"""One-hop embedding: every node a core of its own, every edge on one link."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from time import monotonic
from typing import Literal

import networkx as nx

from aimc_sim.mapping.embedding.certificate import Embedding, Outcome, check_embedding
from aimc_sim.mapping.embedding.problem import Problem
from aimc_sim.mapping.embedding.reasons import refusal
from aimc_sim.mapping.embedding.search import search
from aimc_sim.mapping.embedding.solver import solve
from aimc_sim.mapping.embedding.target import Target

TRIALS = 30_000
"""Placements that the depth-first search tries before the constraint solver takes over."""


def embed(
    pattern: nx.Graph,
    fabric: nx.Graph | Target,
    seconds: float = 10.0,
    *,
    fixed: Mapping[Hashable, Hashable] | None = None,
    method: Literal["both", "search", "solver"] = "both",
    trials: int | None = None,
) -> Embedding:
    """Place a pattern on a fabric so that every edge lies on one link, or prove that none can.

    Conditions that every embedding meets come first and explain what fails. Then a depth-first
    search, then OR-tools CP-SAT. An embedding is checked edge by edge before it is returned.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges. An undirected edge needs a link in both
        directions. Loops are left out: a core needs no link to itself.
    fabric : networkx.Graph, networkx.DiGraph or Target
        Cores and links, from :func:`aimc_sim.chip.fabric.fabric_graph`. For many patterns on one
        fabric give ``Target(fabric)``, which prepares it once.
    seconds : float
        Wall time, seconds, after which the answer is "unknown".
    fixed : mapping of node to core, optional
        Cores of some nodes, given beforehand.
    method : {"both", "search", "solver"}
        The search is quick where it succeeds, the solver is stronger at proofs.
    trials : int, optional
        Placements after which the search gives up; the default is 30,000 where the solver
        follows, no limit otherwise. With a limit that is reached before the time is, equal
        inputs give equal answers.

    Returns
    -------
    Embedding
        Found, proved impossible, or unknown; with the reason if it was not found.

    Raises
    ------
    ValueError
        If a fixed node or core does not exist.

    Examples
    --------
    >>> import networkx as nx
    >>> square = nx.cycle_graph(4)
    >>> embed(square, nx.hypercube_graph(3)).outcome
    'found'
    >>> embed(nx.complete_graph(3), square).reason.split(";")[0]
    'the cycle 0, 1, 2 has 3 edges, the fabric (a graph) has cycles of even length only'
    """
    start = monotonic()
    target = fabric if isinstance(fabric, Target) else Target(fabric)
    fixed = _checked(fixed or {}, pattern, target.graph)
    reason = refusal(pattern, target)
    if reason:
        return Embedding("impossible", {}, reason, monotonic() - start)
    problem = Problem(pattern, target, fixed)
    outcome: Outcome = "unknown" if all(problem.candidates) else "impossible"
    cores: list[int] = []
    if method != "solver" and outcome == "unknown":
        if trials is None:
            trials = TRIALS if method == "both" else 1 << 62
        outcome, cores = search(problem, seconds, trials)
    if method != "search" and outcome == "unknown":
        outcome, cores = solve(problem, max(start + seconds - monotonic(), 0.1))
    spent = monotonic() - start
    if outcome != "found":
        return Embedding(outcome, {}, _explain(outcome, pattern, target.graph, spent), spent)
    placed = {node: target.cores[core] for node, core in zip(problem.nodes, cores, strict=True)}
    check_embedding(pattern, target.graph, placed)
    return Embedding("found", placed, "", spent)


def _checked(
    fixed: Mapping[Hashable, Hashable], pattern: nx.Graph, fabric: nx.Graph
) -> Mapping[Hashable, Hashable]:
    """Return cores that are given beforehand, if all nodes and cores exist."""
    for node, core in fixed.items():
        if node not in pattern or core not in fabric:
            raise ValueError(
                f"embed: fixed={{{node!r}: {core!r}}} names a "
                f"{'core that the fabric' if node in pattern else 'node that the pattern'} has "
                f"not; expected one of its nodes"
            )
    return fixed


def _explain(outcome: str, pattern: nx.Graph, fabric: nx.Graph, spent: float) -> str:
    """Return the sentence for a search that found no placement in `spent` seconds."""
    size = f"{len(pattern)} nodes and {pattern.number_of_edges()} edges"
    helps = "insert relays (embed_with_relays), replicate nodes, or use a fabric with more links"
    if outcome == "impossible":
        return (
            f"no placement of the {size} puts every edge on a link of the {len(fabric)} cores "
            f"(searched exhaustively); {helps}"
        )
    return (
        f"no placement of the {size} on {len(fabric)} cores was found in {spent:.1f} s, and none "
        f"was ruled out; give more seconds, or {helps}"
    )
