"""The answer of an embedding search, and the check that it is true."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import networkx as nx

Outcome = Literal["found", "impossible", "unknown"]
"""Answer of a search: "impossible" is proved, "unknown" means that time or trials ran out."""


@dataclass(frozen=True)
class Embedding:
    """Whether a pattern fits on a fabric with every edge on one link, and how.

    Attributes
    ----------
    outcome : {"found", "impossible", "unknown"}
        "impossible" is proved, "unknown" means that the time ran out.
    cores : dict of node to core
        Core of every node of the pattern if found, else empty.
    reason : str
        A sentence that names the nodes or edges which do not fit and a remedy; empty if found.
    seconds : float
        Wall time of the search, seconds.
    """

    outcome: Outcome
    cores: dict[Hashable, Hashable] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0

    def __bool__(self) -> bool:
        """Whether an embedding was found."""
        return self.outcome == "found"


def check_embedding(
    pattern: nx.Graph, fabric: nx.Graph, cores: Mapping[Hashable, Hashable]
) -> None:
    """Check edge by edge that every node has a core of its own and every edge a link.

    The check shares no code with the searches.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges; an undirected edge needs both directions.
    fabric : networkx.Graph or networkx.DiGraph
        Cores as nodes, links as edges.
    cores : mapping of node to core
        Core of every node of the pattern.

    Raises
    ------
    ValueError
        If a node has no core of its own, or an edge has no link; names the first one.
    """
    taken: dict[Hashable, Hashable] = {}
    for node in pattern:
        if node not in cores:
            raise ValueError(f"embedding: node {node!r} has no core; every node needs one")
        core = cores[node]
        if core not in fabric:
            raise ValueError(f"embedding: node {node!r} is on {core!r}, which the fabric has not")
        if core in taken:
            raise ValueError(
                f"embedding: nodes {taken[core]!r} and {node!r} are both on core {core!r}; "
                f"a core holds one node"
            )
        taken[core] = node
    for u, v in pattern.edges:
        ways = [(u, v)] if pattern.is_directed() else [(u, v), (v, u)]
        for a, b in ways:
            if a != b and not fabric.has_edge(cores[a], cores[b]):
                raise ValueError(
                    f"embedding: edge {a!r} -> {b!r} has no link from core {cores[a]!r} to core "
                    f"{cores[b]!r}; insert a relay or route it over several links"
                )
