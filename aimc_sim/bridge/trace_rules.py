"""What each torch layer and function becomes in the graph.

A function's rule has the signature of the torch function with the walk and a name in front, so
that Python itself matches positional and named arguments. A layer's rule reads the module's
attributes and calls the same function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim.bridge import trace_layers as layers
from aimc_sim.bridge.trace_values import (
    Shape,
    Size,
    Value,
    as_integer,
    as_pair,
    as_tensor,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

_EVERYTHING = [None, None, None]


# ----------------------------------------------------------------- pointwise operations


def relu(walk: Walk, name: str, input: Any, inplace: bool = False, modules: Any = ()) -> Value:
    """Rectification; in place, every later reader of the input sees the result."""
    value = as_tensor(input, f"operation '{name}'", "relu")
    result = walk.emit(
        name, "relu", (value,), ndim=value.ndim, modules=modules, size_of=value.size_of
    )
    return walk.overwrite(value, result) if inplace else result


def add(walk: Walk, name: str, input: Any, other: Any, *, alpha: Any = 1) -> Value:
    """Sum of two values of the same shape."""
    where = f"operation '{name}'"
    first, second = (as_tensor(value, where, "add") for value in (input, other))
    if alpha != 1:
        raise unsupported(where, "add", f"alpha = {alpha}, supported now: 1")
    return walk.emit(name, "add", (first, second), ndim=first.ndim or second.ndim)


def add_in_place(walk: Walk, name: str, input: Any, other: Any, *, alpha: Any = 1) -> Value:
    """``a += b``: every later reader of a sees the sum."""
    result = add(walk, name, input, other, alpha=alpha)
    return walk.overwrite(input, result)


def concat(walk: Walk, name: str, tensors: Any, dim: Any = 0) -> Value:
    """Several values become one, channel after channel."""
    where = f"operation '{name}'"
    parts = tuple(as_tensor(value, where, "cat") for value in tensors)
    ndim = next((part.ndim for part in parts if part.ndim), None)
    if dim not in (1, None if ndim is None else 1 - ndim):
        raise unsupported(where, "cat", f"dim = {dim}, supported now: 1 (channels, or features)")
    if len(parts) == 1:
        return parts[0]
    return walk.emit(name, "concat", parts, ndim=ndim, attrs={"dim": 1})


def dropout(
    walk: Walk, name: str, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    """Nothing in evaluation; refused where it acts in evaluation as well."""
    if training and p > 0:
        raise unsupported(
            f"operation '{name}'", "dropout",
            "it also acts in evaluation; pass training=self.training or use nn.Dropout",
        )  # fmt: skip
    return input


def _keep(walk: Walk, name: str, input: Any, *_: Any) -> Any:
    return input


# ---------------------------------------------------------------------------- pooling


def max_pool2d(
    walk: Walk, name: str, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False, modules: Any = (),
) -> Value:  # fmt: skip
    """Maximum over a window."""
    where = f"layer '{name}'"
    if return_indices:
        raise unsupported(where, "max_pool2d", "return_indices = True, supported now: False")
    attrs = {
        "kernel_size": as_pair(where, kernel_size),
        "stride": as_pair(where, stride or kernel_size),
        "padding": as_pair(where, padding),
        "dilation": as_pair(where, dilation),
        "ceil_mode": bool(ceil_mode),
    }
    value = as_tensor(input, where, "max_pool2d", ndim=4)
    return walk.emit(name, "max_pool2d", (value,), ndim=4, attrs=attrs, modules=modules)


def avg_pool2d(
    walk: Walk, name: str, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    modules: Any = (),
) -> Value:  # fmt: skip
    """Mean over a window; over the whole map if the window is as large as the map."""
    where = f"layer '{name}'"
    value = as_tensor(input, where, "avg_pool2d", ndim=4)
    if divisor_override is not None:
        raise unsupported(where, "avg_pool2d", "divisor_override is set, supported now: None")
    kernel = list(kernel_size) if isinstance(kernel_size, Sequence) else [kernel_size] * 2
    if all(isinstance(side, Size) for side in kernel):
        dims = [side.dims for side in kernel]
        own = all(side.size_of == value.size_of for side in kernel)
        if not own or any(dim not in ((2,), (3,)) for dim in dims) or padding not in (0, (0, 0)):
            raise unsupported(
                where, "avg_pool2d", "its window is a size of another value, or padded; use "
                "F.adaptive_avg_pool2d(x, 1)",
            )  # fmt: skip
        # One size for both sides ("x.size(3)") only means the whole map if that is square.
        return _global(walk, name, value, modules, square=dims != [(2,), (3,)])
    attrs = {
        "kernel_size": as_pair(where, kernel_size),
        "stride": as_pair(where, stride or kernel_size),
        "padding": as_pair(where, padding),
        "ceil_mode": bool(ceil_mode),
        "count_include_pad": bool(count_include_pad),
    }
    return walk.emit(name, "avg_pool2d", (value,), ndim=4, attrs=attrs, modules=modules)


def adaptive_avg_pool2d(
    walk: Walk, name: str, input: Any, output_size: Any, modules: Any = ()
) -> Value:
    """Mean over the whole map; other output sizes are refused."""
    where = f"layer '{name}'"
    if output_size not in (1, (1, 1), [1, 1], (1,), [1]):
        raise unsupported(
            where, "adaptive_avg_pool2d", f"output size {output_size}, supported now: 1; use "
            f"AvgPool2d with a fixed window",
        )  # fmt: skip
    value = as_tensor(input, where, "adaptive_avg_pool2d", ndim=4)
    return _global(walk, name, value, modules)


def mean(walk: Walk, name: str, input: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """Mean over rows and columns of the map."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "mean", ndim=4)
    dims = sorted(d % 4 for d in dim) if isinstance(dim, Sequence) else [dim]
    if dims != [2, 3]:
        raise unsupported(where, "mean", f"dimensions {dim}, supported now: (2, 3) together")
    pooled = _global(walk, name, value)
    return pooled if keepdim else flatten(walk, f"{name}.flatten", pooled, 1)


def _global(walk: Walk, name: str, value: Value, modules: Any = (), square: bool = False) -> Value:
    attrs = {"square": True} if square else {}
    return walk.emit(name, "global_avg_pool", (value,), ndim=4, attrs=attrs, modules=modules)


# ------------------------------------------------------------------------------ shape


def flatten(
    walk: Walk, name: str, input: Any, start_dim: int = 0, end_dim: int = -1, modules: Any = ()
) -> Value:
    """Vectors from feature maps; vectors stay as they are."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "flatten")
    whole = end_dim == -1 or (value.ndim is not None and end_dim == value.ndim - 1)
    if start_dim != 1 or not whole:
        raise unsupported(
            where, "flatten", f"start_dim = {start_dim}, end_dim = {end_dim}, supported now: 1, -1 "
            f"(the batch stays)",
        )  # fmt: skip
    if value.ndim == 2:
        return value
    return walk.emit(
        name, "flatten", (value,), ndim=2, attrs={"start_dim": 1}, modules=modules,
        memory=value.memory,
    )  # fmt: skip


def view(walk: Walk, name: str, input: Any, *shape: Any) -> Value:
    """``x.view(x.size(0), -1)`` and its equivalents: flattening."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "view")
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if len(sizes) == 2:
        batch, rest = sizes
        is_batch = isinstance(batch, Size) and batch.dims == (0,)
        if isinstance(rest, Size):
            is_rest = rest.size_of == value.size_of and sorted(rest.dims) in ([1], [1, 2, 3])
        else:
            is_rest = isinstance(rest, int)
        if (is_batch and is_rest) or (batch == -1 and is_rest and rest != -1):
            return flatten(walk, name, value, 1)
    raise unsupported(
        where, "view", "it is not a flattening; supported now: x.view(x.size(0), -1), "
        "torch.flatten(x, 1)",
    )  # fmt: skip


def pad(
    walk: Walk, name: str, input: Any, pad: Any, mode: str = "constant", value: Any = None,
    modules: Any = (),
) -> Value:  # fmt: skip
    """Zeros around the map, or before and after its channels."""
    where = f"operation '{name}'"
    source = as_tensor(input, where, "pad")
    if mode != "constant" or value not in (None, 0):
        raise unsupported(
            where, "pad", f"mode '{mode}' with value {value}, supported now: 'constant' with 0"
        )
    sizes = [as_integer(where, size) for size in pad]
    if len(sizes) >= 2 * (source.ndim or 4) and any(sizes[2 * (source.ndim or 4) - 2 :]):
        raise unsupported(where, "pad", f"it pads the batch ({sizes}); pad the other dimensions")
    return walk.emit(
        name, "pad", (source,), ndim=source.ndim, attrs={"pad": sizes}, modules=modules
    )


def _get_item(walk: Walk, name: str, source: Any, index: Any) -> Any:
    """Index of a tensor (strided slices), of a shape, or of a plain tuple."""
    if isinstance(source, Shape):
        ndim = source.ndim or 4  # negative indices and open ends need it; maps are the rule
        dims = range(ndim)[index]
        if isinstance(index, slice):
            return tuple(Size(source.size_of, (dim,)) for dim in dims)
        return Size(source.size_of, (dims,))
    if isinstance(source, tuple | list):
        return source[index]
    where = f"operation '{name}'"
    value = as_tensor(source, where, "indexing")
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * ((value.ndim or 4) - len(parts) + 1)
    slices = []
    for part in parts:
        ends = [part.start, part.stop, part.step] if isinstance(part, slice) else [part]
        if len(ends) != 3 or not all(end is None or type(end) is int for end in ends):
            raise unsupported(
                where, "indexing", f"[{part}] is not a slice with fixed ends, such as [:, :, ::2]"
            )
        slices.append(ends)
    if slices[0] not in (_EVERYTHING, [0, None, None]):
        raise unsupported(where, "indexing", "it takes part of the batch; keep all of it ([:])")
    slices[0] = _EVERYTHING
    return walk.emit(
        name, "subsample", (value,), ndim=value.ndim, attrs={"slices": slices}, memory=value.memory
    )


def _size(walk: Walk, name: str, input: Any, dim: int | None = None) -> Any:
    shape = _get_attribute(walk, name, input, "shape")
    return shape if dim is None else _get_item(walk, name, shape, dim)


def _get_attribute(walk: Walk, name: str, source: Any, attribute: str) -> Shape:
    if not isinstance(source, Value) or attribute != "shape":
        raise unsupported(f"operation '{name}'", f".{attribute}", "supported now: .shape")
    return Shape(source.size_of, source.ndim)


def _multiply(walk: Walk, name: str, first: Any, second: Any) -> Size:
    """Product of sizes, for ``x.view(n, c * h * w)``; products of tensors are refused."""
    sizes = isinstance(first, Size) and isinstance(second, Size)
    if not sizes or first.size_of != second.size_of:
        raise unsupported(
            f"operation '{name}'", "mul", "products of tensors have no place on the chip; fold a "
            "constant factor into the weights",
        )  # fmt: skip
    return Size(first.size_of, first.dims + second.dims)


def _zero_pad_module(walk: Walk, path: str, module: Any, x: Value) -> Value:
    return pad(walk, path, x, module.padding, "constant", module.value, (path,))


# ------------------------------------------------------------------------------ tables

Rule = Callable[..., Any]

_POOL = ("kernel_size", "stride", "padding")
_AVERAGE = (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")
_MAXIMUM = (*_POOL, "dilation", "ceil_mode", "return_indices")


def _module(function: Rule, *attributes: str) -> Rule:
    """Return the rule of a layer that calls `function` with some of the layer's attributes."""

    def rule(walk: Walk, path: str, module: nn.Module, x: Value) -> Any:
        given = {key: getattr(module, key) for key in attributes}
        return function(walk, path, x, **given, modules=(path,))

    return rule


def _vanish(walk: Walk, path: str, module: nn.Module, x: Value) -> Value:
    return x


MODULES: dict[type, Rule] = {
    nn.Conv2d: layers.conv2d_module,
    nn.Linear: layers.linear_module,
    nn.BatchNorm2d: layers.batch_norm_module,
    nn.BatchNorm1d: layers.batch_norm_module,
    nn.ReLU: _module(relu, "inplace"),
    nn.MaxPool2d: _module(max_pool2d, *_MAXIMUM),
    nn.AvgPool2d: _module(avg_pool2d, *_AVERAGE),
    nn.AdaptiveAvgPool2d: _module(adaptive_avg_pool2d, "output_size"),
    nn.Flatten: _module(flatten, "start_dim", "end_dim"),
    nn.ZeroPad2d: _zero_pad_module,
    nn.ConstantPad2d: _zero_pad_module,
    nn.Dropout: _vanish,
    nn.Dropout2d: _vanish,
    nn.AlphaDropout: _vanish,
    nn.Identity: _vanish,
}
"""Rule of each layer; subclasses are included unless they rewrite ``forward``."""

FUNCTIONS: dict[Any, Rule] = {
    F.conv2d: layers.conv2d,
    F.linear: layers.linear,
    F.relu: relu,
    torch.relu: relu,
    torch.relu_: lambda walk, name, x: relu(walk, name, x, inplace=True),
    F.relu_: lambda walk, name, x: relu(walk, name, x, inplace=True),
    operator.add: add,
    operator.iadd: add_in_place,
    torch.add: add,
    torch.cat: concat,
    torch.concat: concat,
    operator.mul: _multiply,
    F.dropout: dropout,
    F.dropout2d: dropout,
    F.max_pool2d: max_pool2d,
    torch.max_pool2d: max_pool2d,
    F.avg_pool2d: avg_pool2d,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    torch.mean: mean,
    torch.flatten: flatten,
    torch.reshape: lambda walk, name, x, shape: view(walk, name, x, shape),
    F.pad: pad,
    operator.getitem: _get_item,
    getattr: _get_attribute,
}
"""Rule of each function."""

METHODS: dict[str, Rule] = {
    "relu": relu,
    "relu_": lambda walk, name, x: relu(walk, name, x, inplace=True),
    "add": add,
    "add_": add_in_place,
    "mean": mean,
    "flatten": flatten,
    "view": view,
    "reshape": view,
    "size": _size,
    "contiguous": _keep,
}
"""Rule of each tensor method."""
