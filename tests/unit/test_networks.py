"""Whole networks of every kind: the ideal chip equals torch, the real one runs and repeats."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import aimc_sim
from aimc_sim import presets, zoo


def leaves(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [leaf for part in parts for leaf in leaves(part)]


def conv_block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.LeakyReLU(0.1)
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = (
            conv_block(1, 8),
            conv_block(8, 16),
            conv_block(16, 32),
        )
        self.up2, self.conv2 = nn.ConvTranspose2d(32, 16, 2, stride=2), conv_block(32, 16)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.conv1, self.out = conv_block(24, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.middle(F.max_pool2d(b, 2))
        y = self.conv2(torch.cat([self.up2(y), b], dim=1))
        return self.out(self.conv1(torch.cat([self.up1(y), a], dim=1)))


class Block(nn.Module):
    """As vision transformers are often written: shapes unpacked, attention by hand."""

    def __init__(self, width=24, heads=3):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 48), nn.GELU(), nn.Dropout(0.1), nn.Linear(48, width)
        )
        self.scale = nn.Parameter(torch.full((width,), 0.7))

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5
        x = x + self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, n, c))
        return x + self.scale * self.mlp(self.norm2(x))


class Windows(nn.Module):
    """Attention within windows: batch and windows joined on the way in, heads joined before the
    last layer, so that what stands before two joins is the batch with every window's tokens."""

    def __init__(self, wide=8, heads=2, side=2):
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv, self.out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)

    def forward(self, x):
        (b, h, w, c), s = x.shape, self.side
        x = x.view(b, h // s, s, w // s, s, c).transpose(2, 3).reshape(-1, s * s, c)
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = torch.softmax(q @ k.mT, -1) @ v
        y = self.out(y.transpose(1, 2).reshape(x.shape))
        return y.view(b, h // s, w // s, s, s, c).transpose(2, 3).reshape(b, h, w, c)


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 24, 4, 4), nn.Parameter(torch.randn(1, 1, 24))
        self.position = nn.Parameter(torch.randn(1, 17, 24))
        self.blocks, self.norm = nn.Sequential(Block(), Block()), nn.LayerNorm(24)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class TextClassifier(nn.Module):
    """Embedding, positions, a transformer encoder with padding, the mean of what is no padding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16, padding_idx=0)
        self.position = nn.Embedding(32, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(16, 3)

    def forward(self, tokens):
        padding = tokens == 0
        x = self.embedding(tokens) * 4 + self.position(torch.arange(tokens.shape[1]))
        x = self.encoder(x, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).float()
        return self.out((x * kept).sum(1) / kept.sum(1))


class PackedText(nn.Module):
    """Two inputs: padded tokens and lengths."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16, padding_idx=0)
        self.gru = nn.GRU(16, 12, batch_first=True, bidirectional=True)
        self.out = nn.Linear(24, 3)

    def forward(self, tokens, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        y, h = self.gru(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return {"classes": self.out(torch.cat([h[0], h[1]], dim=1)), "features": y}


class Tagger(nn.Module):
    """Initial state made of zeros in forward, last step picked."""

    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 12, 2, batch_first=True), nn.Linear(12, 4)

    def forward(self, x):
        h0 = torch.zeros(2, x.size(0), 12, device=x.device)
        c0 = torch.zeros(2, x.size(0), 12).to(x.device)
        y, (h, _) = self.lstm(x, (h0, c0))
        return self.out(y[:, -1, :]), h


def separable():
    def stage(inputs, outputs, stride):
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs), nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish(),
        ]  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.SiLU(), *stage(32, 40, 2), *stage(40, 24, 1),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def settled(model, seed=0):
    """Give batch norms statistics that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def tokens(rows=5, length=9):
    found = torch.randint(1, 20, (rows, length))
    found[0, 5:] = 0
    found[3, 2:] = 0
    return found


def normal(*shape):
    return lambda: (torch.randn(*shape),)


NETWORKS = {
    "lstm": (lambda: nn.LSTM(8, 16, 2, bidirectional=True, batch_first=True), normal(5, 7, 8)),
    "lstm, time first": (lambda: nn.LSTM(8, 16, 2, bidirectional=True), normal(7, 5, 8)),
    "lstm, no bias": (lambda: nn.LSTM(8, 16, bias=False), normal(7, 5, 8)),
    "gru": (lambda: nn.GRU(8, 16, 2, bidirectional=True, batch_first=True), normal(5, 7, 8)),
    "gru, time first": (lambda: nn.GRU(8, 16, 2), normal(7, 5, 8)),
    "rnn": (lambda: nn.RNN(8, 16, 2), normal(7, 5, 8)),
    "rnn, relu": (lambda: nn.RNN(8, 16, nonlinearity="relu"), normal(7, 5, 8)),
    "states": (Tagger, normal(5, 7, 6)),
    "packed": (PackedText, lambda: (tokens(), torch.tensor([5, 9, 3, 2, 6]))),
    "separable": (separable, normal(5, 3, 8, 8)),
    "unet": (UNet, normal(4, 1, 16, 16)),
    "vit": (ViT, normal(5, 3, 16, 16)),
    "block": (Block, normal(5, 17, 24)),
    "windows": (Windows, normal(5, 4, 4, 8)),
    "text": (TextClassifier, lambda: (tokens(),)),
    "transformer": (
        lambda: nn.Transformer(16, 4, 1, 1, 32, batch_first=True),
        lambda: (torch.randn(5, 7, 16), torch.randn(5, 6, 16)),
    ),
    "encoder, norm first": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", norm_first=True), 2,
            enable_nested_tensor=False,
        ),
        normal(7, 5, 16),
    ),
    "lines": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3, stride=2, padding=1), nn.BatchNorm1d(8), nn.ReLU(),
            nn.MaxPool1d(2), nn.ConvTranspose1d(8, 6, 4, stride=3, dilation=2, padding=1),
        ),
        normal(5, 3, 20),
    ),
}  # fmt: skip


NEED_EXAMPLES = {"windows"}
ALWAYS = {"lstm, time first", "rnn, relu", "states", "packed", "unet", "vit", "windows", "text"}
"""Every kind once; the others differ from these in what other tests vary too: layers one by one
(``test_trace_operations``, ``test_recurrent``) and networks of others (``tests/networks``)."""
NAMES = [
    pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in NETWORKS
]


@functools.cache
def built(name):
    """A model and its inputs: the tests of one follow each other, and it is traced once."""
    model, inputs = NETWORKS[name]
    torch.manual_seed(3)
    return settled(model()), inputs()


@pytest.mark.parametrize("name", NAMES, scope="module")
def test_ideal_chip_equals_torch(name):
    model, inputs = built(name)
    example = inputs if name in NEED_EXAMPLES else None
    with torch.no_grad():
        expected = leaves(model(*inputs))
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=example)
    found = leaves(chip.program(0)(*inputs))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6)


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("name", NAMES, scope="module")
def test_real_chip_is_close_and_repeats_whatever_the_chunks(name):
    model, inputs = built(name)
    with torch.no_grad():
        expected = leaves(model(*inputs))
    example = inputs if name in NEED_EXAMPLES else None
    chip = aimc_sim.Chip.from_model(model, presets.hermes("tdp"), example=example)
    found = leaves(chip.calibrate([inputs]).program(1)(*inputs, first_image=3))
    again = leaves(chip(*inputs, first_image=3, chunk=2))
    for mine, same, theirs in zip(found, again, expected, strict=True):
        assert torch.equal(mine, same)
        error = (mine - theirs).norm() / theirs.norm()
        assert 0.001 < error < 0.6
    other = leaves(chip(*inputs, first_image=40))
    assert not all(torch.equal(a, b) for a, b in zip(found, other, strict=True))


CORES = {"resnet9-cifar10": 40, "lstm-ptb": 26, "ssnu-ptb": 8, "ssnu-o-ptb": 14}


@pytest.mark.parametrize("name", sorted(zoo.ENTRIES))
def test_zoo(name):
    """Every trained network; a sum of thousands of products in another order moves logits."""
    torch.manual_seed(0)
    model = zoo.load(name)
    x = torch.randint(0, 50, (2, 6)) if "ptb" in name else torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = leaves(model(x))
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    for mine, theirs in zip(leaves(chip(x)), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max())
    cores = CORES.get(name.removesuffix("-aware"))
    assert cores in (None, chip.compiled.cores_used)


def test_fused_evaluation_paths_do_not_bypass_the_tiles():
    """torch computes an encoder layer from its raw weights in evaluation; the chip must not."""
    torch.manual_seed(1)
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = torch.randn(4, 6, 16)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    names = {layer.name for layer in chip.compiled.layers}
    prefix = "TransformerEncoderLayer."
    assert {n.removeprefix(prefix) for n in names} == {
        "self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2"
    }  # fmt: skip
    before = chip(x, first_image=0)
    assert all(chip.counts[name].mvms == 4 * 6 for name in names)
    assert not torch.allclose(before, model(x), atol=1e-3)
    # What the tiles hold is what counts: other devices, another result.
    assert not torch.equal(before, chip.program(1)(x, first_image=0))
