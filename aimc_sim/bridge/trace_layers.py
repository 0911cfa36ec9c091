"""What the layers that hold weights become in the graph: convolution, linear, batch norm.

The functions have the signatures of :mod:`torch.nn.functional`, so that a layer and a direct
call of the function with the layer's parameters give the same node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from aimc_sim.bridge.trace_values import Parameter, Value, as_pair, as_tensor, unsupported

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk


def conv2d(
    walk: Walk, name: str, input: Any, weight: Any, bias: Any = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Value:  # fmt: skip
    """Convolution; its place on the crossbars belongs to the owner of the weight."""
    owner, name, modules = _owner(name, weight)
    where = f"layer '{name}'"
    value = as_tensor(input, where, "Conv2d", ndim=4)
    if groups != 1:
        raise unsupported(
            where, "Conv2d", f"groups = {groups}, supported now: 1; use a full convolution "
            f"(a grouped one leaves most of a crossbar empty)",
        )  # fmt: skip
    arrays = _weights(where, weight=weight, bias=bias)
    stride, dilation = as_pair(where, stride), as_pair(where, dilation)
    if padding == "same":
        if stride != [1, 1]:
            raise unsupported(
                where,
                "Conv2d",
                f"padding = 'same' with stride {stride}; give the padding in pixels",
            )
        kernel = arrays["weight"].shape[2:]
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = [t // 2 for t in total]
        extra = [t % 2 for t in total]
        if any(extra):  # torch puts the odd pixel behind; the layer's own padding is symmetric
            value = walk.emit(
                f"{name}.pad", "pad", (value,), ndim=4, attrs={"pad": [0, extra[1], 0, extra[0]]}
            )
    walk.claim(owner, name)
    attrs = {
        "stride": stride,
        "padding": [0, 0] if padding == "valid" else as_pair(where, padding),
        "dilation": dilation,
    }
    return walk.emit(name, "conv2d", (value,), ndim=4, attrs=attrs, arrays=arrays, modules=modules)


def linear(walk: Walk, name: str, input: Any, weight: Any, bias: Any = None) -> Value:
    """Product with a matrix."""
    owner, name, modules = _owner(name, weight)
    where = f"layer '{name}'"
    value = as_tensor(input, where, "Linear")
    if value.ndim not in (None, 2):
        raise unsupported(
            where, "Linear", "its input is a feature map; flatten it first (torch.flatten(x, 1))"
        )
    arrays = _weights(where, weight=weight, bias=bias)
    walk.claim(owner, name)
    return walk.emit(name, "linear", (value,), ndim=2, arrays=arrays, modules=modules)


def conv2d_module(walk: Walk, path: str, module: nn.Conv2d, x: Value) -> Value:
    """Convolution as a layer."""
    if module.padding_mode != "zeros":
        raise unsupported(
            f"layer '{path}'", "Conv2d",
            f"padding_mode = '{module.padding_mode}', supported now: 'zeros'; retrain with it",
        )  # fmt: skip
    weight, bias = (Parameter(f"{path}.{key}", getattr(module, key)) for key in ("weight", "bias"))
    return conv2d(
        walk, path, x, weight, bias, module.stride, module.padding, module.dilation, module.groups
    )


def linear_module(walk: Walk, path: str, module: nn.Linear, x: Value) -> Value:
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
    arrays = _weights(where, **{k: Parameter(k, v) for k, v in {**fixed, **learned}.items()})
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
    return walk.emit(
        path, "batch_norm", (value,), ndim=value.ndim, arrays=folded, modules=(path,),
        size_of=value.size_of,
    )  # fmt: skip


def _weights(where: str, **parameters: Any) -> dict[str, np.ndarray]:
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
