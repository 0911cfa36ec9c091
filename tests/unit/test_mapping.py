from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import run_steps, settle
from torch import nn

from aimc_sim import presets
from aimc_sim.bridge.trace import trace
from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.image import AnalogLayer, DigitalStep
from aimc_sim.errors import CapacityError
from aimc_sim.mapping import Network, Node, compile_network
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.place import place_blocks, serpentine
from aimc_sim.mapping.route import Flow, dataflow
from aimc_sim.mapping.split import equal_cuts, split, split_layer
from aimc_sim.zoo.resnet import resnet32

SPEC = presets.ideal()


def fabric(rows, cols, **core):
    return SPEC.with_({"fabric.rows": rows, "fabric.cols": cols, **core})


def check(model, *shape, spec=SPEC):
    """The image, executed block by block, computes what the model computes; return it."""
    x = torch.randn(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(1))
    image = compile_network(trace(settle(model.eval())), spec)
    with torch.no_grad():
        expected = model(x.clone())
    got = run_steps(image.steps, image.input, image.output, x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    check_consistent(image, spec)
    return image


def check_consistent(image, spec):
    """No core twice, every weight once, every transfer along links and between its blocks."""
    cores = [block.core for block in image.blocks]
    assert len(set(cores)) == len(cores) == image.cores_used <= image.cores_available
    assert set(cores) <= set(range(spec.fabric.cores))
    for layer in image.layers:
        covered = np.zeros(layer.weight.shape, int)
        for b in layer.blocks:
            assert b.layer == layer.name
            assert b.shape[0] <= spec.core.rows
            assert b.shape[1] <= spec.core.cols
            covered[b.row_start : b.row_stop, b.col_start : b.col_stop] += 1
        assert np.all(covered == 1)
    links = fabric_graph(spec.fabric)
    owner = {block.core: block for block in image.blocks}
    for t in image.transfers:
        assert (t.route[0], t.route[-1]) == (t.producer, t.consumer)
        assert t.hops >= 1
        assert all(links.has_edge(a, b) for a, b in zip(t.route, t.route[1:], strict=False))
        assert owner[t.producer].layer == t.value
        consumer = image.layer(owner[t.consumer].layer)
        chain = next(c for c in consumer.chains if owner[t.consumer] in c)
        if t.kind == "partial_sum":
            assert chain[chain.index(owner[t.consumer]) - 1] is owner[t.producer]
        if t.kind == "residual":
            assert chain[0] is owner[t.consumer]


def transfers(image, kind=None):
    """(producing layer, its column block) -> (consuming layer, row block, column block)."""
    owner = {block.core: block for block in image.blocks}
    pairs = []
    for t in image.transfers:
        if kind in (None, t.kind):
            a, b = owner[t.producer], owner[t.consumer]
            pairs.append(((a.layer, a.col_index), (b.layer, b.row_index, b.col_index)))
    return pairs


# ------------------------------------------------------------------------- ResNet-32


class LambdaLayer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class WidespreadBlock(nn.Module):
    """The residual block as it is usually written for CIFAR."""

    def __init__(self, before, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != planes:
            self.shortcut = LambdaLayer(
                lambda x: F.pad(
                    x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0
                )
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class WidespreadResNet(nn.Module):
    def __init__(self, blocks=5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for stage, (before, planes) in enumerate([(16, 16), (16, 32), (32, 64)], start=1):
            first = WidespreadBlock(before, planes, 1 if stage == 1 else 2)
            rest = [WidespreadBlock(planes, planes, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


@pytest.mark.parametrize("build", [resnet32, WidespreadResNet])
def test_resnet32_takes_60_cores(build):
    """1 + 10x1, 1 + 9x2, 2 + 9x3, 1: the count of facts/topology-5pp.md, section 3."""
    image = check(build(), 2, 3, 32, 32)
    assert len(image.blocks) == image.cores_used == 60
    per_stage = [
        [len(layer.blocks) for layer in image.layers if layer.name.startswith(f"layer{i}")]
        for i in (1, 2, 3)
    ]
    assert per_stage == [[1] * 10, [1] + [2] * 9, [2] + [3] * 9]
    assert [block.shape[0] for block in image.layer("layer3.0.conv2").blocks] == [198, 189, 189]

    # Every convolution has taken up its batch norm and ReLU, every second one its shortcut.
    assert [step.op for step in image.steps if isinstance(step, DigitalStep)] == [
        "subsample", "pad", "subsample", "pad", "global_avg_pool", "flatten",
    ]  # fmt: skip
    convolutions = image.layers[:-1]
    assert all(layer.relu and len(layer.folded) == 1 for layer in convolutions)
    assert [layer.residual is not None for layer in convolutions[1:]] == [False, True] * 15

    # Shortcuts arrive at the head of the chain, once per block of the network.
    assert len(transfers(image, "residual")) == 15
    assert len(transfers(image, "partial_sum")) == 9 + 1 + 2 * 9
    assert sum(t.hops for t in image.transfers) <= 1.3 * len(image.transfers)


def test_compiling_twice_gives_the_same_image():
    network = trace(resnet32())
    first, second = (compile_network(network, SPEC) for _ in range(2))
    assert first.blocks == second.blocks
    assert first.transfers == second.transfers


# ------------------------------------------------------------------------- splitting


def conv_layer(inputs, outputs, kernel=(1, 1), kind="conv2d"):
    rows = inputs * kernel[0] * kernel[1]
    return AnalogLayer(
        name="layer",
        kind=kind,
        source="input",
        weight=np.zeros((rows, outputs), np.float32),
        scale=np.ones(outputs, np.float32),
        offset=np.zeros(outputs, np.float32),
        relu=False,
        kernel_size=kernel,
    )


@pytest.mark.parametrize(
    ("layer", "rows", "cols"),
    [
        # ResNet-9 of the chip paper, arXiv:2212.02872: 2016 x 224 -> 8 blocks of 252 x 224
        (conv_layer(224, 224, (3, 3)), [252] * 8, [224]),
        (conv_layer(112, 112, (3, 3)), [252] * 4, [112]),
        (conv_layer(64, 64, (3, 3)), [198, 189, 189], [64]),
        (conv_layer(300, 40, kind="linear"), [150, 150], [40]),
        (conv_layer(504, 2016, kind="linear"), [252, 252], [252] * 8),
        (conv_layer(5, 3, (16, 16)), [256] * 5, [3]),
        (conv_layer(2, 3, (17, 17)), [193, 193, 192], [3]),  # 578 rows, cut inside channels
    ],
)
def test_known_splits(layer, rows, cols):
    blocks = split_layer(layer, 256, 256)
    assert [b.shape[0] for b in blocks if b.col_index == 0] == rows
    assert [b.shape[1] for b in blocks if b.row_index == 0] == cols


@given(
    inputs=st.integers(1, 300),
    outputs=st.integers(1, 300),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    rows=st.integers(1, 256),
    cols=st.integers(1, 256),
)
@settings(max_examples=200, deadline=None)
def test_every_weight_lands_exactly_once(inputs, outputs, kernel, rows, cols):
    layer = conv_layer(inputs, outputs, kernel)
    area = kernel[0] * kernel[1]
    unit = area if area <= rows else 1
    blocks = split_layer(layer, rows, cols)
    covered = np.zeros(layer.weight.shape, np.int8)
    for b in blocks:
        covered[b.row_start : b.row_stop, b.col_start : b.col_stop] += 1
        assert b.row_start % unit == b.row_stop % unit == 0
        assert 1 <= b.shape[0] <= rows
        assert 1 <= b.shape[1] <= cols
    assert np.all(covered == 1)

    fewest = -(-inputs * area // unit // (rows // unit)) * -(-outputs // cols)
    assert len(blocks) == fewest
    heights, widths = ({b.shape[axis] for b in blocks} for axis in (0, 1))
    assert max(heights) - min(heights) <= unit
    assert max(widths) - min(widths) <= 1
    chains = replace(layer, blocks=blocks).chains
    assert [[b.row_index for b in chain] for chain in chains] == [
        list(range(len(chains[0])))
    ] * len(chains)


def test_cuts():
    assert equal_cuts(1, 256) == [0, 1]
    assert equal_cuts(256, 256) == [0, 256]
    assert equal_cuts(257, 256) == [0, 129, 257]


def test_capacity_error_names_what_is_too_big():
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.Conv2d(64, 512, 3), nn.Flatten(), nn.Linear(512, 3000),
        nn.Linear(3000, 300), nn.Linear(300, 5),
    )  # fmt: skip
    message = (
        r"needs 57 cores of 256x256, the chip 'ideal.*' has 12; biggest layers \(cores, weights\): "
        r"'3' 24 \(512x3000\), '4' 24 \(3000x300\), '1' 6 \(576x512\); use a narrower"
    )
    spec = fabric(3, 4)
    with pytest.raises(CapacityError, match=message):
        compile_network(trace(model), spec)
    assert len(compile_network(trace(model), SPEC).blocks) == 57


# -------------------------------------------------------------------- place and route


def test_small_cores_split_both_ways_and_still_compute():
    spec = fabric(9, 9, **{"core.rows": 20, "core.cols": 5})
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3),
        nn.Conv2d(8, 7, (1, 2)), nn.Flatten(), nn.Linear(14, 6), nn.Linear(6, 3),
    )  # fmt: skip
    image = check(model, 2, 3, 8, 8, spec=spec)
    shapes = {layer.name: (len(layer.chains[0]), len(layer.chains)) for layer in image.layers}
    assert shapes == {"0": (2, 2), "4": (1, 2), "6": (1, 2), "7": (1, 1)}


def test_activations_go_where_their_channels_are_read():
    """Channels 0-4 and 5-9 of the first layer; rows of the second hold channels 0-4, 5-9."""
    spec = fabric(4, 4, **{"core.rows": 5, "core.cols": 5})
    image = check(nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 4, 1)), spec=spec)
    assert transfers(image, "activation") == [
        (("0", 0), ("1", 0, 0)),
        (("0", 1), ("1", 1, 0)),
    ]
    assert transfers(image, "partial_sum") == [(("1", 0), ("1", 1, 0))]


def test_flattened_maps_keep_their_channels():
    spec = fabric(5, 5, **{"core.rows": 8, "core.cols": 4})
    image = check(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(32, 2)),
        spec=spec,
    )  # four pixels per channel: 8 rows are two channels
    assert transfers(image, "activation") == [
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
    image = check(Widening(), spec=spec)
    assert transfers(image, "residual") == [(("a", 0), ("b", 0, 1)), (("a", 1), ("b", 0, 2))]


def test_lost_channels_reach_everyone():
    spec = fabric(5, 5, **{"core.rows": 3, "core.cols": 4})
    model = nn.Sequential(nn.Conv2d(3, 8, 1), LambdaLayer(lambda x: x[:, ::2]), nn.Conv2d(4, 2, 1))
    image = check(model, spec=spec)
    assert len(transfers(image, "activation")) == 2 * 2


def test_vectors_padded_by_features_reach_everyone():
    spec = fabric(5, 5, **{"core.rows": 4, "core.cols": 4})
    model = nn.Sequential(
        nn.Linear(3, 8), LambdaLayer(lambda x: F.pad(x, (2, 2))), nn.Linear(12, 2)
    )
    assert len(transfers(check(model, 2, 3, spec=spec), "activation")) == 2 * 3


def test_input_as_residual_needs_no_transfer():
    image = check(Residual(nn.Conv2d(3, 3, 3, padding=1)))
    assert image.layer("inner").residual == "input"
    assert image.transfers == ()


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return F.relu(self.inner(x) + x)


def test_nothing_to_compile():
    with pytest.raises(ValueError, match="no Conv2d and no Linear"):
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
    assert dataflow(steps) == (Flow("activation", "a", 0, 1, channels=3),)


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
    image = check(Branches(), spec=fabric(5, 5, **{"core.rows": 36, "core.cols": 8}))
    assert len(image.layer("after").blocks) == 1
    spec = fabric(5, 5, **{"core.rows": 8, "core.cols": 8})
    image = check(Branches(), spec=spec)
    pairs = [(a, b) for a, b in transfers(image, "activation") if b[0] == "after"]
    assert pairs == [
        (("left", 0), ("after", 0, 0)),
        (("stem", 0), ("after", 0, 0)),
        (("stem", 0), ("after", 1, 0)),
        (("right", 0), ("after", 1, 0)),
    ]
    sizes = {
        (t.value, t.consumer): t.channels for t in image.transfers if t.kind == "activation"
    }  # fmt: skip
    blocks = {b.row_index: b.core for b in image.layer("after").blocks}
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
    image = check(Flat(), 2, 3, 2, 3, spec=spec)
    assert transfers(image, "residual") == [
        (("map", 0), ("sum", 0, 0)),
        (("map", 0), ("sum", 0, 1)),
    ]
