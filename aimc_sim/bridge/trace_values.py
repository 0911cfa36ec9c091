"""What names stand for while a model is traced, and the message for what is not supported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from aimc_sim.errors import UnsupportedLayerError

SUPPORTED = (
    "Conv2d, Linear, BatchNorm1d/2d, ReLU, addition, max and average pooling, flattening, "
    "zero padding, strided slicing, Dropout, Identity"
)
"""Layers that the chip's program can express."""

_HINTS = {
    "replace it by ReLU and retrain": (
        "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "celu", "leakyrelu", "leaky_relu",
        "prelu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "softplus", "mish", "clamp",
    ),
    "replace it by BatchNorm2d, which merges into the layer before it, and retrain": (
        "layernorm", "layer_norm", "groupnorm", "group_norm", "instancenorm", "rmsnorm",
    ),
    "sequences are not mapped yet; run this part on the host": (
        "lstm", "gru", "rnn", "embedding", "multihead", "transformer",
    ),
    "leave it out and apply it to the chip's output on the host": (
        "softmax", "log_softmax", "logsoftmax", "argmax",
    ),
    "write it as Conv2d with a kernel of height 1": ("conv1d",),
    "replace it by padding and Conv2d, or run it on the host": (
        "convtranspose", "conv_transpose",
    ),
    "join values by torch.cat along dimension 1, or run this part on the host": (
        "cat", "concat", "stack", "hstack",
    ),
}  # fmt: skip
"""What would help, and the beginnings of the names that it helps with."""


@dataclass(eq=False)
class Value:
    """A tensor: the node that writes it, and what is known of it without its data.

    ``ndim`` counts the batch dimension (None: unknown); ``memory`` is shared by values whose
    tensors share memory; ``size_of`` names a value of the same sizes; ``stale`` marks a view
    whose memory was changed since.
    """

    name: str
    ndim: int | None
    memory: object
    size_of: str
    stale: bool = False

    def __repr__(self) -> str:
        return f"tensor '{self.name}'"


@dataclass(frozen=True)
class Shape:
    """All sizes of a value, as ``x.shape`` or ``x.size()`` returns them."""

    size_of: str
    ndim: int | None


@dataclass(frozen=True)
class Size:
    """Product of the sizes of some dimensions of a value; dimension 0 is the batch."""

    size_of: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer that forward uses directly: its path and its contents."""

    path: str
    tensor: torch.Tensor | None


def unsupported(where: str, kind: str, reason: str | None = None) -> UnsupportedLayerError:
    """Return the error for a layer or operation, with what would help.

    Parameters
    ----------
    where : str
        For example ``"layer 'layer1.0.conv1'"``.
    kind : str
        Class of the layer or name of the function.
    reason : str, optional
        What is wrong and what to do; None: the kind as a whole is not supported.
    """
    if reason is not None:
        return UnsupportedLayerError(f"{where} ({kind}) cannot be mapped: {reason}")
    name = kind.lower()
    hint = next(
        (hint for hint, beginnings in _HINTS.items() if name.startswith(beginnings)),
        "replace it, or run this part on the host",
    )
    return UnsupportedLayerError(
        f"{where} ({kind}) has no counterpart on the chip; {hint}. Supported now: {SUPPORTED}"
    )


def as_tensor(value: Any, where: str, kind: str, ndim: int | None = None) -> Value:
    """Return `value` if it is a tensor of the graph, of `ndim` dimensions if that is given."""
    if not isinstance(value, Value):
        what = f"parameter '{value.path}'" if isinstance(value, Parameter) else f"{value!r}"
        raise unsupported(
            where, kind, f"its operand {what} is not a value that the network computes; fold "
            f"constants into a layer's weights",
        )  # fmt: skip
    if ndim is not None and value.ndim is not None and value.ndim != ndim:
        raise unsupported(
            where, kind, f"its input has {value.ndim} dimensions, expected {ndim} "
            f"(batch, channels, rows, columns)",
        )  # fmt: skip
    if value.ndim is None:
        value.ndim = ndim
    return value


def as_pair(where: str, value: Any) -> list[int]:
    """Return [rows, columns] from a whole number or two."""
    parts = list(value) if isinstance(value, Sequence) else [value]
    parts = [as_integer(where, part) for part in parts]
    return parts * 2 if len(parts) == 1 else parts


def as_integer(where: str, value: Any) -> int:
    """Return `value` if it is a fixed whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        what = "a size of the data" if isinstance(value, Size) else repr(value)
        raise unsupported(where, "argument", f"{what} is not a fixed whole number; write one")
    return value
