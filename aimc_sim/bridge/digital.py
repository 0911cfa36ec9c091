"""What the digital units do between crossbars, on torch tensors.

An operation takes value tensors in real numbers and the step's JSON attributes. Those in
:data:`KEEPS_CODES` only select, order or clear numbers: they act on integer codes directly and
need no range of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

KEEPS_CODES = frozenset(
    {"relu", "max_pool2d", "flatten", "subsample", "pad", "pixel_shuffle", "pixel_unshuffle"}
)
"""Operations whose result has the scale of their input."""


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


def _pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    return F.pixel_shuffle(x, factor)


def _pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(
            f"patches of {factor} x {factor} pixels do not cover maps of {x.shape[2]} x "
            f"{x.shape[3]}; choose another number for this layer in mapping.replicate"
        )
    return F.pixel_unshuffle(x, factor)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "add": torch.add,
    "concat": lambda *values, dim: torch.cat(values, dim),
    "affine": _affine,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": F.avg_pool2d,
    "global_avg_pool": _global_avg_pool,
    "flatten": lambda x, start_dim=1: x.flatten(start_dim),
    "subsample": _subsample,
    "pad": lambda x, pad: F.pad(x, pad),
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
}


def apply(op: str, inputs: list[Tensor], attrs: dict) -> Tensor:
    """Return the result of one digital operation."""
    return OPERATIONS[op](*inputs, **attrs)
