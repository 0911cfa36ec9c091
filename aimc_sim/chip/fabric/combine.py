"""How a prism strip grows from copies of a complete graph, as the patent describes its fabric.

US 10,831,691 B1, claim 1 (abstract and claim read): take a complete graph with an even number of
nodes, above the largest number of connections that a processing element needs; if there are more
elements than nodes, duplicate the graph and combine the duplicates. An inception module needs
five connections, hence K_6. That copies of K_6 combine as below is a reconstruction.
"""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

_COLS = 3
"""Columns of one copy: six cores drawn as two rows of three."""


def combine_k6(copies: int) -> nx.Graph:
    """Combine copies of K_6 into a prism strip.

    Each copy is drawn as 2 rows by 3 columns. Its six diagonal links are cut, which frees two
    ends per core. The freed ends make six links to the next copy: from the second column to
    its first, from the third to its first and second, in both rows. No core has more links
    than in K_6.

    Parameters
    ----------
    copies : int
        At least 1.

    Returns
    -------
    networkx.Graph
        Cores numbered as by ``FabricSpec(topology="prism_strip", rows=2, cols=3 * copies)``,
        whose links it has.

    Raises
    ------
    ValueError
        If there is no copy.
    """
    import networkx as nx

    if copies < 1:
        raise ValueError(f"combine_k6: copies={copies}; a strip needs at least one copy of K_6")
    graph = nx.Graph()
    for copy in range(copies):
        cores = list(product(range(2), range(_COLS * copy, _COLS * (copy + 1))))
        graph.add_edges_from(combinations(cores, 2))
        graph.remove_edges_from([(a, b) for a, b in combinations(cores, 2) if _diagonal(a, b)])
    for copy, following in pairwise(range(copies)):
        for row, (col, to) in product(range(2), ((1, 0), (2, 0), (2, 1))):
            graph.add_edge((row, _COLS * copy + col), (row, _COLS * following + to))
    number = {(row, col): row * _COLS * copies + col for row, col in graph}
    return nx.relabel_nodes(graph, number)


def _diagonal(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] != b[0] and a[1] != b[1]
