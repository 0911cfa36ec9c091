"""One-hop embedding against networkx, certificates, reasons, relays."""

import re

import networkx as nx
import numpy as np
import pytest
from networkx.algorithms.isomorphism import DiGraphMatcher, GraphMatcher

from aimc_sim.chip.fabric import fabric_graph, with_digital_units
from aimc_sim.mapping.embedding import (
    Target,
    check_embedding,
    embed,
    embed_with_relays,
    fewest_relays,
    insert_relays,
    pattern_of,
    refusals,
)
from aimc_sim.mapping.embedding.symmetry import representatives
from aimc_sim.mapping.embedding.target import triangle_clusters
from aimc_sim.mapping.route import Flow
from aimc_sim.spec import FabricSpec


def fabric(topology, rows, cols):
    return fabric_graph(FabricSpec(topology=topology, rows=rows, cols=cols))


def strip(cols):
    return fabric("prism_strip", 2, cols)


def random_graph(generator, nodes, share, directed):
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(nodes))
    for u in range(nodes):
        for v in range(nodes):
            if u != v and (directed or u < v) and generator.random() < share:
                graph.add_edge(u, v)
    return graph


FABRICS = [
    strip(4), strip(3), fabric("prism_grid", 2, 4), fabric("prism_grid", 3, 3),
    fabric("mesh", 3, 3), fabric("torus", 3, 3), fabric("torus", 2, 4), fabric("hypercube", 2, 4),
    fabric("tree", 1, 7), fabric("ring", 1, 7), fabric("complete", 1, 5),
    with_digital_units(FabricSpec(rows=2, cols=3)),
]  # fmt: skip


def fits(pattern, target):
    """Say what networkx (VF2) finds: a one-to-one map that takes edges to edges."""
    matcher = DiGraphMatcher if pattern.is_directed() else GraphMatcher
    return matcher(target, pattern).subgraph_is_monomorphic()


@pytest.mark.parametrize(("method", "count"), [("search", 400), ("solver", 100)])
def test_agrees_with_networkx(method, count):
    generator = np.random.Generator(np.random.Philox(5))
    answers = {"found": 0, "impossible": 0}
    for number in range(count):
        directed = bool(generator.integers(2))
        target = FABRICS[number % len(FABRICS)]
        if number % 5 == 4:  # a fabric with a missing link has fewer symmetries
            target = target.copy()
            target.remove_edges_from([list(target.edges)[generator.integers(target.size())]])
        pattern = random_graph(generator, int(generator.integers(3, 7)), 0.4, directed)
        expected = fits(pattern, target if directed else mutual(target))
        found = embed(pattern, target, method=method)
        assert found.outcome == ("found" if expected else "impossible"), (number, found.reason)
        assert bool(found) == bool(found.cores) == (found.reason == "") == expected
        answers[found.outcome] += 1
        if expected:
            check_embedding(pattern, target, found.cores)
    assert min(answers.values()) > count / 4


def mutual(graph):
    """Return the pairs with links in both directions, which an undirected edge needs."""
    pairs = nx.Graph()
    pairs.add_nodes_from(graph)
    pairs.add_edges_from((u, v) for u, v in graph.edges if graph.has_edge(v, u))
    return pairs


def test_refusals_are_true():
    """Whatever a quick condition refuses, networkx does not find."""
    generator = np.random.Generator(np.random.Philox(6))
    refused = 0
    for number in range(200):
        target = FABRICS[number % len(FABRICS)]
        pattern = random_graph(generator, int(generator.integers(3, 8)), 0.4, False)
        if any(True for _ in refusals(pattern, target)):
            refused += 1
            assert not fits(pattern, target.to_undirected())
    assert refused > 50


@pytest.mark.parametrize(
    ("graph", "orbits"),
    [(strip(7), 4), (fabric("prism_grid", 8, 8), 16), (fabric("mesh", 4, 4), 3),
     (fabric("torus", 4, 5), 1), (fabric("hypercube", 4, 4), 1), (fabric("ring", 1, 9), 1),
     (fabric("complete", 2, 3), 1)],
)  # fmt: skip
def test_cores_that_look_alike(graph, orbits):
    assert representatives(graph).bit_count() == orbits
    graph = graph.copy()
    graph.remove_edges_from([(0, 1), (1, 0)])
    assert representatives(graph).bit_count() > orbits


def test_fixed_nodes_and_unknown():
    path = nx.path_graph(4, create_using=nx.DiGraph)
    found = embed(path, strip(6), fixed={0: 3, 3: 7})
    assert (found.cores[0], found.cores[3]) == (3, 7)
    assert embed(path, strip(20), fixed={0: 0, 3: 19}).outcome == "impossible"
    with pytest.raises(ValueError, match="core that the fabric has not"):
        embed(path, strip(3), fixed={0: 6})
    with pytest.raises(ValueError, match="node that the pattern has not"):
        embed(path, strip(3), fixed={9: 0})
    hard = nx.random_regular_graph(4, 30, seed=1)
    answer = embed(hard, fabric("prism_grid", 6, 6), method="search", trials=50)
    assert answer.outcome == "unknown"
    assert "none was ruled out; give more seconds" in answer.reason


def test_equal_inputs_give_equal_answers():
    target = Target(fabric("prism_grid", 4, 4))
    pattern = nx.random_labeled_tree(14, seed=3)
    pattern = nx.Graph(e for e in pattern.edges)
    first, second = (embed(pattern, target, method="search") for _ in range(2))
    assert first.cores == second.cores
    assert embed(pattern, fabric("prism_grid", 4, 4), method="search").cores == first.cores


# ------------------------------------------------------------------------------ certificates


def test_certificate():
    path = nx.path_graph(3, create_using=nx.DiGraph)
    target = strip(4)
    check_embedding(path, target, {0: 0, 1: 1, 2: 3})
    with pytest.raises(ValueError, match="edge 1 -> 2 has no link from core 1 to core 6"):
        check_embedding(path, target, {0: 0, 1: 1, 2: 6})
    with pytest.raises(ValueError, match="nodes 0 and 2 are both on core 0"):
        check_embedding(path, target, {0: 0, 1: 1, 2: 0})
    with pytest.raises(ValueError, match="node 2 has no core"):
        check_embedding(path, target, {0: 0, 1: 1})
    with pytest.raises(ValueError, match="which the fabric has not"):
        check_embedding(path, target, {0: 0, 1: 1, 2: 8})


def test_direction_counts():
    units = with_digital_units(FabricSpec(rows=2, cols=3))
    into, out = nx.DiGraph([("core", "unit")]), nx.DiGraph([("unit", "core")])
    assert embed(into, units, fixed={"unit": 7}).cores["core"] == 1
    assert embed(out, units, fixed={"unit": 7}).outcome == "impossible"
    assert embed(nx.Graph(into), units, fixed={"unit": 7}).outcome == "impossible"


# ----------------------------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("pattern", "target", "message"),
    [
        (nx.path_graph(9), strip(4), r"9 nodes, the fabric 8 cores; .*several chips"),
        (nx.path_graph(7), nx.disjoint_union(strip(3), strip(3)),
         r"7 nodes hang together .* part of the fabric has 6 cores; cut the network between"),
        (nx.star_graph(6), strip(9), r"node 0 exchanges data with 6 others \(1, 2, 3, 4, 5, 6\), "
         r"no core has more than 5 links; relay"),
        (nx.cycle_graph(5), fabric("mesh", 4, 4), r"the cycle (0, 1, 2, 3, 4|.*) has 5 edges, the "
         r"fabric \(mesh\) .*even length only; relay"),
        (nx.complete_graph(4), strip(9), r"4 nodes all exchange data .*\(0, 1, 2, 3\), at most 3"),
        (nx.power(nx.path_graph(9), 2), fabric("prism_grid", 8, 8),
         r"9 nodes hang together by triangles \(0, 1, 2, 3, 4, 5, 6, 7 and 1 more\), in the fabric "
         r"at most 8 cores do; break a triangle: relay"),
    ],
)  # fmt: skip
def test_reasons(pattern, target, message):
    answer = embed(pattern, target)
    assert answer.outcome == "impossible"
    assert re.search(message, answer.reason), answer.reason


def test_odd_cycle_is_a_cycle_of_the_pattern():
    pattern = nx.relabel_nodes(nx.petersen_graph(), lambda n: f"layer{n}")
    reason = next(iter(refusals(pattern, fabric("hypercube", 4, 4))))
    names = reason.removeprefix("the cycle ").split(" has ")[0].split(", ")
    assert len(names) == len(set(names)) == 5
    assert all(pattern.has_edge(a, b) for a, b in zip(names, names[1:] + names[:1], strict=True))


# ------------------------------------------------------------------------------------ relays


def test_insert_relays():
    pattern = nx.DiGraph()
    pattern.add_edge("a", "b", bytes=7)
    pattern.add_edge("b", "a", bytes=3)
    augmented = insert_relays(pattern, [("a", "b")], 2)
    assert list(pattern.edges) == [("a", "b"), ("b", "a")]  # as before
    path = ["a", "relay 1 of a -> b", "relay 2 of a -> b", "b"]
    assert nx.is_path(augmented, path)
    assert [augmented.edges[e]["bytes"] for e in nx.utils.pairwise(path)] == [7, 7, 7]
    assert augmented.nodes[path[1]]["relays"] == ("a", "b")
    assert augmented.number_of_edges() == 4
    with pytest.raises(ValueError, match="'a' -> 'c' is not an edge"):
        insert_relays(pattern, [("a", "c")])


@pytest.mark.parametrize(
    ("pattern", "target", "relays"),
    [
        (nx.cycle_graph(3), fabric("mesh", 3, 3), 1),  # a triangle becomes a square
        (nx.cycle_graph(5), fabric("hypercube", 2, 4), 1),
        (nx.complete_graph(4), strip(5), 3),  # around four cores of a row
        (nx.path_graph(6), strip(3), 0),
        (nx.power(nx.path_graph(9), 2), fabric("prism_grid", 2, 8), None),
    ],
)
def test_embed_with_relays(pattern, target, relays):
    result = embed_with_relays(pattern, target)
    assert result.embedding, result.embedding.reason
    check_embedding(result.pattern, target, result.embedding.cores)
    assert len(result.pattern) == len(pattern) + result.relays
    assert relays is None or result.relays == relays
    # Without its relays, the pattern is the one given.
    back = nx.Graph(result.pattern)
    for node, attributes in result.pattern.nodes(data=True):
        if "relays" in attributes:
            back.remove_node(node)
    back.add_edges_from((u, v) for u, v, _ in result.relayed)
    assert set(map(frozenset, back.edges)) == set(map(frozenset, pattern.edges))


def test_no_relays_left():
    result = embed_with_relays(nx.complete_graph(4), strip(2))
    assert result.embedding.outcome == "impossible"
    assert "relays needed: at least 1, allowed: 0" in result.embedding.reason
    result = embed_with_relays(nx.cycle_graph(3), fabric("mesh", 3, 3), max_relays=0)
    assert not result.embedding


def test_triangles_of_the_grid_lie_within_rows():
    links = fabric("prism_grid", 8, 8).to_undirected()
    rows = [set(range(8 * row, 8 * row + 8)) for row in range(8)]
    assert sorted(triangle_clusters(links), key=min) == rows
    assert triangle_clusters(fabric("hypercube", 4, 4).to_undirected()) == []


@pytest.mark.parametrize(("nodes", "relays"), [(8, 0), (9, 1), (16, 1), (17, 2), (25, 3)])
def test_relays_that_triangles_need(nodes, relays):
    """A chain of triangles, two nodes each, in rows of eight: every nine nodes break one."""
    chain = nx.Graph((a, a + d) for a in range(0, nodes - 1) for d in (1, 2) if a + d < nodes)
    chain.remove_edges_from([(a, a + 2) for a in range(1, nodes, 2)])
    grid = fabric("prism_grid", 8, 8)
    assert fewest_relays(chain, grid) == relays
    result = embed_with_relays(chain, grid)
    assert result.embedding
    assert result.relays >= relays
    assert fewest_relays(result.pattern, grid) == 0
    if relays:
        refused = embed_with_relays(chain, grid, max_relays=relays - 1)
        assert refused.embedding.outcome == "impossible"
        assert f"relays needed: at least {relays}, allowed" in refused.embedding.reason


def test_inputs_carried_along_a_chain():
    """Producer 0 feeds the blocks 1, 2, 3 of a chain; block 4 reads 3 and adds 0."""
    flows = [
        *(Flow("activation", "a", 0, block) for block in (1, 2, 3)),
        Flow("partial_sum", "b", 1, 2),
        Flow("partial_sum", "b", 2, 3),
        Flow("activation", "b", 3, 4),
        Flow("residual", "a", 0, 4),
    ]
    direct, carried = pattern_of(5, flows), pattern_of(5, flows, carried=True)
    assert set(direct.edges) == {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (3, 4), (0, 4)}
    assert set(carried.edges) == {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}
    assert carried.edges[1, 2]["kinds"] == ("activation", "partial_sum")
    # A block that reads what the block before it does not, reads it from the producer.
    apart = [Flow("activation", "a", 0, 2), Flow("partial_sum", "b", 1, 2)]
    assert set(pattern_of(3, apart, carried=True).edges) == {(0, 2), (1, 2)}
