"""Inner loops on bare arrays: noise on weights, converters on activations.

Numbers of 16 bits are bfloat16 in the upper half of a float32. Noise is addressed: every run of
``BLOCK`` values has an event number of its own, see :func:`aimc_sim.kernels.normal.fill`.
"""

from __future__ import annotations

import numpy as np

from aimc_sim.kernels import point, serial
from aimc_sim.kernels.math32 import bits_float, f32, float_bits, narrowed, widened
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
