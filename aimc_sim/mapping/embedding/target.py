"""A fabric prepared for searches: masks and bounds that every search needs, computed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property

import networkx as nx

from aimc_sim.mapping.embedding.symmetry import representatives


class Target:
    """The cores and links of a fabric as numbers, bit masks and bounds.

    Bit c of a mask stands for core c in the order of the fabric's nodes.

    Parameters
    ----------
    fabric : networkx.Graph or networkx.DiGraph
        Cores as nodes, links as edges; not to be changed afterwards.

    Attributes
    ----------
    graph : networkx.DiGraph
        The fabric with a link per direction and without loops.
    cores : list
        Nodes of the fabric; elsewhere a core is its number in this list.
    number : dict of node to int
        Number of every core.
    """

    def __init__(self, fabric: nx.Graph):
        self.graph = directed(fabric)
        self.cores: list[Hashable] = list(self.graph)
        self.number = {core: i for i, core in enumerate(self.cores)}

    @cached_property
    def targets(self) -> list[int]:
        """Mask of the cores that each core sends to."""
        return self._masks(self.graph.succ)

    @cached_property
    def origins(self) -> list[int]:
        """Mask of the cores that send to each core."""
        return self._masks(self.graph.pred)

    def _masks(self, neighbours: Mapping[Hashable, Iterable[Hashable]]) -> list[int]:
        return [sum(1 << self.number[other] for other in neighbours[core]) for core in self.cores]

    @cached_property
    def balls(self) -> list[list[int]]:
        """``balls[d][c]``: cores within d links of core c, in either direction; d from 0 up."""
        around = [a | b for a, b in zip(self.targets, self.origins, strict=True)]
        balls = [[1 << core for core in range(len(self.cores))]]
        while True:
            wider = []
            for mask in balls[-1]:
                grown = mask
                for core in bits(mask):
                    grown |= around[core]
                wider.append(grown)
            if wider == balls[-1]:
                return balls
            balls.append(wider)

    @cached_property
    def representatives(self) -> int:
        """Mask of one core of every set of equivalent cores."""
        return representatives(self.graph)

    @cached_property
    def links(self) -> nx.Graph:
        """The fabric without directions."""
        return undirected(self.graph)

    @cached_property
    def degree(self) -> int:
        """Most cores that one core has links with."""
        return max((degree for _, degree in self.links.degree), default=0)

    @cached_property
    def connected(self) -> int:
        """Most cores that hang together."""
        return max(map(len, nx.connected_components(self.links)), default=0)

    @cached_property
    def bipartite(self) -> bool:
        """Whether all cycles have even length."""
        return bool(nx.is_bipartite(self.links))

    @cached_property
    def clique(self) -> int:
        """Most cores that are all linked with each other."""
        return max(map(len, nx.find_cliques(self.links)), default=0)

    @cached_property
    def triangles(self) -> int:
        """Most cores that hang together by triangles: a row of a prism fabric."""
        return max(map(len, triangle_clusters(self.links)), default=0)


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the set bits of a mask, lowest first.

    Examples
    --------
    >>> list(bits(0b1010))
    [1, 3]
    """
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def directed(graph: nx.Graph) -> nx.DiGraph:
    """Return the graph without loops; an undirected edge becomes one in each direction."""
    copy = nx.DiGraph(**graph.graph)
    copy.add_nodes_from(graph)
    copy.add_edges_from((u, v) for u, v in graph.edges if u != v)
    if not graph.is_directed():
        copy.add_edges_from((v, u) for u, v in graph.edges if u != v)
    return copy


def undirected(graph: nx.Graph) -> nx.Graph:
    """Return the graph without directions and loops."""
    copy = nx.Graph(**graph.graph)
    copy.add_nodes_from(graph)
    copy.add_edges_from((u, v) for u, v in graph.edges if u != v)
    return copy


def triangle_clusters(graph: nx.Graph) -> list[set[Hashable]]:
    """Return the sets of nodes that hang together by edges lying in triangles, largest first."""
    ties = nx.Graph((u, v) for u, v in graph.edges if not set(graph[u]).isdisjoint(graph[v]))
    return sorted(nx.connected_components(ties), key=len, reverse=True)
