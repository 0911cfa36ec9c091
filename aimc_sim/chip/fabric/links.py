"""The links between cores: for every topology, which cores a core is linked with.

Cores are numbered ``row * cols + col`` from 0. Every link has both directions, so "linked with"
is a symmetric relation; the tests hold it against predicates on pairs of cores written down
independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from aimc_sim.spec import FabricSpec

if TYPE_CHECKING:
    import networkx as nx

_MESH = ((0, -1), (0, 1), (-1, 0), (1, 0))
_PRISM = ((0, -2), (0, -1), (0, 1), (0, 2), (-1, 0), (1, 0))
"""Row and column distance from a core to the cores that it is linked with."""


def fabric_graph(spec: FabricSpec) -> nx.DiGraph:
    """Build the graph of the links that data can cross from core to core of one chip.

    Parameters
    ----------
    spec : FabricSpec
        Topology, rows and columns of the grid.

    Returns
    -------
    networkx.DiGraph
        Nodes are core numbers ``row * cols + col`` (from 0, row by row); an edge is one
        direction of a link. The order of nodes and edges is fixed, so that searches repeat.
        Graph attributes: ``topology``, ``rows``, ``cols``, and ``shared``, which is True where
        all links are one medium (the bus): every core reaches every other in one hop, but the
        bytes of all edges add up on that one medium.

    Raises
    ------
    ValueError
        If the topology does not exist in this size.
    """
    import networkx as nx

    check_size(spec)
    graph = nx.DiGraph(
        topology=spec.topology, rows=spec.rows, cols=spec.cols, shared=spec.topology == "bus"
    )
    graph.add_nodes_from(range(spec.cores))
    linked = _LINKED[spec.topology]
    for core in range(spec.cores):
        graph.add_edges_from((core, other) for other in linked(core, spec) if other != core)
    return graph


def check_size(spec: FabricSpec) -> None:
    """Raise ValueError if the topology does not exist with these rows and columns."""
    if spec.topology == "prism_strip" and spec.rows != 2:
        raise ValueError(
            f"FabricSpec: a prism_strip has 2 rows of cores, got rows={spec.rows}; set rows=2 and "
            f"cols to half the number of cores, or use topology='prism_grid'"
        )
    if spec.topology == "hypercube" and spec.cores & (spec.cores - 1):
        raise ValueError(
            f"FabricSpec: a hypercube has a power of two of cores, got rows={spec.rows} x "
            f"cols={spec.cols} = {spec.cores}; choose for example rows * cols = "
            f"{1 << spec.cores.bit_length()}"
        )


def core_label(core: int, spec: FabricSpec) -> str:
    """Return the chip paper's name of a core, "Core(row,col)", both counted from 1.

    Parameters
    ----------
    core : int
        Number of the core on its chip, from 0, row by row.
    spec : FabricSpec
        Rows and columns of the grid.

    Examples
    --------
    >>> from aimc_sim import presets
    >>> core_label(21, presets.hermes().fabric)
    'Core(3,6)'
    """
    row, col = divmod(core, spec.cols)
    return f"Core({row + 1},{col + 1})"


def _steps(steps: Iterable[tuple[int, int]], core: int, spec: FabricSpec) -> list[int]:
    row, col = divmod(core, spec.cols)
    return [
        core + down * spec.cols + right
        for down, right in steps
        if 0 <= row + down < spec.rows and 0 <= col + right < spec.cols
    ]


def _prism(core: int, spec: FabricSpec) -> list[int]:
    return _steps(_PRISM, core, spec)


def _mesh(core: int, spec: FabricSpec) -> list[int]:
    return _steps(_MESH, core, spec)


def _torus(core: int, spec: FabricSpec) -> list[int]:
    row, col = divmod(core, spec.cols)
    return [
        (row + down) % spec.rows * spec.cols + (col + right) % spec.cols for down, right in _MESH
    ]


def _hypercube(core: int, spec: FabricSpec) -> list[int]:
    return [core ^ 1 << bit for bit in range(spec.cores.bit_length() - 1)]


def _tree(core: int, spec: FabricSpec) -> list[int]:
    """Binary, in heap order: core k is the parent of 2k + 1 and 2k + 2."""
    parent = [(core - 1) // 2] if core else []
    return parent + [child for child in (2 * core + 1, 2 * core + 2) if child < spec.cores]


def _ring(core: int, spec: FabricSpec) -> list[int]:
    return [(core - 1) % spec.cores, (core + 1) % spec.cores]


def _complete(core: int, spec: FabricSpec) -> Iterable[int]:
    return range(spec.cores)


_LINKED: dict[str, Callable[[int, FabricSpec], Iterable[int]]] = {
    "prism_grid": _prism,
    "prism_strip": _prism,
    "mesh": _mesh,
    "torus": _torus,
    "hypercube": _hypercube,
    "tree": _tree,
    "ring": _ring,
    "bus": _complete,
    "complete": _complete,
}
