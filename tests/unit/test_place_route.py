"""Where blocks go, and who sends what to whom."""

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import SPEC, LambdaLayer, check, fabric, transfers
from torch import nn

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.errors import CapacityError
from aimc_sim.frontend import trace
from aimc_sim.mapping import Network, Node, compile_network
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.route import Flow, dataflow
from aimc_sim.mapping.shorten import place_blocks, serpentine
from aimc_sim.mapping.split import split


def test_small_cores_split_both_ways_and_still_compute():
    spec = fabric(9, 9, **{"core.rows": 20, "core.cols": 5})
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3),
        nn.Conv2d(8, 7, (1, 2)), nn.Flatten(), nn.Linear(14, 6), nn.Linear(6, 3),
    )  # fmt: skip
    compiled = check(model, 2, 3, 8, 8, spec=spec)
    shapes = {layer.name: (len(layer.chains[0]), len(layer.chains)) for layer in compiled.layers}
    assert shapes == {"0": (2, 2), "4": (1, 2), "6": (1, 2), "7": (1, 1)}


def test_activations_go_where_their_channels_are_read():
    """Channels 0-4 and 5-9 of the first layer; rows of the second hold channels 0-4, 5-9."""
    spec = fabric(4, 4, **{"core.rows": 5, "core.cols": 5})
    compiled = check(nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 4, 1)), spec=spec)
    assert transfers(compiled, "activation") == [
        (("0", 0), ("1", 0, 0)),
        (("0", 1), ("1", 1, 0)),
    ]
    assert transfers(compiled, "partial_sum") == [(("1", 0), ("1", 1, 0))]


def test_flattened_maps_keep_their_channels():
    spec = fabric(5, 5, **{"core.rows": 8, "core.cols": 4})
    compiled = check(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(32, 2)),
        spec=spec,
    )  # four pixels per channel: 8 rows are two channels
    assert transfers(compiled, "activation") == [
        (("0", 0), ("3", 0, 0)),
        (("0", 0), ("3", 1, 0)),
        (("0", 1), ("3", 2, 0)),
        (("0", 1), ("3", 3, 0)),
    ]


def test_residual_goes_to_the_heads_that_add_its_channels():
    """Shortcut channels shift by the padding: 0-3, 4-7 become 4-7, 8-11 of 16."""

    class Widening(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 1)

        def forward(self, x):
            x = self.a(x)
            return self.b(x) + F.pad(x, (0, 0, 0, 0, 4, 4))

    spec = fabric(5, 5, **{"core.rows": 4, "core.cols": 4})
    compiled = check(Widening(), spec=spec)
    assert transfers(compiled, "residual") == [(("a", 0), ("b", 0, 1)), (("a", 1), ("b", 0, 2))]


def test_lost_channels_reach_everyone():
    spec = fabric(5, 5, **{"core.rows": 3, "core.cols": 4})
    model = nn.Sequential(nn.Conv2d(3, 8, 1), LambdaLayer(lambda x: x[:, ::2]), nn.Conv2d(4, 2, 1))
    compiled = check(model, spec=spec)
    assert len(transfers(compiled, "activation")) == 2 * 2


def test_vectors_padded_by_features_reach_everyone():
    spec = fabric(5, 5, **{"core.rows": 4, "core.cols": 4})
    model = nn.Sequential(
        nn.Linear(3, 8), LambdaLayer(lambda x: F.pad(x, (2, 2))), nn.Linear(12, 2)
    )
    assert len(transfers(check(model, 2, 3, spec=spec), "activation")) == 2 * 3


def test_input_as_residual_needs_no_transfer():
    compiled = check(Residual(nn.Conv2d(3, 3, 3, padding=1)))
    assert compiled.layer("inner").residual == "input"
    assert compiled.transfers == ()


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return F.relu(self.inner(x) + x)


def test_nothing_to_compile():
    with pytest.raises(ValueError, match="no convolution, linear or recurrent"):
        compile_network(Network((Node("i", "input"),), "i", "i"), SPEC)


def test_serpentine_steps_to_a_neighbour():
    assert serpentine(3, 4) == [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]


def hops(cores, flows, spec):
    lengths = dict(nx.all_pairs_shortest_path_length(fabric_graph(spec.fabric)))
    return sum(lengths[cores[flow.producer]][cores[flow.consumer]] for flow in flows)


@given(data=st.data(), count=st.integers(2, 12), topology=st.sampled_from(["mesh", "prism_grid"]))
@settings(max_examples=30, deadline=None)
def test_placement_ends_where_no_exchange_helps(data, count, topology):
    spec = fabric(3, 4, **{"fabric.topology": topology})
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    pairs = data.draw(st.lists(pair.filter(lambda p: p[0] != p[1]), max_size=20, unique=True))
    flows = [Flow("activation", "x", *ends) for ends in pairs]
    cores = place_blocks(count, flows, spec)
    assert len(set(cores)) == count
    best = hops(cores, flows, spec)
    assert best <= hops(serpentine(3, 4)[:count], flows, spec)
    everyone = [*cores, *(set(range(12)) - set(cores))]
    for a in range(count):
        for b in range(12):
            trial = list(everyone)
            trial[a], trial[b] = trial[b], trial[a]
            assert hops(trial, flows, spec) >= best


def test_placement_refuses_what_does_not_fit():
    with pytest.raises(CapacityError, match="5 blocks do not fit on the 4 cores"):
        place_blocks(5, [], fabric(2, 2))


def test_dataflow_counts_each_pair_once():
    """Both operands of the addition come from the same layer."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            y = self.a(x)
            return self.b(F.relu(y) + y)

    steps = split(lower(trace(Both()))[0], SPEC)
    assert dataflow(steps) == (Flow("activation", "a", 0, 1, channels=3, reader="b"),)


class Branches(nn.Module):
    """Two branches joined by channels, behind them a layer that reads both."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 5, 1)
        self.after = nn.Conv2d(15, 4, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        joined = torch.cat([F.relu(self.left(x)), x, self.right(x)], dim=1)
        return self.after(joined)


def test_joined_branches_compute_and_send_to_who_reads_them():
    """Channels 0-5 of `left`, 6-9 of `stem`, 10-14 of `right`; rows of `after` are 0-7, 8-14."""
    compiled = check(Branches(), spec=fabric(5, 5, **{"core.rows": 36, "core.cols": 8}))
    assert len(compiled.layer("after").blocks) == 1
    spec = fabric(5, 5, **{"core.rows": 8, "core.cols": 8})
    compiled = check(Branches(), spec=spec)
    pairs = [(a, b) for a, b in transfers(compiled, "activation") if b[0] == "after"]
    assert pairs == [
        (("left", 0), ("after", 0, 0)),
        (("stem", 0), ("after", 0, 0)),
        (("stem", 0), ("after", 1, 0)),
        (("right", 0), ("after", 1, 0)),
    ]
    sizes = {
        (t.value, t.consumer): t.channels for t in compiled.transfers if t.kind == "activation"
    }  # fmt: skip
    blocks = {b.row_index: b.core for b in compiled.layer("after").blocks}
    assert [sizes["left", blocks[0]], sizes["stem", blocks[0]]] == [6, 2]
    assert [sizes["stem", blocks[1]], sizes["right", blocks[1]]] == [2, 5]


def test_a_flattened_residual_goes_to_the_heads_that_add_its_pixels():
    """Columns 0-5 and 6-11 of a sum over a flattened map of 2 channels x 6 pixels."""

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.sum = nn.Conv2d(3, 2, 1), nn.Linear(12, 12)

        def forward(self, x):
            x = self.map(x).flatten(1)
            return self.sum(x) + x

    spec = fabric(5, 5, **{"core.rows": 12, "core.cols": 6})
    compiled = check(Flat(), 2, 3, 2, 3, spec=spec)
    assert transfers(compiled, "residual") == [
        (("map", 0), ("sum", 0, 0)),
        (("map", 0), ("sum", 0, 1)),
    ]
