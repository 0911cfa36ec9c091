"""Training's crossbars are the chip's: the same weights in the same block, column and scale.

Every weight is its own number, so what a block of the chip's image holds names the weights in it.
"""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.training import TrainingSpec, analog_layers, prepare

IDEAL = presets.ideal().with_({"fabric.rows": 6, "fabric.cols": 8})  # placed in no time


def numbered(module):
    """Give every weight of a module its number, from 1."""
    start = 1
    for parameter in module.parameters():
        n = parameter.numel()
        parameter.data = torch.arange(start, start + n).reshape(parameter.shape).float()
        start += n
    return module.eval()


def block(rows_by_columns):
    """Return what shares a crossbar: (what shares a column) for every column that holds any."""
    columns = (frozenset(int(w) for w in column if w) for column in rows_by_columns)
    return frozenset(column for column in columns if column)


def on_chip(layer):
    return [
        block(layer.weight[b.row_start : b.row_stop, b.col_start : b.col_stop].T)
        for b in layer.blocks
    ]


def in_training(crossbar, weight):
    matrix = crossbar.layout.matrix(weight.detach())
    return [block(matrix[cols, rows].tolist()) for _, cols, rows in crossbar.layout.blocks()]


def compare(layer, spec, model=None, names=None):
    """Check a layer against the chip's image of it, matrix by matrix."""
    try:
        compiled = aimc_sim.Chip.from_model(numbered(model or layer), spec).compiled
    except aimc_sim.CapacityError:
        reject()  # more blocks than cores
    prepared = prepare(layer, spec)
    wanted = [blocks for chip_layer in compiled.layers for blocks in on_chip(chip_layer)]
    found = []
    for name, crossbar in prepared.analog.items():
        if names is None or name in names:
            found += in_training(crossbar, _weight(prepared, name))
    assert Counter(found) == Counter(wanted)


def _weight(layer, name):
    if not isinstance(layer, nn.MultiheadAttention):
        return getattr(layer, name)
    if name == "out":
        return layer.out_proj.weight
    if not layer._qkv_same_embed_dim:
        return getattr(layer, f"{name}_proj_weight")
    size = layer.embed_dim
    first = size * "qkv".index(name[0])
    return layer.in_proj_weight[first : first + size * len(name)]


def crossbar(rows, cols):
    return IDEAL.with_({"core.rows": rows, "core.cols": cols})


cores = st.builds(crossbar, st.integers(8, 40), st.integers(6, 30))


@st.composite
def convolutions(draw, transposed):
    """One or two dimensions, any groups (depthwise among them), strides, dilations."""
    dims = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 4))
    inputs, outputs = (groups * draw(st.integers(1, 5)) for _ in range(2))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    kernel, stride, dilation = each(1, 4), each(1, 3), each(1, 2)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, (n - 1) // 2)) for n in reach)
    about = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        about["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
    kind = f"Conv{'Transpose' if transposed else ''}{dims}d"
    return getattr(nn, kind)(inputs, outputs, kernel, **about, bias=False)


@settings(max_examples=25, deadline=None)
@given(convolutions(transposed=True), cores)
def test_transposed_convolutions(layer, spec):
    compare(layer, spec)


@settings(max_examples=25, deadline=None)
@given(convolutions(transposed=False), cores)
def test_convolutions(layer, spec):
    compare(layer, spec)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), cores)
def test_dense_layers(inputs, outputs, spec):
    compare(nn.Linear(inputs, outputs, bias=False), spec)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]), st.integers(1, 20), st.integers(2, 12),
    st.booleans(), st.booleans(), cores,
)  # fmt: skip
def test_recurrent_layers(kind, inputs, hidden, both_ways, projected, spec):
    more = {"proj_size": hidden - 1} if projected and kind is nn.LSTM else {}
    layer = kind(inputs, hidden, bidirectional=both_ways, batch_first=True, bias=False, **more)
    compare(layer, spec)


class Attention(nn.Module):
    """An attention and what it reads: one value, one and another, three."""

    def __init__(self, reads, layer):
        super().__init__()
        self.reads, self.attention = reads, layer

    def forward(self, x):
        other = x.tanh()
        k, v = {
            "qkv": (x, x),
            "q, kv": (other, other),
            "q, k, v": (other, x.sigmoid()),
            "sizes": (other[..., :5], other[..., :3]),
        }[self.reads]
        return self.attention(x, k, v, need_weights=False)[0]


READS = {
    "qkv": (["qkv", "out"], {}),
    "q, k, v": (["q", "k", "v", "out"], {}),
    "sizes": (["q", "k", "v", "out"], {"kdim": 5, "vdim": 3}),
    "q, kv": (["q", "kv", "out"], {}),
}


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("core", [(16, 12), (7, 18), (40, 30)])
def test_attention(reads, core):
    """What reads the same value is one matrix, whose blocks hold columns of several projections."""
    names, sizes = READS[reads]
    layer = nn.MultiheadAttention(8, 2, bias=False, batch_first=True, **sizes)
    model = Attention(reads, layer)
    spec = crossbar(*core)
    if reads == "q, kv":
        compiled = aimc_sim.Chip.from_model(model.eval(), spec).compiled
        if not any(one.weight.shape == (8, 16) for one in compiled.layers):
            pytest.skip("this front end takes keys and values of one source apart")
    compare(layer, spec, model, names)


def test_the_layer_of_the_issue():
    """64 x 16 channels, 3 x 3, stride 2: four phases of four taps, 256 x 64 on one crossbar."""
    layer = nn.ConvTranspose2d(64, 16, 3, 2, bias=False)
    spec = presets.hermes("tdp")
    layout = prepare(layer, spec).analog["weight"].layout
    assert (layout.rows, layout.cols, len(list(layout.blocks()))) == (256, 64, 1)
    compare(layer, spec)


def test_weights_go_to_the_crossbar_and_back():
    """Every weight once, zeros elsewhere, gradients to the very weights."""
    layer = nn.ConvTranspose2d(6, 4, (3, 4), (2, 3), groups=2, bias=False)
    layout = prepare(layer, crossbar(16, 12)).analog["weight"].layout
    weight = torch.randn(layer.weight.shape, requires_grad=True)
    matrix = layout.matrix(weight)
    assert matrix.shape == (2 * 2 * 6, 3 * 2 * 2)
    assert torch.equal(layout.unfold(matrix, weight), weight)
    assert np.count_nonzero(matrix.detach()) == weight.numel() < prod(matrix.shape)
    factor = torch.randn(matrix.shape)
    (matrix * factor).sum().backward()
    assert torch.equal(weight.grad, layout.unfold(factor, weight))


def test_a_scale_is_that_of_the_chips_column():
    """A column of a transposed layer holds every second tap: one large weight coarsens these."""
    layer = nn.ConvTranspose1d(100, 8, 4, 2, bias=False)
    layer.weight.data.fill_(0.01)
    layer.weight.data[0, 3, 1] = 1.0
    spec = presets.hermes("tdp").with_({"core.weight_scaling": "column"})
    options = TrainingSpec(input_range="off", output_range="off")
    y = prepare(layer, spec, options).train()(torch.eye(100)[:, :, None]).detach()
    spread = (y - layer.weight).detach()[1:].std(0)
    coarse = torch.zeros(8, 4, dtype=torch.bool)
    coarse[3, 1::2] = True
    assert spread[coarse].min() > 10 * spread[~coarse].max()


def test_another_output_size_is_refused_where_it_moves_weights():
    layer = nn.ConvTranspose1d(2, 3, 2, 2, output_padding=0)
    prepared = prepare(layer, crossbar(16, 12))
    x = torch.randn(1, 2, 4)
    assert prepared(x, [8]).shape == (1, 3, 8)
    with pytest.raises(ValueError, match=r"output_size = \(9,\).*output_padding = \(1,\)"):
        prepared(x, [9])
    same = prepare(nn.ConvTranspose1d(2, 3, 3, 2, padding=1), crossbar(16, 12))
    assert same(x, [8]).shape == (1, 3, 8)


def test_prepared_layers_are_marked():
    """By this the chip knows what has to be finalized first."""
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.Linear(2, 2), nn.ConvTranspose1d(2, 2, 1), nn.LSTM(2, 2),
        nn.MultiheadAttention(2, 1),
    )  # fmt: skip
    assert not any(hasattr(module, "aimc_prepared") for module in model.modules())
    prepared = prepare(model, IDEAL)
    marked = [module for module in prepared.modules() if hasattr(module, "aimc_prepared")]
    assert marked == [layer for _, layer in analog_layers(prepared)]
    assert len(marked) == len(model)
