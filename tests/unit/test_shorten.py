"""The search for short ways: its sums are exact, its size is bounded, its result is found once."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import fabric
from torch import nn

import aimc_sim
from aimc_sim.chip.fabric import distances as links_between
from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.kernels import anneal as kernels
from aimc_sim.kernels.philox import philox7
from aimc_sim.kernels.ways import cheapest
from aimc_sim.mapping import route as routing
from aimc_sim.mapping import shorten, task
from aimc_sim.mapping.route import Flow
from aimc_sim.rng import Key


def random_flows(count, size, seed=0):
    """Chains as in networks, and some flows from anywhere to anywhere, one pair twice."""
    generator = Key(seed).generator()
    ends = [(block, block + 1) for block in range(count - 1)]
    ends += [tuple(pair) for pair in generator.integers(0, count, (size, 2)) if pair[0] != pair[1]]
    return [Flow("activation", "x", int(a), int(b)) for a, b in [*ends, ends[0][::-1]]]


def slow_total(place, flows, spec):
    lengths = dict(nx.all_pairs_shortest_path_length(fabric_graph(spec.fabric)))
    n = spec.fabric.cores
    return sum(
        lengths[a % n][b % n] if a // n == b // n else shorten.OTHER_CHIP
        for a, b in ((place[flow.producer], place[flow.consumer]) for flow in flows)
    )


def naive_anneal(place, items, count, flows, partners, spec, near, moves, hot, cold, key):
    """The kernel's decisions, each from the sum of all distances."""
    place, best = list(place), list(place)
    lowest = now = slow_total(place, flows, spec)
    for move in range(moves):
        with np.errstate(over="ignore"):  # words of 32 bits wrap round
            words = philox7(np.uint32(move), np.uint32(0), np.uint32(0), np.uint32(0), *key)
        first, second, third, fourth = (int(word) for word in words)
        heat = hot * (cold / hot) ** (move / moves)
        chosen = first % count
        a = items[chosen]
        if near is not None and partners[a] and fourth % 256 >= kernels.FAR:
            partner = partners[a][fourth * len(partners[a]) >> 32]
            options = near[place[partner]]
            b = place.index(options[second * len(options) >> 32])
            if a == b or b not in items:
                continue
        else:
            other = second % (len(items) - 1)
            b = items[other + (other >= chosen)]
        place[a], place[b] = place[b], place[a]
        after = slow_total(place, flows, spec)
        if after > now and np.exp(-(after - now) / heat) < third / 2**32:
            place[a], place[b] = place[b], place[a]
            continue
        now = after
        if now < lowest:
            lowest, best = now, list(place)
    return best


@pytest.mark.parametrize("reach", [0, 5])
@pytest.mark.parametrize("changes", [{}, {"chips": 2}, {"fabric.topology": "ring"}])
def test_annealing_decides_as_if_all_distances_were_added_up(reach, changes):
    spec, count = fabric(3, 4, **changes), 10
    flows = random_flows(count, 12)
    distance, cores = shorten.distances(spec), spec.cores
    starts, others, weights = shorten._partners(flows, cores)
    items = np.array([block for block in range(cores) if block != 3])  # block 3 stays
    near = np.argsort(distance, axis=1, kind="stable")[:, 1 : reach + 1].copy()
    key, start = Key(5).words(), np.arange(cores)
    found = kernels.anneal(
        start, items, count - 1, starts, others, weights, distance, near, 400, 3.0, 0.2, *key
    )
    partners = [others[starts[i] : starts[i + 1]].tolist() for i in range(cores)]
    expected = naive_anneal(
        start.tolist(), items.tolist(), count - 1, flows, partners, spec,
        near.tolist() if reach else None, 400, 3.0, 0.2, key,
    )  # fmt: skip
    assert found.tolist() == expected
    assert found[3] == 3
    assert slow_total(found, flows, spec) < slow_total(start, flows, spec)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_change_of_an_exchange_is_that_of_the_sum(seed):
    spec = fabric(3, 4)
    flows, place = random_flows(9, 15, seed), Key(seed).generator().permutation(12)
    distance = shorten.distances(spec)
    before = slow_total(place, flows, spec)
    for a, b in ((0, 1), (2, 11), (4, 7)):
        change = kernels._change(a, b, place, *shorten._partners(flows, 12), distance)
        exchanged = place.copy()
        exchanged[[a, b]] = place[[b, a]]
        assert change == slow_total(exchanged, flows, spec) - before


@pytest.mark.parametrize("changes", [{}, {"chips": 2}], ids=["one chip", "two chips"])
def test_more_blocks_than_the_chip_has_end_where_no_exchange_helps(changes):
    spec, count = fabric(9, 9, **changes), 70
    flows = random_flows(count, 40)
    assert count > shorten.ONLY_FREE
    cores = shorten.place_blocks(count, flows, spec, moves=20_000, fixed={5: 80})
    assert len(set(cores)) == count
    assert cores[5] == 80
    distance = shorten.distances(spec)
    everyone = np.array([*cores, *(set(range(spec.cores)) - set(cores))])
    best = shorten.total(cores, flows, distance)
    assert best == slow_total(cores, flows, spec)
    partners = shorten._partners(flows, len(everyone))
    for a in range(count):
        for b in range(a + 1, len(everyone)):
            if 5 not in (a, b):
                assert kernels._change(a, b, everyone, *partners, distance) >= 0


def test_the_search_does_not_grow_with_the_square_of_the_blocks(monkeypatch):
    """434 blocks were searched with 30 million exchanges."""
    tried = []

    def counted(place, *arguments):
        tried.append(arguments[7])
        return place.copy()

    monkeypatch.setattr(shorten, "anneal", counted)
    for count, rows in ((60, 8), (100, 10), (434, 21)):
        shorten.place_blocks(count, random_flows(count, 10), fabric(rows, rows))
    assert tried == [3_600_000, *[shorten.MOST_MOVES] * 3]
    assert shorten.MOST_MOVES == 4_096_000


def test_near_exchanges_need_fewer_tries():
    """With a thirtieth of the exchanges shorter ways than with free ones alone, as before."""
    spec, count = fabric(20, 20), 390
    flows = random_flows(count, 300)
    distance, partners = shorten.distances(spec), shorten._partners(flows, 400)
    start = shorten._start(spec, {})
    ((near, heat),) = shorten._searches(count, distance, len(partners[1]) / count)
    nowhere = np.empty((400, 0), np.int64)

    def length(near, moves, heat):
        key = Key(0).words()
        items = np.arange(400)
        found = kernels.anneal(start, items, count, *partners, distance, near, moves, *heat, *key)
        return shorten.total(found, flows, distance)

    assert length(near, 200_000, heat) < length(nowhere, 6_000_000, shorten.HEAT_FREE)


def test_a_placement_is_found_once_in_a_process():
    """`explain` and then `from_model`, and machines that differ in their devices."""
    model, spec = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 20)).eval(), fabric(4, 5)
    task.solve.cache_clear()
    rows = aimc_sim.Chip.explain(model, spec).rows
    chip = aimc_sim.Chip.from_model(model, spec)
    assert task.solve.cache_info()[:2] == (1, 1)  # hits, misses
    assert ", ".join(
        str(core) for core in sorted(b.core for b in chip.compiled.layers[0].blocks)
    ) in (rows[0].where)
    aimc_sim.Chip.from_model(model, spec.with_({"core.ldpu.output_bits": 7, "name": "other"}))
    assert task.solve.cache_info().misses == 1
    for changes in (
        {"fabric.topology": "mesh"}, {"fabric.rows": 5}, {"chips": 2},
        {"mapping.placement": "relays"}, {"mapping.cores": (("1", (7, 3)),)}, {"core.rows": 150},
    ):  # fmt: skip
        before = task.solve.cache_info().misses
        kept = aimc_sim.Chip.from_model(model, spec.with_(changes)).compiled
        assert task.solve.cache_info().misses == before + 1
        task.solve.cache_clear()
        anew = aimc_sim.Chip.from_model(model, spec.with_(changes)).compiled
        assert [b.core for b in kept.blocks] == [b.core for b in anew.blocks]
        assert [t.route for t in kept.transfers] == [t.route for t in anew.transfers]
    assert task.solve.cache_info().maxsize == task.KEPT


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"fabric.topology": "mesh"}, {"fabric.topology": "torus"}, {"fabric.topology": "tree"},
        {"fabric.topology": "bus"}, {"fabric.rows": 1}, {"fabric.rows": 12},
    ],
    ids=str,
)  # fmt: skip
def test_ways_are_those_of_networkx(changes):
    """Also where several cost the same: results of before stay as they are."""
    spec = fabric(5, 6).with_(changes).fabric
    graph = fabric_graph(spec)
    links, number = routing._listed(spec)
    generator = Key(1).generator()
    for most in (0, 2, 1000):
        load = generator.integers(0, most + 1, len(number))
        total = int(load.sum())

        def cost(a, b, _, load=load, total=total):
            return 1 + int(load[number[a, b]]) / (total + 1) / len(graph)

        for start, end in generator.integers(0, spec.cores, (60, 2)).tolist():
            way = cheapest(start, end, links, load, total).tolist()
            assert way == nx.shortest_path(graph, start, end, weight=cost)
            assert len(way) == 1 + links_between(spec)[start, end]
