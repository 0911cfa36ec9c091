"""Operations with trained weights: convolutions, matrices, batch norm, tables.

A rule has the arguments of the ATen operation with the draft and the recorded call in front; it
returns the value of the call, or NotImplemented where the operation holds no constant weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx

from aimc_sim.frontend.calls import location
from aimc_sim.frontend.constants import weights
from aimc_sim.frontend.draft import Draft, Rule
from aimc_sim.frontend.sizes import expressions
from aimc_sim.frontend.values import BatchAxisError, Constant, Value, unsupported


def _convolution(dims: int, transposed: bool = False) -> Rule:
    """Return the rule of convolutions over some dimensions."""

    def ordinary(
        draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any = None, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1,
    ) -> Any:  # fmt: skip
        return _convolve(draft, node, dims, False, x, weight, bias, stride, padding, dilation,
                         groups, 0)  # fmt: skip

    def reverse(
        draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any = None, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        return _convolve(draft, node, dims, True, x, weight, bias, stride, padding, dilation,
                         groups, output_padding)  # fmt: skip

    return reverse if transposed else ordinary


def _general_convolution(
    draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    """Add a convolution of any kind, from ``aten.convolution``."""
    dims = node.meta["val"].ndim - 2
    return _convolve(draft, node, dims, transposed, x, weight, bias, stride, padding, dilation,
                     groups, output_padding)  # fmt: skip


def _convolve(
    draft: Draft, node: fx.Node, dims: int, transposed: bool, x: Any, weight: Any, bias: Any,
    stride: Any, padding: Any, dilation: Any, groups: int, extra: Any,
) -> Any:  # fmt: skip
    if not isinstance(weight, Constant) or not isinstance(x, Value) or isinstance(bias, Value):
        return NotImplemented
    kind = f"Conv{'Transpose' if transposed else ''}{dims}d"
    name, devices, modules = _devices_of(draft, node, weight)
    where = f"layer '{name}'{location(node)}"
    arrays = weights(where, weight=weight, bias=bias)
    stride, dilation, extra = (_each(part, dims) for part in (stride, dilation, extra))
    unbatched = x.ndim == dims + 1
    if unbatched:
        x = draft.emit(
            f"{name}.unsqueeze", "unsqueeze", (x,), (1, *x.sizes), node=node,
            attrs={"args": [{"value": 0}, 0]},
        )  # fmt: skip
    if isinstance(padding, str):
        x, padding = _same_padding(draft, node, name, x, padding, stride, dilation,
                                   arrays["weight"].shape[2:])  # fmt: skip
    padding = _each(padding, dims)
    if x.axis not in (0, None):
        raise BatchAxisError(f"{where} ({kind}): the batch is not the first dimension it reads")
    result = node.meta["val"]
    sizes = (1, *result.shape) if unbatched else tuple(result.shape)
    attrs: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if groups != 1:
        attrs["groups"] = groups
    if transposed:
        attrs["output_padding"] = extra
    about: dict[str, Any] = {"node": node, "modules": modules}
    if not draft.chosen.analog(name) or (x.axis is None and draft.axis is not None):
        # Products per output, or per input of a transposed one: all other channels and pixels.
        attrs |= {"macs_per_output": prod(arrays["weight"].shape[1:])}
        attrs |= {"transposed": True} if transposed else {}
        y = draft.emit(name, "convolution_digital", (x,), expressions(sizes), attrs=attrs,
                      arrays=arrays, **about)  # fmt: skip
    elif dims > 2:
        raise unsupported(where, f"conv{'_transpose' * transposed}3d")
    else:
        if dims == 1:
            attrs = {key: _flat(key, part) for key, part in attrs.items()}
            arrays["weight"] = arrays["weight"][:, :, None]
        if devices:
            attrs["devices"] = devices
        op = f"conv{'_transpose' if transposed else ''}{dims}d"
        y = draft.emit(name, op, (x,), expressions(sizes), attrs=attrs, arrays=arrays, **about)
        _own(draft, y, weight, name)
    if unbatched:
        y = draft.emit(f"{name}.squeeze", "squeeze", (y,), result, node=node,
                      attrs={"args": [{"value": 0}, 0]})  # fmt: skip
    return y


def _flat(key: str, part: Any) -> Any:
    """Return an attribute of a line as that of maps with one row."""
    one_row = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    return [one_row[key], *part] if key in one_row else part


def _each(value: Any, dims: int) -> list[int]:
    """Return one whole number per dimension, from one or several."""
    parts = list(value) if isinstance(value, Sequence) else [value]
    return [int(part) for part in (parts * dims if len(parts) == 1 else parts)]


def _same_padding(
    draft: Draft, node: fx.Node, name: str, x: Value, padding: str, stride: list[int],
    dilation: list[int], kernel: Sequence[int],
) -> tuple[Value, list[int]]:  # fmt: skip
    """Return input and padding for 'same' and 'valid'."""
    if padding == "valid":
        return x, [0] * len(kernel)
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    extra = [t % 2 for t in total]
    if any(extra):  # torch puts the odd pixel behind; the layer's own padding is symmetric
        pad = [size for more in reversed(extra) for size in (0, more)]
        sizes = (*x.sizes[:2], *(n + e for n, e in zip(x.sizes[2:], extra, strict=True)))
        x = draft.emit(f"{name}.pad", "pad", (x,), sizes, node=node, attrs={"pad": pad})
    return x, [t // 2 for t in total]


def linear(
    draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any = None, like: Any = None
) -> Any:
    """Multiply the last dimension by a matrix (out, in).

    Parameters
    ----------
    draft : Draft
        The graph so far.
    node : fx.Node
        The recorded call.
    x : Value
        The value whose last dimension is multiplied.
    weight, bias : Constant
        The matrix, of the shape (out, in), and the offset (out,) or None.
    like : sizes, optional
        Sizes of the result; None: those of the recorded result.

    Returns
    -------
    Value
        The product; NotImplemented where operands are not of these kinds.

    Raises
    ------
    BatchAxisError
        If the last dimension counts the batch.
    UnsupportedLayerError
        If the weights have no data, or another type than float32 and float64.
    """
    if not isinstance(weight, Constant) or not isinstance(x, Value) or isinstance(bias, Value):
        return NotImplemented
    if weight.tensor.ndim != 2:
        return NotImplemented
    apart = _unmerged(draft, node, x)
    if apart is not None:
        result = expressions(node.meta["val"].shape if like is None else like)
        y = linear(draft, node, apart, weight, bias, (*apart.sizes[:-1], weight.tensor.shape[0]))
        if y is NotImplemented:
            return y
        return draft.emit(
            f"{y.name}.joined", "reshape", (y,), result, node=node,
            attrs={"args": [{"value": 0}, [draft.size(node, size) for size in result]]},
        )  # fmt: skip
    name, devices, modules = _devices_of(draft, node, weight)
    where = f"layer '{name}'{location(node)}"
    arrays = weights(where, weight=weight, bias=bias)
    if arrays.get("bias") is not None and arrays["bias"].ndim != 1:
        return NotImplemented
    result = expressions(node.meta["val"].shape if like is None else like)
    about: dict[str, Any] = {"node": node, "modules": modules}
    if not draft.chosen.analog(name) or (x.axis is None and draft.axis is not None):
        attrs = {"macs_per_output": arrays["weight"].shape[1]}
        return draft.emit(name, "linear_digital", (x,), result, attrs=attrs, arrays=arrays, **about)
    if x.axis is not None and x.axis == x.ndim - 1:
        raise BatchAxisError(f"{where} (Linear): it mixes the images of a batch")
    attrs = {"axis": x.axis} if x.axis else {}
    if devices:
        attrs["devices"] = devices
    if x.ndim == 1:
        x = draft.emit(f"{name}.row", "unsqueeze", (x,), (1, *x.sizes), node=node,
                      attrs={"args": [{"value": 0}, 0]})  # fmt: skip
        y = draft.emit(name, "linear", (x,), (1, *result), attrs=attrs, arrays=arrays, **about)
        _own(draft, y, weight, name)
        return draft.emit(f"{name}.vector", "squeeze", (y,), result, node=node,
                         attrs={"args": [{"value": 0}, 0]})  # fmt: skip
    y = draft.emit(name, "linear", (x,), result, attrs=attrs, arrays=arrays, **about)
    _own(draft, y, weight, name)
    return y


def _unmerged(draft: Draft, node: fx.Node, x: Value) -> Value | None:
    """Return what a reshape joined with the batch, if the last dimension went through unchanged.

    A matrix acts on the last dimension only, so it may act before others are joined: then every
    image keeps rows of its own, whose noise is its own.
    """
    if x.axis is None or x.sizes[x.axis] in draft.batch:
        return None
    found, own, name = x, x.ndim - 1, ""
    while found.axis is not None and found.sizes[found.axis] not in draft.batch:
        made = draft.node_of(found)
        if made is None or made.op != "reshape":
            return None
        found, name = draft.values[made.inputs[0]], made.name
        # Dimensions at the end that together are the last one of x, such as the heads' parts.
        end = next(
            (k for k in range(found.ndim - 1, -1, -1) if _product(found.sizes[k:]) == x.sizes[-1]),
            None,
        )
        if end is None or found.axis is None or found.axis >= end:
            return None
        own = end
    if own != found.ndim - 1:  # joined once, at the end: a reshape made here is not followed
        sizes = (*found.sizes[:own], x.sizes[-1])
        found = draft.emit(
            f"{name}.apart", "reshape", (found,), sizes, node=node,
            attrs={"args": [{"value": 0}, [draft.size(node, size) for size in sizes]]},
        )  # fmt: skip
    return found


def _product(sizes: Sequence[Any]) -> Any:
    total = 1
    for size in sizes:
        total = total * size
    return total


def _matrix_product(draft: Draft, node: fx.Node, x: Any, other: Any) -> Any:
    """Multiply by a trained matrix, as a linear layer; products of values are left to ATen."""
    if not (isinstance(other, Constant) and other.trained and other.tensor.ndim == 2):
        return NotImplemented
    if not isinstance(x, Value) or x.ndim < 2:
        return NotImplemented
    turned = Constant(other.tensor.detach().T, other.path, True, stored=other.stored)
    return linear(draft, node, x, turned)


def _sum_and_product(
    draft: Draft, node: fx.Node, bias: Any, x: Any, other: Any, beta: Any = 1, alpha: Any = 1
) -> Any:
    """Add ``bias + x @ W`` as a linear layer."""
    if beta != 1 or alpha != 1 or not isinstance(bias, Constant) or not isinstance(other, Constant):
        return NotImplemented
    if not other.trained or not isinstance(x, Value) or bias.tensor.ndim != 1:
        return NotImplemented
    turned = Constant(other.tensor.detach().T, other.path, True, stored=other.stored)
    return linear(draft, node, x, turned, bias)


def _batch_norm(
    draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any, mean: Any, var: Any,
    training: bool, momentum: float, eps: float, *_: Any,
) -> Any:  # fmt: skip
    """Normalise with running statistics: by a factor and an offset per channel."""
    leaf = draft.name(node)
    where, kind = f"layer '{leaf}'{location(node)}", "BatchNorm"
    if training or mean is None or var is None:
        if draft.leaf(node):
            raise unsupported(
                where, kind, "it has no running statistics, so its evaluation depends on the "
                "batch; train with track_running_stats=True",
            )  # fmt: skip
        return NotImplemented  # asked for by the forward method itself: the batch is one piece
    if not isinstance(x, Value) or any(isinstance(p, Value) for p in (weight, bias, mean, var)):
        return NotImplemented
    arrays = weights(where, weight=weight, bias=bias, mean=mean, var=var)
    mean, var = (arrays[key].astype(np.float64) for key in ("mean", "var"))
    if np.any(var + eps <= 0):
        raise unsupported(where, kind, "its running variance is negative; retrain the layer")
    gamma, beta = arrays.get("weight", np.ones_like(mean)), arrays.get("bias", 0 * mean)
    scale = gamma / np.sqrt(var + eps)
    # A channel that was normalised has the standard deviation |gamma| and the mean beta.
    folded = {"scale": scale, "offset": beta - mean * scale, "mean": beta, "std": np.abs(gamma)}
    folded = {name: values.astype(np.float32) for name, values in folded.items()}
    if x.axis not in (0, None):
        raise BatchAxisError(f"{where} ({kind}): the batch is not the first dimension it reads")
    before = draft.node_of(x)
    # Behind a linear layer of sequences the second dimension counts time steps, not its outputs.
    mixed = before is not None and before.op == "linear" and x.ndim != 2
    attrs = {"merge": False} if mixed else {}
    value = node.meta["val"]
    like = value[0] if isinstance(value, tuple | list) else value
    return draft.emit(leaf, "batch_norm", (x,), like, node=node, attrs=attrs, arrays=folded)


def _fixed_batch_norm(
    draft: Draft, node: fx.Node, x: Any, weight: Any, bias: Any, mean: Any, var: Any,
    momentum: float, eps: float,
) -> Any:  # fmt: skip
    """Normalise with running statistics; torch's own operation for it has three results."""
    made = _batch_norm(draft, node, x, weight, bias, mean, var, False, momentum, eps)
    return made if made is NotImplemented else (made, None, None)


def _embedding(draft: Draft, node: fx.Node, weight: Any, indices: Any, *_: Any, **__: Any) -> Any:
    """Take rows of a table."""
    if not isinstance(weight, Constant) or not isinstance(indices, Value):
        return NotImplemented
    name = _layer_name(draft, node, weight)
    arrays = weights(f"layer '{name}'{location(node)}", weight=weight)
    return draft.emit(name, "embedding", (indices,), node.meta["val"], node=node, arrays=arrays)


# -------------------------------------------------------------------- names and devices


def _layer_name(draft: Draft, node: fx.Node, weight: Constant) -> str:
    """Return the name of a layer: the module's path, or the parameter's where it has none."""
    leaf = draft.leaf(node)
    if leaf and not weight.stored:
        return leaf  # the weight is computed: normalised, masked
    path, _, last = weight.path.rpartition(".")
    if last == "weight":
        return path or type(draft.recording.model).__name__
    return weight.path.removesuffix("_weight") or leaf or draft.name(node)


def _devices_of(
    draft: Draft, node: fx.Node, weight: Constant
) -> tuple[str, str | None, tuple[str, ...]]:
    """Return a layer's name, the layer whose devices it uses (None: its own), its module paths."""
    name = _layer_name(draft, node, weight)
    modules = (name.removesuffix(".in_proj"),)
    number, unique = 1, name
    while unique in draft.owners:
        owner, held = draft.owners[unique]
        if held.shape == weight.tensor.shape and torch.equal(held, weight.tensor.detach()):
            return name, owner, modules
        number += 1
        unique = f"{name}#{number}"
    return name, None, modules


def _own(draft: Draft, made: Value, weight: Constant, name: str) -> None:
    """Note whose devices hold a weight, for later calls of the layer."""
    number, unique = 1, name
    while unique in draft.owners:
        if torch.equal(draft.owners[unique][1], weight.tensor.detach()):
            return
        number += 1
        unique = f"{name}#{number}"
    draft.owners[unique] = made.name, weight.tensor.detach()


RULES: dict[str, Rule] = {
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "conv_transpose1d": _convolution(1, True),
    "conv_transpose2d": _convolution(2, True),
    "conv_transpose3d": _convolution(3, True),
    "convolution": _general_convolution,
    "linear": linear,
    "matmul": _matrix_product,
    "mm": _matrix_product,
    "addmm": _sum_and_product,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _fixed_batch_norm,
    "embedding": _embedding,
}
"""Rules by the name of the ATen operation."""
