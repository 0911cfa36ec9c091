"""Calls of every operation that the tracer knows, in the forms in which people write them.

A case is a function of (model, x): x is what a layer on crossbars gave, the model holds
parameters. Four fronts make x: maps (B, 6, 5, 4), lines (B, 6, 7), rows (B, 4, 6) and
vectors (B, 6).
"""

from __future__ import annotations

import math
import operator

import torch
import torch.nn.functional as F
from torch import nn

FRONTS = {
    "maps": (lambda: nn.Conv2d(3, 6, 3), (3, 7, 6)),
    "lines": (lambda: nn.Conv1d(3, 6, 3), (3, 9)),
    "rows": (lambda: nn.Linear(5, 6), (4, 5)),
    "vectors": (lambda: nn.Linear(5, 6), (5,)),
}


class Call(nn.Module):
    """A layer on crossbars, then the case."""

    def __init__(self, front, function):
        super().__init__()
        self.front, self.function = FRONTS[front][0](), function
        shapes = {
            "vector": (6,), "matrix": (6, 4), "other": (4, 6), "column": (6, 1, 1),
            "kernel2": (2, 3, 3, 2),
            "kernel1": (2, 6, 3), "up2": (6, 2, 3, 2), "up1": (6, 1, 3),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.register_buffer("mask", torch.arange(24).view(4, 6) % 3 == 0)

    def forward(self, x):
        return self.function(self, self.front(x))


class Calls(Call):
    """A layer on crossbars, then several cases on what it gives, each with a result of its own."""

    def __init__(self, front, functions):
        super().__init__(front, None)
        self.functions = functions

    def forward(self, x):
        y = self.front(x)
        return tuple(function(self, y) for function in self.functions)


def positive(x):
    return x * x + 0.5


POINTWISE = (
    "gelu silu sigmoid tanh leaky_relu elu selu celu relu6 hardtanh hardswish hardsigmoid "
    "softplus softsign logsigmoid mish neg abs square sin cos exp relu"
).split()
OF_POSITIVE = ["sqrt", "rsqrt", "log", "reciprocal"]
BINARY = ["mul", "sub", "div", "pow", "maximum", "minimum", "add"]
COMPARED = ["eq", "ne", "lt", "le", "gt", "ge"]
LOGICAL = ["logical_and", "logical_or"]


def named(names, where=(torch, F, torch.Tensor)):
    """Return (label, function) of every place that has a function of such a name."""
    found = {}
    for name in names:
        for place in where:
            if hasattr(place, name):
                function = getattr(place, name)
                if place is torch.Tensor:
                    function = method(name)
                found[f"{name} of {getattr(place, '__name__', place)}"] = function
    return found


def known(x):
    """The same with a known number of dimensions."""
    return x.view(x.size(0), 4, 6)


def method(name):
    return lambda x, *args: getattr(x, name)(*args)


FUNCTIONS = {
    "rows": {
        **{k: lambda m, x, f=f: f(x) for k, f in named(POINTWISE).items()},
        **{k: lambda m, x, f=f: f(positive(x)) for k, f in named(OF_POSITIVE).items()},
        **{k: lambda m, x, f=f: f(positive(x), x.tanh()) for k, f in named(BINARY).items()},
        **{k: lambda m, x, f=f: f(x.relu(), 0) for k, f in named(COMPARED).items()},
        **{k: lambda m, x, f=f: f(x, m.vector) for k, f in named(COMPARED, [operator]).items()},
        **{k: lambda m, x, f=f: f(x > 0, x < 0.3) for k, f in named(LOGICAL).items()},
        "and, or, not": lambda m, x: ((x > 0) & (x < 0.5)) | ~(x < 0.2),
        "logical_not": lambda m, x: (torch.logical_not(x > 0), (x > 0.1).logical_not()),
        "numbers on the right": lambda m, x: ((x * 2 - 0.3) / 1.5) ** 2,
        "numbers on the left": lambda m, x: 2 * x + (1 - x) + 3 / positive(x) + 0.5,
        "power of a number": lambda m, x: 1.5**x,
        "parameters on the left": lambda m, x: (m.vector - x) * m.vector / positive(x),
        "other names": lambda m, x: torch.true_divide(
            torch.multiply(x, 2), torch.subtract(positive(x), x)
        ),
        "sub of a number": lambda m, x: torch.sub(x, 0.4) + x.sub(other=1),
        "keyword other": lambda m, x: torch.mul(input=x, other=m.vector),
        "keyword exponent": lambda m, x: torch.pow(x, exponent=2),
        "negation": lambda m, x: -x,
        "relu_ of torch": lambda m, x: (torch.relu_(x), x)[1],
        "relu_ of F": lambda m, x: (F.relu_(x), x)[1],
        "relu_, method": lambda m, x: (x.relu_(), x)[1],
        "relu, in place": lambda m, x: (F.relu(x, inplace=True), x)[1],
        "add_": lambda m, x: (x.add_(x.tanh()), x)[1],
        **{
            f"{f.__name__}, in place": lambda m, x, f=f: (f(x, positive(x)), x)[1]
            for f in (operator.iadd, operator.isub, operator.imul, operator.itruediv)
        },
        "add of operator": lambda m, x: operator.add(x, 1) + operator.mul(x, x),
        **{
            f"{f.__name__}, in place": lambda m, x, f=f: (f(x, inplace=True), x)[1]
            for f in (F.silu, F.elu, F.selu, F.celu, F.leaky_relu, F.relu6, F.hardtanh, F.mish)
        },
        "leaky_relu with slope": lambda m, x: F.leaky_relu(x, 0.3) + F.leaky_relu(
            x, negative_slope=0.2
        ),
        "elu and celu with alpha": lambda m, x: F.elu(x, 0.5) + F.celu(x, alpha=0.4),
        "hardtanh with limits": lambda m, x: F.hardtanh(x, -0.3, max_val=0.4),
        "softplus with beta": lambda m, x: F.softplus(x, 2, threshold=0.5),
        "gelu, approximate": lambda m, x: F.gelu(x, approximate="tanh"),
        "clamp": lambda m, x: (torch.clamp(x, -0.2, 0.3), x.clamp(min=0.1), x.clamp(max=0.1)),
        "masked_fill": lambda m, x: (x.masked_fill(m.mask, -2.0), torch.masked_fill(x, x > 0, 1)),
        "masked_fill, infinite": lambda m, x: x.masked_fill(m.mask, -math.inf).softmax(-1),
        "where": lambda m, x: torch.where(x > 0, x, 0.1 * m.vector),
        "where, number": lambda m, x: torch.where(m.mask, x, 0.0),
        "truth": lambda m, x: x.relu().bool(),
        "truth as a number": lambda m, x: (
            (x > 0).float() * x, (x > 0).to(torch.float32), (x > 0).type_as(x), 1 - (x > 0).long(),
            (x > 0).int() + 2,
        ),
        "copies": lambda m, x: x.detach().clone().contiguous().cpu().to("cpu").float(),
        "softmax of torch": lambda m, x: torch.softmax(x, -1),
        "softmax of F": lambda m, x: F.softmax(x, dim=1, dtype=torch.float32),
        "softmax, method": lambda m, x: x.softmax(dim=-2),
        "log_softmax of torch": lambda m, x: torch.log_softmax(x, dim=2),
        "log_softmax of F": lambda m, x: F.log_softmax(x, -1),
        "log_softmax, method": lambda m, x: x.log_softmax(1),
        "layer_norm": lambda m, x: F.layer_norm(x, (6,), m.vector, m.vector, 1e-3),
        "layer_norm, two dimensions": lambda m, x: F.layer_norm(x, normalized_shape=[4, 6]),
        "rms_norm": lambda m, x: F.rms_norm(x, (6,), weight=m.vector),
        "sum": lambda m, x: (x.sum(1), torch.sum(x, dim=(-1, 1)), x.sum(-1, keepdim=True)),
        "mean": lambda m, x: (x.mean(1), torch.mean(x, -1, True), x.mean(dim=[1, 2])),
        "amax": lambda m, x: (x.amax(1), torch.amax(x, dim=(1, 2), keepdim=True), x.amax((-1,))),
        "var": lambda m, x: (x.var(1), torch.var(x, -1, keepdim=True), x.var((1, 2))),
        "var, as given": lambda m, x: (
            x.var(1, unbiased=False), torch.var(x, 2, False), x.var(-1, correction=0),
        ),
        "std": lambda m, x: (x.std(-1), torch.std(x, dim=1, keepdim=True), x.std(1, False, True)),
        "matmul": lambda m, x: (x @ x.mT, torch.matmul(x, x.transpose(1, 2)), x.matmul(x.mT)),
        "matmul with a parameter": lambda m, x: x @ m.matrix,
        "matmul, method": lambda m, x: x.matmul(m.matrix),
        "matmul of torch": lambda m, x: torch.matmul(x, m.matrix),
        "bmm": lambda m, x: (torch.bmm(x, x.mT), x.bmm(x.transpose(-2, -1))),
        "einsum": lambda m, x: torch.einsum("btc,bsc->bts", x, x.tanh()),
        "einsum, list, parameter": lambda m, x: torch.einsum("cd, btc -> bdt", [m.matrix, x]),
        "attention": lambda m, x: F.scaled_dot_product_attention(x, x.tanh(), -x),
        "attention, causal": lambda m, x: F.scaled_dot_product_attention(
            x, x, x, None, 0.0, True, scale=0.3
        ),
        "attention, mask": lambda m, x: F.scaled_dot_product_attention(
            x, x, x, attn_mask=m.mask[:, :4]
        ),
        "attention, scale by size": lambda m, x: F.scaled_dot_product_attention(
            x, x, x, scale=1 / x.shape[-1]
        ),
        "linear": lambda m, x: F.linear(x, m.matrix.t()) + x @ torch.t(m.other),
        "stack": lambda m, x: (torch.stack([x, -x]), torch.stack((x, x * 2), dim=-1)),
        "cat": lambda m, x: (torch.cat([x, -x], 1), torch.cat((x, x, x), dim=-1)),
        "concat": lambda m, x: torch.concat([x, x.tanh()], dim=2),
        "cat of one": lambda m, x: torch.cat([x], 1).tanh(),
        "chunk": lambda m, x: torch.chunk(x, 2, dim=-1)[1] * x.chunk(2, 2)[0],
        "chunk, unequal": lambda m, x: (x.chunk(4, -1)[0], x.chunk(4, -1)[2], x.chunk(4, 2)[-1]),
        "split": lambda m, x: (torch.split(x, 4, dim=2)[1], x.split(2, -1)[0], x.split(4, 2)[-1]),
        "split, sizes": lambda m, x: (x.split([1, 3], 1)[1], torch.split(x, [2, 4], -1)[-1]),
        "split, keyword": lambda m, x: x.split(split_size=3, dim=1)[0],
        "unbind": lambda m, x: (torch.unbind(x, 1)[2], known(x).unbind(-1)[0], x.unbind(dim=1)[-1]),
        "narrow": lambda m, x: (torch.narrow(x, 1, 1, 2), x.narrow(-1, 2, x.size(2) - 3)),
        "permute": lambda m, x: (torch.permute(x, (0, 2, 1)), x.permute(-3, -1, -2)),
        "permute, keyword": lambda m, x: torch.permute(x, dims=(0, 2, 1)),
        "batch moved": lambda m, x: x.permute(1, 0, 2).tanh().permute(2, 1, 0),
        "transpose": lambda m, x: (torch.transpose(x, 1, 2), x.transpose(-1, 1), x.mT),
        "swapaxes": lambda m, x: (torch.swapaxes(x, 1, -1), x.swapaxes(axis0=-2, axis1=-1)),
        "unsqueeze": lambda m, x: (torch.unsqueeze(x, 1), x.unsqueeze(-1), x.unsqueeze(dim=0)),
        "squeeze": lambda m, x: (x.unsqueeze(2).squeeze(2), torch.squeeze(x[:, :1], dim=-2)),
        "unflatten": lambda m, x: (
            torch.unflatten(known(x), 2, (2, 3)), known(x).unflatten(-1, (3, -1)),
        ),
        "flatten": lambda m, x: (torch.flatten(x, 1), x.flatten(-2), x.unsqueeze(3).flatten(2, 3)),
        "view": lambda m, x: (x.view(x.size(0), -1), x.view(x.shape[0], 4, 3, 2), x.view(-1, 24)),
        "reshape": lambda m, x: (x.reshape(x.size(0), 2, -1), torch.reshape(x, (-1, 4, 2, 3))),
        "reshape, batch merged": lambda m, x: x.reshape(-1, 6).tanh(),
        "sizes": lambda m, x: x.reshape(
            x.shape[0], x.size(1) // 2, 2 + x.size()[1] % 2, x.shape[-1]
        ) / math.sqrt(x.size(-1)) + known(x).dim() + known(x).ndim,
        "expand": lambda m, x: (x[:, :1].expand(-1, 3, -1), x[:, :, :1].expand(x.size(0), 4, 5)),
        "expand, in front": lambda m, x: known(x).expand(2, -1, -1, -1),
        "expand, parameter": lambda m, x: m.vector.expand(x.shape[0], 6),
        "repeat": lambda m, x: (x.repeat(1, 2, 3), x[:, 0].repeat((1, 2))),
        "index": lambda m, x: (
            x[:, -1], x[..., 0], x[:, 1:3, None], x[:, :, ::2], x[:, None, ..., 1],
        ),
        "constants": lambda m, x: (
            x + torch.zeros(4, x.size(2)), x * torch.ones((4, x.size(-1))),
            x * torch.full((4, x.size(-1)), 0.3), x - torch.full((1, x.size(2)), fill_value=0.3),
            x + torch.zeros(size=(1, x.size(2))), x + torch.zeros(2, x.size(0), 4, 6)[0],
        ),
        "arange": lambda m, x: (
            x * torch.arange(x.size(-1)), x + torch.arange(0, x.size(1)).unsqueeze(1),
            x - torch.arange(0, x.size(-1) * 2, 2, dtype=torch.float32),
        ),
        "dropout": lambda m, x: F.dropout(x, 0.4, m.training) + F.dropout(x, p=0.0),
    },
    "maps": {
        "relu of maps": lambda m, x: F.relu(x),
        "group_norm": lambda m, x: F.group_norm(x, 3, m.vector, bias=m.vector),
        "group_norm of torch's defaults": lambda m, x: F.group_norm(x, num_groups=2),
        "prelu": lambda m, x: (torch.prelu(x, m.vector), F.prelu(x, m.vector)),
        "conv2d": lambda m, x: F.conv2d(x, m.kernel2, None, (1, 2), 1, 1, 2),
        "conv_transpose2d": lambda m, x: F.conv_transpose2d(x, m.up2, None, 2, 1, (1, 0)),
        "max_pool2d": lambda m, x: (F.max_pool2d(x, (2, 3), 1), F.max_pool2d(x, 3, padding=1)),
        "max_pool2d of torch": lambda m, x: torch.max_pool2d(x, 2, stride=2, dilation=2),
        "avg_pool2d": lambda m, x: (F.avg_pool2d(x, 2), F.avg_pool2d(x, (3, 2), 2, 1, True, False)),
        "adaptive": lambda m, x: (
            F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool2d(x, (2, 3)),
            F.adaptive_max_pool2d(x, (None, 2)),
        ),
        "interpolate": lambda m, x: (
            F.interpolate(x, scale_factor=2), F.interpolate(x, (7, 9), mode="nearest-exact"),
            F.interpolate(x, size=(4, 6), mode="bilinear", align_corners=True),
            F.interpolate(x, scale_factor=(2, 3), mode="bicubic"),
        ),
        "interpolate, smoothed": lambda m, x: F.interpolate(
            x, (2, 2), mode="bilinear", antialias=True
        ),
        "interpolate, scale by size": lambda m, x: F.interpolate(
            x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True
        ),
        "pixel_shuffle": lambda m, x: (
            F.pixel_shuffle(x[:, :4], 2), torch.pixel_shuffle(x[:, :4], upscale_factor=2)
        ),
        "mean of maps": lambda m, x: (x.mean((2, 3)), torch.mean(x, (-1, -2), keepdim=True)),
        "mean over channels": lambda m, x: (x.mean(1), x.mean((1, -1), keepdim=True)),
        "flatten maps": lambda m, x: (x.flatten(2), torch.flatten(x, start_dim=1, end_dim=2)),
        "pad": lambda m, x: (
            F.pad(x, (1, 0, 2, 1)), F.pad(x, (1, 2, 0, 1), mode="replicate"),
            F.pad(x, (1, 1, 0, 1, 1, 0), "constant", 0), F.pad(x, (2, 1, 1, 1), mode="reflect"),
        ),
        "dropout2d": lambda m, x: F.dropout2d(x, 0.2, training=m.training),
        "slices of maps": lambda m, x: x[:, 1:5, ::2, -3:],
        "images as a sequence": lambda m, x: x.flatten(2).transpose(1, 2) @ m.matrix,
        "sum over pixels": lambda m, x: x.sum((2, 3)) / (x.size(2) * x.size(3)),
        "channels scaled": lambda m, x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        "parameter over pixels": lambda m, x: x + m.column,
    },
    "lines": {
        "conv1d": lambda m, x: F.conv1d(x, m.kernel1, stride=2, padding=1),
        "conv_transpose1d": lambda m, x: F.conv_transpose1d(x, m.up1, stride=2, groups=3),
        "max_pool1d": lambda m, x: (F.max_pool1d(x, 3), torch.max_pool1d(x, 2, 1, dilation=2)),
        "adaptive_avg_pool1d": lambda m, x: (
            F.adaptive_avg_pool1d(x, 3), torch.adaptive_avg_pool1d(x, 1),
        ),
        "dropout1d": lambda m, x: F.dropout1d(x, training=False),
        "interpolate lines": lambda m, x: F.interpolate(x, scale_factor=2, mode="linear"),
        "pad lines": lambda m, x: F.pad(x, [1, 2]),
    },
    "vectors": {
        "outer product": lambda m, x: x[:, :, None] * x[:, None, :],
        "vector as a map": lambda m, x: x.view(x.size(0), 2, 3).mT,
        "squared length": lambda m, x: x / x.square().sum(-1, keepdim=True).sqrt(),
    },
}  # fmt: skip
