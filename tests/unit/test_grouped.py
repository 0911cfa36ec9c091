"""Grouped, depthwise, transposed and one-dimensional convolutions on crossbars."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import settle
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.matrices import crossbar_matrix, grouped_weight

FEW = settings(max_examples=10, deadline=None, derandomize=True, database=None)
IDEAL = presets.ideal().with_({"fabric.rows": 4, "fabric.cols": 4})  # routes in no time
SMALL = IDEAL.with_({"core.rows": 24, "core.cols": 10})


def on_chip(model, x, spec=SMALL):
    """The ideal chip equals torch; return it."""
    model = settle(model).eval()
    chip = aimc_sim.Chip.from_model(model, spec).program(0)
    with torch.no_grad():
        torch.testing.assert_close(chip(x), model(x), rtol=1e-4, atol=1e-4)
    return chip


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


# ------------------------------------------------------------------------------ matrices


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@FEW
def test_matrix_is_block_diagonal_and_comes_back(groups, inputs, outputs, kernel):
    weight = np.arange(1.0, 1 + groups * outputs * inputs * kernel**2, dtype=np.float32)
    weight = weight.reshape(groups * outputs, inputs, kernel, kernel)
    matrix = crossbar_matrix(weight, groups)
    assert matrix.shape == (groups * inputs * kernel**2, groups * outputs)
    assert np.count_nonzero(matrix) == weight.size
    for out, i, r, c in np.ndindex(weight.shape):
        row = ((out // outputs * inputs + i) * kernel + r) * kernel + c
        assert matrix[row, out] == weight[out, i, r, c]
    np.testing.assert_array_equal(grouped_weight(matrix, (kernel, kernel), groups), weight)


# -------------------------------------------------------------------------------- blocks


def blocks_of(model, rows, cols):
    spec = presets.ideal().with_({"core.rows": rows, "core.cols": cols})
    return compile_network(trace(settle(model)), spec).layers[0]


def covered(layer):
    """How often a crossbar holds each cell of the matrix."""
    times = np.zeros(layer.weight.shape, int)
    for block in layer.blocks:
        times[block.row_start : block.row_stop, block.col_start : block.col_stop] += 1
    return times


CONVOLUTIONS = {  # groups, inputs and outputs of a group, kernel, rows, columns -> blocks
    "depthwise, rows decide": (32, 1, 1, 3, 64, 256, 5),  # 7 groups of 9 rows each
    "depthwise, columns decide": (32, 1, 1, 3, 256, 8, 4),
    "depthwise, multiplier": (12, 1, 2, 3, 64, 256, 2),
    "all in one": (4, 3, 5, 1, 64, 64, 1),
    "one group per core": (3, 4, 4, 3, 40, 256, 3),
    "a group in two rows": (3, 4, 4, 3, 30, 256, 6),
    "a group in two rows and three columns": (2, 4, 9, 3, 30, 4, 12),
    "a kernel in two": (2, 1, 1, 5, 20, 20, 4),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_blocks(case):
    groups, inputs, outputs, kernel, rows, cols, count = CONVOLUTIONS[case]
    conv = nn.Conv2d(groups * inputs, groups * outputs, kernel, groups=groups)
    layer = blocks_of(conv, rows, cols)
    assert len(layer.blocks) == count
    # Every weight once; cells between groups at most once, and only whole groups side by side.
    times = covered(layer)
    assert (times[layer.weight != 0] == 1).all()
    assert times.max() == 1
    side_by_side = inputs * kernel**2 <= rows and outputs <= cols
    if side_by_side:
        assert all(len(chain) == 1 for chain in layer.chains)
        for b in layer.blocks:
            height, width = inputs * kernel**2, outputs
            assert b.row_start % height == b.row_stop % height == 0
            assert b.col_start % width == b.col_stop % width == 0
            assert b.row_start // height == b.col_start // width
    else:
        assert times.sum() == conv.weight.numel()  # nothing but the groups themselves
    for b in layer.blocks:
        assert b.shape[0] <= rows
        assert b.shape[1] <= cols
    assert layer.macs == conv.weight.numel()


def test_dense_layer_is_not_cut_along_the_diagonal():
    """The companion of the above: without groups all cells are used."""
    layer = blocks_of(nn.Conv2d(8, 8, 3), 40, 256)
    assert (covered(layer) == 1).all()
    assert len(layer.blocks) == 2


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2),
    st.integers(5, 30), st.integers(3, 9),
)  # fmt: skip
@FEW
def test_grouped_equals_torch(groups, inputs, outputs, kernel, stride, rows, cols):
    conv = nn.Conv2d(
        groups * inputs, groups * outputs, (kernel, 2), stride, (1, 0), groups=groups
    )  # fmt: skip
    spec = presets.ideal().with_(
        {"core.rows": rows, "core.cols": cols, "fabric.rows": 7, "fabric.cols": 7}
    )
    x = images(2, groups * inputs, 5, 4)
    chip = on_chip(conv, x, spec)
    layer = chip.compiled.layers[0]
    found = chip.effective_weights("Conv2d")
    assert found.shape == tuple(conv.weight.shape)
    np.testing.assert_allclose(found, conv.weight.detach(), rtol=1e-5, atol=1e-6)
    assert chip.compiled.cores_used == len(layer.blocks)
    pixels = ((5 + 2 - kernel) // stride + 1) * ((4 - 2) // stride + 1)
    assert chip.counts["Conv2d"].mvms == 2 * pixels * len(layer.blocks)
    outputs_of_blocks = sum(b.shape[1] for b in layer.blocks)
    assert chip.counts["Conv2d"].conversions == 2 * pixels * outputs_of_blocks


def test_noisy_devices_are_those_of_the_groups():
    """Zeros between groups are no weights of the module, but devices of the crossbar."""
    model = settle(nn.Conv2d(8, 8, 3, groups=8)).eval()
    x = images(3, 8, 6, 6)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    found = chip.effective_weights("Conv2d")
    error = found - model.weight.detach().numpy()
    assert found.shape == (8, 1, 3, 3)
    assert 0.003 < error.std() / np.abs(found).max() < 0.2
    # Run with the found weights, plus the small conductances between the groups.
    with torch.no_grad():
        near = nn.functional.conv2d(x, torch.from_numpy(found), model.bias, groups=8)
    assert (chip(x) - near).norm() < 0.5 * near.norm()


# --------------------------------------------------------------------------- transposed


@st.composite
def transposed(draw, dims):
    groups = draw(st.integers(1, 3))

    def one(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    kernel, stride, dilation = one(1, 4), one(1, 3), one(1, 2)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    extra = tuple(draw(st.integers(0, m)) for m in most)
    # The output must not vanish: 3 inputs per side.
    reach = [
        2 * s + d * (k - 1) + 1 + e
        for s, d, k, e in zip(stride, dilation, kernel, extra, strict=True)
    ]
    padding = tuple(draw(st.integers(0, min(3, (r - 1) // 2))) for r in reach)
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d)[dims - 1]
    outputs = groups * draw(st.integers(1, 3))
    return kind(
        groups * draw(st.integers(1, 2)), outputs, kernel, stride, padding, extra, groups,
        draw(st.booleans()), dilation,
    )  # fmt: skip


@given(transposed(2))
@FEW
def test_transposed_equals_torch_with_batch_norm_and_relu_merged(conv):
    model = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())
    chip = on_chip(model, images(2, conv.in_channels, 3, 3), IDEAL)
    layer = chip.compiled.layers[0]
    assert layer.folded == ("1", "2")
    assert layer.relu
    kinds = {step.op for step in chip.compiled.steps if step is not layer}
    assert kinds <= {"pixel_shuffle", "subsample"}
    # One MVM per input pixel and the border that the taps reach, however large the stride.
    taps = layer.kernel_size
    assert chip.counts["0"].mvms == 2 * np.prod([3 + t - 1 for t in taps]) * len(layer.blocks)


@given(transposed(1))
@FEW
def test_transposed_lines_equal_torch(conv):
    model = nn.Sequential(conv, nn.BatchNorm1d(conv.out_channels), nn.ReLU())
    chip = on_chip(model, images(2, conv.in_channels, 3), IDEAL)
    assert chip.compiled.layers[0].folded == ("1", "2")


def test_another_reader_keeps_batch_norm_apart():
    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.ConvTranspose2d(2, 3, 2, 2), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    chip = on_chip(Read(), images(2, 2, 3, 3))
    assert chip.compiled.layers[0].folded == ()
    assert [s.op for s in chip.compiled.steps[1:]] == ["pixel_shuffle", "affine", "add"]


# -------------------------------------------------------------------------------- lines


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3),
    st.integers(0, 3), st.integers(1, 2),
)  # fmt: skip
@FEW
def test_lines_equal_torch(groups, inputs, outputs, kernel, stride, padding, dilation):
    conv = nn.Conv1d(
        groups * inputs, groups * outputs, kernel, stride, padding, dilation, groups
    )  # fmt: skip
    model = nn.Sequential(conv, nn.BatchNorm1d(groups * outputs), nn.ReLU())
    chip = on_chip(model, images(2, groups * inputs, 11))
    assert chip.compiled.layers[0].folded == ("1", "2")
    found = chip.effective_weights("0")
    assert found.shape == tuple(conv.weight.shape)
    np.testing.assert_allclose(found, conv.weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("transposed", "dims"), list(product((False, True), (1, 2))))
def test_wrong_input_is_named(transposed, dims):
    kind = getattr(nn, f"Conv{'Transpose' * transposed}{dims}d")
    chip = aimc_sim.Chip.from_model(kind(4, 2, 1, groups=2), SMALL).program(0)
    sizes = ", ".join(["height, width"] if dims == 2 else ["length"])
    with pytest.raises(ValueError, match=rf"wants \(batch, 4, {sizes}\)"):
        chip(images(2, 3, *[5] * dims))
