"""Quick proofs that a pattern cannot be embedded, as sentences that name the culprit.

Each is a condition that every embedding meets. An embedding takes connected parts to connected
parts, cliques to cliques, odd cycles to odd cycles, and edges that lie in triangles to links that
lie in triangles. The last one is sharp on prism fabrics, whose triangles lie within a row: a part
of the pattern that hangs together by triangles must fit in one row.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations, takewhile

import networkx as nx

from aimc_sim.mapping.embedding.target import Target, triangle_clusters, undirected

_RELAY = "relay one of these edges over a further core (embed_with_relays)"


def refusal(pattern: nx.Graph, fabric: nx.Graph | Target) -> str:
    """Return why a pattern certainly has no one-hop embedding, or "" if nothing was found.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges.
    fabric : networkx.Graph, networkx.DiGraph or Target
        Cores as nodes, links as edges.

    Returns
    -------
    str
        One sentence that names the nodes, the numbers needed and available, and a remedy.
    """
    return next(refusals(pattern, fabric), "")


def refusals(pattern: nx.Graph, fabric: nx.Graph | Target) -> Iterator[str]:
    """Yield a sentence for every condition that fails, the quickest to check first.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges.
    fabric : networkx.Graph, networkx.DiGraph or Target
        Cores as nodes, links as edges.

    Yields
    ------
    str
        A sentence as :func:`refusal` returns it.
    """
    pattern = undirected(pattern)
    target = fabric if isinstance(fabric, Target) else Target(fabric)
    for condition in (_count, _parts, _degree, _odd_cycle, _clique, _triangles):
        yield from condition(pattern, target)


def fewest_relays(pattern: nx.Graph, fabric: nx.Graph | Target) -> int:
    """Return a number of edges that need relays in any case, counted by triangles.

    Every part of the pattern that hangs together by triangles and has more nodes than any such
    part of the fabric has an edge that cannot stay direct. Parts without a common edge are
    collected greedily, so there may be more.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges.
    fabric : networkx.Graph, networkx.DiGraph or Target
        Cores as nodes, links as edges.

    Returns
    -------
    int
        A lower bound of the number of relays.
    """
    links = undirected(pattern)
    target = fabric if isinstance(fabric, Target) else Target(fabric)
    number = {node: i for i, node in enumerate(links)}
    small = takewhile(lambda clique: len(clique) <= 3, nx.enumerate_all_cliques(links))
    waiting = [sorted(clique, key=number.__getitem__) for clique in small if len(clique) == 3]
    waiting.sort(key=lambda triangle: [number[node] for node in triangle])
    found = 0
    while waiting:
        nodes, edges = set(waiting[0]), _sides(waiting[0])
        while len(nodes) <= target.triangles:
            touching = (t for t in waiting if not nodes.isdisjoint(t) and not nodes.issuperset(t))
            following = next(touching, None)
            if following is None:
                break
            nodes.update(following)
            edges |= _sides(following)
        found += len(nodes) > target.triangles
        waiting = [triangle for triangle in waiting[1:] if edges.isdisjoint(_sides(triangle))]
    return found


def _sides(triangle: Iterable[Hashable]) -> set[frozenset[Hashable]]:
    return {frozenset(side) for side in combinations(triangle, 2)}


def _count(pattern: nx.Graph, target: Target) -> Iterator[str]:
    if len(pattern) > len(target.cores):
        yield (
            f"the pattern has {len(pattern)} nodes, the fabric {len(target.cores)} cores; use a "
            f"larger fabric, several chips (spec.chips) or a narrower network"
        )


def _parts(pattern: nx.Graph, target: Target) -> Iterator[str]:
    needed = max(nx.connected_components(pattern), key=len, default=())
    if target.connected < len(needed) <= len(target.cores):
        yield (
            f"{len(needed)} nodes hang together ({_some(needed, pattern)}), the largest connected "
            f"part of the fabric has {target.connected} cores; cut the network between chips"
        )


def _degree(pattern: nx.Graph, target: Target) -> Iterator[str]:
    node, degree = max(pattern.degree, key=lambda item: item[1], default=(None, 0))
    if degree > target.degree:
        yield (
            f"node {node!r} exchanges data with {degree} others "
            f"({_some(pattern[node], pattern)}), no core has more than {target.degree} links; "
            f"relay some of its edges, pass data on from one receiver to the next, replicate it, "
            f"or use a fabric with more links per core"
        )


def _odd_cycle(pattern: nx.Graph, target: Target) -> Iterator[str]:
    if target.bipartite and not nx.is_bipartite(pattern):
        cycle = _shortest_odd_cycle(pattern)
        yield (
            f"the cycle {_some(cycle, None)} has {len(cycle)} edges, the fabric "
            f"({_name(target.graph)}) has cycles of even length only; {_RELAY}, or use a fabric "
            f"with triangles such as prism_grid"
        )


def _clique(pattern: nx.Graph, target: Target) -> Iterator[str]:
    clique = max(nx.find_cliques(pattern), key=len, default=())
    if len(clique) > target.clique:
        yield (
            f"{len(clique)} nodes all exchange data with each other ({_some(clique, pattern)}), at "
            f"most {target.clique} cores are all linked with each other; {_RELAY}, or carry data "
            f"along a chain"
        )


def _triangles(pattern: nx.Graph, target: Target) -> Iterator[str]:
    clusters = triangle_clusters(pattern)
    if clusters and len(clusters[0]) > target.triangles:
        yield (
            f"{len(clusters[0])} nodes hang together by triangles "
            f"({_some(clusters[0], pattern)}), in the fabric at most {target.triangles} cores do; "
            f"break a triangle: {_RELAY}, or use a fabric with longer rows"
        )


def _shortest_odd_cycle(graph: nx.Graph) -> list[Hashable]:
    """Return the nodes of a shortest odd cycle, in order."""
    best: list[Hashable] = []
    for root in graph:
        depth = nx.single_source_shortest_path_length(graph, root)
        paths = None
        for u, v in graph.edges(depth):
            if depth[u] == depth[v] and (not best or 2 * depth[u] + 1 < len(best)):
                paths = paths or nx.single_source_shortest_path(graph, root)
                # Where the two paths have parted, they do not meet again on a shortest cycle.
                if len({*paths[u], *paths[v]}) == 2 * depth[u] + 1:
                    best = [*paths[u], *reversed(paths[v][1:])]
        if len(best) == 3:
            break
    return best


def _some(nodes: Iterable[Hashable], pattern: nx.Graph | None, limit: int = 8) -> str:
    """Return the first few names, in the pattern's order if there is one."""
    nodes = list(nodes)
    if pattern is not None:
        wanted = set(nodes)
        nodes = [node for node in pattern if node in wanted]
    more = f" and {len(nodes) - limit} more" if len(nodes) > limit else ""
    return ", ".join(map(str, nodes[:limit])) + more


def _name(fabric: nx.Graph | Target) -> str:
    return str(fabric.graph.get("topology", "a graph"))
