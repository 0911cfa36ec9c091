"""What each torch layer, function and method becomes in the graph: the tables.

A function's rule has the signature of the torch function with the walk and a name in front, so
that Python itself matches positional and named arguments. A layer's rule reads the module's
attributes and calls the same function.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import rnn

from aimc_sim.bridge import trace_attention as attention
from aimc_sim.bridge import trace_digital as digital
from aimc_sim.bridge import trace_elements as elements
from aimc_sim.bridge import trace_layers as layers
from aimc_sim.bridge import trace_pools as pools
from aimc_sim.bridge import trace_recurrent as recurrent
from aimc_sim.bridge import trace_shapes as shapes
from aimc_sim.bridge import trace_views as views
from aimc_sim.bridge.trace_values import Value

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

Rule = Callable[..., Any]

_POOL = ("kernel_size", "stride", "padding")
_AVERAGE = (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")
_MAXIMUM = (*_POOL, "dilation", "ceil_mode", "return_indices")


def _module(function: Rule, *attributes: str) -> Rule:
    """Return the rule of a layer that calls `function` with some of the layer's attributes."""

    def rule(walk: Walk, path: str, module: nn.Module, x: Any) -> Any:
        given = {key: getattr(module, key) for key in attributes}
        return function(walk, path, x, **given, modules=(path,))

    return rule


def _padding(mode: str) -> Rule:
    return lambda walk, path, module, x: views.pad(
        walk, path, x, module.padding, mode, None, (path,)
    )


def _vanish(walk: Walk, path: str, module: nn.Module, x: Value) -> Value:
    return x


MODULES: dict[type, Rule] = {
    nn.Conv1d: layers.convolution_module,
    nn.Conv2d: layers.convolution_module,
    nn.ConvTranspose1d: layers.convolution_module,
    nn.ConvTranspose2d: layers.convolution_module,
    nn.Linear: layers.linear_module,
    nn.LSTM: recurrent.recurrent,
    nn.GRU: recurrent.recurrent,
    nn.RNN: recurrent.recurrent,
    nn.MultiheadAttention: attention.multihead_attention,
    nn.TransformerEncoderLayer: attention.encoder_layer,
    nn.TransformerDecoderLayer: attention.decoder_layer,
    nn.TransformerEncoder: attention.encoder,
    nn.TransformerDecoder: attention.decoder,
    nn.Transformer: attention.transformer,
    nn.BatchNorm2d: layers.batch_norm_module,
    nn.BatchNorm1d: layers.batch_norm_module,
    nn.LayerNorm: elements.normalisation("layer_norm", "eps"),
    nn.RMSNorm: elements.normalisation("rms_norm", "eps"),
    nn.GroupNorm: elements.normalisation("group_norm", "num_groups", "eps"),
    nn.InstanceNorm1d: elements.normalisation("instance_norm", "eps"),
    nn.InstanceNorm2d: elements.normalisation("instance_norm", "eps"),
    nn.Embedding: elements.embedding_module,
    nn.ReLU: _module(elements.relu, "inplace"),
    nn.PReLU: elements.prelu_module,
    **{
        kind: digital.pointwise(op, *attributes).of_layer
        for kind, (op, attributes) in elements.ACTIVATIONS.items()
    },
    nn.Softmax: _module(elements.softmax("softmax"), "dim"),
    nn.LogSoftmax: _module(elements.softmax("log_softmax"), "dim"),
    nn.Softmin: _module(elements.softmax("softmin"), "dim"),
    nn.MaxPool2d: _module(pools.max_pool2d, *_MAXIMUM),
    nn.AvgPool2d: _module(pools.avg_pool2d, *_AVERAGE),
    nn.MaxPool1d: _module(pools.pool1d("max_pool1d"), *_MAXIMUM),
    nn.AvgPool1d: _module(pools.pool1d("avg_pool1d"), *_POOL, "ceil_mode", "count_include_pad"),
    nn.AdaptiveAvgPool2d: _module(pools.adaptive_avg_pool2d, "output_size"),
    nn.AdaptiveAvgPool1d: _module(pools.adaptive("adaptive_avg_pool", 1), "output_size"),
    nn.AdaptiveMaxPool1d: _module(pools.adaptive("adaptive_max_pool", 1), "output_size"),
    nn.AdaptiveMaxPool2d: _module(pools.adaptive("adaptive_max_pool", 2), "output_size"),
    nn.Flatten: _module(views.flatten, "start_dim", "end_dim"),
    nn.Unflatten: lambda walk, path, module, x: shapes.unflatten(
        walk, path, x, module.dim, tuple(module.unflattened_size), (path,)
    ),
    nn.Upsample: lambda walk, path, module, x: shapes.interpolate(
        walk, path, x, module.size, module.scale_factor, module.mode, module.align_corners,
        module.recompute_scale_factor, modules=(path,),
    ),
    nn.PixelShuffle: _module(views.pixel_shuffle, "upscale_factor"),
    nn.ZeroPad2d: views.zero_pad_module,
    nn.ConstantPad1d: views.zero_pad_module,
    nn.ConstantPad2d: views.zero_pad_module,
    nn.ReflectionPad1d: _padding("reflect"),
    nn.ReflectionPad2d: _padding("reflect"),
    nn.ReplicationPad1d: _padding("replicate"),
    nn.ReplicationPad2d: _padding("replicate"),
    nn.Dropout: _vanish,
    nn.Dropout1d: _vanish,
    nn.Dropout2d: _vanish,
    nn.AlphaDropout: _vanish,
    nn.FeatureAlphaDropout: _vanish,
    nn.Identity: _vanish,
}  # fmt: skip
"""Rule of each layer; subclasses are included unless they rewrite ``forward``."""


def _both(name: str, rule: Rule) -> dict[Any, Rule]:
    """Return a rule as function of torch and of torch.nn.functional, where there is such."""
    return {getattr(place, name): rule for place in (torch, F) if hasattr(place, name)}


_POINTWISE = (
    "gelu silu sigmoid tanh leaky_relu elu selu celu relu6 hardtanh hardswish hardsigmoid "
    "softplus softsign logsigmoid mish sqrt rsqrt exp log neg abs reciprocal square sin cos"
).split()
_BINARY = "mul sub div pow maximum minimum eq ne lt le gt ge logical_and logical_or".split()

FUNCTIONS: dict[Any, Rule] = {
    **{k: r for op in _POINTWISE for k, r in _both(op, digital.pointwise(op)).items()},
    **{k: r for op in _BINARY for k, r in _both(op, digital.arithmetic(op)).items()},
    **{
        getattr(operator, name): digital.arithmetic(op)
        for name, op in {
            "mul": "mul", "sub": "sub", "truediv": "div", "pow": "pow", "eq": "eq", "ne": "ne",
            "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "and_": "logical_and",
            "or_": "logical_or",
        }.items()
    },
    operator.imul: digital.in_place(digital.arithmetic("mul")),
    operator.isub: digital.in_place(digital.arithmetic("sub")),
    operator.itruediv: digital.in_place(digital.arithmetic("div")),
    torch.true_divide: digital.arithmetic("div"),
    torch.multiply: digital.arithmetic("mul"),
    torch.subtract: digital.arithmetic("sub"),
    operator.neg: digital.pointwise("neg"),
    operator.invert: digital.pointwise("logical_not"),
    torch.logical_not: digital.pointwise("logical_not"),
    operator.floordiv: digital.floordiv,
    operator.mod: digital.modulo,
    math.sqrt: digital.square_root,
    operator.matmul: layers.matmul,
    torch.matmul: layers.matmul,
    torch.bmm: layers.matmul,
    torch.einsum: digital.einsum,
    F.scaled_dot_product_attention: digital.scaled_dot_product_attention,
    F.conv1d: layers.convolution(1),
    F.conv2d: layers.convolution(2),
    F.conv_transpose1d: layers.convolution(1, True),
    F.conv_transpose2d: layers.convolution(2, True),
    F.linear: layers.linear,
    F.embedding: elements.embedding,
    F.layer_norm: elements.function_normalisation("layer_norm"),
    F.group_norm: elements.function_normalisation("group_norm"),
    F.rms_norm: elements.function_normalisation("rms_norm"),
    torch.softmax: elements.softmax("softmax"),
    F.softmax: elements.softmax("softmax"),
    torch.log_softmax: elements.softmax("log_softmax"),
    F.log_softmax: elements.softmax("log_softmax"),
    F.prelu: elements.prelu,
    torch.prelu: elements.prelu,
    F.relu: elements.relu,
    torch.relu: elements.relu,
    torch.relu_: lambda walk, name, x: elements.relu(walk, name, x, inplace=True),
    F.relu_: lambda walk, name, x: elements.relu(walk, name, x, inplace=True),
    operator.add: elements.add,
    operator.iadd: elements.add_in_place,
    torch.add: elements.add,
    torch.cat: elements.concat,
    torch.concat: elements.concat,
    torch.stack: shapes.stack,
    torch.chunk: shapes.chunk,
    torch.split: shapes.split,
    torch.unbind: shapes.unbind,
    torch.narrow: shapes.narrow,
    torch.permute: shapes.permute,
    torch.transpose: shapes.transpose,
    torch.swapaxes: shapes.swapaxes,
    torch.t: lambda walk, name, x: views.get_attribute(walk, name, x, "T"),
    torch.unsqueeze: shapes.unsqueeze,
    torch.squeeze: shapes.squeeze,
    torch.unflatten: shapes.unflatten,
    torch.clamp: elements.clamp,
    torch.masked_fill: elements.masked_fill,
    torch.where: elements.where,
    torch.zeros: digital.full(0.0),
    torch.ones: digital.full(1.0),
    torch.full: digital.full(None),
    torch.arange: digital.arange,
    F.dropout: elements.dropout,
    F.dropout1d: elements.dropout,
    F.dropout2d: elements.dropout,
    F.max_pool2d: pools.max_pool2d,
    torch.max_pool2d: pools.max_pool2d,
    F.avg_pool2d: pools.avg_pool2d,
    F.max_pool1d: pools.pool1d("max_pool1d"),
    torch.max_pool1d: pools.pool1d("max_pool1d"),
    F.adaptive_avg_pool2d: pools.adaptive_avg_pool2d,
    F.adaptive_avg_pool1d: pools.adaptive("adaptive_avg_pool", 1),
    torch.adaptive_avg_pool1d: pools.adaptive("adaptive_avg_pool", 1),
    F.adaptive_max_pool2d: pools.adaptive("adaptive_max_pool", 2),
    F.interpolate: shapes.interpolate,
    F.pixel_shuffle: views.pixel_shuffle,
    torch.pixel_shuffle: views.pixel_shuffle,
    torch.mean: pools.mean,
    torch.sum: digital.reduction("sum"),
    torch.amax: digital.reduction("amax"),
    torch.var: digital.spread("var"),
    torch.std: digital.spread("std"),
    torch.flatten: views.flatten,
    torch.reshape: lambda walk, name, x, shape: views.view(walk, name, x, shape),
    F.pad: views.pad,
    rnn.pack_padded_sequence: recurrent.pack_padded_sequence,
    rnn.pad_packed_sequence: recurrent.pad_packed_sequence,
    operator.getitem: views.get_item,
    getattr: views.get_attribute,
}  # fmt: skip
"""Rule of each function."""

METHODS: dict[str, Rule] = {
    **{op: digital.pointwise(op) for op in _POINTWISE},
    **{op: digital.arithmetic(op) for op in _BINARY},
    "relu": elements.relu,
    "relu_": lambda walk, name, x: elements.relu(walk, name, x, inplace=True),
    "add": elements.add,
    "add_": elements.add_in_place,
    "matmul": layers.matmul,
    "bmm": layers.matmul,
    "mean": pools.mean,
    "sum": digital.reduction("sum"),
    "amax": digital.reduction("amax"),
    "var": digital.spread("var"),
    "std": digital.spread("std"),
    "softmax": elements.softmax("softmax"),
    "log_softmax": elements.softmax("log_softmax"),
    "flatten": views.flatten,
    "view": views.view,
    "reshape": views.view,
    "permute": shapes.permute,
    "transpose": shapes.transpose,
    "swapaxes": shapes.swapaxes,
    "t": lambda walk, name, x: views.get_attribute(walk, name, x, "T"),
    "unsqueeze": shapes.unsqueeze,
    "squeeze": shapes.squeeze,
    "unflatten": shapes.unflatten,
    "expand": shapes.expand,
    "repeat": shapes.repeat,
    "chunk": shapes.chunk,
    "split": shapes.split,
    "unbind": shapes.unbind,
    "narrow": shapes.narrow,
    "clamp": elements.clamp,
    "masked_fill": elements.masked_fill,
    "logical_not": digital.pointwise("logical_not"),
    "bool": elements.to_truth,
    "float": elements.convert,
    "to": elements.convert,
    "type_as": elements.convert,
    "long": elements.to_integer,
    "int": elements.to_integer,
    "cpu": elements.keep,
    "cuda": elements.keep,
    "detach": elements.keep,
    "clone": elements.keep,
    "contiguous": elements.keep,
    "size": views.size,
    "dim": views.dimensions,
}
"""Rule of each tensor method."""
