"""Pooling in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aimc_sim.bridge import trace_digital as digital
from aimc_sim.bridge.trace_values import (
    Size,
    Value,
    as_pair,
    as_tensor,
    unsupported,
)
from aimc_sim.bridge.trace_views import flatten

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

Rule = Callable[..., Any]


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
    """Mean over as many windows as asked for; one is the whole map."""
    where = f"layer '{name}'"
    value = as_tensor(input, where, "adaptive_avg_pool2d", ndim=4)
    if output_size in (1, (1, 1), [1, 1], (1,), [1]):
        return _global(walk, name, value, modules)
    return _adaptive(walk, name, value, output_size, modules, "adaptive_avg_pool", 2)


def _adaptive(
    walk: Walk, name: str, input: Any, output_size: Any, modules: Any, op: str, dims: int
) -> Value:
    where = f"layer '{name}'"
    value = as_tensor(input, where, op, ndim=dims + 2)
    size = list(output_size) if isinstance(output_size, Sequence) else [output_size] * dims
    if not all(isinstance(side, int | None) for side in size):
        raise unsupported(where, op, f"output size {output_size} is not a fixed whole number")
    attrs = {"output_size": size}
    return walk.emit(name, op, (value,), ndim=dims + 2, attrs=attrs, modules=modules)


def adaptive(op: str, dims: int) -> Rule:
    """Return the rule of adaptive pooling over some dimensions."""

    def rule(
        walk: Walk, name: str, input: Any, output_size: Any, return_indices: bool = False,
        modules: Any = (),
    ) -> Value:  # fmt: skip
        if return_indices:
            raise unsupported(f"layer '{name}'", op, "return_indices = True, supported now: False")
        return _adaptive(walk, name, input, output_size, modules, op, dims)

    return rule


def pool1d(op: str) -> Rule:
    """Return the rule of pooling along lines."""

    def rule(
        walk: Walk, name: str, input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False,
        count_include_pad: bool = True, modules: Any = (),
    ) -> Value:  # fmt: skip
        where = f"layer '{name}'"
        if return_indices:
            raise unsupported(where, op, "return_indices = True, supported now: False")
        attrs: dict[str, Any] = {
            "kernel_size": as_pair(where, kernel_size)[:1],
            "stride": as_pair(where, stride or kernel_size)[:1],
            "padding": as_pair(where, padding)[:1],
            "ceil_mode": bool(ceil_mode),
        }
        if op == "max_pool1d":
            attrs["dilation"] = as_pair(where, dilation)[:1]
        else:
            attrs["count_include_pad"] = bool(count_include_pad)
        value = as_tensor(input, where, op, ndim=3)
        return walk.emit(name, op, (value,), ndim=3, attrs=attrs, modules=modules)

    return rule


def mean(
    walk: Walk, name: str, input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Value:
    """Mean over some dimensions; over rows and columns of maps it is a pooling."""
    where = f"operation '{name}'"
    value = as_tensor(input, where, "mean")
    dims = sorted(d % 4 for d in dim) if isinstance(dim, Sequence) else [dim]
    if dims == [2, 3] and value.ndim in (None, 4) and value.axis == 0:
        value.ndim = 4
        pooled = _global(walk, name, value)
        return pooled if keepdim else flatten(walk, f"{name}.flatten", pooled, 1)
    return digital.reduction("mean")(walk, name, input, dim, keepdim, **kwargs)


def _global(walk: Walk, name: str, value: Value, modules: Any = (), square: bool = False) -> Value:
    attrs = {"square": True} if square else {}
    return walk.emit(name, "global_avg_pool", (value,), ndim=4, attrs=attrs, modules=modules)
