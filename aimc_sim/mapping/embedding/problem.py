"""One question to a search: a pattern as numbered nodes, and the cores that each may take."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import networkx as nx

from aimc_sim.mapping.embedding.target import Target, directed


class Problem:
    """One-hop embedding of a pattern in a fabric, prepared for a search.

    Parameters
    ----------
    pattern : networkx.Graph or networkx.DiGraph
        Senders and receivers as nodes, flows as edges.
    target : Target
        The fabric.
    fixed : mapping of node to core
        Cores of some nodes, given beforehand.

    Attributes
    ----------
    target : Target
        The fabric.
    nodes : list
        Nodes of the pattern; everywhere else a node is its number in this list.
    edges : list of (int, int)
        Edges as (sender, receiver).
    edges_of : list of list of (int, int)
        Edges from and to each node.
    distances : list of list of int
        Edges on a shortest path between two nodes, in either direction; more than the fabric's
        diameter where there is no path.
    candidates : list of int
        Mask of the cores that each node may take: those with enough links, away from mirror
        images for one node if none is fixed.
    """

    def __init__(
        self, pattern: nx.Graph, target: Target, fixed: Mapping[Hashable, Hashable]
    ) -> None:
        graph = directed(pattern)
        number = {node: i for i, node in enumerate(graph)}
        self.target = target
        self.nodes = list(graph)
        self.edges = [(number[u], number[v]) for u, v in graph.edges]
        self.edges_of: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for edge in self.edges:
            for node in edge:
                self.edges_of[node].append(edge)
        lengths = dict(nx.all_pairs_shortest_path_length(graph.to_undirected(as_view=True)))
        far = len(target.balls)
        self.distances = [[lengths[u].get(v, far) for v in self.nodes] for u in self.nodes]
        self.candidates = self._candidates(graph, fixed)

    def _candidates(self, graph: nx.DiGraph, fixed: Mapping[Hashable, Hashable]) -> list[int]:
        links_out = [mask.bit_count() for mask in self.target.targets]
        links_in = [mask.bit_count() for mask in self.target.origins]
        masks = []
        for node in self.nodes:
            cores = [self.target.number[fixed[node]]] if node in fixed else range(len(links_out))
            out, into = graph.out_degree(node), graph.in_degree(node)
            masks.append(sum(1 << c for c in cores if links_out[c] >= out and links_in[c] >= into))
        if masks and not fixed:
            # All symmetries are still there, so any one node may stay away from mirror images.
            first = fewest(masks)
            masks[first] &= self.target.representatives
        return masks


def fewest(candidates: list[int]) -> int:
    """Return the node with the fewest candidates, the first of equals.

    Parameters
    ----------
    candidates : list of int, (nodes,)
        Mask of the cores that each node may take; -1 for a node that has been placed.

    Returns
    -------
    int
        Number of the node.
    """
    counts = [mask.bit_count() if mask >= 0 else 1 << 30 for mask in candidates]
    return counts.index(min(counts))
