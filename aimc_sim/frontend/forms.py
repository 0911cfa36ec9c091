"""Operations that pipelines read by their attributes: sums, windows, slices, whole maps.

Rules are as in :mod:`.layers`. A call that a rule leaves alone (NotImplemented) stays an
operation of ATen.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch import fx

from aimc_sim.digital.apply import evaluate
from aimc_sim.frontend.calls import operation, overload
from aimc_sim.frontend.draft import Draft, Rule
from aimc_sim.frontend.sizes import expressions
from aimc_sim.frontend.values import Constant, Value, unsupported

_TO_THE_END = 2**62
"""Ends of slices from here on stand for the end of the dimension."""


def _relu(draft: Draft, node: fx.Node, x: Value) -> Value:
    """Set negative numbers to zero."""
    return draft.emit(draft.name(node), "relu", (x,), node.meta["val"], node=node, dtype=x.dtype)


def _add(draft: Draft, node: fx.Node, x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """Add two values; a core's unit does it where one of them is a layer's whole output."""
    value = node.meta["val"]
    if alpha != 1 or not value.is_floating_point():
        return _sum(draft, node, x, y, alpha)
    parts = [
        draft.constant(node, part, f"{draft.name(node)}.constant")
        if isinstance(part, Constant) else part
        for part in (x, y)
    ]  # fmt: skip
    if not all(isinstance(part, Value) for part in parts):
        return _sum(draft, node, x, y, alpha)
    if any(not part.dtype.is_floating_point for part in parts):
        return _sum(draft, node, x, y, alpha)
    whole = [
        len(part.sizes) == value.ndim and other.ndim == value.ndim and part.axis == other.axis
        and all(bool(a == b) for a, b in zip(part.sizes, expressions(value.shape), strict=True))
        for part, other in zip(parts, parts[::-1], strict=True)
    ]  # fmt: skip
    attrs = {} if all(whole) else {"merge": whole}
    return draft.emit(draft.name(node), "add", parts, value, node=node, attrs=attrs)


def _sum(draft: Draft, node: fx.Node, x: Any, y: Any, alpha: Any) -> Any:
    return draft.generic(node, "add", [x, y], {} if alpha == 1 else {"alpha": alpha})


def _cat(draft: Draft, node: fx.Node, tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join values into one, channel after channel, or along another dimension."""
    return _joined(draft, node, tensors, dim % node.meta["val"].ndim, "concat")


def _stack(draft: Draft, node: fx.Node, tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join values into one along a new dimension."""
    return _joined(draft, node, tensors, dim % node.meta["val"].ndim, "stack")


def _joined(draft: Draft, node: fx.Node, tensors: Sequence[Any], dim: int, op: str) -> Any:
    if len(tensors) == 1 and op == "concat" and isinstance(tensors[0], Value):
        return tensors[0]
    value = node.meta["val"]
    parts = []
    for part in tensors:
        if not isinstance(part, Value):
            part = draft.constant(node, part, f"{draft.name(node)}.constant")
        if op == "concat" and part.sizes == (0,):
            continue  # torch's empty part, of whatever shape
        parts.append(part)
    return draft.emit(draft.name(node), op, parts, value, node=node, attrs={"dim": dim},
                     dtype=value.dtype)  # fmt: skip


def _view(draft: Draft, node: fx.Node, x: Value, *_: Any, **__: Any) -> Any:
    """Put everything behind the batch in one row, a form of its own; others are views."""
    sizes = expressions(node.meta["val"].shape)
    if sizes == x.sizes:
        return x
    first = x.axis == 0 or (draft.axis is None and x.ndim > 2)
    if len(sizes) == 2 and first and sizes[0] == x.sizes[0] and x.ndim > 2:
        return draft.emit(draft.name(node), "flatten", (x,), node.meta["val"], node=node,
                         dtype=x.dtype)  # fmt: skip
    by_size = operation(node) not in ("expand", "expand_as", "broadcast_to")
    if not by_size or overload(node) == "dtype":
        return NotImplemented
    return draft.generic_named(node, "reshape", [x, list(sizes)])


def _squeeze(draft: Draft, node: fx.Node, x: Value, *dims: Any) -> Any:
    """Drop dimensions of size one; those of the record are named."""
    if dims:
        return NotImplemented
    ones = [d for d, size in enumerate(x.sizes) if size == 1]
    attrs = {"args": [{"value": 0}, ones], "overload": "dims"}
    return draft.emit(draft.name(node), "squeeze", (x,), node.meta["val"], node=node, attrs=attrs,
                     dtype=x.dtype)  # fmt: skip


def _cut(
    draft: Draft, node: fx.Node, x: Value, dim: int = 0, start: Any = None, end: Any = None,
    step: Any = 1,
) -> Any:  # fmt: skip
    """Cut a slice along one dimension; several slices one after the other are one operation."""
    if any(isinstance(part, sympy.Basic | Value | Constant) for part in (start, end, step)):
        return NotImplemented
    dim = dim % x.ndim
    end = None if end is None or end >= _TO_THE_END else end
    start = start or None
    if start is None and end is None and step == 1:
        return x
    size = x.sizes[dim]
    if isinstance(size, int) and start is None and step == 1 and end is not None and end >= size:
        return x
    part = [start, end, None if step == 1 else step]
    slices = [[None, None, None] for _ in x.sizes]
    before = draft.node_of(x)
    source = node.args[0]
    if (
        before is not None and before.op == "subsample"
        and isinstance(source, fx.Node) and len(source.users) == 1
        and before is draft.nodes[-1] and before.attrs["slices"][dim] == [None, None, None]
    ):  # fmt: skip
        draft.nodes.pop()
        draft.taken.discard(before.name)
        slices = [list(one) for one in before.attrs["slices"]]
        x = draft.values[before.inputs[0]]
    slices[dim] = part
    return draft.emit(draft.name(node), "subsample", (x,), node.meta["val"], node=node,
                     attrs={"slices": slices}, dtype=x.dtype)  # fmt: skip


def _pad(
    draft: Draft, node: fx.Node, x: Value, pad: Sequence[int], mode: Any = "constant",
    value: Any = None,
) -> Any:  # fmt: skip
    """Pad with zeros, or by mirroring; with other numbers it is no form of its own."""
    if not isinstance(mode, str):
        mode, value = "constant", mode
    if any(not isinstance(part, int) for part in pad):
        # Sizes of the padding depend on those of the input.
        args = [x, list(pad), value or 0.0] if mode == "constant" else None
        if args is None:
            raise unsupported(draft.where(node), "pad", f"mode '{mode}' with sizes that depend on "
                              "those of the input; give numbers")  # fmt: skip
        return draft.generic_named(node, "constant_pad_nd", args)
    if not any(pad):
        return x
    if mode == "constant" and value:
        return draft.generic_named(node, "constant_pad_nd", [x, list(pad), value])
    attrs: dict[str, Any] = {"pad": list(pad)}
    if mode != "constant":
        attrs["mode"] = mode
    return draft.emit(draft.name(node), "pad", (x,), node.meta["val"], node=node, attrs=attrs,
                     dtype=x.dtype)  # fmt: skip


def _zero_pad(draft: Draft, node: fx.Node, x: Value, pads: Sequence[int], value: Any = 0) -> Any:
    """Pad with one number, from ``aten.constant_pad_nd``."""
    return _pad(draft, node, x, pads, "constant", value)


def _max_pool(dims: int) -> Rule:
    """Return the rule of maxima of windows."""

    def rule(
        draft: Draft, node: fx.Node, x: Value, kernel_size: Any, stride: Any = (), padding: Any = 0,
        dilation: Any = 1, ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        kernel = _each(kernel_size, dims)
        attrs = {
            "kernel_size": kernel, "stride": _each(stride, dims) if stride else kernel,
            "padding": _each(padding, dims), "dilation": _each(dilation, dims),
            "ceil_mode": bool(ceil_mode),
        }  # fmt: skip
        attrs = {key: _sized(draft, node, part) for key, part in attrs.items()}
        return draft.emit(draft.name(node), f"max_pool{dims}d", (x,), node.meta["val"], node=node,
                         attrs=attrs)  # fmt: skip

    return rule


def _avg_pool(dims: int) -> Rule:
    """Return the rule of means of windows."""

    def rule(
        draft: Draft, node: fx.Node, x: Value, kernel_size: Any, stride: Any = (), padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        kernel = _each(kernel_size, dims)
        if x.ndim == 4 and divisor_override is None and not any(_each(padding, dims)):
            if tuple(kernel) == tuple(x.sizes[2:]) or _is_whole(draft, node, x, kernel):
                return _global(draft, node, x)
        attrs: dict[str, Any] = {
            "kernel_size": kernel, "stride": _each(stride, dims) if stride else kernel,
            "padding": _each(padding, dims), "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
        }  # fmt: skip
        if divisor_override is not None:
            attrs["divisor_override"] = divisor_override
        attrs = {key: _sized(draft, node, part) for key, part in attrs.items()}
        return draft.emit(draft.name(node), f"avg_pool{dims}d", (x,), node.meta["val"], node=node,
                         attrs=attrs)  # fmt: skip

    return rule


def _each(value: Any, dims: int) -> list[Any]:
    parts = list(value) if isinstance(value, Sequence) else [value]
    return parts * dims if len(parts) == 1 else parts


def _is_whole(draft: Draft, node: fx.Node, x: Value, kernel: list[Any]) -> bool:
    """Whether a window with the length of one side is the whole map: of square maps it is.

    The record is then for square maps, and others are recorded again.
    """
    if kernel[0] != kernel[1] or kernel[1] not in x.sizes[2:]:
        return False
    sides = [draft.size(node, size) for size in x.sizes[2:]]
    shapes = zip(draft.recording.inputs, draft.recording.example.shapes, strict=True)
    known = {given.name: shape for given, shape in shapes}
    if evaluate(sides[0], known) != evaluate(sides[1], known):
        return False
    draft.conditions.append({"==": sides})
    return True


def _sized(draft: Draft, node: fx.Node, part: Any) -> Any:
    """Return an attribute as JSON, sizes as trees."""
    if isinstance(part, list):
        return [_sized(draft, node, one) for one in part]
    return draft.size(node, part) if isinstance(part, sympy.Basic) else part


def _adaptive_pool(kind: str, dims: int) -> Rule:
    """Return the rule of pooling to given sizes."""

    def rule(draft: Draft, node: fx.Node, x: Value, output_size: Any) -> Any:
        wanted = _each(output_size, dims)
        if kind == "avg" and dims == 2 and wanted == [1, 1] and x.ndim == 4:
            return _global(draft, node, x)
        attrs = {"output_size": _sized(draft, node, wanted)}
        value = node.meta["val"]
        like = value[0] if isinstance(value, tuple | list) else value
        made = draft.emit(draft.name(node), f"adaptive_{kind}_pool", (x,), like, node=node,
                         attrs=attrs)  # fmt: skip
        if not isinstance(value, tuple | list):
            return made
        if any(user.args[1] == 1 and user.users for user in node.users):
            raise unsupported(
                draft.where(node), "adaptive_max_pool",
                "its places (return_indices) are not kept; leave them out",
            )  # fmt: skip
        return (made, None)

    return rule


def _global(draft: Draft, node: fx.Node, x: Value, name: str | None = None) -> Value:
    return draft.emit(name or draft.name(node), "global_avg_pool", (x,), (*x.sizes[:2], 1, 1),
                     node=node)  # fmt: skip


def _mean(
    draft: Draft,
    node: fx.Node,
    x: Value,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Any:
    """Take the mean; that of whole maps is a form of its own."""
    if dim is None or x.ndim != 4 or not x.dtype.is_floating_point:
        return NotImplemented
    dims = sorted(d % 4 for d in (dim if isinstance(dim, Sequence) else [dim]))
    if dims != [2, 3] or x.axis not in (0, None):
        return NotImplemented
    made = _global(draft, node, x)
    if keepdim:
        return made
    return draft.emit(f"{made.name}.flat", "flatten", (made,), node.meta["val"], node=node)


def _pixel_shuffle(draft: Draft, node: fx.Node, x: Value, factor: int) -> Any:
    """Turn channels into pixels."""
    if x.ndim != 4:
        return NotImplemented
    return draft.emit(draft.name(node), "pixel_shuffle", (x,), node.meta["val"], node=node,
                     attrs={"factor": factor})  # fmt: skip


def _pixel_unshuffle(draft: Draft, node: fx.Node, x: Value, factor: int) -> Any:
    """Turn pixels into channels."""
    if x.ndim != 4:
        return NotImplemented
    return draft.emit(draft.name(node), "pixel_unshuffle", (x,), node.meta["val"], node=node,
                     attrs={"factor": factor})  # fmt: skip


def _resize(mode: str, op: str) -> Rule:
    """Return the rule of interpolation."""

    def rule(draft: Draft, node: fx.Node, x: Value, *args: Any) -> Any:
        if overload(node) != "vec" or x.ndim != 4:
            return NotImplemented
        size, *aligned, factors = args
        attrs: dict[str, Any] = {"mode": mode}
        if size is not None:
            attrs["size"] = _sized(draft, node, list(size))
        else:
            attrs["scale_factor"] = [float(factor) for factor in factors]
        if aligned:
            attrs["align_corners"] = bool(aligned[0])
        return draft.emit(draft.name(node), op, (x,), node.meta["val"], node=node, attrs=attrs)

    return rule


def _convert(draft: Draft, node: fx.Node, x: Any, *_: Any, **__: Any) -> Any:
    """Convert to another number format; floating-point numbers stay as they are."""
    if not isinstance(x, Value):
        return NotImplemented
    wanted = node.meta["val"].dtype
    if wanted == x.dtype or (wanted.is_floating_point and x.dtype.is_floating_point):
        return x
    if wanted == torch.bool:
        attrs = {"args": [{"value": 0}, 0], "overload": "Scalar"}
        return draft.emit(draft.name(node), "ne", (x,), node.meta["val"], node=node, attrs=attrs)
    text = "float32" if wanted.is_floating_point else str(wanted).removeprefix("torch.")
    attrs = {"args": [{"value": 0}, {"dtype": text}], "overload": "dtype"}
    return draft.emit(draft.name(node), "to", (x,), node.meta["val"], node=node, attrs=attrs)


def _copied(draft: Draft, node: fx.Node, x: Value, source: Any, *_: Any) -> Any:
    """Copy into a tensor, as ``copy_``: the numbers of the other one, in its size and type."""
    wanted = node.meta["val"]
    if isinstance(source, Constant):
        source = draft.constant(node, source, f"{draft.name(node)}.source")
    if not isinstance(source, Value) or source.dtype != wanted.dtype:
        return NotImplemented
    if source.ndim == wanted.ndim and all(
        bool(a == b) for a, b in zip(source.sizes, expressions(wanted.shape), strict=True)
    ):
        return source
    sizes = [draft.size(node, size) for size in expressions(wanted.shape)]
    return draft.emit(
        draft.name(node), "expand", (source,), wanted, node=node, dtype=source.dtype,
        attrs={"args": [{"value": 0}, sizes]},
    )  # fmt: skip


def _of_values(rule: Rule) -> Rule:
    """Return the rule for a first operand that is a value: a constant is made one."""

    @functools.wraps(rule)
    def held(draft: Draft, node: fx.Node, x: Any, *args: Any, **named: Any) -> Any:
        if isinstance(x, Constant):
            x = draft.constant(node, x, f"{draft.name(node)}.constant")
        return rule(draft, node, x, *args, **named)

    return held


_RULES: dict[str, Rule] = {
    "relu": _relu,
    "add": _add,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
    "stack": _stack,
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "view_as",
                     "reshape_as", "expand", "expand_as", "broadcast_to"), _view),
    "squeeze": _squeeze,
    "copy": _copied,
    "slice": _cut,
    "pad": _pad,
    "constant_pad_nd": _zero_pad,
    "max_pool1d": _max_pool(1),
    "max_pool2d": _max_pool(2),
    "avg_pool1d": _avg_pool(1),
    "avg_pool2d": _avg_pool(2),
    "adaptive_avg_pool1d": _adaptive_pool("avg", 1),
    "adaptive_avg_pool2d": _adaptive_pool("avg", 2),
    "_adaptive_avg_pool2d": _adaptive_pool("avg", 2),
    "adaptive_max_pool1d": _adaptive_pool("max", 1),
    "adaptive_max_pool2d": _adaptive_pool("max", 2),
    "mean": _mean,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "upsample_nearest2d": _resize("nearest", "upsample"),
    "_upsample_nearest_exact2d": _resize("nearest-exact", "upsample"),
    "upsample_bilinear2d": _resize("bilinear", "interpolate"),
    "upsample_bicubic2d": _resize("bicubic", "interpolate"),
    **dict.fromkeys(("to", "_to_copy", "type_as", "float", "double", "half", "bfloat16"), _convert),
}  # fmt: skip

RULES = {name: _of_values(rule) for name, rule in _RULES.items()}
"""Rules by the name of the ATen operation."""
