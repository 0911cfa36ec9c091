"""Everything between the crossbar's charge and the integer that leaves the core, in one pass."""

from __future__ import annotations

import numba
import numpy as np

from . import loop
from .normal import bits_float, f32, fill, float_bits, padded


@loop
def epilogue(
    charge, variance, link, gain, offset, adc, link_gain, relu, requantise,
    noise_key, first_event, link_column, column, out, squares, counts,
):  # fmt: skip
    """Add read noise, convert, scale, add the link input, rectify, requantise.

    For image i, pixel p and column c, all float32 and dimensionless unless said:

    ``z = charge + sqrt(variance) xi``; ``code = clip(rint(z / step), +-limit)``;
    ``y = gain[c] code + offset[c] + link_gain link``; ReLU; ``out = clip(rint(y / scale))``.

    Parameters
    ----------
    charge : (B, P, C) float32, input codes x conductance / g_max.
    variance : (B, P, C) uint16, bfloat16 bits of the variance of ``charge``; (1, 1, 1) if the
        read is noiseless.
    link : (B, P, L) float32, codes that arrive on the link; (1, 1, 1) if there are none.
    gain, offset : (C,) float32, value per ADC code, and value.
    adc : (3,) float32, 1 / step, largest code, and 1 if codes are rounded.
    link_gain : float32, value per link code; 0 if there is no link input.
    relu : bool.
    requantise : (3,) float32, 1 / scale, largest code, and 1 if codes are rounded.
    noise_key : (2,) uint32.
    first_event : int64, event number of image 0 of this call.
    link_column, column : int64, first column of ``link`` that this core reads, and of ``out``
        that it writes.
    out : (B, P, K) float32, written.
    squares : (B, P, K) uint16, bfloat16 bits of ``out**2``, written; (1, 1, 1) if not wanted.
    counts : (B, 2) int64, ADC saturations and output clippings, added to.
    """
    images, pixels, columns = charge.shape
    noisy = variance.size > 1
    linked = link_gain != f32(0.0)
    square = squares.size > 1
    per_step, adc_limit, adc_rounds = adc[0], adc[1], adc[2] != f32(0.0)
    per_scale, out_limit, out_rounds = requantise[0], requantise[1], requantise[2] != f32(0.0)
    k0, k1 = noise_key[0], noise_key[1]
    # Images outside, so that a thread owns whole images: one image, one stream of noise.
    for i in numba.prange(images):
        xi = np.empty(padded(pixels * columns) if noisy else 1, np.float32)
        if noisy:
            fill(xi, first_event + i, k0, k1)
        saturated = 0
        clipped = 0
        for p in range(pixels):
            for c in range(columns):
                z = charge[i, p, c]
                if noisy:
                    sigma = np.sqrt(bits_float(np.uint32(variance[i, p, c]) << np.uint32(16)))
                    z = z + sigma * xi[p * columns + c]
                z = z * per_step
                if adc_rounds:
                    z = np.rint(z)
                saturated += abs(z) > adc_limit
                z = min(max(z, -adc_limit), adc_limit)
                y = z * gain[c] + offset[c]
                if linked:
                    y = y + link_gain * link[i, p, link_column + c]
                if relu:
                    y = max(y, f32(0.0))
                y = y * per_scale
                if out_rounds:
                    y = np.rint(y)
                clipped += abs(y) > out_limit
                y = min(max(y, -out_limit), out_limit)
                out[i, p, column + c] = y
                if square:
                    squares[i, p, column + c] = np.uint16(float_bits(y * y) >> np.uint32(16))
        counts[i, 0] += saturated
        counts[i, 1] += clipped
