"""Placement on direct links only: exact, with relays where they are allowed.

:mod:`aimc_sim.mapping.embedding` does the search; here blocks get their names, so that a refusal
says which data has no link.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

from aimc_sim.chip.fabric import chips_graph
from aimc_sim.errors import MappingError
from aimc_sim.mapping.route import Flow
from aimc_sim.spec import ChipSpec

SECONDS = 60.0
"""Wall time, seconds, after which the search gives up with a MappingError."""

Paths = Mapping[tuple[int, int], tuple[int, ...]]
"""Cores passed, by (producer's core, consumer's core), both ends included."""


def place_one_hop(
    names: Sequence[str], flows: Sequence[Flow], spec: ChipSpec, fixed: Mapping[int, int]
) -> tuple[list[int], Paths]:
    """Place blocks so that every flow has a link, or a path of relays.

    Parameters
    ----------
    names : sequence of str, (blocks,)
        Name of every block (or group of blocks that share a core), for messages.
    flows : sequence of Flow
        Data that the blocks exchange; producer and consumer are places in ``names``.
    spec : ChipSpec
        The machine. ``mapping.placement`` is "one-hop" or "relays"; the latter adds free cores
        to the paths of flows that have no link.
    fixed : mapping of int to int
        Cores that are given beforehand, by number of the block.

    Returns
    -------
    cores : list of int, (blocks,)
        Core of every block.
    paths : mapping of (int, int) to tuple of int
        Cores passed by the flows that go over relays, by (producer's core, consumer's core).

    Raises
    ------
    MappingError
        If there is no such placement, or none was found in :data:`SECONDS`; or if ``fixed``
        is given for a placement with relays.
    """
    import networkx as nx

    from aimc_sim.mapping.embedding import embed, embed_with_relays, pattern_of

    pattern = nx.relabel_nodes(pattern_of(len(names), flows), dict(enumerate(names)))
    links = chips_graph(spec)
    relayed = spec.mapping.placement == "relays"
    if relayed and fixed:
        raise MappingError(
            "mapping.placement = 'relays' moves all blocks; leave mapping.cores empty, or use "
            "'one-hop' or 'search'"
        )
    if relayed:
        result = embed_with_relays(pattern, links, SECONDS)
        found = result.embedding
    else:
        found = embed(pattern, links, SECONDS, fixed={names[b]: c for b, c in fixed.items()})
    if not found:
        raise MappingError(
            f"mapping.placement = '{spec.mapping.placement}' on {spec.fabric.topology} "
            f"{spec.fabric.rows} x {spec.fabric.cols}: {found.reason}; or take "
            "mapping.placement = 'search', which sends data over several links"
        )
    placed = cast(dict[str, int], found.cores)  # nodes of the pattern are names, cores numbers
    return [placed[name] for name in names], _paths(result.relayed, placed) if relayed else {}


def _paths(relayed: Sequence[tuple[Hashable, Hashable, int]], cores: Mapping[Any, int]) -> Paths:
    """Return the cores passed by every edge of the pattern that got relays."""
    paths: dict[tuple[int, int], tuple[int, ...]] = {}
    for producer, consumer, count in relayed:
        relays = [f"relay {i} of {producer} -> {consumer}" for i in range(1, count + 1)]
        path = tuple(cores[node] for node in (producer, *relays, consumer))
        paths[path[0], path[-1]] = path
    return paths
