import networkx as nx
import pytest

from aimc_sim.chip.fabric import core_label, fabric_graph
from aimc_sim.spec import FabricSpec

SIZES = [(8, 8), (2, 32), (3, 5), (1, 4), (4, 1), (1, 1)]


def prism_links(rows, cols):
    """Directed links: distance 1 and 2 along rows, distance 1 along columns."""
    return 2 * (rows * max(cols - 1, 0) + rows * max(cols - 2, 0) + cols * max(rows - 1, 0))


def mesh_links(rows, cols):
    return 2 * (rows * (cols - 1) + cols * (rows - 1))


@pytest.mark.parametrize(("rows", "cols"), SIZES)
@pytest.mark.parametrize(("topology", "links"), [("prism_grid", prism_links), ("mesh", mesh_links)])
def test_number_of_links(topology, links, rows, cols):
    graph = fabric_graph(FabricSpec(topology=topology, rows=rows, cols=cols))
    assert list(graph) == list(range(rows * cols))
    assert graph.number_of_edges() == links(rows, cols)
    assert all(graph.has_edge(b, a) for a, b in graph.edges)
    assert nx.is_strongly_connected(graph)


def test_the_chip_has_320_core_links():
    graph = fabric_graph(FabricSpec())
    assert graph.number_of_edges() == 320
    assert max(degree for _, degree in graph.out_degree) == 6


def test_neighbours_drawn_in_the_chip_paper():
    """arXiv:2212.02872, Extended Data Fig. 1: the labels around Core(3,5) and Core(4,5)."""
    spec = FabricSpec()
    graph = fabric_graph(spec)
    drawn = {
        (3, 5): {(2, 5), (3, 3), (3, 4), (3, 6), (3, 7), (4, 5)},
        (4, 5): {(3, 5), (4, 3), (4, 4), (4, 6), (4, 7), (5, 5)},
    }
    for (row, col), neighbours in drawn.items():
        core = (row - 1) * spec.cols + col - 1
        assert core_label(core, spec) == f"Core({row},{col})"
        assert {core_label(other, spec) for other in graph[core]} == {
            f"Core({r},{c})" for r, c in neighbours
        }


def test_rows_and_columns_are_not_exchanged():
    graph = fabric_graph(FabricSpec(rows=3, cols=4))
    assert graph.has_edge(0, 2)  # two along the row
    assert graph.has_edge(0, 4)  # one along the column
    assert not graph.has_edge(0, 8)  # two along the column
    assert not graph.has_edge(3, 4)  # the end of a row and the start of the next
