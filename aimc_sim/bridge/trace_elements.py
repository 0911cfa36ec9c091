"""Sums, rectification, activations, normalisation, embeddings and masks in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from aimc_sim.bridge import trace_digital as digital
from aimc_sim.bridge import trace_layers as layers
from aimc_sim.bridge.trace_values import (
    Parameter,
    Value,
    as_integer,
    as_tensor,
    broadcast,
    like,
    unsupported,
)
from aimc_sim.chip.operations import OPERATIONS

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk

Rule = Callable[..., Any]


def relu(walk: Walk, name: str, input: Any, inplace: bool = False, modules: Any = ()) -> Value:
    """Rectification; in place, every later reader of the input sees the result."""
    value = as_tensor(input, f"operation '{name}'", "relu")
    result = walk.emit(name, "relu", (value,), modules=modules, **like(value))
    return walk.overwrite(value, result) if inplace else result


def add(walk: Walk, name: str, input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """Sum of two values, of a value and a parameter or number, or of sizes."""
    where = f"operation '{name}'"
    if alpha != 1:
        raise unsupported(where, "add", f"alpha = {alpha}, supported now: 1")
    operands = [input, other]
    for i, operand in enumerate(operands):
        if isinstance(operand, Parameter):
            operands[i] = digital.constant(walk, f"{name}.constant", operand)
    if all(isinstance(operand, Value) for operand in operands):
        first, second = operands
        about = broadcast((first, second))
        attrs = {} if first.axis == second.axis else {"merge": False}
        return walk.emit(name, "add", (first, second), attrs=attrs, **about)
    if any(isinstance(operand, Value) for operand in operands):
        value = next(operand for operand in operands if isinstance(operand, Value))
        number = next(operand for operand in operands if not isinstance(operand, Value))
        if not isinstance(number, int | float):
            raise unsupported(
                where, "add", f"its operand {number!r:.60} is not a value that the network "
                "computes, a parameter or a number",
            )  # fmt: skip
        return digital.emit(walk, name, "sub", (value, -number), **like(value))
    return digital.on_sizes(where, "add", *operands)


def add_in_place(walk: Walk, name: str, input: Any, other: Any, *, alpha: Any = 1) -> Value:
    """``a += b``: every later reader of a sees the sum."""
    result = add(walk, name, input, other, alpha=alpha)
    return walk.overwrite(input, result) if isinstance(input, Value) else result


def concat(walk: Walk, name: str, tensors: Any, dim: Any = 0) -> Value:
    """Several values become one, channel after channel, or along another dimension."""
    where = f"operation '{name}'"
    parts = tuple(
        digital.constant(walk, f"{name}.constant", value)
        if isinstance(value, Parameter)
        else as_tensor(value, where, "cat")
        for value in tensors
    )
    ndim = next((part.ndim for part in parts if part.ndim), None)
    axis = next((part.axis for part in parts if part.axis is not None), None)
    dim = as_integer(where, dim)
    at = dim + ndim if dim < 0 and ndim is not None else dim
    if at == axis:
        raise unsupported(where, "cat", f"dim = {dim} is the batch; join channels (1) or features")
    if len(parts) == 1:
        return parts[0]
    return walk.emit(name, "concat", parts, ndim=ndim, attrs={"dim": at}, axis=axis)


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


def keep(walk: Walk, name: str, input: Any, *_: Any) -> Any:
    """What changes nothing here: copies, devices, other integer types."""
    return input


def convert(walk: Walk, name: str, input: Any, *args: Any, **kwargs: Any) -> Any:
    """``.to``, ``.float`` and their kind: truth values become numbers, others stay."""
    if isinstance(input, Value):
        node = walk.node_of(input)
        if node is not None and digital_kind(node.op) == "exact":
            return digital.emit(walk, name, "mul", (input, 1.0), **like(input))
    return input


def to_integer(walk: Walk, name: str, input: Any) -> Any:
    """``.long``, ``.int``: truth values become numbers, whole numbers stay, others are refused."""
    if isinstance(input, Value):
        node = walk.node_of(input)
        kind = None if node is None else digital_kind(node.op)
        if kind == "exact":
            return digital.emit(walk, name, "mul", (input, 1), **like(input))
        if node is not None and node.op not in ("input", "arange", "lengths", "index"):
            raise unsupported(
                f"operation '{name}'", "conversion to integers",
                "it cuts computed numbers, which no unit does; leave it out",
            )  # fmt: skip
    return input


def digital_kind(op: str) -> str | None:
    """Return the kind of a digital operation, or None for layers."""
    found = OPERATIONS.get(op)
    return None if found is None else found.kind


def to_truth(walk: Walk, name: str, input: Any) -> Any:
    """``.bool()``: what is not zero."""
    value = as_tensor(input, f"operation '{name}'", "bool")
    return digital.emit(walk, name, "ne", (value, 0), **like(value))


def clamp(walk: Walk, name: str, input: Any, min: Any = None, max: Any = None) -> Value:
    """Limits below and above."""
    value = as_tensor(input, f"operation '{name}'", "clamp")
    return digital.emit(walk, name, "clamp", (value, min, max), **like(value))


def masked_fill(walk: Walk, name: str, input: Any, mask: Any, value: Any) -> Value:
    """A number where a mask is true."""
    about = broadcast((input, mask))
    return digital.emit(walk, name, "masked_fill", (input, mask, value), **about)


def where(walk: Walk, name: str, condition: Any, input: Any, other: Any) -> Value:
    """One of two values, place by place."""
    about = broadcast((condition, input, other))
    return digital.emit(walk, name, "where", (condition, input, other), **about)


def embedding(walk: Walk, name: str, input: Any, weight: Any, *_: Any, **kwargs: Any) -> Value:
    """Rows of a table."""
    _owner = weight.path.rpartition(".")[0] if isinstance(weight, Parameter) else name
    value = as_tensor(input, f"layer '{_owner or name}'", "Embedding")
    if kwargs.get("max_norm") is not None:
        raise unsupported(
            f"layer '{name}'", "Embedding", "max_norm changes the weights; leave it out"
        )
    arrays = layers.weights_of(f"layer '{name}'", weight=weight)
    ndim = None if value.ndim is None else value.ndim + 1
    modules = (_owner,) if _owner else ()
    return walk.emit(
        _owner or name, "embedding", (value,), ndim=ndim, arrays=arrays, modules=modules
    )  # fmt: skip


def embedding_module(walk: Walk, path: str, module: nn.Embedding, x: Any) -> Value:
    """Rows of a table, as a layer."""
    weight = Parameter(f"{path}.weight", module.weight)
    return embedding(walk, path, x, weight, max_norm=module.max_norm)


def normalisation(op: str, *attributes: str) -> Rule:
    """Return the rule of layer, group, instance and RMS normalisation as layers."""

    def rule(walk: Walk, path: str, module: nn.Module, x: Any) -> Value:
        value = as_tensor(x, f"layer '{path}'", type(module).__name__)
        kwargs: dict[str, Any] = {key: getattr(module, key) for key in attributes}
        if op == "layer_norm" or op == "rms_norm":
            kwargs["normalized_shape"] = list(module.normalized_shape)
        for key in ("weight", "bias"):
            if getattr(module, key, None) is not None:
                kwargs[key] = Parameter(f"{path}.{key}", getattr(module, key))
        if getattr(module, "track_running_stats", False):
            for key in ("running_mean", "running_var"):
                kwargs[key] = Parameter(f"{path}.{key}", getattr(module, key))
            kwargs["use_input_stats"] = False
        return digital.emit(walk, path, op, (value,), kwargs, modules=(path,), **like(value))

    return rule


def function_normalisation(op: str) -> Rule:
    """Return the rule of ``F.layer_norm`` and its kind."""

    def rule(walk: Walk, name: str, input: Any, *args: Any, **kwargs: Any) -> Value:
        value = as_tensor(input, f"operation '{name}'", op)
        return digital.emit(walk, name, op, (value, *args), kwargs, **like(value))

    return rule


ACTIVATIONS: dict[type, tuple[str, tuple[str, ...]]] = {
    nn.GELU: ("gelu", ("approximate",)),
    nn.SiLU: ("silu", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Tanh: ("tanh", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.CELU: ("celu", ("alpha",)),
    nn.ReLU6: ("relu6", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softsign: ("softsign", ()),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Mish: ("mish", ()),
}


def softmax(op: str) -> Rule:
    """Return the rule of softmax and its kind: never over the batch."""
    inner = digital.pointwise(op)

    def rule(walk: Walk, name: str, input: Any, dim: Any = None, **kwargs: Any) -> Value:
        if dim is None:
            raise unsupported(f"operation '{name}'", op, "name its dimension (dim=-1)")
        value = as_tensor(input, f"operation '{name}'", op)
        if value.axis is not None and dim in (value.axis, value.axis - (value.ndim or 99)):
            raise unsupported(
                f"operation '{name}'", op, "it runs over the batch; choose another dim"
            )
        kwargs.pop("dtype", None)
        return inner(walk, name, input, dim, **kwargs)

    return rule


def prelu(walk: Walk, name: str, input: Any, weight: Any, modules: Any = ()) -> Value:
    """Rectification with a learned slope below zero."""
    value = as_tensor(input, f"operation '{name}'", "prelu")
    return digital.emit(walk, name, "prelu", (value, weight), modules=modules, **like(value))


def prelu_module(walk: Walk, path: str, module: nn.PReLU, x: Any) -> Value:
    """The same as a layer."""
    return prelu(walk, path, x, Parameter(f"{path}.weight", module.weight), (path,))
