"""Inner loops on bare arrays: noise on weights, converters on activations.

Numbers of 16 bits are bfloat16 in the upper half of a float32. Noise is addressed: every run of
``BLOCK`` values has an event number of its own, see :func:`aimc_sim.kernels.normal.fill`.
"""

from __future__ import annotations

import numpy as np

from aimc_sim.kernels import point, serial
from aimc_sim.kernels.math32 import bits_float, exp32, f32, float_bits, narrowed, widened
from aimc_sim.kernels.normal import fill
from aimc_sim.kernels.rounding import whole

BLOCK = 2048
"""Values worked on at a time, and values that share an event of the noise."""


@point
def _load(x, z):
    for j in range(z.size):
        z[j] = widened(x[j])


@point
def _store(z, out):
    for j in range(z.size):
        out[j] = z[j]


@point
def _store16(z, out):
    for j in range(z.size):
        out[j] = narrowed(z[j])


@point
def _largest(z):
    # Magnitudes are ordered like their bits, and a maximum of integers becomes SIMD code.
    top = np.uint32(0)
    for j in range(z.size):
        top = max(top, float_bits(z[j]) & np.uint32(0x7FFFFFFF))
    return top


@point
def _add(z, noise, std):
    for j in range(z.size):
        z[j] += std * noise[j]


@point
def _convert(z, inside, step, limit):
    """Round to multiples of ``step`` up to ``limit`` of them; return how many were beyond."""
    per_step, beyond = f32(1.0) / step, np.int32(0)
    for j in range(z.size):
        code = z[j] * per_step
        within = np.uint8(abs(code) <= limit)
        inside[j] = within
        beyond += np.int32(1) - np.int32(within)
        z[j] = step * min(max(whole(z[j], per_step), -limit), limit)
    return beyond


@serial
def draw(event, k0, k1, out):
    """Fill a float32 vector of any length with normals; ``event`` is that of its first run."""
    rest = np.empty(BLOCK, np.float32)
    for start in range(0, out.size, BLOCK):
        stop = min(start + BLOCK, out.size)
        z = out[start:stop]
        if stop - start == BLOCK:
            fill(z, event + start // BLOCK, k0, k1)
        else:
            fill(rest, event + start // BLOCK, k0, k1)
            _load(rest[: stop - start], z)


@serial
def convert(x, std, step, limit, event, k0, k1, out, inside):
    """Add noise and quantise: ``out = step clip(rint((x + std xi) / step), +-limit)``.

    Parameters
    ----------
    x : (n,) float32, or uint16 (bfloat16)
        Values in front of the converter.
    std : float32
        Standard deviation of the noise, in units of x; 0 for none.
    step : float32
        Step between codes, in units of x; 0 rounds nothing.
    limit : float32
        Largest code.
    event : int64
        Event of the first run.
    k0, k1 : uint32
        Key words of the noise.
    out : (n,) of the type of x
        Written: converted values.
    inside : (n,) uint8
        Written if step > 0: whether a value is within ``+-limit step``.

    Returns
    -------
    top : uint32
        Bits of the largest ``|x|``.
    beyond : int64
        Number of values beyond the limit.
    """
    n, beyond, top = x.size, np.int64(0), np.uint32(0)
    noise, work = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        z = work[: stop - start]
        _load(x[start:stop], z)
        top = max(top, _largest(z))
        if std > f32(0.0):
            fill(noise, event + start // BLOCK, k0, k1)
            _add(z, noise[: stop - start], std)
        if step > f32(0.0):
            beyond += _convert(z, inside[start:stop], step, limit)
        if x.itemsize == 2:
            _store16(z, out[start:stop])
        else:
            _store(z, out[start:stop])
    return top, beyond


@point
def _beside(z, noise, std, offset, out):
    for j in range(z.size):
        out[j] = z[j] + (std[j] * noise[j] - offset[j])


@point
def _rise(z, threshold, above, out):
    for j in range(z.size):
        value, before = above[j], out[j]  # both are read, so that no lane branches
        out[j] = value if z[j] >= threshold[j] else before


@point
def _slope_of_tanh(z, threshold, half, slope):
    """Raise slopes to ``1 - tanh(d)^2 = 4 e / (1 + e)^2`` with ``e = exp(-2 |d|)``."""
    for j in range(z.size):
        distance, width, before = abs(z[j] - threshold[j]), half[j], slope[j]
        e = exp32(f32(-2.0) * (distance / max(width, f32(1e-37))))
        one = f32(4.0) * e / ((f32(1.0) + e) * (f32(1.0) + e))
        one = one if width > f32(0.0) else f32(0.0)
        slope[j] = max(before, one)


@point
def _slope_of_clip(z, threshold, half, slope):
    for j in range(z.size):
        distance, width, before = abs(z[j] - threshold[j]), half[j], slope[j]
        one = f32(1.0) if distance <= width else f32(0.0)
        one = one if width > f32(0.0) else f32(0.0)
        slope[j] = max(before, one)


@serial
def compare(sums, noise, std, offset, rows, clip, inner, run, out, slope):
    """Replace sums by the values of the steps that they reach, in staircases of columns.

    ``out = value of the step of sums + (std xi - offset)``. Values lie as (..., columns, inner);
    runs are worked on one after the other, of all columns if ``inner`` is 1, else of one column.

    Parameters
    ----------
    sums : (n,) float32
        Sums in front of comparators, whole runs.
    noise : (n,) float32
        Standard normals; empty: neither noise nor offsets.
    std, offset : (C,) float32
        Of every column, in units of the sums; empty with the noise.
    rows : (2 T + 1, C) float32
        Thresholds and values of every column.
    clip : bool
        Which slope: 1 within half a step of a threshold, or that of the tanh through both values.
    inner : int64
        Values of a column that lie side by side.
    run : int64
        Number of the first run.
    out : (n,) float32
        Written: values of the steps.
    slope : (n,) float32
        Written: slopes, the largest of all thresholds; empty: not wanted.
    """
    columns, steps = rows.shape[1], rows.shape[0] // 2
    length = columns if inner == 1 else min(inner, BLOCK)
    half = np.empty((steps, columns), np.float32)
    for t in range(steps):
        for c in range(columns):
            half[t, c] = (rows[steps + t + 1, c] - rows[steps + t, c]) / f32(2.0)
    table = np.empty((2 * steps + 1, length), np.float32)
    halves = np.empty((steps, length), np.float32)
    spread, shift = np.empty(length, np.float32), np.empty(length, np.float32)
    work = np.empty(length, np.float32)
    whole_run = columns if inner == 1 else inner
    for r in range(sums.size // whole_run):
        if inner > 1 or r == 0:
            for j in range(length):
                c = j if inner == 1 else (run + r) % columns
                for k in range(2 * steps + 1):
                    table[k, j] = rows[k, c]
                for t in range(steps):
                    halves[t, j] = half[t, c]
                if noise.size:
                    spread[j], shift[j] = std[c], offset[c]
        for start in range(r * whole_run, (r + 1) * whole_run, length):
            stop = min(start + length, (r + 1) * whole_run)
            n = stop - start
            z = sums[start:stop]
            if noise.size:
                _beside(z, noise[start:stop], spread, shift, work)
                z = work[:n]
            target = out[start:stop]
            for j in range(n):
                target[j] = table[steps, j]
            for t in range(steps):
                _rise(z, table[t], table[steps + t + 1], target)
            if slope.size:
                own = slope[start:stop]
                for j in range(n):
                    own[j] = f32(0.0)
                for t in range(steps):
                    if clip:
                        _slope_of_clip(z, table[t], halves[t], own)
                    else:
                        _slope_of_tanh(z, table[t], halves[t], own)


@serial
def largest(weight, row_cuts, col_cuts, per_column, scale):
    """Write the largest magnitude of every crossbar, or of every column of it.

    Parameters
    ----------
    weight : (C, R) float32
        Weights, dimensionless.
    row_cuts, col_cuts : (n + 1,) int64
        Edges of the crossbars along rows and columns.
    per_column : bool
        Whether every column has a largest magnitude of its own.
    scale : (C, row blocks) float32
        Written: the largest magnitudes; all columns of a crossbar share one, or each has its own.
    """
    for j in range(col_cuts.size - 1):
        for b in range(row_cuts.size - 1):
            whole = f32(0.0)
            for c in range(col_cuts[j], col_cuts[j + 1]):
                top = np.uint32(0)
                for r in range(row_cuts[b], row_cuts[b + 1]):
                    top = max(top, float_bits(weight[c, r]) & np.uint32(0x7FFFFFFF))
                scale[c, b] = bits_float(top)
                whole = max(whole, scale[c, b])
            if not per_column:
                for c in range(col_cuts[j], col_cuts[j + 1]):
                    scale[c, b] = whole


@point
def _between(table, place, k):
    return table[k] + (place - f32(k)) * (table[k + 1] - table[k])


@serial
def perturb(
    weight, scale, row_cuts, col_cuts, mean, std, zero_std, fresh, factor, method, noise, out
):  # fmt: skip
    """Replace weights by a draw of the weights on devices.

    ``out = sign(w) s (mean(x) + factor std(x) xi) alpha`` with ``s`` the scale, ``x = |w| / s``
    and alpha the drift compensation, from mean conductances: of a crossbar (method 1) or a
    column (2).

    Parameters
    ----------
    weight : (C, R) float32
        Weights, dimensionless.
    scale : (C, row blocks) float32
        Weights that are mapped to g_max.
    row_cuts, col_cuts : (n + 1,) int64
        Edges of the crossbars along rows and columns.
    mean, std : (K,) float32
        Tables of mean and standard deviation over x in [0, 1], in units of the scale.
    zero_std : float32
        Standard deviation of a weight that is exactly zero, in units of the scale.
    fresh : (K,) float32
        Table of the mean right after programming.
    factor : float32
        Factor of the standard deviations.
    method : int64
        Drift compensation: 0 none, 1 per crossbar, 2 per column.
    noise : (C, R) float32
        Standard normals.
    out : (C, R) float32
        Written: the draw.
    """
    last = f32(mean.size - 1)
    columns = weight.shape[0]
    before, after = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for b in range(row_cuts.size - 1):
        for c in range(columns):
            s = scale[c, b]
            per = last / s if s > f32(0.0) else f32(0.0)
            first, now = f32(0.0), f32(0.0)
            for r in range(row_cuts[b], row_cuts[b + 1]):
                w = weight[c, r]
                place = min(abs(w) * per, last)
                k = min(np.int32(place), np.int32(mean.size - 2))
                m, d = _between(mean, place, k), _between(std, place, k)
                draw = s * (m + factor * d * noise[c, r])
                draw = -draw if w < f32(0.0) else draw
                rest = factor * zero_std * s * noise[c, r]
                out[c, r] = rest if w == f32(0.0) else draw
                if method > 0 and w != f32(0.0):
                    first += _between(fresh, place, k)
                    now += m
            before[c], after[c] = s * first, s * now
        if method == 0:
            continue
        for j in range(col_cuts.size - 1):
            start, stop = col_cuts[j], col_cuts[j + 1]
            above, below = f32(0.0), f32(0.0)
            for c in range(start, stop):
                above += before[c]
                below += after[c]
            for c in range(start, stop):
                up, down = (above, below) if method == 1 else (before[c], after[c])
                alpha = up / down if down > f32(0.0) else f32(1.0)
                for r in range(row_cuts[b], row_cuts[b + 1]):
                    out[c, r] *= alpha
