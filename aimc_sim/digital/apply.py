"""Run a digital operation with torch.

An operation takes value tensors in real numbers (or codes, for those that keep them), the step's
JSON attributes and its arrays. Operations of ATen have ``args`` and ``kwargs``, in which
``{"value": i}`` stands for the i-th source, ``{"array": name}`` for an array and
``{"size": [input, dim]}`` for a size of an input of the network, alone or in arithmetic
(:func:`decode`). ``output`` picks one of several results.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aimc_sim.digital.attention import Attending, attention
from aimc_sim.machine import products
from aimc_sim.ops import ATEN, OPERATIONS

Dims = Mapping[str, tuple[int, ...]]
"""Sizes of the network's inputs (or of other values), by name."""


def apply(
    op: str,
    inputs: Sequence[Tensor],
    attrs: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
    sizes: Dims | None = None,
) -> Tensor:
    """Return the result of one digital operation.

    Parameters
    ----------
    op : str
        A key of :data:`aimc_sim.ops.OPERATIONS` that is not recurrent.
    inputs : sequence of tensors
        Values read, in the network's own numbers (or codes, for operations that keep them).
    attrs : mapping of str to JSON values
        Attributes of the operation.
    arrays : mapping of str to numpy.ndarray, optional
        Trained numbers of the operation.
    sizes : mapping of str to tuple of int, optional
        Sizes of the network's inputs (or of other values), by name.

    Returns
    -------
    tensor of the operation's own shape
        The result, float32 where it is floating point.

    Raises
    ------
    KeyError
        If there is no such operation, or an attribute names an array or size that is not given.
    """
    arrays, sizes, record = arrays or {}, sizes or {}, OPERATIONS[op]
    device = inputs[0].device if inputs else torch.device("cpu")
    learned = {k: _tensor(array, device) for k, array in arrays.items()}
    if op in _WHOLE:
        return _WHOLE[op](*inputs, **attrs, **learned)
    result: Tensor
    if record.run is not None:
        named = {key: decode(part, inputs, learned, sizes) for key, part in attrs.items()}
        result = record.run(torch, *inputs, **named, **learned)
        return result
    args = decode(attrs["args"], inputs, learned, sizes)
    kwargs = {  # one by one: their names may be those of the tree's own keys, such as "size"
        key: decode(part, inputs, learned, sizes) for key, part in attrs.get("kwargs", {}).items()
    }
    overload = attrs.get("overload", "")
    function = _function(record.aten or record.name, overload)
    result = function(*args, **kwargs)
    if "output" in attrs:
        result = result[attrs["output"]]
    if result.is_floating_point() and result.dtype != torch.float32:
        result = result.float()
    return result


@cache
def _function(name: str, overload: str) -> Callable[..., Any]:
    """Return the function that computes an operation of ATen."""
    if name in SUBSTITUTES:
        return SUBSTITUTES[name]
    packet = getattr(torch.ops.aten, name)
    function = getattr(packet, overload) if overload else packet
    return products.evenly(function) if ATEN[name].approximated else function


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device."""
    return torch.from_numpy(np.asarray(array)).to(device)


def decode(tree: Any, inputs: Sequence[Tensor], arrays: Mapping[str, Tensor], sizes: Dims) -> Any:
    """Return an argument with the values, arrays and sizes that it names.

    Parameters
    ----------
    tree : JSON value
        The argument, in the form that the module describes.
    inputs : sequence of tensors
        Values read, for ``{"value": i}``.
    arrays : mapping of str to tensors
        Trained numbers, for ``{"array": name}``.
    sizes : mapping of str to tuple of int
        Sizes of the network's inputs (or of other values), for ``{"size": [name, dim]}``.

    Returns
    -------
    argument
        The argument as the operation takes it.

    Raises
    ------
    KeyError
        If an array or size that it names is not given.
    """
    if isinstance(tree, list):
        return [decode(part, inputs, arrays, sizes) for part in tree]
    if not isinstance(tree, dict):
        return tree
    for key, content in tree.items():
        if key == "value":
            return inputs[content]
        if key == "array":
            return arrays[content]
        if key == "number":  # JSON has no infinity
            return float(content)
        if key == "dtype":
            return getattr(torch, content)
        if key == "tuple":
            return tuple(decode(content, inputs, arrays, sizes))
        if key == "size":
            return sizes[content[0]][content[1]]
        if key == "rank":
            return len(sizes[content])
        if key in ARITHMETIC:
            parts = [decode(part, inputs, arrays, sizes) for part in content]
            return ARITHMETIC[key](*parts)
    return {key: decode(part, inputs, arrays, sizes) for key, part in tree.items()}


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return a function of several operands from one of two."""

    def several(first: Any, *others: Any) -> Any:
        for other in others:
            first = function(first, other)
        return first

    return several


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": _fold(operator.add), "-": operator.sub, "*": _fold(operator.mul),
    "//": operator.floordiv, "/": operator.truediv, "%": operator.mod, "**": operator.pow,
    "max": max, "min": min, "float": float, "int": int, "sqrt": math.sqrt, "floor": math.floor,
    "ceil": math.ceil, "ceildiv": lambda a, b: -(-a // b), "round": round, "abs": abs,
    "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "and": lambda *parts: all(parts), "or": lambda *parts: any(parts), "not": operator.not_,
    "if": lambda condition, yes, no: yes if condition else no,
}  # fmt: skip
"""Arithmetic on sizes, by its key in a tree."""


def evaluate(tree: Any, sizes: Dims) -> Any:
    """Return the number (or truth value) that a tree of sizes stands for.

    Parameters
    ----------
    tree : JSON value
        The tree, see :mod:`aimc_sim.frontend.sizes`.
    sizes : mapping of str to tuple of int
        Sizes of the network's inputs (or of other values), by name.

    Returns
    -------
    number or bool
        The value of the tree.

    Raises
    ------
    KeyError
        If a size that it names is not given.
    """
    return decode(tree, (), {}, sizes)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, macs_per_output: int = 0,
    transposed: bool = False, **attrs: Any,
) -> Tensor:  # fmt: skip
    """Return the convolution of a layer that stays off the cores."""
    if not transposed:
        return products.convolution(x, weight, bias, **attrs)
    function = getattr(F, f"conv_transpose{weight.ndim - 2}d")
    result: Tensor = function(x, weight, bias, **attrs)
    return result


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, **_: Any) -> Tensor:
    """Return the product of a layer that stays off the cores."""
    return products.linear(x, weight, bias)


def _recurrence(
    x: Tensor, *states: Tensor, kind: str, options: dict[str, Any], part: str,
    macs_per_output: int, **weights: Tensor,
) -> Tensor:  # fmt: skip
    """Run a recurrent layer of torch as a whole, off the cores; return one of its results."""
    layer = _recurrent_layer(kind, tuple(sorted(options.items())))
    given = None
    if states:
        given = states if kind == "LSTM" else states[0]
    outputs, last = torch.func.functional_call(layer, dict(weights), (x, given))
    hidden, cell = last if kind == "LSTM" else (last, last)
    result: Tensor = {"outputs": outputs, "h": hidden, "c": cell}[part]
    return result


def _spiking_attention(
    q: Tensor, k: Tensor, v: Tensor, steps: int, heads: int, scale: float, axis: int
) -> Tensor:
    """Return the attention of spikes; counts are exact in any order."""
    return attention(q, k, v, Attending(steps, heads, scale), axis)


@lru_cache(maxsize=32)
def _recurrent_layer(kind: str, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    """Return a recurrent layer of torch without data."""
    with torch.device("meta"):
        layer: nn.Module = getattr(nn, kind)(**dict(options)).eval()
    return layer


_WHOLE: dict[str, Callable[..., Tensor]] = {
    "convolution_digital": _convolution,
    "linear_digital": _linear,
    "recurrence": _recurrence,
    "spiking_attention": _spiking_attention,
}
"""Layers that stay off the cores, and counters: their sums do not depend on the batch."""

SUBSTITUTES: dict[str, Callable[..., Tensor]] = {
    "matmul": products.matmul,
    "bmm": products.matmul,
}
"""Functions in place of operations of ATen whose sums would depend on the batch."""
