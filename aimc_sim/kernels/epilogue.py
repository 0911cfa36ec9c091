"""Everything between the crossbar's charge and the integer that leaves the core, in one pass."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .ldpu import _add_link_half, _quantise_half, _scale_half, _to_half, clip
from .math32 import bits_float, f32, float_bits
from .normal import fill, padded

BLOCK = 2048
"""Elements worked on at a time: 8 kB."""


@serial
def epilogue(
    charge, variance, link, gain, offset, adc, oscillators, bounds, link_gain, relu, requantise,
    noise_key, first_event, link_column, column, half, out, squares, counts,
):  # fmt: skip
    """Add read noise, convert, scale, add the link input, rectify, requantise.

    For image i, pixel p and column c, all float32 and dimensionless unless said:

    ``z = charge + sqrt(variance) xi``; ``code = clip(rint(z / step), +-limit)``;
    ``y = gain[c] code + offset[c] + link_gain link``; ReLU; ``out = clip(rint(y / scale))``.

    Parameters
    ----------
    charge : (B, P, C) float32, input codes x conductance / g_max.
    variance : (B, P, C), variance of ``charge``, float32 or uint16 (bits of bfloat16); (1, 1, 1) if
        the read is noiseless.
    link : (B, P, L) float32, codes that arrive on the link; (1, 1, 1) if there are none.
    gain, offset : (C,) float32, value per ADC code, and value.
    adc : (3,) float32, 1 / step, largest code, and 1 if codes are rounded.
    oscillators : (5, 2, C) float32, converters that are circuits: slope, bend, lift, gain, offset
        by sign of the charge, see :class:`aimc_sim.core.adc.AdcColumns`; (1, 1, 1) for plain ones.
    bounds : (2,) float32, their full-scale charge and dead zone.
    link_gain : float32, value per link code; 0 if there is no link input.
    relu : bool.
    requantise : (3,) float32, 1 / scale, largest code, and 1 if codes are rounded.
    noise_key : (2,) uint32.
    first_event : int64, event number of image 0 of this call.
    link_column, column : int64, first column of ``link`` that this core reads, and of ``out``
        that it writes.
    half : bool
        The digital unit computes in half precision, bit for bit as :mod:`aimc_sim.core.ldpu`;
        gain, offset, link_gain and 1 / scale must then be halves.
    out : (B, P, K) float32, written.
    squares : (B, P, K), ``out**2``, float32 or uint16 (bits of bfloat16), written; (1, 1, 1) if not
        wanted.
    counts : (B, 2) int64, ADC saturations and output clippings, added to.
    """
    images, pixels, columns = charge.shape
    noisy, square, linked = variance.size > 1, squares.size > 1, link_gain != f32(0.0)
    noise = np.empty(padded(pixels * columns) if noisy else 1, np.float32)
    # A block of pixels stays in the first-level cache while one simple loop after the other
    # goes over it. Flat arrays, plain indices: a computed index might be negative for all the
    # compiler knows, and short rows leave its SIMD loops unused.
    block = min(pixels, max(1, BLOCK // columns))
    work = np.empty(block * columns, np.float32)
    gains, offsets = _tiled(gain, block), _tiled(offset, block)
    for i in range(images):
        if noisy:
            fill(noise, first_event + i, noise_key[0], noise_key[1])
        charges = charge[i].reshape(pixels * columns)
        for start in range(0, pixels, block):
            stop = min(start + block, pixels)
            first, last = start * columns, stop * columns
            z = work[: last - first]
            _load(charges[first:last], z)
            if noisy:
                spread, xi = variance[i].reshape(pixels * columns)[first:last], noise[first:last]
                if variance.itemsize == 2:
                    _add_noise16(z, spread, xi)
                else:
                    _add_noise(z, spread, xi)
            if oscillators.size > 1:
                counts[i, 0] += _oscillate(z, oscillators, bounds)
            else:
                counts[i, 0] += _quantise(z, adc[0], adc[1], adc[2] != f32(0.0))
            if half:
                _to_half(z)
                _scale_half(z, gains, offsets)
            else:
                _scale(z, gains, offsets)
            if linked:
                part = _part(link[i, start:stop], link_column, columns)
                if half:
                    _add_link_half(z, part, link_gain)
                else:
                    _add_link(z, part, link_gain)
            if relu:
                _rectify(z)
            rounds = requantise[2] != f32(0.0)
            if half:
                counts[i, 1] += _quantise_half(z, requantise[0], requantise[1], rounds)
            else:
                counts[i, 1] += _quantise(z, requantise[0], requantise[1], rounds)
            _store(z, out[i, start:stop], column, columns)
            if square:
                if squares.itemsize == 2:
                    _store_squares16(z, squares[i, start:stop], column, columns)
                else:
                    _square(z)
                    _store(z, squares[i, start:stop], column, columns)


@point
def _tiled(row, times):
    # Element by element: the compiler takes seconds for the assignment of a row.
    tiled = np.empty(times * row.size, np.float32)
    for t in range(times):
        for c in range(row.size):
            tiled[t * row.size + c] = row[c]
    return tiled


@point
def _load(charges, z):
    for j in range(z.size):
        z[j] = charges[j]


@point
def _add_noise(z, variance, xi):
    for j in range(z.size):
        z[j] += np.sqrt(variance[j]) * xi[j]


@point
def _add_noise16(z, variance, xi):
    for j in range(z.size):
        z[j] += np.sqrt(bits_float(np.uint32(variance[j]) << np.uint32(16))) * xi[j]


@point
def _quantise(z, per_step, limit, rounds):
    """Turn values into codes in place; return how many lie beyond the limit."""
    if rounds:
        for j in range(z.size):
            z[j] = np.rint(z[j] * per_step)
    else:
        for j in range(z.size):
            z[j] = z[j] * per_step
    return clip(z, limit)


@point
def _oscillate(z, table, bounds):
    """Turn charges into corrected counts in place, column by column; return the saturations."""
    columns, limit, dead = table.shape[2], bounds[0], bounds[1]
    beyond = np.int64(0)
    for p in range(z.size // columns):
        row = z[p * columns : (p + 1) * columns]
        for c in range(columns):
            side = 1 if row[c] < -dead else 0
            size = abs(row[c])
            beyond += np.int64(size > limit)
            size = min(size, limit)
            count = np.rint(
                table[0, side, c] * size / (f32(1.0) + table[1, side, c] * size) + table[2, side, c]
            )
            value = table[3, side, c] * count + table[4, side, c] if count > f32(0.0) else f32(0.0)
            row[c] = -value if side == 1 else value
    return beyond


@point
def _scale(z, gains, offsets):
    for j in range(z.size):
        z[j] = z[j] * gains[j] + offsets[j]


@point
def _part(maps, column, columns):
    """Return some columns of (P, K) maps as a flat vector, without a copy if it is all."""
    if maps.shape[1] == columns:
        return maps.reshape(maps.size)
    part = np.empty(maps.shape[0] * columns, maps.dtype)
    for p in range(maps.shape[0]):
        for c in range(columns):
            part[p * columns + c] = maps[p, column + c]
    return part


@point
def _add_link(z, link, link_gain):
    for j in range(z.size):
        z[j] += link_gain * link[j]


@point
def _rectify(z):
    for j in range(z.size):
        z[j] = max(z[j], f32(0.0))


@point
def _store(z, out, column, columns):
    if out.shape[1] == columns:
        flat = out.reshape(out.size)
        for j in range(z.size):
            flat[j] = z[j]
    else:
        rows = z.reshape(out.shape[0], columns)
        for p in range(out.shape[0]):
            for c in range(columns):
                out[p, column + c] = rows[p, c]


@point
def _square(z):
    for j in range(z.size):
        z[j] = z[j] * z[j]


@point
def _square_bits(y):
    return np.uint16(float_bits(y * y) >> np.uint32(16))


@point
def _store_squares16(z, squares, column, columns):
    if squares.shape[1] == columns:
        flat = squares.reshape(squares.size)
        for j in range(z.size):
            flat[j] = _square_bits(z[j])
    else:
        rows = z.reshape(squares.shape[0], columns)
        for p in range(squares.shape[0]):
            for c in range(columns):
                squares[p, column + c] = _square_bits(rows[p, c])
