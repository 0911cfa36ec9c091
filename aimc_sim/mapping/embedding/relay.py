"""Relays: cores that only pass data on, where an edge finds no link of its own.

A relay on an edge u -> v makes it u -> relay -> v. It costs a core and one hop of delay, and it
takes the edge out of every triangle and odd cycle (two relays keep its parity).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from time import monotonic

import networkx as nx

from aimc_sim.mapping.embedding.certificate import Embedding
from aimc_sim.mapping.embedding.onehop import embed
from aimc_sim.mapping.embedding.reasons import fewest_relays, refusal
from aimc_sim.mapping.embedding.target import Target, undirected

TRIALS = 2_000
"""Placements tried per pattern during the search for the place of a relay."""

_MOST_PER_EDGE = 3
_COMPARED = 4
"""Edges compared, among those whose relay lets one more node in."""

Arc = tuple[Hashable, Hashable]


@dataclass(frozen=True)
class Relayed:
    """An embedding of a pattern with relays.

    Attributes
    ----------
    pattern : networkx.DiGraph or networkx.Graph
        The pattern with relay nodes, which have the attribute ``relays``: the edge (u, v) that
        they serve.
    relayed : tuple of (node, node, int)
        The edges that got relays, as (u, v, number of relays).
    embedding : Embedding
        Certificate of the augmented pattern, or why there is none.
    """

    pattern: nx.Graph
    relayed: tuple[tuple[Hashable, Hashable, int], ...]
    embedding: Embedding

    @property
    def relays(self) -> int:
        """Number of pass-through cores."""
        return sum(count for _, _, count in self.relayed)


def insert_relays(
    pattern: nx.Graph, edges: Iterable[tuple[Hashable, Hashable]], count: int = 1
) -> nx.Graph:
    """Return a copy in which some edges pass through further nodes.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges. It is not changed.
    edges : iterable of (node, node)
        Edges of the pattern; in a directed one only that direction passes through the relays.
    count : int
        Relays per edge.

    Returns
    -------
    networkx.Graph or networkx.DiGraph
        The copy. Edges keep their attributes on every piece. Relays are named
        "relay 1 of u -> v" and have the attribute ``relays = (u, v)``.

    Raises
    ------
    ValueError
        If an edge is not in the pattern, or is relayed already.
    """
    augmented = pattern.copy()
    for u, v in edges:
        if not augmented.has_edge(u, v):
            raise ValueError(
                f"insert_relays: {u!r} -> {v!r} is not an edge of the pattern, or has relays "
                f"already; give edges of the pattern, each once"
            )
        attributes = augmented.edges[u, v]
        augmented.remove_edge(u, v)
        path = [u, *(f"relay {i} of {u} -> {v}" for i in range(1, count + 1)), v]
        augmented.add_nodes_from(path[1:-1], relays=(u, v))
        augmented.add_edges_from(pairwise(path), **attributes)
    return augmented


def embed_with_relays(
    pattern: nx.Graph, fabric: nx.Graph, seconds: float = 30.0, max_relays: int | None = None
) -> Relayed:
    """Embed a pattern, with relays where one hop per edge does not do.

    Without relays first. Then nodes are added one by one in their order; where the pattern so
    far stops fitting, an edge near the new node gets a relay (or two, or three), the one after
    which most further nodes fit; edges between otherwise separate parts are tried first. This
    keeps relays few, it does not prove that fewer would fail.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges.
    fabric : networkx.Graph or networkx.DiGraph
        Cores as nodes, links as edges.
    seconds : float
        Wall time of the search, seconds.
    max_relays : int, optional
        Largest number of relays in all; None: the number of cores left over.

    Returns
    -------
    Relayed
        The augmented pattern, where its relays are, and its embedding, which was checked edge by
        edge; without a fit, the pattern as given and why it has none.
    """
    start = monotonic()
    spare = len(fabric) - len(pattern)
    most = spare if max_relays is None else min(max_relays, spare)
    growth = _Growth(pattern, fabric, start + seconds, most)
    needed = fewest_relays(pattern, growth.target)
    if needed > max(most, 0):
        reason = f"relays needed: at least {needed}, allowed: {max(most, 0)}; "
        reason += refusal(pattern, growth.target)
        return Relayed(pattern, (), Embedding("impossible", {}, reason, monotonic() - start))
    first = found = growth.attempt(len(pattern), {})
    relays: dict[Arc, int] = {}
    fits = 0
    while not found:
        fits = growth.reach(fits, relays)
        if fits == len(pattern):
            break
        better = growth.relay(fits, relays)
        if better is None:
            break
        relays = better
        found = growth.attempt(len(pattern), relays)
    if not found:
        reason = f"with up to {max(most, 0)} relays none was found either; {first.reason}"
        outcome = first.outcome if most <= 0 else "unknown"
        return Relayed(pattern, (), Embedding(outcome, {}, reason, monotonic() - start))
    listed = tuple((u, v, count) for (u, v), count in relays.items())
    embedding = replace(found, seconds=monotonic() - start)
    return Relayed(_relayed(pattern, relays), listed, embedding)


def _relayed(pattern: nx.Graph, relays: Mapping[Arc, int]) -> nx.Graph:
    for edge, count in relays.items():
        pattern = insert_relays(pattern, [edge], count)
    return pattern


class _Growth:
    """A pattern that is placed from its first nodes on, with relays where it stops fitting."""

    def __init__(self, pattern: nx.Graph, fabric: nx.Graph, deadline: float, most: int):
        self.pattern, self.target = pattern, Target(fabric)
        self.deadline, self.most = deadline, most
        self.links = undirected(pattern)
        self.bridges = {frozenset(edge) for edge in nx.bridges(self.links)}
        self.order = _growing(self.links)

    def attempt(self, count: int, relays: Mapping[Arc, int]) -> Embedding:
        """Embed the first nodes with the relays between them, with limited effort."""
        part = self._part(count)
        between = {edge: number for edge, number in relays.items() if part.has_edge(*edge)}
        seconds = max(self.deadline - monotonic(), 0.05)
        part = _relayed(part, between)
        return embed(part, self.target, seconds, method="search", trials=TRIALS)

    def _part(self, count: int) -> nx.Graph:
        """Return the pattern's first nodes; a subgraph view would shuffle them."""
        kept = set(self.order[:count])
        part = self.pattern.__class__()
        part.add_nodes_from(self.order[:count])
        part.add_edges_from(edge for edge in self.pattern.edges if kept.issuperset(edge))
        return part

    def reach(self, fits: int, relays: Mapping[Arc, int]) -> int:
        """Return how many first nodes fit, given that `fits` do, by doubling and halving."""
        low, high, step = fits, len(self.order) + 1, 1
        while high - low > 1:
            middle = min(low + step, (low + high) // 2 if high <= len(self.order) else high - 1)
            if self.attempt(middle, relays):
                low, step = middle, 2 * step
            else:
                high, step = middle, len(self.order)
        return low

    def relay(self, fits: int, relays: Mapping[Arc, int]) -> dict[Arc, int] | None:
        """Return the relays with one edge's more, so that most further nodes fit; or None."""
        for more in range(1, _MOST_PER_EDGE + 1):
            if sum(relays.values()) + more > self.most:
                return None
            options = []
            for edge in self._near(fits):
                if monotonic() > self.deadline:
                    break
                option = {**relays, edge: relays.get(edge, 0) + more}
                if option[edge] <= _MOST_PER_EDGE and self.attempt(fits + 1, option):
                    options.append(option)
                if len(options) == _COMPARED:
                    break
            if options:
                return max(options, key=lambda option: self.reach(fits + 1, option))
        return None

    def _near(self, fits: int) -> list[Arc]:
        """Return edges to relay: the nearest bridges, then the other edges, nearest first."""
        part = self._part(fits + 1)
        distance = nx.single_source_shortest_path_length(undirected(part), self.order[fits])
        edges = sorted(
            ((u, v) for u, v in part.edges if u != v),
            key=lambda edge: min(distance.get(node, len(part)) for node in edge),
        )
        cut = [edge for edge in edges if frozenset(edge) in self.bridges]
        # A bridge to a single node separates nothing.
        cut = [edge for edge in cut if min(self.links.degree(node) for node in edge) > 1]
        others = [edge for edge in edges if frozenset(edge) not in self.bridges]
        return [*cut[:2], *others[:12]]


def _growing(links: nx.Graph) -> list[Hashable]:
    """Return the nodes so that each is linked with one before it, else in the given order."""
    waiting, order, reached = dict.fromkeys(links), [], set()
    while waiting:
        node = next((n for n in waiting if n in reached), next(iter(waiting)))
        del waiting[node]
        order.append(node)
        reached.update(links[node])
    return order
