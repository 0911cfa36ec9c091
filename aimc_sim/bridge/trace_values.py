"""What names stand for while a model is traced, and the message for what is not supported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from aimc_sim.errors import UnsupportedLayerError

SUPPORTED = (
    "Conv1d/2d, ConvTranspose1d/2d, Linear, LSTM, GRU, RNN, MultiheadAttention, Transformer "
    "layers, batch, layer, group and instance normalisation, activations, softmax, Embedding, "
    "pooling, arithmetic, shape operations, Dropout"
)
"""What the cores and the digital units can do, in short."""

_HINTS = {
    "write the sequence with nn.LSTM, nn.GRU or nn.RNN, which run any number of steps": (
        "lstmcell", "grucell", "rnncell",
    ),
    "leave it out and apply it to the chip's output on the host": (
        "argmax", "argmin", "topk", "sort", "multinomial", "nonzero",
    ),
    "three-dimensional maps have no counterpart; write it with two dimensions": (
        "conv3d", "convtranspose3d", "conv_transpose3d",
    ),
}  # fmt: skip
"""What would help, and the beginnings of the names that it helps with."""


_DIMENSIONS = {
    2: ("batch", "features"),
    3: ("batch", "channels", "columns"),
    4: ("batch", "channels", "rows", "columns"),
}


@dataclass(eq=False)
class Value:
    """A tensor: the node that writes it, and what is known of it without its data.

    ``ndim`` counts the batch dimension (None: unknown); ``memory`` is shared by values whose
    tensors share memory; ``size_of`` names a value of the same sizes; ``stale`` marks a view
    whose memory was changed since; ``axis`` is the dimension that counts the batch (None: there
    is none, or it was lost track of).
    """

    name: str
    ndim: int | None
    memory: object
    size_of: str
    stale: bool = False
    axis: int | None = 0

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

    @property
    def tree(self) -> Any:
        """The size as an attribute of a digital step."""
        parts = [{"size": [self.size_of, dim]} for dim in self.dims]
        return (
            parts[0]
            if len(parts) == 1
            else {"*": [parts[0], Size(self.size_of, self.dims[1:]).tree]}
        )


@dataclass(frozen=True)
class Expression:
    """A number computed from sizes, as an attribute of a digital step."""

    tree: Any


@dataclass(frozen=True)
class Pieces:
    """What ``chunk``, ``split`` and ``unbind`` return: cut out when one is asked for."""

    value: Value
    cut: Callable[[int], Any]


@dataclass(frozen=True)
class Packed:
    """A packed sequence: padded values, their lengths, and how they lie."""

    value: Value
    lengths: Value
    batch_first: bool


@dataclass(frozen=True)
class Missing:
    """A result that is not computed; whoever reads it gets the reason."""

    reason: str


class BatchAxisError(UnsupportedLayerError):
    """A layer expects the batch along another dimension than the network's input has it."""


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
    if isinstance(value, Missing):
        raise unsupported(where, kind, value.reason)
    if not isinstance(value, Value):
        what = f"parameter '{value.path}'" if isinstance(value, Parameter) else f"{value!r}"
        raise unsupported(
            where, kind, f"its operand {what} is not a value that the network computes; fold "
            f"constants into a layer's weights",
        )  # fmt: skip
    if ndim is not None and value.ndim is not None and value.ndim != ndim:
        raise unsupported(
            where, kind, f"its input has {value.ndim} dimensions, expected {ndim} "
            f"({', '.join(_DIMENSIONS.get(ndim, ('batch', '...')))})",
        )  # fmt: skip
    if value.ndim is None:
        value.ndim = ndim
    return value


def like(value: Value) -> dict[str, Any]:
    """Return what a result of the same sizes inherits."""
    return {"ndim": value.ndim, "size_of": value.size_of, "axis": value.axis}


def as_dim(where: str, value: Value, dim: Any) -> int:
    """Return a dimension counted from the front where the number of dimensions is known."""
    dim = as_integer(where, dim)
    return dim + value.ndim if dim < 0 and value.ndim is not None else dim


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


def broadcast(values: Sequence[Any]) -> dict[str, Any]:
    """Return dimensions and batch axis of what torch makes of operands of different sizes."""
    tensors = [v for v in values if isinstance(v, Value)]
    ndims = [v.ndim for v in tensors] + [
        v.tensor.ndim for v in values if isinstance(v, Parameter) and v.tensor is not None
    ]
    ndim = None if None in ndims else max(ndims, default=None)
    if None not in [v.ndim for v in tensors]:
        places = {v.axis - v.ndim for v in tensors if v.axis is not None}
        if len(places) > 1:  # counted from the end, where torch aligns dimensions
            raise unsupported(
                "arithmetic", " and ".join(map(str, tensors)), "the batch is another dimension in "
                "each; add dimensions of size 1 (unsqueeze) so that both have it in one place",
            )  # fmt: skip
    for value in sorted(tensors, key=lambda v: -(v.ndim or 100)):
        if value.axis is None:
            continue
        shift = ndim - value.ndim if ndim is not None and value.ndim is not None else 0
        about: dict[str, Any] = {"ndim": ndim, "axis": value.axis + shift}
        if value.ndim == ndim:
            about["size_of"] = value.size_of if len(tensors) == 1 else None
        return about
    return {"ndim": ndim, "axis": None}
