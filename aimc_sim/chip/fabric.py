"""The links between cores, as a predicate on the positions of two cores in a grid.

"prism_grid" is 5PP (reconstructed): the 5 Parallel Prism fabric of arXiv:1906.03474, of which
only the abstract could be read, inferred from the labels in Extended Data Fig. 1 of the chip
paper (arXiv:2212.02872): Core(3,5) has links with (2,5), (3,3), (3,4), (3,6), (3,7), (4,5),
and Core(4,5) with (3,5), (4,3), (4,4), (4,6), (4,7), (5,5). Extending these two to every core
gives 320 directed links on 8x8. The data sheet counts 418 physical links; eight more lead
from the fourth row to the global digital units, the place of the others is not known.
"""

from __future__ import annotations

import networkx as nx

from aimc_sim.spec import FabricSpec

_STEPS = {
    "prism_grid": ((0, -2), (0, -1), (0, 1), (0, 2), (-1, 0), (1, 0)),
    "mesh": ((0, -1), (0, 1), (-1, 0), (1, 0)),
}
"""Row and column distance from a core to the cores that it sends to."""


def fabric_graph(spec: FabricSpec) -> nx.DiGraph:
    """Build the graph of the links that data can cross from core to core.

    Parameters
    ----------
    spec : FabricSpec
        Topology, rows and columns of the grid.

    Returns
    -------
    networkx.DiGraph
        Nodes are core numbers ``row * cols + col`` (from 0, row by row); an edge is one
        direction of a link. The order of nodes and edges is fixed, so that searches repeat.
    """
    graph = nx.DiGraph(topology=spec.topology)
    graph.add_nodes_from(range(spec.cores))
    for core in range(spec.cores):
        row, col = divmod(core, spec.cols)
        for down, right in _STEPS[spec.topology]:
            if 0 <= row + down < spec.rows and 0 <= col + right < spec.cols:
                graph.add_edge(core, core + down * spec.cols + right)
    return graph


def core_label(core: int, spec: FabricSpec) -> str:
    """Return the chip paper's name of a core, "Core(row,col)", both counted from 1."""
    row, col = divmod(core, spec.cols)
    return f"Core({row + 1},{col + 1})"
