"""5PP (reconstructed): which networks embed in a strip, bytes on the busiest channel, ResNet-32.

The networks and the traffic stand in ``validation/dazzi_*.py``; numbers here come from a count
made before and independently, since the publications' tables could not be read.
"""

import importlib
import sys
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.mapping.embedding import (
    check_embedding,
    embed,
    embed_with_relays,
    fewest_relays,
)
from aimc_sim.spec import FabricSpec

VALIDATION = Path(__file__).resolve().parents[2] / "validation"
GRID = fabric_graph(FabricSpec())


def validation(name):
    """Import a file of the validation folder as its scripts do."""
    sys.path.insert(0, str(VALIDATION))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(VALIDATION))


embeddings = validation("dazzi_embedding")
graphs = validation("dazzi_graphs")
traffic = validation("dazzi_traffic")


@pytest.mark.parametrize("case", embeddings.CASES, ids=lambda case: case.name)
def test_cores_and_edges(case):
    pattern = case.pattern()
    assert (len(pattern), pattern.number_of_edges()) == (case.cores, case.edges)
    assert nx.is_weakly_connected(pattern)


@pytest.mark.parametrize("case", embeddings.CASES, ids=lambda case: case.name)
def test_embedding_in_a_strip(case):
    """Yes: in no more slots than before, give or take a column. No: in a strip of any length."""
    pattern = case.pattern()
    if case.fits:
        strip = embeddings.strip(case.slots // 2)
        found = embed(pattern, strip, 20.0, method="search")
        assert found, found.reason
        check_embedding(pattern, strip, found.cores)
    else:
        assert embeddings.anywhere(pattern).outcome == "impossible"


@pytest.mark.parametrize("case", [c for c in embeddings.CASES if not c.fits and c.cores > 4],
                         ids=lambda case: case.name)  # fmt: skip
def test_solver_agrees_that_there_is_none(case):
    pattern = case.pattern()
    undirected = pattern.to_undirected()
    root = nx.center(undirected)[0]
    reach = 2 * nx.eccentricity(undirected, root)
    strip = embeddings.strip(2 * reach + 1)
    answer = embed(pattern, strip, 20.0, fixed={root: reach}, method="solver")
    assert answer.outcome == "impossible"


def test_four_layers_that_all_talk():
    answer = embed(graphs.dense_block(3), embeddings.strip(64))
    assert answer.outcome == "impossible"
    assert "(0, 1, 2, 3), at most 3 cores are all linked" in answer.reason


@pytest.mark.parametrize(
    ("pattern", "relays"),
    [(graphs.inception("GoogLeNet", 2), 1), (graphs.lstm(2), 1), (graphs.inception("A", 2), 1)],
    ids=["GoogLeNet", "LSTM", "Inception A"],
)
def test_relays_between_modules_are_found(pattern, relays):
    result = embed_with_relays(pattern, embeddings.strip(len(pattern)))
    assert result.embedding
    assert [(u, v) for u, v, _ in result.relayed] == graphs.gaps(pattern)
    assert result.relays == relays
    check_embedding(result.pattern, embeddings.strip(len(pattern)), result.embedding.cores)


# -------------------------------------------------------------------------- busiest channel

UNICAST = {
    "mesh": (2.00, 3.00, 1.75),
    "torus": (2.00, 3.00, 1.75),
    "hypercube": (2.00, 2.00, 1.75),
    "ring": (2.00, 4.00, 1.75),
    "tree": (2.00, 4.00, 1.75),
    "bus": (28.0, 33.5, 29.8),
}
NETWORKS = (graphs.resnet32(), 16_384), (graphs.googlenet(), 200_704), (
    graphs.densenet121(), 802_816,
)  # fmt: skip


def spec_for(topology, graph):
    grid = topology in ("mesh", "torus")
    rows, cols = (8, 8) if len(graph) <= 64 else (12, 12) if grid else (8, 16)
    return FabricSpec(topology=topology, rows=rows, cols=cols)


@pytest.mark.parametrize("topology", UNICAST)
def test_busiest_channel_in_layer_order(topology):
    for (graph, unit), relative in zip(NETWORKS, UNICAST[topology], strict=True):
        assert max(sent for *_, sent in graph.edges(data="bytes")) == unit
        busiest = traffic.unicast(graph, spec_for(topology, graph)) / unit
        assert busiest == pytest.approx(relative, abs=0.05)  # the bus was printed to 0.1


@pytest.mark.parametrize("topology", ["mesh", "torus", "hypercube"])
def test_annealed_placement_with_multicast_ties_with_one_hop(topology):
    graph, unit = NETWORKS[0]
    spec = spec_for(topology, graph)
    core = traffic.annealed(graph, spec, 4000)
    assert len(set(core.values())) == len(graph)
    assert traffic.multicast(graph, spec, core) == unit


@pytest.mark.parametrize("topology", ["mesh", "torus", "hypercube", "ring", "tree"])
def test_routes_follow_links_the_shortest_way(topology):
    spec = FabricSpec(topology=topology, rows=4, cols=4)
    fabric = fabric_graph(spec)
    lengths = dict(nx.all_pairs_shortest_path_length(fabric))
    for a, line in enumerate(traffic.routes(spec)):
        for b, path in enumerate(line):
            links = [divmod(link, spec.cores) for link in path]
            assert len(links) == lengths[a][b]
            assert all(fabric.has_edge(*link) for link in links)
            ends = [a, *(to for _, to in links)]
            assert ends[-1] == b
            assert [start for start, _ in links] == ends[:-1]


# ----------------------------------------------------------------- ResNet-32 block by block


@pytest.fixture(scope="module")
def resnet():
    return validation("dazzi_resnet32").patterns()


def test_resnet32_one_hop_on_the_grid_is_impossible(resnet):
    """Triangles of the grid lie within a row of eight; those of the network hang together."""
    assert {name: (len(p), p.number_of_edges()) for name, p in resnet.items()} == {
        "direct": (60, 102),
        "carried": (60, 74),
    }
    for pattern, nodes in ((resnet["direct"], 59), (resnet["carried"], 13)):
        answer = embed(pattern, GRID)
        assert answer.outcome == "impossible"
        assert f"{nodes} nodes hang together by triangles" in answer.reason
    assert fewest_relays(resnet["direct"], GRID) == 7  # four cores are left
    assert embed_with_relays(resnet["direct"], GRID).embedding.outcome == "impossible"


def test_resnet32_with_one_relay_fits_the_grid(resnet):
    pattern = resnet["carried"]
    assert fewest_relays(pattern, GRID) == 1
    result = embed_with_relays(pattern, GRID)
    assert result.relays == 1
    assert len(set(result.embedding.cores.values())) == 61
    check_embedding(result.pattern, GRID, result.embedding.cores)


@pytest.mark.parametrize("cols", [31, 32, 35])
def test_resnet32_fits_one_strip_of_64_cores(resnet, cols):
    found = embed(resnet["carried"], embeddings.strip(cols), method="search")
    assert found
    check_embedding(resnet["carried"], embeddings.strip(cols), found.cores)


def test_resnet32_placements_kept(resnet):
    """60 blocks fill a strip of 30 columns; found by the solver in half a minute, checked here."""
    table = pd.read_csv(VALIDATION / "dazzi_2021" / "resnet32.csv")
    blocks = table.dropna()
    strip = dict(zip(blocks["block"], blocks["strip core"].astype(int), strict=True))
    assert sorted(strip.values()) == list(range(60))
    check_embedding(resnet["carried"], embeddings.strip(30), strip)


def test_validation_script_runs(tmp_path, run_script):
    code, text = run_script(VALIDATION / "dazzi_2021.py", "--quick", "--out", tmp_path)
    assert code == 0, text
    assert (tmp_path / "table.md").read_text().count("| ok |") >= 15
