"""Every layer that the tracer knows, as people build them; see :mod:`operation_cases`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from operation_cases import FRONTS
from torch import nn
from torch.nn.utils import rnn


class Words(nn.Module):
    """Embedding by function, packing, a recurrent layer, unpacking."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 5))
        self.lstm = nn.LSTM(5, 6, batch_first=True)

    def forward(self, tokens, lengths):
        x = F.embedding(tokens.long(), self.table, padding_idx=0)
        packed = rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        y, (h, _) = self.lstm(packed)
        return rnn.pad_packed_sequence(y, batch_first=True)[0], h


class Behind(nn.Module):
    """A layer on crossbars, then a layer as the case builds it."""

    def __init__(self, front, layer, call=None):
        super().__init__()
        self.front, self.layer, self.call = FRONTS[front][0](), layer, call

    def forward(self, x):
        x = self.front(x)
        return self.layer(x) if self.call is None else self.call(self.layer, x)


def rows(*layers):
    return [("rows", layer, None) for layer in layers]


def maps(*layers):
    return [("maps", layer, None) for layer in layers]


def lines(*layers):
    return [("lines", layer, None) for layer in layers]


LAYERS = {
    "Conv1d": lines(nn.Conv1d(6, 4, 3, 2, 1, bias=False), nn.Conv1d(6, 6, 2, groups=2)),
    "Conv2d": maps(
        nn.Conv2d(6, 4, (2, 3), (2, 1), (1, 0)),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3),
        nn.Conv2d(6, 2, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(6, 2, 3, padding="same", padding_mode="circular"),
    ),
    "ConvTranspose1d": lines(nn.ConvTranspose1d(6, 4, 4, 3, 1, 2, groups=2, dilation=2)),
    "ConvTranspose2d": maps(nn.ConvTranspose2d(6, 4, 3, 2, 1, 1), nn.ConvTranspose2d(6, 2, 1, 2)),
    "Linear": [*rows(nn.Linear(6, 3, bias=False)), ("vectors", nn.Linear(6, 3), None)],
    "LSTM": rows(nn.LSTM(6, 5, 2, proj_size=3, batch_first=True)),
    "GRU": rows(nn.GRU(6, 5, bidirectional=True, batch_first=True, bias=False)),
    "RNN": rows(nn.RNN(6, 5, 2, nonlinearity="relu", batch_first=True)),
    "MultiheadAttention": [
        ("rows", nn.MultiheadAttention(6, 2, batch_first=True), lambda a, x: a(x, x, x)[0]),
        ("rows", nn.MultiheadAttention(6, 3, bias=False, batch_first=True),
         lambda a, x: a(x.tanh(), x, x, need_weights=False)[0]),
        ("rows", nn.MultiheadAttention(6, 3, kdim=4, vdim=2, batch_first=True),
         lambda a, x: a(x, x[..., :4], value=x[..., 4:])[0]),
    ],
    "TransformerEncoderLayer": rows(
        nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        nn.TransformerEncoderLayer(6, 2, 8, 0.1, nn.SiLU(), norm_first=True, batch_first=True),
    ),
    "TransformerDecoderLayer": [
        ("rows", nn.TransformerDecoderLayer(6, 2, 8, batch_first=True),
         lambda a, x: a(x, x.tanh())),
    ],
    "TransformerEncoder": rows(
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 2, nn.LayerNorm(6),
            enable_nested_tensor=False,
        )
    ),
    "TransformerDecoder": [
        ("rows", nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 8, batch_first=True), 1),
         lambda a, x: a(x, x.tanh())),
    ],
    "Transformer": [
        ("rows", nn.Transformer(6, 2, 1, 1, 8, batch_first=True), lambda a, x: a(x, x.tanh())),
    ],
    "BatchNorm1d": [*lines(nn.BatchNorm1d(6)), ("vectors", nn.BatchNorm1d(6, affine=False), None)],
    "BatchNorm2d": maps(nn.BatchNorm2d(6), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6))),
    "LayerNorm": rows(
        nn.LayerNorm(6), nn.LayerNorm((4, 6), 1e-2, False), nn.LayerNorm(6, bias=False)
    ),
    "RMSNorm": rows(nn.RMSNorm(6), nn.RMSNorm((4, 6), 0.1, False)),
    "GroupNorm": maps(nn.GroupNorm(3, 6), nn.GroupNorm(1, 6, 0.1, False)),
    "InstanceNorm1d": lines(nn.InstanceNorm1d(6), nn.InstanceNorm1d(6, affine=True)),
    "InstanceNorm2d": maps(nn.InstanceNorm2d(6, 0.1, track_running_stats=True)),
    "ReLU": rows(nn.ReLU()),
    "PReLU": maps(nn.PReLU(), nn.PReLU(6)),
    "GELU": rows(nn.GELU(), nn.GELU("tanh")),
    "LeakyReLU": rows(nn.LeakyReLU(0.2)),
    "ELU": rows(nn.ELU(0.3)),
    "CELU": rows(nn.CELU(0.3)),
    "Hardtanh": rows(nn.Hardtanh(-0.2, 0.4)),
    "Softplus": rows(nn.Softplus(2.0, 1.0)),
    **{
        name: rows(getattr(nn, name)())
        for name in (
            "SiLU Sigmoid Tanh SELU ReLU6 Hardswish Hardsigmoid Softsign LogSigmoid Mish"
        ).split()
    },
    "Softmax": rows(nn.Softmax(-1), nn.Softmax(1)),
    "LogSoftmax": rows(nn.LogSoftmax(2)),
    "Softmin": rows(nn.Softmin(dim=-2)),
    "MaxPool2d": maps(nn.MaxPool2d(2), nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True)),
    "AvgPool2d": maps(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d((2, 3), 1, 1, True, False)),
    "MaxPool1d": lines(nn.MaxPool1d(3, 2, 1), nn.MaxPool1d(2, dilation=2, ceil_mode=True)),
    "AvgPool1d": lines(nn.AvgPool1d(3, 2, 1), nn.AvgPool1d(2, 2, 1, True, False)),
    "AdaptiveAvgPool2d": maps(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((2, None))),
    "AdaptiveAvgPool1d": lines(nn.AdaptiveAvgPool1d(3)),
    "AdaptiveMaxPool1d": lines(nn.AdaptiveMaxPool1d(2)),
    "AdaptiveMaxPool2d": maps(nn.AdaptiveMaxPool2d((3, 1))),
    "Flatten": [*maps(nn.Flatten(), nn.Flatten(2)), ("rows", nn.Flatten(-2, -1), None)],
    "Unflatten": [*maps(nn.Unflatten(-3, (2, 3))), *lines(nn.Unflatten(1, (-1, 2)))],
    "Upsample": maps(
        nn.Upsample(scale_factor=2), nn.Upsample((6, 7), mode="bilinear", align_corners=True)
    ),
    "PixelShuffle": maps(nn.Sequential(nn.Conv2d(6, 8, 1), nn.PixelShuffle(2))),
    "ZeroPad2d": maps(nn.ZeroPad2d((1, 0, 2, 1))),
    "ConstantPad1d": lines(nn.ConstantPad1d((1, 2), 0.0)),
    "ConstantPad2d": maps(nn.ConstantPad2d(1, 0)),
    "ReflectionPad1d": lines(nn.ReflectionPad1d((1, 2))),
    "ReflectionPad2d": maps(nn.ReflectionPad2d((1, 0, 2, 1))),
    "ReplicationPad1d": lines(nn.ReplicationPad1d(2)),
    "ReplicationPad2d": maps(nn.ReplicationPad2d((1, 0, 2, 1))),
    **{
        name: rows(getattr(nn, name)())
        for name in "Dropout Dropout1d AlphaDropout FeatureAlphaDropout Identity".split()
    },
    "Dropout2d": maps(nn.Dropout2d()),
    "in place": [
        ("rows", layer, lambda layer, x: (layer(x), x)[1])
        for layer in (nn.ReLU(True), nn.SiLU(True), nn.ELU(0.3, True), nn.ReLU6(True),
                      nn.LeakyReLU(0.2, True), nn.Hardtanh(-0.1, 0.1, inplace=True))
    ],
}  # fmt: skip
"""Layers by the name of their class: (front, layer, how it is called)."""
