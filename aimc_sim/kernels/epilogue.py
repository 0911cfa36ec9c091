"""Everything between the crossbar's charge and the integer that leaves the core, in one pass."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .conversion import (
    BLOCK,
    add_jitter,
    constant,
    convert,
    is_staircase,
    raise_all,
    repeated,
    take,
    tiled,
)  # fmt: skip
from .ldpu import _add_link_half, _quantise_half, _scale_half, _to_half, rectify
from .math32 import f32, narrowed
from .normal import fill, padded
from .rounding import clip, scaled, whole


@serial
def epilogue(
    charge, variance, extra, jitter, link, gain, offset, adc, oscillators, bounds, link_gain, relu,
    requantise, noise_key, events, link_column, column, half, out, squares, counts,
):  # fmt: skip
    """Add read noise, convert, scale, add the link input, rectify, requantise.

    For image i, pixel p and column c, all float32 and dimensionless unless said:

    ``z = charge + sqrt(variance + extra[i] + jitter[c] (charge != 0)) xi``;
    ``code = clip(rint(z / step), +-limit)``; ``y = gain[c] code + offset[c] + link_gain link``;
    ReLU; ``out = clip(rint(y / scale))``.

    Parameters
    ----------
    charge : (B, P, C) float32
        Input codes x conductance / g_max.
    variance : (B, P, C) float32 or uint16 (bits of bfloat16)
        Variance of ``charge``; (0, 0, 0) if there is none.
    extra : (B,) float32
        Variance of all charges of an image; (0,) if there is none.
    jitter : (C,) float32
        Variance of every charge that is not zero, of all charges with a staircase; (0,) if there
        is none.
    link : (B, P, L) float32
        Codes that arrive on the link; (0, 0, 0) if there are none.
    gain, offset : (C,) float32
        Value per ADC code, and value at code 0.
    adc : (3,) float32
        1 / step, largest code, and 1 if codes are rounded.
    oscillators : (5, 2, C) float32
        Converters that are circuits: slope, bend, lift, gain, offset by sign of the charge, see
        :class:`aimc_sim.core.quantise.ConverterTable`; (2 T + 1, 1, C): T thresholds, then T + 1
        values, see :class:`aimc_sim.core.quantise.StepTable`; (1, 1, 1) for plain ones.
    bounds : (2,) float32
        Full-scale charge of such converters and dead zone (infinite: one direction only).
    link_gain : float32
        Value per link code; 0 if there is no link input.
    relu : bool
        Negative values are set to zero.
    requantise : (3,) float32
        1 / scale, largest code, and 1 if codes are rounded.
    noise_key : (2,) uint32
        Key words of the read noise.
    events : (B,) int64
        Numbers of the images: an image's noise belongs to its number.
    link_column, column : int64
        First column of ``link`` that this core reads, and of ``out`` that it writes.
    half : bool
        The digital unit computes in half precision, bit for bit as :mod:`aimc_sim.core.ldpu`;
        gain, offset, link_gain and 1 / scale must then be halves.
    out : (B, P, K) float32, written
        Output codes.
    squares : (B, P, K) float32 or uint16 (bits of bfloat16), written
        ``out**2``; (0, 0, 0) if not wanted.
    counts : (B, 2) int64, added to
        ADC saturations and output clippings.
    """
    images, pixels, columns = charge.shape
    known, uneven, square = variance.size > 0, jitter.size > 0, squares.size > 0
    noisy, linked = known or uneven or extra.size > 0, link_gain != f32(0.0)
    rounds, floor = requantise[2] != f32(0.0), f32(0.0) if relu else f32(-np.inf)
    noise = np.empty(padded(pixels * columns) if noisy else 1, np.float32)
    # A block of pixels stays in the first-level cache while a few loops go over it. Each touches
    # few arrays: for every pair that might overlap the compiler checks that it does not, and
    # beyond some pairs gives up SIMD. Flat arrays, plain indices: a computed index might be
    # negative for all the compiler knows, and short rows leave its SIMD loops unused.
    block = min(pixels, max(1, BLOCK // columns))
    work = np.empty(block * columns, np.float32)
    gains, offsets = tiled(gain, block), tiled(offset, block)
    jitters = tiled(jitter, block) if uneven else work
    own_variance = np.empty(block * columns if noisy else 1, np.float32)
    full, circuits = out.shape[2] == columns, repeated(oscillators)
    for i in range(images):
        if noisy:
            fill(noise, events[i], noise_key[0], noise_key[1])
        charges = charge[i].reshape(pixels * columns)
        more = extra[i] if extra.size > 0 else f32(0.0)
        for start in range(0, pixels, block):
            stop = min(start + block, pixels)
            first, last = start * columns, stop * columns
            z, given = work[: last - first], charges[first:last]
            v, xi = own_variance, noise
            if noisy:
                v, xi = own_variance[: last - first], noise[first:last]
                if not known:
                    constant(v, more)
                else:
                    raise_all(variance[i].reshape(pixels * columns)[first:last], more, v)
                if uneven:
                    add_jitter(v, given, jitters, is_staircase(oscillators))
            counts[i, 0] += convert(given, v, xi, noisy, adc, circuits, bounds, z)
            if half:
                _to_half(z)
                _scale_half(z, gains, offsets)
                if linked:
                    _add_link_half(z, _part(link[i, start:stop], link_column, columns), link_gain)
                if relu:
                    rectify(z)
                counts[i, 1] += _quantise_half(z, requantise[0], requantise[1], rounds)
                _store(z, out[i, start:stop], column, columns)
            else:
                target = out[i].reshape(pixels * columns)[first:last] if full else z
                if linked:
                    _scale(z, gains, offsets)
                    part = _part(link[i, start:stop], link_column, columns)
                    _add_link(z, part, link_gain)
                    if rounds:
                        counts[i, 1] += _requantise(z, floor, requantise[0], requantise[1], target)
                elif rounds:
                    counts[i, 1] += _scale_requantise(
                        z, gains, offsets, floor, requantise[0], requantise[1], target
                    )
                else:
                    _scale(z, gains, offsets)
                if not rounds:
                    if relu:
                        rectify(z)
                    counts[i, 1] += scaled(z, requantise[0], requantise[1])
                if not (full and rounds):
                    _store(z, out[i, start:stop], column, columns)
                elif square:
                    z = target
            if square:
                if squares.itemsize == 2:
                    _store_squares16(z, squares[i, start:stop], column, columns)
                else:
                    _store_squares(z, squares[i, start:stop], column, columns)


@point
def _scale_requantise(z, gains, offsets, floor, per_step, limit, out):
    """Write output codes to out, which may be z; return how many lie beyond the limit."""
    for j in range(z.size):
        out[j] = whole(max(z[j] * gains[j] + offsets[j], floor), per_step)
    return clip(out, limit)


@point
def _requantise(z, floor, per_step, limit, out):
    for j in range(z.size):
        out[j] = whole(max(z[j], floor), per_step)
    return clip(out, limit)


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
    take(maps, column, columns, part)
    return part


@point
def _add_link(z, link, link_gain):
    for j in range(z.size):
        z[j] += link_gain * link[j]


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
def _store_squares16(z, squares, column, columns):
    if squares.shape[1] == columns:
        flat = squares.reshape(squares.size)
        for j in range(z.size):
            flat[j] = narrowed(z[j] * z[j])
    else:
        rows = z.reshape(squares.shape[0], columns)
        for p in range(squares.shape[0]):
            for c in range(columns):
                squares[p, column + c] = narrowed(rows[p, c] * rows[p, c])


@point
def _store_squares(z, squares, column, columns):
    rows = z.reshape(squares.shape[0], columns)
    for p in range(squares.shape[0]):
        for c in range(columns):
            squares[p, column + c] = rows[p, c] * rows[p, c]
