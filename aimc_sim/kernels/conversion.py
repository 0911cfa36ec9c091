"""From charge to the codes of converters: read noise, rounding, clipping, counting circuits."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .math32 import f32, u64, widened
from .normal import fill, padded
from .rounding import clip, codes, scaled, whole

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
    charge, variance : (B, P, K) float32; ``variance`` also uint16 (bits of bfloat16)
        Charges and their variances, dimensionless; columns from ``column`` on are read.
    extra, jitter, adc, oscillators, bounds, noise_key, events : arrays of the shapes there
        As of :func:`aimc_sim.kernels.epilogue.epilogue`.
    column : int64
        First column that is read.
    factor : float32
        Weight of this conversion in the sum, dimensionless.
    total : (B, P, C) float32, added to
        Sum of weighted codes.
    counts : (B,) int64, added to
        Saturated conversions of every image.
    """
    images, pixels, columns = total.shape
    known, uneven = variance.size > 0, jitter.size > 0
    noisy = known or uneven or extra.size > 0
    noise = np.empty(padded(pixels * columns) if noisy else 1, np.float32)
    block = min(pixels, max(1, BLOCK // columns))
    given, z = np.empty(block * columns, np.float32), np.empty(block * columns, np.float32)
    jitters = tiled(jitter, block) if uneven else z
    own_variance = np.empty(block * columns if noisy else 1, np.float32)
    narrow = np.empty(block * columns if known else 1, variance.dtype)
    circuits = repeated(oscillators)
    for i in range(images):
        if noisy:
            fill(noise, events[i], noise_key[0], noise_key[1])
        sums = total[i].reshape(pixels * columns)
        more = extra[i] if extra.size > 0 else f32(0.0)
        for start in range(0, pixels, block):
            stop = min(start + block, pixels)
            first, last = start * columns, stop * columns
            n = last - first
            take(charge[i, start:stop], column, columns, given[:n])
            if noisy:
                if not known:
                    constant(own_variance[:n], more)
                else:
                    take(variance[i, start:stop], column, columns, narrow[:n])
                    raise_all(narrow[:n], more, own_variance[:n])
                if uneven:
                    add_jitter(own_variance[:n], given[:n], jitters, is_staircase(oscillators))
            counts[i] += convert(
                given[:n], own_variance[:n] if noisy else own_variance,
                noise[first:last] if noisy else noise, noisy, adc, circuits, bounds, z[:n],
            )  # fmt: skip
            _add(z[:n], factor, sums[first:last])


@point
def convert(given, v, xi, noisy, adc, circuits, bounds, z):
    """Write codes of charges with variances v to z; return how many lie beyond the limit.

    v and xi are not read where nothing is noisy; ``circuits`` are :func:`repeated`.
    """
    circuit, rounds = circuits.size > 1, adc[2] != f32(0.0)
    stairs = circuits.shape[0] % 2 == 1  # thresholds, and one value more
    if rounds and not circuit:
        if noisy:
            return _round_noisy(given, v, xi, adc[0], adc[1], z)
        return codes(given, adc[0], adc[1], z)
    if noisy:
        _noisy(given, v, xi, z)
    else:
        _load(given, z)
    if circuit and stairs:
        _climb(z, circuits)
        return np.int64(0)
    if circuit:
        return _oscillate(z, circuits, bounds)
    return scaled(z, adc[0], adc[1])


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
def raise_all(variance, more, v):
    """Write variances, float32 or bits of bfloat16, raised by what an image has besides."""
    for j in range(v.size):
        v[j] = widened(variance[j]) + more


@point
def add_jitter(v, charges, jitters, always):
    """Add the variance of a conversion: where there is charge, or everywhere."""
    if always:
        for j in range(v.size):
            v[j] += jitters[j]
        return
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
        z[j] = whole(charges[j] + np.sqrt(v[j]) * xi[j], per_step)
    return clip(z, limit)


TILE = 128
"""Columns that circuits are worked on at a time, at least: rows of few are repeated."""


@point
def is_staircase(table):
    """Return whether a table is one of thresholds and values, (2 T + 1, 1, C)."""
    return table.shape[0] > 1 and table.shape[1] == 1


@point
def repeated(table):
    """Return the registers of circuits side by side, (n, a multiple of C) float32.

    Of counting circuits slope, bend, lift, gain and offset of either sign, and two rows to work in,
    n = 12; of staircases thresholds and values, n = 2 T + 1; (1, 1) of a table that is none.
    """
    columns = table.shape[2]
    if table.size == 1:
        return np.zeros((1, 1), np.float32)
    times = max(1, TILE // columns)
    if is_staircase(table):
        stairs = np.empty((table.shape[0], times * columns), np.float32)
        for q in range(table.shape[0]):
            for t in range(times):
                for c in range(columns):
                    stairs[q, t * columns + c] = table[q, 0, c]
        return stairs
    rows = np.empty((12, times * columns), np.float32)
    for q in range(5):
        for side in range(2):
            for t in range(times):
                for c in range(columns):
                    rows[2 * q + side, t * columns + c] = table[q, side, c]
    return rows


@point
def _oscillate(z, rows, bounds):
    """Turn charges into corrected counts in place; return the saturations.

    Registers of both signs are read and one of two is taken: a choice between numbers, not
    between places in memory, so that the loops become SIMD.
    """
    limit, dead, n = bounds[0], bounds[1], rows.shape[1]
    both, size, count = dead < f32(np.inf), rows[10], rows[11]
    beyond = np.int64(0)
    for first in range(0, z.size, n):
        part = z[first : min(first + n, z.size)]
        if both:
            beyond += _sizes(part, limit, size)
            _counts(part, dead, size, rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], count)
            _correct(part, dead, count, rows[6], rows[7], rows[8], rows[9])
        else:
            beyond += _count_up(part, limit, rows[0], rows[2], rows[4])
            _correct_up(part, rows[6], rows[8])
    return beyond


@point
def _count_up(z, limit, slope, bend, lift):
    """Turn charges into counts where currents flow in one direction; return the saturations."""
    over = np.int32(0)
    for j in range(z.size):
        over += np.int32(z[j] > limit)
        size = min(max(z[j], f32(0.0)), limit)
        z[j] = np.rint(slope[j] * size / (f32(1.0) + bend[j] * size) + lift[j])
    return np.int64(over)


@point
def _correct_up(z, gain, offset):
    for j in range(z.size):
        value = gain[j] * z[j] + offset[j]
        z[j] = value if z[j] > f32(0.0) else f32(0.0)


@point
def _climb(z, rows):
    """Turn charges into the values of the steps that they reach, in place."""
    steps, n = (rows.shape[0] - 1) // 2, rows.shape[1]
    for first in range(0, z.size, n):
        part = z[first : min(first + n, z.size)]
        if steps == 1:
            _compare(part, rows[0], rows[1], rows[2])
        else:
            _reach(part, rows, steps)


@point
def _compare(z, threshold, below, above):
    for j in range(z.size):
        z[j] = above[j] if z[j] >= threshold[j] else below[j]


@point
def _reach(z, rows, steps):
    for j in range(z.size):
        value = rows[steps, j]
        for t in range(steps):
            value = rows[steps + 1 + t, j] if z[j] >= rows[t, j] else value
        z[j] = value


@point
def _sizes(z, limit, size):
    over = np.int32(0)
    for j in range(z.size):
        whole = abs(z[j])
        over += np.int32(whole > limit)
        size[j] = min(whole, limit)
    return np.int64(over)


@point
def _counts(z, dead, size, slope, slope_n, bend, bend_n, lift, lift_n, count):
    for j in range(z.size):
        negative = z[j] < -dead
        rate = slope_n[j] if negative else slope[j]
        curve = bend_n[j] if negative else bend[j]
        more = lift_n[j] if negative else lift[j]
        count[j] = np.rint(rate * size[j] / (f32(1.0) + curve * size[j]) + more)


@point
def _correct(z, dead, count, gain, gain_n, offset, offset_n):
    for j in range(z.size):
        negative = z[j] < -dead
        factor = gain_n[j] if negative else gain[j]
        value = factor * count[j] + (offset_n[j] if negative else offset[j])
        value = value if count[j] > f32(0.0) else f32(0.0)
        z[j] = -value if negative else value


@point
def take(rows, column, columns, flat):
    """Write some columns of (P, K) rows one after the other.

    Eight at a time through eight variables: rows of a few columns are too short for the SIMD loop
    that the compiler would make, and it may not load ahead of what might be the same memory.
    Indices are unsigned: of a signed one that is computed the compiler asks, element by element,
    whether it counts from the end, and eight loads are no longer one.
    """
    n, first_column, eight = u64(columns), u64(column), u64(8)
    eights = n - n % eight
    for p in range(rows.shape[0]):
        row, first, c = rows[p], u64(p) * n, u64(0)
        while c < eights:
            j, k = first_column + c, first + c
            r0, r1, r2, r3 = row[j], row[j + u64(1)], row[j + u64(2)], row[j + u64(3)]
            r4, r5, r6, r7 = row[j + u64(4)], row[j + u64(5)], row[j + u64(6)], row[j + u64(7)]
            flat[k], flat[k + u64(1)], flat[k + u64(2)], flat[k + u64(3)] = r0, r1, r2, r3
            flat[k + u64(4)], flat[k + u64(5)], flat[k + u64(6)], flat[k + u64(7)] = r4, r5, r6, r7
            c += eight
        while c < n:
            flat[first + c] = row[first_column + c]
            c += u64(1)


@point
def _add(z, factor, sums):
    for j in range(z.size):
        sums[j] += factor * z[j]
