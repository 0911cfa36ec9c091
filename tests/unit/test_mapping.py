from dataclasses import replace

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import SPEC, LambdaLayer, check, fabric, transfers
from torch import nn

from aimc_sim.chip.program import AnalogLayer, DigitalStep
from aimc_sim.errors import CapacityError
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.split import equal_cuts, split_layer
from aimc_sim.zoo.resnet import resnet32

# ------------------------------------------------------------------------- ResNet-32


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
    compiled = check(build(), 2, 3, 32, 32)
    assert len(compiled.blocks) == compiled.cores_used == 60
    per_stage = [
        [len(layer.blocks) for layer in compiled.layers if layer.name.startswith(f"layer{i}")]
        for i in (1, 2, 3)
    ]
    assert per_stage == [[1] * 10, [1] + [2] * 9, [2] + [3] * 9]
    assert [block.shape[0] for block in compiled.layer("layer3.0.conv2").blocks] == [198, 189, 189]

    # Every convolution has taken up its batch norm and ReLU, every second one its shortcut.
    assert [step.op for step in compiled.steps if isinstance(step, DigitalStep)] == [
        "subsample", "pad", "subsample", "pad", "global_avg_pool", "flatten",
    ]  # fmt: skip
    convolutions = compiled.layers[:-1]
    assert all(layer.relu and len(layer.folded) == 1 for layer in convolutions)
    assert [layer.residual is not None for layer in convolutions[1:]] == [False, True] * 15

    # Shortcuts arrive at the head of the chain, once per block of the network.
    assert len(transfers(compiled, "residual")) == 15
    assert len(transfers(compiled, "partial_sum")) == 9 + 1 + 2 * 9
    assert sum(t.hops for t in compiled.transfers) <= 1.3 * len(compiled.transfers)


def test_compiling_twice_gives_the_same_image(plain_resnet32):
    network = trace(plain_resnet32)
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
