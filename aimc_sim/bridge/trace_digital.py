"""Operations of the digital units in the graph: arguments as data, and where the batch lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aimc_sim.bridge.trace_values import (
    Expression,
    Missing,
    Parameter,
    Size,
    Value,
    as_dim,
    as_tensor,
    broadcast,
    like,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

Rule = Callable[..., Any]


class Arguments:
    """Arguments of a torch function as JSON, with the values and arrays that they name."""

    def __init__(self, where: str, kind: str) -> None:
        self.where, self.kind = where, kind
        self.values: list[Value] = []
        self.arrays: dict[str, np.ndarray] = {}

    def encode(self, argument: Any) -> Any:
        """Return one argument as a tree, see :func:`aimc_sim.bridge.digital.decode`."""
        if isinstance(argument, Missing):
            raise unsupported(self.where, self.kind, argument.reason)
        if isinstance(argument, Value):
            if argument not in self.values:
                self.values.append(argument)
            return {"value": self.values.index(argument)}
        if isinstance(argument, Parameter):
            key = f"array{len(self.arrays)}"
            self.arrays[key] = as_array(self.where, argument)
            return {"array": key}
        if isinstance(argument, Size | Expression):
            return argument.tree
        if isinstance(argument, slice):
            ends = (argument.start, argument.stop, argument.step)
            return {"slice": [self.encode(end) for end in ends]}
        if isinstance(argument, torch.Tensor):
            return self.encode(Parameter("constant", argument))
        if isinstance(argument, list | tuple):
            return [self.encode(part) for part in argument]
        if argument is Ellipsis:
            return {"ellipsis": True}
        if isinstance(argument, torch.dtype):
            return {"dtype": str(argument).removeprefix("torch.")}
        if isinstance(argument, torch.device) or argument is None:
            return None
        if isinstance(argument, float) and not math.isfinite(argument):
            return {"number": repr(argument)}
        if isinstance(argument, bool | int | float | str):
            return argument
        raise unsupported(self.where, self.kind, f"its argument {argument!r:.60} is not supported")


def as_array(where: str, parameter: Parameter) -> np.ndarray:
    """Return what a parameter or buffer holds; floating-point numbers as float32."""
    tensor = parameter.tensor
    if tensor is None or tensor.device.type == "meta":
        raise unsupported(
            where,
            parameter.path,
            "it is on the meta device and has no data; load the weights first",
        )
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise unsupported(
            where, parameter.path, f"its type is {tensor.dtype}, supported now: float32 and "
            f"float64; convert the model with model.float()",
        )  # fmt: skip
    if tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.detach().cpu().numpy()


def emit(
    walk: Walk, name: str, op: str, args: Sequence[Any], kwargs: dict[str, Any] | None = None, *,
    modules: tuple[str, ...] = (), where: str | None = None, **about: Any,
) -> Value:  # fmt: skip
    """Append a digital operation that is a function of torch with arguments.

    Parameters
    ----------
    walk, name, modules
        As of :meth:`aimc_sim.bridge.trace.Walk.emit`.
    op : str
        A key of :data:`aimc_sim.bridge.digital.FUNCTIONS`.
    args, kwargs
        Of the function; values, parameters, sizes, slices and numbers.
    **about
        ndim, axis, size_of, memory of the result.
    """
    arguments = Arguments(where or f"operation '{name}'", op)
    attrs = {"args": [arguments.encode(argument) for argument in args]}
    given = {key: arguments.encode(value) for key, value in (kwargs or {}).items()}
    if given := {key: value for key, value in given.items() if value is not None}:
        attrs["kwargs"] = given
    return walk.emit(
        name, op, tuple(arguments.values), attrs=attrs, arrays=arguments.arrays, modules=modules,
        **about,
    )  # fmt: skip


# ---------------------------------------------------------------------- pointwise functions


def pointwise(op: str, *names: str, constant: bool = False) -> Rule:
    """Return the rule of a function that keeps the sizes of its first argument.

    Parameters
    ----------
    op : str
    *names : str
        Attributes of the layer that the function takes by the same names.
    """

    def rule(
        walk: Walk, name: str, input: Any, *args: Any, modules: Any = (), **kwargs: Any
    ) -> Value:
        value = as_tensor(input, f"operation '{name}'", op)
        inplace = kwargs.pop("inplace", False)
        kwargs.pop("_stacklevel", None)
        result = emit(walk, name, op, (value, *args), kwargs, modules=modules, **like(value))
        return walk.overwrite(value, result) if inplace else result

    def of_layer(walk: Walk, path: str, module: Any, x: Value) -> Value:
        given = {key: getattr(module, key) for key in names}
        inplace = getattr(module, "inplace", False)
        return rule(walk, path, x, modules=(path,), inplace=inplace, **given)

    rule.of_layer = of_layer
    return rule


def arithmetic(op: str) -> Rule:
    """Return the rule of an operation on two operands: tensors, parameters, sizes, numbers."""

    def rule(
        walk: Walk, name: str, input: Any, other: Any = None, *, exponent: Any = None,
        rounding_mode: Any = None,
    ) -> Any:  # fmt: skip
        other = exponent if other is None else other
        if not any(isinstance(x, Value | Parameter) for x in (input, other)):
            return on_sizes(f"operation '{name}'", op, input, other)
        if rounding_mode is not None:
            raise unsupported(
                f"operation '{name}'", op, "rounding_mode is set, supported now: None"
            )
        return emit(walk, name, op, (input, other), **broadcast((input, other)))

    return rule


def in_place(rule: Rule) -> Rule:
    """Return the rule of ``a *= b`` and its kind: every later reader of a sees the result."""

    def overwriting(walk: Walk, name: str, input: Any, other: Any) -> Any:
        result = rule(walk, name, input, other)
        return walk.overwrite(input, result) if isinstance(input, Value) else result

    return overwriting


_SYMBOLS = {
    "mul": "*",
    "add": "+",
    "sub": "-",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
}


def on_sizes(where: str, op: str, *operands: Any) -> Any:
    """Return a number computed from sizes and numbers, once they are known."""
    if op not in _SYMBOLS:
        raise unsupported(where, op, "it compares or combines sizes, which are not known yet")
    if op == "mul" and all(isinstance(x, Size) for x in operands):
        first, second = operands
        if first.size_of == second.size_of:
            return Size(first.size_of, first.dims + second.dims)
    trees = []
    for operand in operands:
        if isinstance(operand, Size | Expression):
            trees.append(operand.tree)
        elif isinstance(operand, int | float):
            trees.append(operand)
        else:
            raise unsupported(where, op, f"its operand {operand!r:.60} is not a number or a tensor")
    return Expression({_SYMBOLS[op]: trees})


def reversed_operands(rule: Rule) -> Rule:
    """Return the rule with its operands swapped (``rsub``)."""
    return lambda walk, name, input, other: rule(walk, name, other, input)


def floordiv(walk: Walk, name: str, input: Any, other: Any) -> Any:
    """Whole-number division of sizes."""
    return on_sizes(f"operation '{name}'", "floordiv", input, other)


def modulo(walk: Walk, name: str, input: Any, other: Any) -> Any:
    """Remainder of sizes."""
    return on_sizes(f"operation '{name}'", "mod", input, other)


def square_root(walk: Walk, name: str, input: Any) -> Any:
    """``math.sqrt`` of a size."""
    if isinstance(input, int | float):
        return math.sqrt(input)
    return on_sizes(f"operation '{name}'", "pow", input, 0.5)


# ------------------------------------------------------------------------------ reductions


def reduction(op: str) -> Rule:
    """Return the rule of a mean, sum, maximum or variance over some dimensions."""

    def rule(
        walk: Walk, name: str, input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any
    ) -> Value:
        where = f"operation '{name}'"
        value = as_tensor(input, where, op)
        if dim is None:
            raise unsupported(where, op, "it reduces the batch too; name the dimensions (dim=...)")
        dims = [dim] if isinstance(dim, int) else list(dim)
        dims = [as_dim(where, value, d) for d in dims]
        if value.axis is not None and value.axis in dims:
            raise unsupported(
                where, op, "it reduces the batch; images must not depend on each other"
            )
        ndim, axis = value.ndim, value.axis
        if not keepdim:
            ndim = None if ndim is None else ndim - len(dims)
            axis = None if axis is None else axis - sum(0 <= d < axis for d in dims)
        kwargs = {key: v for key, v in kwargs.items() if v is not None}
        return emit(walk, name, op, (value, dims), {**kwargs, "keepdim": keepdim}, ndim=ndim,
                    axis=axis)  # fmt: skip

    return rule


def spread(op: str) -> Rule:
    """Return the rule of a variance or standard deviation, in both forms that torch has."""
    inner = reduction(op)

    def rule(
        walk: Walk, name: str, input: Any, dim: Any = None, unbiased: bool = True,
        keepdim: bool = False, *, correction: int | None = None,
    ) -> Value:  # fmt: skip
        correction = int(unbiased) if correction is None else correction
        return inner(walk, name, input, dim, keepdim, correction=correction)

    return rule


def matmul(walk: Walk, name: str, input: Any, other: Any) -> Value:
    """Product of two values; with a parameter it is a layer, see :func:`.trace_layers.matmul`."""
    where = f"operation '{name}'"
    first, second = (as_tensor(value, where, "matmul") for value in (input, other))
    if first.ndim == 2 and second.ndim in (2, None):
        raise unsupported(where, "matmul", "it mixes the images of a batch; keep the batch apart")
    about = broadcast((first, second))
    about.pop("size_of", None)
    return emit(walk, name, "matmul", (first, second), **about)


def einsum(walk: Walk, name: str, equation: str, *operands: Any) -> Value:
    """Sum of products of values; the letter of the batch has to stay."""
    where = f"operation '{name}'"
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    equation = equation.replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    letters = inputs.split(",")
    if not arrow or "." in equation or len(letters) != len(operands):
        raise unsupported(where, "einsum", f"'{equation}': write all dimensions and the result")
    for value, names in zip(operands, letters, strict=True):
        if isinstance(value, Value) and value.axis is not None:
            batch = names[value.axis]
            if batch not in output:
                raise unsupported(where, "einsum", f"'{equation}' sums over the batch '{batch}'")
            return emit(
                walk, name, "einsum", (equation, *operands), ndim=len(output),
                axis=output.index(batch),
            )  # fmt: skip
    raise unsupported(where, "einsum", "none of its operands is a value that the network computes")


def scaled_dot_product_attention(
    walk: Walk, name: str, query: Any, key: Any, value: Any, attn_mask: Any = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:  # fmt: skip
    """Attention, all of it digital; weights before and after it are layers of their own."""
    where = f"operation '{name}'"
    if enable_gqa:
        raise unsupported(where, "attention", "enable_gqa = True; repeat keys and values first")
    if dropout_p:
        raise unsupported(
            where, "attention", f"dropout_p = {dropout_p}, which also acts in evaluation; pass "
            "dropout_p=self.p if self.training else 0.0",
        )  # fmt: skip
    parts = [as_tensor(part, where, "attention") for part in (query, key, value)]
    if isinstance(attn_mask, Parameter):
        attn_mask = constant(walk, f"{name}.mask", attn_mask)
    if attn_mask is not None:
        parts.append(as_tensor(attn_mask, where, "attention"))
    if isinstance(scale, Size | Expression):
        # Known with the data only: it goes into the queries, beside torch's own 1 / sqrt(E).
        width = on_sizes(where, "pow", Size(parts[0].name, (-1,)), 0.5)
        factor = on_sizes(where, "mul", scale, width)
        parts[0] = arithmetic("mul")(walk, f"{name}.scaled", parts[0], factor)
        scale = None
    return walk.emit(
        name, "attention", tuple(parts), ndim=parts[0].ndim, axis=parts[0].axis,
        attrs={"causal": bool(is_causal), "scale": scale},
    )  # fmt: skip


def constant(walk: Walk, name: str, parameter: Parameter) -> Value:
    """A parameter or buffer as a value."""
    array = as_array(f"operation '{name}'", parameter)
    return walk.emit(name, "constant", (), ndim=array.ndim, arrays={"value": array}, axis=None)


def full(fill: float | None) -> Rule:
    """Return the rule of ``torch.zeros`` and its kind; sizes may be those of values."""

    def rule(walk: Walk, name: str, *sizes: Any, **kwargs: Any) -> Value:
        number = kwargs.pop("fill_value", fill)
        if number is None:
            *sizes, number = sizes
        sizes = (kwargs.pop("size"),) if "size" in kwargs else sizes
        if len(sizes) == 1 and isinstance(sizes[0], list | tuple):
            sizes = tuple(sizes[0])
        batch = [i for i, size in enumerate(sizes) if counts_batch(walk, size)]
        arguments = {"dtype": kwargs.get("dtype")}
        return emit(
            walk, name, "full", (list(sizes), number), arguments, ndim=len(sizes),
            axis=batch[0] if batch else None,
        )  # fmt: skip

    return rule


def arange(walk: Walk, name: str, *ends: Any, **kwargs: Any) -> Value:
    """``torch.arange``; ends may be sizes."""
    return emit(
        walk, name, "arange", ends, {"dtype": kwargs.get("dtype")}, ndim=1,
        axis=0 if any(counts_batch(walk, end) for end in ends) else None,
    )  # fmt: skip


def counts_batch(walk: Walk, size: Any) -> bool:
    """Whether a size is that of the batch (times others that lie behind it)."""
    if not isinstance(size, Size):
        return False
    axis = walk.axis_of(size.size_of)
    return axis is not None and axis in size.dims
