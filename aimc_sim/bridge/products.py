"""Convolutions and products of matrices whose sums do not depend on the batch.

Libraries choose among kernels that sum in different orders, by the number of images and of threads.
Here an image always goes through the same one: of oneDNN, or of ATen, which convolves image by
image, as :mod:`aimc_sim.machine.formats` has decided; one thread each, see
:func:`aimc_sim.machine.settings.own`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..machine.formats import formats
from ..machine.trials import ROWS

SMALLEST_BATCH = 4
"""Images per convolution at least on other devices than processors (smaller chunks are padded with
zeros): below, torch picks kernels that sum in another order."""


def convolution(
    x: Tensor, kernel: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return ``F.conv1d``, ``conv2d`` or ``conv3d`` with numbers of equal length for all options.

    Parameters
    ----------
    x : (B, channels, ...) tensor, float32 or the format of variances
    kernel : (C, channels / groups, ...) tensor
    bias : (C,) tensor or None
    stride, padding, dilation : sequences of int
    groups : int
    """
    if x.is_cpu and formats().convolution == "oneDNN" and len(stride) == 2:
        # Left to itself torch takes oneDNN's kernels for large batches and its own for small ones.
        return torch.mkldnn_convolution(x, kernel, bias, padding, stride, dilation, groups)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(stride)]
    return function(x, kernel, bias, stride, padding, dilation, groups)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``F.linear``: (..., R) and (C, R) make (..., C).

    Rows are filled up to a multiple of :data:`aimc_sim.machine.trials.ROWS`.
    """
    rows = x.reshape(-1, x.shape[-1])
    n = len(rows)
    if n % ROWS:
        rows = F.pad(rows, (0, 0, 0, -n % ROWS))
    if not x.is_cpu or formats().whole_rows or len(rows) == ROWS:
        y = F.linear(rows, weight, bias)
    else:
        y = torch.cat([F.linear(part, weight, bias) for part in rows.split(ROWS)])
    return y[:n].view(*x.shape[:-1], -1)
