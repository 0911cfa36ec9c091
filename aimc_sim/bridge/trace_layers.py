"""What the layers that hold weights become in the graph: convolution, linear, batch norm.

The functions have the signatures of :mod:`torch.nn.functional`, so that a layer and a direct
call of the function with the layer's parameters give the same node.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from aimc_sim.bridge.trace_values import (
    Parameter,
    Value,
    as_integer,
    as_tensor,
    like,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk


def convolution(dims: int, transposed: bool = False) -> Any:
    """Return the rule of ``F.conv1d``, ``F.conv2d`` or their transposed kind.

    The place of a convolution on the crossbars belongs to the owner of its weight.
    """
    kind = f"Conv{'Transpose' if transposed else ''}{dims}d"
    op = f"conv{'_transpose' if transposed else ''}{dims}d"

    def rule(
        walk: Walk, name: str, input: Any, weight: Any, bias: Any = None, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, output_padding: Any = 0,
    ) -> Value:  # fmt: skip
        owner, name, modules = _owner(name, weight)
        where = f"layer '{name}'"
        value = as_tensor(input, where, kind, ndim=dims + 2)
        if value.axis != 0:
            raise unsupported(where, kind, "the batch is not the first dimension of its input")
        arrays = weights_of(where, weight=weight, bias=bias)
        stride, dilation = as_list(where, stride, dims), as_list(where, dilation, dims)
        extra = as_list(where, output_padding, dims)
        if isinstance(padding, str):
            value, padding = _same_padding(
                walk, name, kind, value, padding, stride, dilation, arrays["weight"].shape[2:]
            )
        padding = as_list(where, padding, dims)
        digital = not walk.chosen.analog(name)
        walk.claim(owner, name)
        attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if transposed:
            attrs["output_padding"] = extra
        if digital:
            # Per output, or per input of a transposed one: what the other channels and pixels take.
            attrs |= {"macs_per_output": prod(arrays["weight"].shape[1:])}
            attrs |= {"transposed": True} if transposed else {}
            about = {"ndim": dims + 2, "attrs": attrs, "arrays": arrays, "modules": modules}
            return walk.emit(name, "convolution", (value,), **about)
        if dims == 1:
            attrs = {key: _flat(key, part) for key, part in attrs.items()}
            arrays["weight"] = arrays["weight"][:, :, None]
        if groups == 1:
            attrs.pop("groups")
        return walk.emit(
            name, op, (value,), ndim=dims + 2, attrs=attrs, arrays=arrays, modules=modules
        )

    def transposed_rule(
        walk: Walk, name: str, input: Any, weight: Any, bias: Any = None, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Value:  # fmt: skip
        return rule(
            walk, name, input, weight, bias, stride, padding, dilation, groups, output_padding
        )

    return transposed_rule if transposed else rule


def _flat(key: str, part: Any) -> Any:
    """Return an attribute of a line as that of maps with one row."""
    one_row = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    return [one_row[key], *part] if key in one_row else part


def _same_padding(
    walk: Walk, name: str, kind: str, value: Value, padding: str, stride: list[int],
    dilation: list[int], kernel: Sequence[int],
) -> tuple[Value, Any]:  # fmt: skip
    """Return input and padding for 'same' and 'valid'."""
    if padding == "valid":
        return value, 0
    if set(stride) != {1}:
        raise unsupported(
            f"layer '{name}'", kind,
            f"padding = 'same' with stride {stride}; give the padding in pixels",
        )  # fmt: skip
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    extra = [t % 2 for t in total]
    if any(extra):  # torch puts the odd pixel behind; the layer's own padding is symmetric
        pad = [size for more in reversed(extra) for size in (0, more)]
        value = walk.emit(f"{name}.pad", "pad", (value,), ndim=value.ndim, attrs={"pad": pad})
    return value, [t // 2 for t in total]


def linear(walk: Walk, name: str, input: Any, weight: Any, bias: Any = None) -> Value:
    """Product of the last dimension with a matrix."""
    owner, name, modules = _owner(name, weight)
    where = f"layer '{name}'"
    value = as_tensor(input, where, "Linear")
    if value.ndim == 4 and value.axis == 0 and walk.is_map(value):
        raise unsupported(
            where, "Linear", "its input is a feature map; flatten it first (torch.flatten(x, 1))"
        )
    arrays = weights_of(where, weight=weight, bias=bias)
    walk.claim(owner, name)
    about: dict[str, Any] = {"ndim": value.ndim, "arrays": arrays, "modules": modules}
    if not walk.chosen.analog(name):
        attrs = {"macs_per_output": arrays["weight"].shape[1]}
        return walk.emit(name, "linear_digital", (value,), attrs=attrs, **about)
    if value.axis is None:
        raise unsupported(
            where, "Linear", "it is not known which dimension of its input counts the batch; use "
            "x.shape[0] for it in reshape and view",
        )  # fmt: skip
    attrs = {"axis": value.axis} if value.axis else {}
    return walk.emit(name, "linear", (value,), attrs=attrs, **about)


def matmul(walk: Walk, name: str, input: Any, other: Any) -> Any:
    """``x @ W`` with a parameter is a linear layer; products of values are digital."""
    from aimc_sim.bridge import trace_digital

    if isinstance(other, Parameter) and other.tensor.ndim == 2:
        return linear(walk, name, input, Parameter(other.path, other.tensor.T))
    return trace_digital.matmul(walk, name, input, other)


def convolution_module(walk: Walk, path: str, module: Any, x: Any) -> Value:
    """Convolution as a layer."""
    dims, transposed = len(module.kernel_size), hasattr(module, "output_padding")
    transposed = transposed and isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
    if module.padding_mode != "zeros":
        pads = _pads(path, module, dims)
        x = as_tensor(x, f"layer '{path}'", type(module).__name__, ndim=dims + 2)
        x = walk.emit(
            f"{path}.pad", "pad", (x,), ndim=dims + 2, modules=(path,),
            attrs={"pad": pads, "mode": module.padding_mode},
        )  # fmt: skip
    weight, bias = (Parameter(f"{path}.{key}", getattr(module, key)) for key in ("weight", "bias"))
    padding = module.padding if module.padding_mode == "zeros" else 0
    geometry = {"stride": module.stride, "padding": padding, "dilation": module.dilation}
    if transposed:
        geometry["output_padding"] = module.output_padding
    rule = convolution(dims, transposed)
    return rule(walk, path, x, weight, bias, groups=module.groups, **geometry)


def _pads(path: str, module: Any, dims: int) -> list[int]:
    """Return pixels before and after, from the last dimension backwards."""
    if isinstance(module.padding, str):
        both = [
            d * (k - 1) * (module.padding == "same")
            for d, k in zip(module.dilation, module.kernel_size, strict=True)
        ]
    else:
        both = [2 * size for size in as_list(path, module.padding, dims)]
    return [side for total in reversed(both) for side in (total // 2, total - total // 2)]


def linear_module(walk: Walk, path: str, module: nn.Linear, x: Any) -> Value:
    """Product with a matrix as a layer."""
    weight, bias = (Parameter(f"{path}.{key}", getattr(module, key)) for key in ("weight", "bias"))
    return linear(walk, path, x, weight, bias)


def batch_norm_module(walk: Walk, path: str, module: nn.BatchNorm2d, x: Value) -> Value:
    """Batch normalisation with its running statistics: a factor and an offset per channel."""
    where, kind = f"layer '{path}'", type(module).__name__
    if module.running_mean is None or module.running_var is None:
        raise unsupported(
            where, kind, "it has no running statistics, so its evaluation depends on the batch; "
            "train with track_running_stats=True",
        )  # fmt: skip
    fixed = {"running_mean": module.running_mean, "running_var": module.running_var}
    learned = {"weight": module.weight, "bias": module.bias}
    arrays = weights_of(where, **{k: Parameter(k, v) for k, v in {**fixed, **learned}.items()})
    mean, var = (arrays[key].astype(np.float64) for key in fixed)
    if np.any(var + module.eps <= 0):
        raise unsupported(where, kind, "its running variance is negative; retrain the layer")
    scale = arrays.get("weight", np.ones_like(mean)) / np.sqrt(var + module.eps)
    offset = arrays.get("bias", np.zeros_like(mean)) - mean * scale
    gamma, beta = arrays.get("weight", np.ones_like(mean)), arrays.get("bias", 0 * mean)
    # Where the channel was normalised, its output has the spread |gamma| and the mean beta.
    folded = {"scale": scale, "offset": offset, "mean": beta, "std": np.abs(gamma)}
    folded = {name: values.astype(np.float32) for name, values in folded.items()}
    value = as_tensor(x, where, kind)
    if value.axis != 0:
        raise unsupported(where, kind, "the batch is not the first dimension of its input")
    if walk.last_is_channel(value) and value.ndim != 2:
        if value.ndim is not None:
            raise unsupported(
                where, kind, "it normalises time steps behind a linear layer of sequences; use "
                "LayerNorm, or put the channels second (transpose)",
            )  # fmt: skip
        value.ndim = 2
    return walk.emit(
        path, "batch_norm", (value,), arrays=folded, modules=(path,), **like(value)
    )  # fmt: skip


def weights_of(where: str, **parameters: Any) -> dict[str, np.ndarray]:
    """Return float32 copies of the parameters that are there."""
    arrays = {}
    for key, parameter in parameters.items():
        if parameter is None or (isinstance(parameter, Parameter) and parameter.tensor is None):
            continue
        if not isinstance(parameter, Parameter):
            raise unsupported(
                where, key, "it is computed in forward; use a parameter as it is stored"
            )
        tensor = parameter.tensor
        if tensor.device.type == "meta":
            raise unsupported(
                where, key, "it is on the meta device and has no data; load the weights first"
            )
        if tensor.dtype not in (torch.float32, torch.float64):
            raise unsupported(
                where, key, f"its type is {tensor.dtype}, supported now: float32 and float64; "
                f"convert the model with model.float()",
            )  # fmt: skip
        arrays[key] = tensor.detach().cpu().to(torch.float32).numpy()
    return arrays


def _owner(name: str, weight: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return path of the weight, name of the layer and module paths."""
    if not isinstance(weight, Parameter):
        return name, name, (name,)
    module = weight.path.rpartition(".")[0]
    return weight.path, module or name, (module or name,)


def as_list(where: str, value: Any, dims: int) -> list[int]:
    """Return one whole number per dimension, from one or several."""
    parts = list(value) if isinstance(value, Sequence) else [value]
    parts = [as_integer(where, part) for part in parts]
    return parts * dims if len(parts) == 1 else parts
