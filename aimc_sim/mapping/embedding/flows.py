"""The data that the blocks of a network exchange, as a pattern of the links that they need."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from aimc_sim.mapping.route import Flow
from aimc_sim.mapping.route import carried as along_chains


def pattern_of(count: int, flows: Sequence[Flow], *, carried: bool = False) -> nx.DiGraph:
    """Return the blocks as nodes and their flows as edges.

    Parameters
    ----------
    count : int
        Number of blocks; they are the nodes 0 .. count - 1.
    flows : sequence of Flow
        Data that the blocks exchange, from :func:`aimc_sim.mapping.route.dataflow`.
    carried : bool
        Whether input channels travel along a chain of row blocks beside its partial sums, from
        the head on, instead of coming to every block from their producer. It takes links away
        from the producer, which otherwise needs one per row block, and puts their bytes on the
        links of the chain.

    Returns
    -------
    networkx.DiGraph
        Blocks as nodes, flows as edges; the edge attribute ``kinds`` holds the kinds of flow on
        the edge, sorted.
    """
    pattern = nx.DiGraph()
    pattern.add_nodes_from(range(count))
    for flow in along_chains(flows) if carried else flows:
        edge = flow.producer, flow.consumer
        kinds = pattern.edges[edge]["kinds"] if pattern.has_edge(*edge) else ()
        pattern.add_edge(*edge, kinds=tuple(sorted({*kinds, flow.kind})))
    return pattern
