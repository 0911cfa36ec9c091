"""From charge to the codes of converters: read noise, rounding, clipping, counting circuits."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .ldpu import clip
from .math32 import bits_float, f32
from .normal import fill, padded

BLOCK = 2048
"""Elements worked on at a time: 8 kB."""


@serial
def add_codes(
    charge, variance, extra, jitter, adc, oscillators, bounds, noise_key, events, column,
    factor, total, counts,
):  # fmt: skip
    """Add codes of charges to sums of codes: one of several conversions of one output.

    ``total += factor clip(rint(z / step))`` with the z and the arguments of
    :func:`aimc_sim.kernels.epilogue.epilogue`, and besides:

    Parameters
    ----------
    charge, variance : (B, P, K), of which columns from ``column`` on are read
    column : int64
    factor : float32
    total : (B, P, C) float32, added to
    counts : (B,) int64, saturations, added to
    """
    images, pixels, columns = total.shape
    known, uneven = variance.size > 1, jitter.size > 0
    noisy = known or uneven or extra.size > 0
    noise = np.empty(padded(pixels * columns) if noisy else 1, np.float32)
    block = min(pixels, max(1, BLOCK // columns))
    given, z = np.empty(block * columns, np.float32), np.empty(block * columns, np.float32)
    jitters = tiled(jitter, block) if uneven else z
    spread = np.empty(block * columns if noisy else 1, np.float32)
    for i in range(images):
        if noisy:
            fill(noise, events[i], noise_key[0], noise_key[1])
        sums = total[i].reshape(pixels * columns)
        more = extra[i] if extra.size > 0 else f32(0.0)
        for start in range(0, pixels, block):
            stop = min(start + block, pixels)
            first, last = start * columns, stop * columns
            n = last - first
            _take(charge[i, start:stop], column, columns, given[:n])
            if noisy:
                if not known:
                    constant(spread[:n], more)
                elif variance.itemsize == 2:
                    _take16(variance[i, start:stop], column, columns, more, spread[:n])
                else:
                    _take_more(variance[i, start:stop], column, columns, more, spread[:n])
                if uneven:
                    add_jitter(spread[:n], given[:n], jitters)
            counts[i] += convert(
                given[:n], spread[:n] if noisy else spread, noise[first:last] if noisy else noise,
                noisy, adc, oscillators, bounds, z[:n],
            )  # fmt: skip
            _add(z[:n], factor, sums[first:last])


@point
def convert(given, v, xi, noisy, adc, oscillators, bounds, z):
    """Write codes of charges with variances v to z; return how many lie beyond the limit.

    v and xi are not looked at where nothing is noisy.
    """
    circuit, rounds = oscillators.size > 1, adc[2] != f32(0.0)
    if rounds and not circuit:
        if noisy:
            return _round_noisy(given, v, xi, adc[0], adc[1], z)
        return _round(given, adc[0], adc[1], z)
    if noisy:
        _noisy(given, v, xi, z)
    else:
        _load(given, z)
    if circuit:
        return _oscillate(z, oscillators, bounds)
    return scale_clip(z, adc[0], adc[1])


@point
def tiled(row, times):
    """Return a row written one after the other, (times * C,)."""
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
def constant(v, more):
    """Write the same variance everywhere."""
    for j in range(v.size):
        v[j] = more


@point
def spread32(variance, more, v):
    """Write variances, raised by what an image has besides."""
    for j in range(v.size):
        v[j] = variance[j] + more


@point
def spread16(variance, more, v):
    """Do the same for bits of bfloat16."""
    for j in range(v.size):
        v[j] = bits_float(np.uint32(variance[j]) << np.uint32(16)) + more


@point
def add_jitter(v, charges, jitters):
    """Add the variance of a conversion where there is charge."""
    for j in range(v.size):
        v[j] += jitters[j] if charges[j] != f32(0.0) else f32(0.0)


@point
def _noisy(charges, v, xi, z):
    for j in range(z.size):
        z[j] = charges[j] + np.sqrt(v[j]) * xi[j]


@point
def _round_noisy(charges, v, xi, per_step, limit, z):
    """Write codes of noisy charges to z; return how many lie beyond the limit."""
    for j in range(z.size):
        z[j] = np.rint((charges[j] + np.sqrt(v[j]) * xi[j]) * per_step)
    return clip(z, limit)


@point
def _round(charges, per_step, limit, z):
    for j in range(z.size):
        z[j] = np.rint(charges[j] * per_step)
    return clip(z, limit)


@point
def scale_clip(z, per_step, limit):
    """Turn values into codes that are not rounded, in place; return how many are beyond."""
    for j in range(z.size):
        z[j] = z[j] * per_step
    return clip(z, limit)


@point
def _oscillate(z, table, bounds):
    """Turn charges into corrected counts in place, column by column; return the saturations."""
    columns, limit, dead = table.shape[2], bounds[0], bounds[1]
    both, beyond = dead < f32(np.inf), np.int64(0)
    for p in range(z.size // columns):
        row = z[p * columns : (p + 1) * columns]
        over = np.int32(0)
        for c in range(columns):
            over += np.int32((abs(row[c]) if both else row[c]) > limit)
        beyond += np.int64(over)
        for c in range(columns):
            row[c] = _count(
                row[c], dead, both, limit,
                table[0, 0, c], table[1, 0, c], table[2, 0, c], table[3, 0, c], table[4, 0, c],
                table[0, 1, c], table[1, 1, c], table[2, 1, c], table[3, 1, c], table[4, 1, c],
            )  # fmt: skip
    return beyond


@point
def _count(
    charge, dead, both, limit, slope, bend, lift, gain, offset, slope_n, bend_n, lift_n, gain_n,
    offset_n,
):  # fmt: skip
    """Return the corrected count of a charge: both sides' registers, of which one is taken.

    Choices between numbers that are there, not between places in memory: so the loop over
    columns becomes SIMD.
    """
    negative = charge < -dead
    size = min(abs(charge) if both else max(charge, f32(0.0)), limit)
    slope, bend = slope_n if negative else slope, bend_n if negative else bend
    lift = lift_n if negative else lift
    count = np.rint(slope * size / (f32(1.0) + bend * size) + lift)
    value = (gain_n if negative else gain) * count + (offset_n if negative else offset)
    value = value if count > f32(0.0) else f32(0.0)
    return -value if negative else value


@point
def _take(rows, column, columns, flat):
    for p in range(rows.shape[0]):
        for c in range(columns):
            flat[p * columns + c] = rows[p, column + c]


@point
def _take_more(rows, column, columns, more, flat):
    for p in range(rows.shape[0]):
        for c in range(columns):
            flat[p * columns + c] = rows[p, column + c] + more


@point
def _take16(rows, column, columns, more, flat):
    for p in range(rows.shape[0]):
        for c in range(columns):
            bits = np.uint32(rows[p, column + c]) << np.uint32(16)
            flat[p * columns + c] = bits_float(bits) + more


@point
def _add(z, factor, sums):
    for j in range(z.size):
        sums[j] += factor * z[j]
