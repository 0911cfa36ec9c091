"""Fabrics with more than the cores of one chip: global digital units, several chips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aimc_sim.chip.fabric.links import fabric_graph
from aimc_sim.spec import ChipSpec, FabricSpec

if TYPE_CHECKING:
    import networkx as nx


def with_digital_units(spec: FabricSpec) -> nx.DiGraph:
    """Build the fabric of one chip together with its global digital units.

    On the 8x8 chip the core in the fourth row feeds the unit of its column (arXiv:2212.02872),
    so that 320 core links become 328. In grids of other sizes the row ``rows // 2`` (counted
    from 1) does. Results leave the units off chip, so nothing leads back.

    Parameters
    ----------
    spec : FabricSpec
        Topology, rows and columns of the grid.

    Returns
    -------
    networkx.DiGraph
        :func:`fabric_graph` plus nodes ``cores .. cores + cols - 1``, one unit per column.
    """
    graph = fabric_graph(spec)
    for col in range(spec.cols):
        graph.add_edge(feeding_core(col, spec), spec.cores + col)
    return graph


def feeding_core(col: int, spec: FabricSpec) -> int:
    """Return the core that feeds the global digital unit of a column (from 0)."""
    return (max(spec.rows // 2, 1) - 1) * spec.cols + col


def chips_graph(spec: ChipSpec) -> nx.DiGraph:
    """Build the core-to-core links of all chips; no link leads from chip to chip.

    Parameters
    ----------
    spec : ChipSpec
        The fabric of one chip and the number of chips.

    Returns
    -------
    networkx.DiGraph
        Node ``chip * cores_per_chip + core``, chips counted from 0; the graph attributes of
        :func:`fabric_graph`, and ``chips``. ``nx.weakly_connected_components`` tells the chips
        apart.
    """
    import networkx as nx

    one = fabric_graph(spec.fabric)
    graph = nx.DiGraph(**one.graph, chips=spec.chips)
    graph.add_nodes_from(range(spec.cores))
    for first in range(0, spec.cores, spec.fabric.cores):
        graph.add_edges_from((first + a, first + b) for a, b in one.edges)
    return graph
