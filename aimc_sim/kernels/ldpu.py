"""The local digital unit in half precision: the loops of a fused pass over a block of outputs.

Same shape as the float32 loops of ``epilogue``: flat arrays, in place, one simple loop each. All
arrays hold float32; every value, register and result is a half (see ``half``). The order of
operations and their rounding points are those of :mod:`aimc_sim.core.ldpu`, bit for bit.
"""

from __future__ import annotations

import numpy as np

from . import point, serial
from .half import fma_half, round_half
from .math32 import f32
from .rounding import sent


@point
def _to_half(z):
    """Convert codes to halves in place: integers beyond 2048 lose their last bits."""
    for j in range(z.size):
        z[j] = round_half(z[j])


@point
def _correct_half(positive, negative, gain_positive, gain_negative, offsets, z):
    """Write ``(gain+ n+ + offset) - gain- n-`` to z: two FMAs on two counts per ADC."""
    for j in range(z.size):
        shifted = fma_half(round_half(positive[j]), gain_positive[j], offsets[j])
        z[j] = fma_half(round_half(negative[j]), -gain_negative[j], shifted)


@point
def _scale_half(z, gains, offsets):
    """Replace z by ``gains z + offsets``."""
    for j in range(z.size):
        z[j] = fma_half(z[j], gains[j], offsets[j])


@point
def _add_link_half(z, link, link_gain):
    """Add ``link_gain link`` to z; link holds the integers that arrived (exact as halves)."""
    for j in range(z.size):
        z[j] = fma_half(link[j], link_gain, z[j])


@point
def rectify(z):
    """Replace negative values by 0, in place."""
    for j in range(z.size):
        z[j] = max(z[j], f32(0.0))


@point
def _quantise_half(z, per_step, limit, rounds):
    """Turn halves into codes in place; return how many lie beyond the limit.

    The product is rounded to a half before it is rounded to an integer.
    """
    for j in range(z.size):
        z[j] = round_half(z[j] * per_step)
    return sent(z, limit, rounds)


@serial
def ldpu_half(codes, gains, offsets, link, link_gain, relu_before, relu_after, requantise, out):
    """Apply the unit to signed ADC codes of ideal ADCs; return the saturations.

    Parameters
    ----------
    codes : (N, C) float32, integers
        Signed ADC codes.
    gains, offsets : (C,) float32, halves
        Value per ADC code, and value at code 0.
    link : (N, C) float32, integers
        Codes that arrive on the link; (1, 1) if there are none.
    link_gain : float32, a half
        Value per link code; 0 if there is no link input.
    relu_before, relu_after : bool
        Rectify before and after the link input is added.
    requantise : (3,) float32
        1 / scale (a half), largest code, and 1 if codes are rounded.
    out : (N, C) float32, written
        Output codes.
    """
    saturated = np.int64(0)
    for i in range(codes.shape[0]):
        z = out[i]
        for j in range(z.size):
            z[j] = codes[i, j]
        _to_half(z)
        _scale_half(z, gains, offsets)
        if relu_before:
            rectify(z)
        if link_gain != f32(0.0):
            _add_link_half(z, link[i], link_gain)
        if relu_after:
            rectify(z)
        saturated += _quantise_half(z, requantise[0], requantise[1], requantise[2] != f32(0.0))
    return saturated
