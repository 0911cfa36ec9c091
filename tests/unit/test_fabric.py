"""Links of every topology against predicates written down again, closed forms, and the chip."""

from itertools import product

import networkx as nx
import pytest

from aimc_sim import presets
from aimc_sim.chip import fabric
from aimc_sim.chip.fabric import core_label, fabric_graph
from aimc_sim.spec import ChipSpec, FabricSpec

SIZES = [(8, 8), (2, 32), (3, 5), (1, 4), (4, 1), (1, 1), (2, 2), (2, 4), (1, 2), (3, 3), (4, 4)]
SIZES += [(2, 3), (5, 2), (1, 3), (1, 5), (2, 5)]


def cycle(a, b, n):
    return (a - b) % n in (1, n - 1)


LINKED = {
    "prism_grid": lambda r, c, R, C, rows, cols: (
        (r == R and abs(c - C) in (1, 2)) or (c == C and abs(r - R) == 1)
    ),
    "prism_strip": lambda r, c, R, C, rows, cols: (
        (r == R and 1 <= abs(c - C) <= 2) or (c == C and r != R)
    ),
    "mesh": lambda r, c, R, C, rows, cols: abs(r - R) + abs(c - C) == 1,
    "torus": lambda r, c, R, C, rows, cols: (
        (r == R and cycle(c, C, cols)) or (c == C and cycle(r, R, rows))
    ),
    "hypercube": lambda r, c, R, C, rows, cols: (
        bin((r * cols + c) ^ (R * cols + C)).count("1") == 1
    ),
    "tree": lambda r, c, R, C, rows, cols: (
        # counted from 1, the parent of k is k // 2
        max(r * cols + c, R * cols + C) + 1 >> 1 == min(r * cols + c, R * cols + C) + 1
    ),
    "ring": lambda r, c, R, C, rows, cols: cycle(r * cols + c, R * cols + C, rows * cols),
    "bus": lambda *_: True,
    "complete": lambda *_: True,
}


def exists(topology, rows, cols):
    if topology == "prism_strip":
        return rows == 2
    return topology != "hypercube" or (rows * cols).bit_count() == 1


CASES = [(t, *size) for t, size in product(LINKED, SIZES) if exists(t, *size)]


def undirected(topology, rows, cols):
    return fabric_graph(FabricSpec(topology=topology, rows=rows, cols=cols)).to_undirected()


@pytest.mark.parametrize(("topology", "rows", "cols"), CASES)
def test_links_are_those_of_the_predicate(topology, rows, cols):
    graph = fabric_graph(FabricSpec(topology=topology, rows=rows, cols=cols))
    cores = list(product(range(rows), range(cols)))
    assert list(graph) == list(range(rows * cols))
    assert set(graph.edges) == {
        (a, b)
        for (a, at), (b, to) in product(enumerate(cores), repeat=2)
        if a != b and LINKED[topology](*at, *to, rows, cols)
    }
    assert graph.graph["shared"] == (topology == "bus")
    assert nx.is_strongly_connected(graph)


@pytest.mark.parametrize(("topology", "rows", "cols"), CASES)
def test_closed_forms(topology, rows, cols):
    spec = FabricSpec(topology=topology, rows=rows, cols=cols)
    graph = undirected(topology, rows, cols)
    assert fabric.pairs(spec) == graph.number_of_edges()
    assert fabric.directed_links(spec) == fabric_graph(spec).number_of_edges()
    assert fabric.max_degree(spec) == max(degree for _, degree in graph.degree)
    assert fabric.clique_number(spec) == max(map(len, nx.find_cliques(graph)))


def test_order_of_links_is_fixed():
    """Searches go through links in this order; the placements of the chip rest on it."""
    assert list(fabric_graph(FabricSpec())[27]) == [25, 26, 28, 29, 19, 35]
    assert list(fabric_graph(FabricSpec(topology="mesh"))[27]) == [26, 28, 19, 35]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"topology": "prism_strip", "rows": 3}, "2 rows of cores, got rows=3"),
        ({"topology": "hypercube", "rows": 3, "cols": 4}, "= 12; choose for example .* = 16"),
    ],
)
def test_sizes_that_do_not_exist(spec, message):
    for use in (fabric_graph, fabric.pairs, fabric.max_degree, fabric.clique_number):
        with pytest.raises(ValueError, match=message):
            use(FabricSpec(**spec))


# --------------------------------------------------------------------- prism strip and grid


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
def test_copies_of_k6_combine_to_a_strip(copies):
    strip = undirected("prism_strip", 2, 3 * copies)
    combined = fabric.combine_k6(copies)
    assert set(map(frozenset, combined.edges)) == set(map(frozenset, strip.edges))
    assert set(combined) == set(strip)
    with pytest.raises(ValueError, match="copies=0"):
        fabric.combine_k6(0)


@pytest.mark.parametrize("cols", [3, 4, 5, 8, 32, 35])
def test_strip(cols):
    """5n - 6 pairs, five links per inner core, three columns a triangular prism."""
    strip = undirected("prism_strip", 2, cols)
    assert strip.number_of_edges() == 5 * cols - 6
    inner = [strip.degree(row * cols + col) for row in (0, 1) for col in range(2, cols - 2)]
    assert set(inner) <= {5}
    window = [row * cols + col for row in (0, 1) for col in (0, 1, 2)]
    prism = nx.circular_ladder_graph(3)
    assert nx.is_isomorphic(strip.subgraph(window), prism)


def test_every_two_rows_of_the_grid_hold_a_strip():
    grid, strip = undirected("prism_grid", 8, 8), undirected("prism_strip", 2, 8)
    for row in range(7):
        cores = range(8 * row, 8 * row + 16)
        part = nx.relabel_nodes(grid.subgraph(cores), {core: core - 8 * row for core in cores})
        assert set(map(frozenset, part.edges)) == set(map(frozenset, strip.edges))


@pytest.mark.parametrize(
    ("topology", "rows", "cols", "pairs", "degree"),
    [
        ("prism_strip", 2, 32, 154, 5),
        ("prism_grid", 8, 8, 160, 6),
        ("mesh", 8, 8, 112, 4),
        ("torus", 8, 8, 128, 4),
        ("hypercube", 8, 8, 192, 6),
        ("complete", 8, 8, 2016, 63),
    ],
)
def test_64_cores(topology, rows, cols, pairs, degree):
    spec = FabricSpec(topology=topology, rows=rows, cols=cols)
    assert (fabric.pairs(spec), fabric.max_degree(spec)) == (pairs, degree)
    assert fabric.directed_links(spec) == 2 * pairs


def test_patterns_that_were_considered_for_64_cores():
    """Four strips, rows and columns over distance two, kings: 272, 416, 420 links, not 418."""
    strips = nx.disjoint_union_all([undirected("prism_strip", 2, 8)] * 4)
    line = nx.power(nx.path_graph(8), 2)
    both = nx.cartesian_product(line, line)
    king = nx.strong_product(nx.path_graph(8), nx.path_graph(8))
    for graph, pairs, degree in ((strips, 136, 5), (both, 208, 8), (king, 210, 8)):
        assert graph.number_of_edges() == pairs
        assert max(d for _, d in graph.degree) == degree


# -------------------------------------------------------------------------------- the chip


def test_the_chip_has_320_core_links_and_8_to_digital_units():
    spec = FabricSpec()
    assert fabric_graph(spec).number_of_edges() == 320
    graph = fabric.with_digital_units(spec)
    assert graph.number_of_edges() == 328
    units = set(graph) - set(range(64))
    assert units == set(range(64, 72))
    for unit in units:
        (core,) = graph.pred[unit]
        assert core_label(core, spec) == f"Core(4,{unit - 63})"
        assert not graph.succ[unit]
    text = fabric.describe_links(spec)
    assert "328 modelled" in text
    assert "counts 418, the place of the other 90 is not known" in text
    assert "418" not in fabric.describe_links(spec.with_(topology="mesh"))


@pytest.mark.parametrize(("rows", "row"), [(1, 1), (2, 1), (3, 1), (5, 2), (8, 4)])
def test_row_that_feeds_digital_units(rows, row):
    spec = FabricSpec(rows=rows, cols=3)
    assert core_label(fabric.feeding_core(2, spec), spec) == f"Core({row},3)"


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


def test_several_chips():
    spec: ChipSpec = presets.ideal().with_({"chips": 3, "fabric.rows": 2, "fabric.cols": 5})
    graph = fabric.chips_graph(spec)
    one = fabric_graph(spec.fabric)
    assert list(graph) == list(range(30)) == list(range(spec.cores))
    assert len(list(nx.weakly_connected_components(graph))) == 3
    for chip in range(3):
        part = graph.subgraph(range(10 * chip, 10 * chip + 10))
        assert {(a - 10 * chip, b - 10 * chip) for a, b in part.edges} == set(one.edges)
    assert graph.graph["chips"] == 3
