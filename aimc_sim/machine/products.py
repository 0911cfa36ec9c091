"""Convolutions, products of matrices and functions whose bits do not depend on the batch.

Libraries choose among kernels that sum in different orders, by the number of images and of threads.
Here an image always goes through the same one: of oneDNN, or of ATen, which convolves image by
image, as :mod:`aimc_sim.machine.formats` has decided; one thread each, see
:func:`aimc_sim.machine.settings.own`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .formats import formats
from .trials import filled_product

SMALLEST_BATCH = 4
"""Images per convolution at least on other devices than processors (smaller chunks are padded with
zeros): below, torch picks kernels that sum in another order."""

_VECTORS = 64
"""A multiple of the elements that any processor computes at a time."""


def convolution(
    x: Tensor, kernel: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return ``F.conv1d``, ``conv2d`` or ``conv3d`` with numbers of equal length for all options.

    Parameters
    ----------
    x : (B, channels, ...) tensor, float32 or the format of variances
        Input maps, dimensionless.
    kernel : (C, channels / groups, ...) tensor
        Weights of the format of ``x``.
    bias : (C,) tensor or None
        Added to every output channel.
    stride, padding, dilation : sequences of int
        One number per dimension of the maps, pixels.
    groups : int
        Groups of channels that do not mix.
    """
    if x.is_cpu and formats().convolution == "oneDNN" and len(stride) == 2:
        # Left to itself torch takes oneDNN's kernels for large batches and its own for small ones.
        return torch.mkldnn_convolution(x, kernel, bias, padding, stride, dilation, groups)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(stride)]
    return function(x, kernel, bias, stride, padding, dilation, groups)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``F.linear``: (..., R) and (C, R) make (..., C)."""
    rows = x.reshape(-1, x.shape[-1])
    if not x.is_cpu or formats().whole_rows:
        y = filled_product(rows, weight)
    else:
        y = torch.cat([filled_product(row, weight) for row in rows.split(1)])
    return (y if bias is None else y + bias).reshape(*x.shape[:-1], len(weight))


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return ``torch.matmul`` of a batch, (B, ..., T, R) by (R, S) or (B, ..., R, S)."""
    if y.ndim == 2:
        return linear(x, y.T)
    if not x.is_cpu or x.ndim != y.ndim or len(x) != len(y):
        return torch.matmul(x, y)
    return torch.stack([torch.matmul(one, other) for one, other in zip(x, y, strict=True)])


def evenly(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an element-wise function of torch that computes all elements in the same way.

    Torch takes vectors of elements as far as they go and the rest one by one, by another
    approximation; here nothing is left over.
    """

    @functools.wraps(function)
    def padded(x: Tensor, *others: Any, **named: Any) -> Tensor:
        alone = not any(isinstance(part, Tensor) for part in (*others, *named.values()))
        if not (alone and isinstance(x, Tensor) and x.is_cpu):
            return function(x, *others, **named)
        dense, order = x, tuple(range(x.ndim))
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            order = (0, 2, 3, 1)
            dense = x.permute(order)
        flat = F.pad(dense.reshape(-1), (0, -x.numel() % _VECTORS), value=1.0)
        y = function(flat, *others, **named)[: x.numel()].view(dense.shape)
        return y if order == tuple(range(x.ndim)) else y.permute(0, 3, 1, 2)

    return padded
