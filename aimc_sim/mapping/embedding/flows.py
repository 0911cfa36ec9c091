"""From what the blocks of a network send to each other to a pattern of who needs a link."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from aimc_sim.mapping.route import Flow


def pattern_of(count: int, flows: Sequence[Flow], *, carried: bool = False) -> nx.DiGraph:
    """Return the blocks as nodes and their flows as edges.

    Parameters
    ----------
    count : int
        Number of blocks; they are the nodes 0 .. count - 1.
    flows : sequence of Flow
        From :func:`aimc_sim.mapping.route.dataflow`.
    carried : bool
        Whether input channels travel along a chain of row blocks beside its partial sums, from
        the head on, instead of coming to every block from their producer. It takes links away
        from the producer, which otherwise needs one per row block, and puts their bytes on the
        links of the chain.

    Returns
    -------
    networkx.DiGraph
        Edge attribute ``kinds``: the kinds of flow on that edge, sorted.
    """
    pattern = nx.DiGraph()
    pattern.add_nodes_from(range(count))
    before = {flow.consumer: flow.producer for flow in flows if flow.kind == "partial_sum"}
    read = {(flow.producer, flow.consumer) for flow in flows if flow.kind == "activation"}
    for flow in flows:
        edge = flow.producer, flow.consumer
        if carried and flow.kind == "activation" and flow.consumer in before:
            edge = before[flow.consumer], flow.consumer
            if (flow.producer, edge[0]) not in read:
                edge = flow.producer, flow.consumer  # the block before does not get this value
        kinds = pattern.edges[edge]["kinds"] if pattern.has_edge(*edge) else ()
        pattern.add_edge(*edge, kinds=tuple(sorted({*kinds, flow.kind})))
    return pattern
