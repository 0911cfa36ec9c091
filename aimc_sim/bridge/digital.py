"""What the digital units do between crossbars, on torch tensors.

An operation takes value tensors in real numbers, the step's JSON attributes and its arrays; those
that keep codes (:mod:`aimc_sim.chip.operations`) act on integer codes directly. Most are torch's
own functions: their attributes are ``args`` and ``kwargs``, in which ``{"value": i}`` stands for
the i-th source, ``{"slice": [...]}`` for a slice and ``{"size": [name, dim]}`` for a size of a
value, alone or in sums, products and quotients (:func:`decode`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..chip.operations import OPERATIONS as TABLE
from . import products

KEEPS_CODES = frozenset(name for name, operation in TABLE.items() if operation.kind == "codes")
"""Operations whose result has the scale of their input."""

Sizes = Mapping[str, tuple[int, ...]]
"""Sizes of the values computed so far, by name."""


def apply(
    op: str,
    inputs: Sequence[Tensor],
    attrs: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
    sizes: Sizes | None = None,
) -> Tensor:
    """Return the result of one digital operation.

    Parameters
    ----------
    op : str
        A key of :data:`aimc_sim.chip.operations.OPERATIONS` that is not recurrent.
    inputs : sequence of tensors
        In the network's own numbers (or codes, for operations that keep them).
    attrs : mapping
        JSON values.
    arrays : mapping from str to numpy array, optional
        What the operation has learned.
    sizes : mapping from value name to sizes, optional
    """
    if op in SPECIAL:
        learned = {
            name: torch.from_numpy(np.asarray(array)).to(inputs[0].device)
            for name, array in (arrays or {}).items()
        }
        return SPECIAL[op](*inputs, **attrs, **learned)
    if op == "constant":
        return torch.from_numpy(np.asarray(arrays["value"]))
    args = decode(attrs["args"], inputs, arrays or {}, sizes or {})
    kwargs = {  # one by one: their names may be those of the tree's own keys, such as "size"
        key: decode(part, inputs, arrays or {}, sizes or {})
        for key, part in attrs.get("kwargs", {}).items()
    }
    return FUNCTIONS[op](*args, **kwargs)


def decode(
    tree: Any, inputs: Sequence[Tensor], arrays: Mapping[str, np.ndarray], sizes: Sizes
) -> Any:
    """Return an argument with the values, arrays, slices and sizes that it names."""
    if isinstance(tree, list):
        return [decode(part, inputs, arrays, sizes) for part in tree]
    if not isinstance(tree, dict):
        return tree
    for key, content in tree.items():
        if key == "value":
            return inputs[content]
        if key == "array":
            found = torch.from_numpy(np.asarray(arrays[content]))
            return found.to(inputs[0].device) if inputs else found
        if key == "number":  # JSON has no infinity
            return float(content)
        if key == "slice":
            return slice(*decode(content, inputs, arrays, sizes))
        if key == "size":
            return sizes[content[0]][content[1]]
        if key == "dtype":
            return getattr(torch, content)
        if key == "ellipsis":
            return Ellipsis
        if key == "tuple":
            return tuple(decode(content, inputs, arrays, sizes))
        if key in _ARITHMETIC:
            return _ARITHMETIC[key](*(decode(part, inputs, arrays, sizes) for part in content))
    return {key: decode(part, inputs, arrays, sizes) for key, part in tree.items()}


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "/": operator.truediv, "%": operator.mod,
    "**": operator.pow,
}  # fmt: skip


# -------------------------------------------------------- operations with named attributes


def _max_pool2d(x: Tensor, **attrs) -> Tensor:
    return F.max_pool2d(x, **attrs)


def _affine(x: Tensor, scale: list[float], offset: list[float]) -> Tensor:
    factors = torch.tensor([scale, offset], device=x.device).view(2, 1, -1, *(1,) * (x.ndim - 2))
    return x * factors[0] + factors[1]


def _global_avg_pool(x: Tensor, square: bool = False) -> Tensor:
    if square and x.shape[2] != x.shape[3]:
        raise ValueError(
            f"avg_pool2d with the window x.size(3) got maps of {x.shape[2]} x {x.shape[3]}, where "
            "it is not the whole map; use F.adaptive_avg_pool2d(x, 1), or square images"
        )
    return x.mean(dim=(2, 3), keepdim=True)


def _subsample(x: Tensor, slices: list[list[int | None]]) -> Tensor:
    return x[tuple(slice(*part) for part in slices)]


def _pixel_shuffle(x: Tensor, factor: int | list[int]) -> Tensor:
    rows, cols = (factor, factor) if isinstance(factor, int) else factor
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels // (rows * cols), rows, cols, height, width)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * rows, width * cols)


def _pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(
            f"patches of {factor} x {factor} pixels do not cover maps of {x.shape[2]} x "
            f"{x.shape[3]}; choose another number for this layer in mapping.replicate"
        )
    return F.pixel_unshuffle(x, factor)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, **attrs) -> Tensor:
    attrs.pop("macs_per_output")
    if not attrs.pop("transposed", False):
        return products.convolution(x, weight, bias, **attrs)
    functions = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
    return functions[weight.ndim](x, weight, bias, **attrs)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, **_: Any) -> Tensor:
    return products.linear(x, weight, bias)


def _recurrence(
    x: Tensor, *states: Tensor, kind: str, options: dict, part: str, macs_per_output: int,
    **weights: Tensor,
) -> Tensor:  # fmt: skip
    """Run a recurrent layer of torch as a whole, off the cores."""
    layer = _recurrent_layer(kind, tuple(sorted(options.items())))
    given = None
    if states:
        given = states if kind == "LSTM" else states[0]
    y, last = torch.func.functional_call(layer, dict(weights), (x, given))
    if part == "outputs":
        return y
    return last[("h", "c").index(part)] if kind == "LSTM" else last


@lru_cache(maxsize=32)
def _recurrent_layer(kind: str, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    with torch.device("meta"):
        return getattr(nn, kind)(**dict(options)).eval()


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *mask: Tensor, causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask[0] if mask else None, is_causal=causal, scale=scale
    )


def _attention_bias(*masks: Tensor, padding: bool, heads: int) -> Tensor:
    """Return what masks add to attention scores, as torch's own layer reads them.

    True, or minus infinity, hides: in (B, S) for padding; in (T, S) or (B heads, T, S).
    """

    def added(mask: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return mask
        return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -torch.inf)

    parts = [added(mask) for mask in masks]
    if padding:
        parts[0] = parts[0][:, None, None, :]
    if parts[-1].ndim == 3:
        parts[-1] = parts[-1].unflatten(0, (-1, heads))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _pair(shape: Sequence[int | None], rest: tuple[int, ...]) -> list[int]:
    return [old if new is None else new for new, old in zip(shape, rest, strict=True)]


def _adaptive(function: Callable[[int], Callable]) -> Callable[..., Tensor]:
    """Return adaptive pooling over as many dimensions as the output size has."""

    def pool(x: Tensor, output_size: list[int | None]) -> Tensor:
        dims = len(output_size)
        return function(dims)(x, _pair(output_size, tuple(x.shape[-dims:])))

    return pool


SPECIAL: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "add": torch.add,
    "concat": lambda *values, dim: torch.cat(values, dim),
    "stack": lambda *values, dim: torch.stack(values, dim),
    "affine": _affine,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": F.avg_pool2d,
    "global_avg_pool": _global_avg_pool,
    "adaptive_avg_pool": _adaptive(
        {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}.get
    ),
    "adaptive_max_pool": _adaptive(
        {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}.get
    ),
    "flatten": lambda x, start_dim=1, end_dim=-1: x.flatten(start_dim, end_dim),
    "subsample": _subsample,
    "pad": lambda x, pad, mode="constant": F.pad(x, pad, mode=mode),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "convolution": _convolution,
    "linear_digital": _linear,
    "recurrence": _recurrence,
    "attention": _attention,
    "attention_bias": _attention_bias,
    "max_pool1d": lambda x, **attrs: F.max_pool1d(x, **attrs),
    "avg_pool1d": lambda x, **attrs: F.avg_pool1d(x, **attrs),
    "embedding": lambda x, weight: F.embedding(x.long(), weight),
    "batch_norm_nd": lambda x, scale, offset: (
        x * scale.view(-1, *(1,) * (x.ndim - 2)) + offset.view(-1, *(1,) * (x.ndim - 2))
    ),
    "lengths": lambda x: x,
    "trim": lambda x, lengths, dim: x.narrow(dim, 0, int(lengths.max())),
}
"""Operations whose attributes are named: ours, and torch's where the graph names them."""


def _matmul(x: Tensor, y: Tensor) -> Tensor:
    if x.ndim == y.ndim == 2:
        raise ValueError(
            f"the product of ({', '.join(map(str, x.shape))}) and ({', '.join(map(str, y.shape))}) "
            "numbers would mix the images of a batch; keep the batch apart, as a first dimension"
        )
    return products.matmul(x, y)


def _index(x: Tensor, parts: Any) -> Tensor:
    return x[tuple(parts) if isinstance(parts, list) else parts]


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{
        name: getattr(torch, name)
        for name in (
            "reshape permute transpose unsqueeze squeeze movedim flip roll mul sub div "
            "neg abs square clamp maximum minimum masked_fill where mean "
            "sum amax var std full arange softmax log_softmax logsumexp "
            "prelu eq ne lt le gt ge logical_not logical_and logical_or tril triu"
        ).split()
    },
    **{
        name: products.evenly(getattr(torch, name))
        for name in "pow sqrt rsqrt exp log reciprocal sigmoid tanh sin cos selu".split()
    },
    **{
        name: products.evenly(getattr(F, name))
        for name in (
            "leaky_relu relu6 hardtanh elu celu softplus softsign logsigmoid hardsigmoid silu "
            "hardswish gelu mish"
        ).split()
    },
    **{
        name: getattr(F, name)
        for name in ("layer_norm rms_norm group_norm instance_norm glu softmin interpolate").split()
    },
    "expand": lambda x, sizes: x.expand(*sizes),
    "index": _index,
    "matmul": _matmul,
    "einsum": torch.einsum,
    "repeat": lambda x, times: x.repeat(*times),
    "upsample": F.interpolate,
}
"""Operations that are torch's functions with ``args`` and ``kwargs``."""
