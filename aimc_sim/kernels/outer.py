"""Outer products from random bits: sums of ``x^T d`` in which no number is multiplied.

Every factor is divided by a power of two that is not below the largest magnitude, rounded down
to ``bits`` bits, and becomes a train of bits: slot l of a row is 1 where the row's number exceeds
the random number u_l, slot l of a column where the column's exceeds v_l. All rows share u_l and
all columns v_l. Coincidences are counted and shifted back. Slot l of vector n of a step has half
of a word of its own: counter (n, l / 4, low and high word of the step's number).
"""

from __future__ import annotations

import math

import numpy as np

from . import point, serial
from .philox import philox10

NO_POWER = np.int64(-(2**30))
"""In place of a power of two: each vector has its own, or has none because it is zero."""


@point
def power(values):
    """Return the smallest n with ``2^n >= |value|`` of all float32; :data:`NO_POWER` of zeros.

    Without the sign, the patterns of floating-point numbers are ordered as the numbers are.
    """
    patterns = values.view(np.uint32)
    largest = np.uint32(0)
    for i in range(values.size):
        largest = max(largest, patterns[i] & np.uint32(0x7FFFFFFF))
    if largest == np.uint32(0):
        return NO_POWER
    exponent, fraction = np.int64(largest >> np.uint32(23)), largest & np.uint32(0x7FFFFF)
    if exponent == 0:  # a subnormal: whole multiples of 2^-149
        part, n = math.frexp(np.float64(fraction))
        return np.int64(n) - 149 - (part == 0.5)
    return exponent - 127 + (fraction != np.uint32(0))


@point
def _draw(vector, number, length, bits, k0, k1, u, v):
    """Fill u and v with the random numbers of a vector's slots, whole, below ``2^bits``."""
    low, high = np.uint32(number), np.uint32(np.uint64(number) >> np.uint64(32))
    drop, half = np.uint32(16 - bits), np.uint32(0xFFFF)
    for block in range((length + 3) // 4):
        words = philox10(np.uint32(vector), np.uint32(block), low, high, k0, k1)
        for lane in range(min(4, length - 4 * block)):
            word = words[lane]
            u[4 * block + lane] = np.int32((word >> np.uint32(16)) >> drop)
            v[4 * block + lane] = np.int32((word & half) >> drop)


@point
def _levels(values, exponent, bits, levels, signs):
    """Write how many of the ``2^bits`` random numbers make each value fire, and its sign."""
    factor = math.ldexp(1.0, int(bits - exponent))
    for i in range(values.size):
        levels[i] = np.int32(np.float64(abs(values[i])) * factor)
    for i in range(values.size):
        signs[i] = -1.0 if values[i] < np.float32(0.0) else 1.0


@point
def _add(x, d, x_power, d_power, bits, length, work, total):
    """Add the estimate of ``d^T x`` of one vector to ``total``; ``work`` holds room for it."""
    u, v, x_levels, x_signs, fires, d_levels, d_signs, at = work
    d_own = power(d) if d_power == NO_POWER else d_power
    x_own = power(x) if x_power == NO_POWER else x_power
    if d_own == NO_POWER or x_own == NO_POWER:
        return
    _levels(d, d_own, bits, d_levels, d_signs)
    _levels(x, x_own, bits, x_levels, x_signs)
    scale = math.ldexp(1.0, int(x_own + d_own)) / length
    for slot in range(length):
        n, threshold = 0, v[slot]
        for j in range(d.size):
            at[n] = j
            n += threshold < d_levels[j]
        if n == 0:
            continue
        threshold = u[slot]
        for i in range(x.size):
            fires[i] = x_signs[i] if threshold < x_levels[i] else 0.0
        for k in range(n):
            column, step = total[at[k]], scale * d_signs[at[k]]
            for i in range(x.size):
                column[i] += step * fires[i]


@point
def _room(rows, columns, length):
    """Return arrays for the work on one vector."""
    return (
        np.empty(length, np.int32), np.empty(length, np.int32),
        np.empty(rows, np.int32), np.empty(rows, np.float64), np.empty(rows, np.float64),
        np.empty(columns, np.int32), np.empty(columns, np.float64),
        np.empty(columns + 1, np.int64),
    )  # fmt: skip


@serial
def vectors(x, d, x_power, d_power, bits, length, first, number, k0, k1, total):
    """Add the estimates of a batch of vectors.

    Parameters
    ----------
    x : (B, R) float32
        Values of the rows.
    d : (B, C) float32
        Values of the columns.
    x_power, d_power : int64
        Power of two that divides a side, or :data:`NO_POWER`.
    bits, length : int64
        Bits of a random number, 1 to 16; slots, 1 to 64.
    first, number : int64
        Number of the first vector within the step, and of the step.
    k0, k1 : uint32
        Key.
    total : (C, R) float64, added to
        Sum of the estimates.
    """
    work = _room(x.shape[1], d.shape[1], length)
    for b in range(x.shape[0]):
        _draw(first + b, number, length, bits, k0, k1, work[0], work[1])
        _add(x[b], d[b], x_power, d_power, bits, length, work, total)


@serial
def patches(
    x, d, kernel, stride, dilation, x_power, d_power, bits, length, first, number, k0, k1,
    total,
):  # fmt: skip
    """Add the estimates of all pixels of a convolution: a pixel's patch is the vector of rows.

    Parameters
    ----------
    x : (B, H, W, C) float32
        Maps that go in, padded.
    d : (B, P, Q, N) float32
        Gradient by the maps that come out.
    kernel, stride, dilation : (2,) int64
        Of the convolution.
    x_power, d_power, bits, length, first, number, k0, k1
        As in :func:`vectors`; vectors are numbered image by image, pixel by pixel.
    total : (N, kernel[0] * kernel[1] * C) float64, added to
        Sum of the estimates.
    """
    channels = x.shape[3]
    patch = np.empty(kernel[0] * kernel[1] * channels, np.float32)
    work = _room(patch.size, d.shape[3], length)
    vector = first
    for b in range(d.shape[0]):
        for p in range(d.shape[1]):
            for q in range(d.shape[2]):
                _draw(vector, number, length, bits, k0, k1, work[0], work[1])
                n = 0
                for i in range(kernel[0]):
                    for j in range(kernel[1]):
                        pixel = x[
                            b, p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]
                        ]
                        for c in range(channels):
                            patch[n] = pixel[c]
                            n += 1
                _add(patch, d[b, p, q], x_power, d_power, bits, length, work, total)
                vector += 1
