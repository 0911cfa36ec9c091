"""A layer split over crossbars, as convolutions: no im2col, whatever the split."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.image import AnalogLayer, Block


def block_kernel(layer: AnalogLayer, block: Block, matrix: Tensor) -> tuple[Tensor, slice]:
    """Return a block's (C, channels, kh, kw) convolution kernel and the channels it reads.

    Parameters
    ----------
    layer, block
    matrix : (R, C) tensor
        Any quantity of the block's cells: weights, conductances, variances.

    Notes
    -----
    A layer split over rows is a sum of convolutions over groups of input channels. Where a
    block begins or ends inside a channel, the rest of that channel's kernel is zero.
    """
    kh, kw = layer.kernel_size
    area = kh * kw
    first, last = block.row_start // area, -(-block.row_stop // area)
    rows = torch.zeros((last - first) * area, matrix.shape[1], dtype=matrix.dtype)
    rows[block.row_start - first * area : block.row_stop - first * area] = matrix
    kernel = rows.T.reshape(-1, last - first, kh, kw)
    return kernel.contiguous(memory_format=torch.channels_last), slice(first, last)


def convolve(layer: AnalogLayer, x: Tensor, kernel: Tensor) -> Tensor:
    """Return the layer's convolution of (B, channels, H, W) with a block kernel."""
    return F.conv2d(x, kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)


def as_maps(layer: AnalogLayer, x: Tensor) -> Tensor:
    """Return the input of a layer as (B, channels, H, W); a vector is a 1 x 1 map."""
    return x[:, :, None, None] if layer.kind == "linear" else x


def floating_correction(layer: AnalogLayer, lines, x: Tensor) -> Tensor:
    """Return what floating idle lines add to the charge of a block.

    Parameters
    ----------
    layer : AnalogLayer
    lines : aimc_sim.bridge.plan.FloatingLines
    x : (B, channels, H, W) float32 tensor, input codes

    Returns
    -------
    (B, C, H', W') float32 tensor
        :func:`aimc_sim.core.idle.high_impedance_correction`, one convolution per sum of it.
    """
    if not lines.both_signs and x.amin() < 0:
        plus = floating_correction(layer, lines, x.clamp(min=0))
        return plus - floating_correction(layer, lines, (-x).clamp(min=0))
    length, sign = x.abs(), x.sign()
    sums = convolve(layer, length, lines.lengths)
    reached, total, shared = sums[:, :-2], sums[:, -2:-1], sums[:, -1:]
    square, driven = (
        convolve(layer, length.square(), lines.one),
        convolve(layer, sign.abs(), lines.one),
    )
    relative = driven * square / total.square().clamp(min=1e-12)
    spread = (relative - 1).clamp(min=0).sqrt()
    falls = (1 - spread / math.sqrt(3)).clamp(min=0) * convolve(layer, sign, lines.weight)
    coupled = 1 - lines.share_sum + shared / lines.max_code
    volts = convolve(layer, x, lines.weight) * lines.reach_sum[:, None, None] - falls * reached
    return volts / coupled
