"""Arrays that learn: products with pairs of drifting devices, outer products, sparse pulses.

Sums run over rows or vectors in one fixed order and every output belongs to one turn of a loop,
so that neither threads nor the split of a batch change a bit.
"""

from __future__ import annotations

import numpy as np

from . import loop, point, serial, share
from .math32 import exp32, f32, log_negated
from .normal import wide_pair
from .pcm import INVERSE, SMALLEST, curve32
from .philox import philox7, philox10
from .pulses import (
    clip,
    cycle_normals,
    device_normals,
    drift_exponent,
    drift_normal,
    set_step,
    step_factor,
)
from .rounding import whole
from .tiles import add_rows, others_than_zero

_PRODUCT, _CHECK = np.uint32(5), np.uint32(6)
"""Streams of the noise of products and of checks: the last word of the counter."""

LANES = 128
"""Devices of a run, which become SIMD code; a shorter run is computed in full."""

GROUP, BLOCK = 32, 64
"""Rows of an outer product and vectors that are taken together: both stay in the first cache."""

# --------------------------------------------------------------------------- products


@point
def _drift(value, age, exponent, lanes, noise, clock, per_siemens, amplitude, scale):
    """Let a run of devices drift, in place; write the variances of their fresh noise.

    value, age, exponent, noise : (LANES,) float32: conductance (siemens, updated), seconds since
    the last pulse (scratch afterwards), drift exponent, variance (siemens squared,
    written); other arguments as of :func:`pair_rows`.
    """
    per_t0, shortest, reading = clock
    per_band = f32(0.5) / reading
    for lane in range(lanes):
        t = max(age[lane], shortest)
        value[lane] = value[lane] * exp32(exponent[lane] * log_negated(t * per_t0))
        age[lane] = max(f32(0.0), -log_negated((t + reading) * per_band)) * (scale * scale)
    if amplitude[0] == INVERSE and amplitude[5] == np.inf:  # a division: no logarithm is needed
        a, b = f32(amplitude[1]), f32(amplitude[2])
        low, high = f32(amplitude[3]), f32(amplitude[4])
        for lane in range(lanes):
            x = max(value[lane] * per_siemens, f32(SMALLEST))
            sigma = value[lane] * min(max(a / x + b, low), high)
            noise[lane] = sigma * sigma * age[lane]
    else:
        for lane in range(lanes):
            x = max(value[lane] * per_siemens, f32(SMALLEST))
            sigma = value[lane] * curve32(x, -log_negated(x), amplitude)
            noise[lane] = sigma * sigma * age[lane]


@point
def _load(g, last, t, start, lanes, value, age):
    for lane in range(lanes):
        value[lane] = g[start + lane]
        age[lane] = f32(t - last[start + lane])


@loop
def pair_rows(
    rows, g, last, nu, t, clock, per_siemens, amplitude, scale, per_weight, w, v, part, parts
):
    """Evaluate some rows of pairs of devices at a time: weights and variances of their noise.

    rows : (N,) int64, rising; g : (D, R, C) float32, siemens, the first half of the D devices of a
    weight go up; last : (D, R, C) float64, s; nu : (D, R, C) float32, or (1, 1, 1) where all are
    equal; t : float, s; clock : 3 float32: 1 / t0, shortest age, duration of a read, in seconds;
    per_siemens : float32, 1 / S, state per conductance; amplitude : 10 floats, curve of the noise;
    scale : float32, factor on it, 0 for none; per_weight : float32, weight per siemens of a device.
    w, v : (R, C) float32, these rows are written: weights, and variances of their fresh noise.
    """
    cols, size = w.shape[1], w.size
    flat_g, flat_last = g.reshape(g.shape[0], size), last.reshape(g.shape[0], size)
    exponents = nu.reshape(nu.shape[0], nu.size // nu.shape[0])
    flat_w, flat_v = w.reshape(size), v.reshape(size)
    scratch = np.empty((8, LANES), np.float32)
    turns = share(rows.size, part, parts)
    i = turns.start
    while i < turns.stop:
        first = i
        i += 1
        while i < turns.stop and rows[i] == rows[i - 1] + 1:
            i += 1
        _evaluate(
            rows[first] * cols, (rows[i - 1] + 1) * cols, flat_g, flat_last, exponents, t, clock,
            per_siemens, amplitude, scale, per_weight, flat_w, flat_v, scratch,
        )  # fmt: skip


@point
def _evaluate(
    first, stop, g, last, nu, t, clock, per_siemens, amplitude, scale, per_weight, w, v, scratch
):  # fmt: skip
    """Evaluate the pairs first to stop - 1, which may span rows: those of few pairs fill the runs.

    g, last, nu : (D, R C), nu also (1, 1); w, v : (R C,); scratch : (8, LANES) float32; others as
    of :func:`pair_rows`.
    """
    one, squared = nu.size == 1, per_weight * per_weight
    value, age, exponent, noise = scratch[0:2], scratch[2:4], scratch[4:6], scratch[6:8]
    if one:
        exponent[:] = nu[0, 0]
    several = g.shape[0] // 2
    for start in range(first, stop, LANES):
        lanes = min(LANES, stop - start)
        for pair in range(several):
            for k in range(2):
                at = k * several + pair
                _load(g[at], last[at], t, start, lanes, value[k], age[k])
                if not one:
                    for lane in range(lanes):
                        exponent[k, lane] = nu[at, start + lane]
                _drift(
                    value[k], age[k], exponent[k], LANES, noise[k],
                    clock, per_siemens, amplitude, scale,
                )  # fmt: skip
            if pair == 0:
                for lane in range(lanes):
                    w[start + lane] = (value[0, lane] - value[1, lane]) * per_weight
                    v[start + lane] = (noise[0, lane] + noise[1, lane]) * squared
            else:
                for lane in range(lanes):
                    w[start + lane] += (value[0, lane] - value[1, lane]) * per_weight
                    v[start + lane] += (noise[0, lane] + noise[1, lane]) * squared


@serial
def pair_products(
    x, valid, g, last, nu, t, clock, per_siemens, amplitude, scale, per_weight, w, v, y, s
):
    """Evaluate the rows that have an input, unless they are valid, and multiply.

    x : (B, R) float32; valid : (R,) bool, updated; y, s : (B, C) float32, written, as of
    :func:`products`; other arguments as of :func:`pair_rows`.
    """
    cols, size = w.shape[1], w.size
    flat_g, flat_last = g.reshape(g.shape[0], size), last.reshape(g.shape[0], size)
    exponents = nu.reshape(nu.shape[0], nu.size // nu.shape[0])
    flat_w, flat_v = w.reshape(size), v.reshape(size)
    scratch = np.empty((8, LANES), np.float32)
    first = -1  # of the rows that wait
    for r in range(x.shape[1] + 1):
        missing = False
        if r < x.shape[1] and not valid[r]:
            for b in range(x.shape[0]):
                if x[b, r] != f32(0.0):
                    missing = valid[r] = True
                    break
        if missing and first < 0:
            first = r
        if not missing and first >= 0:
            _evaluate(
                first * cols, r * cols, flat_g, flat_last, exponents, t, clock, per_siemens,
                amplitude, scale, per_weight, flat_w, flat_v, scratch,
            )  # fmt: skip
            first = -1
    noisy = scale > f32(0.0)
    values, squares, places = _row_of(x)
    for b in range(x.shape[0]):
        _product(x[b], w, v, y[b], s[b], noisy, values, squares, places)


@loop
def devices_now(
    g, last, nu, t, clock, per_siemens, amplitude, scale, now, variance, part, parts
):  # fmt: skip
    """Evaluate devices: drifted conductance and variance of one read.

    g, last, nu, now, variance : (N,), nu also (1,); siemens and siemens squared; else as of
    :func:`pair_rows`.
    """
    one = nu.size == 1
    value, age = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    exponent, noise = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    exponent[:] = nu[0]
    for run in share((g.size + LANES - 1) // LANES, part, parts):
        start = run * LANES
        lanes = min(LANES, g.size - start)
        _load(g, last, t, start, lanes, value, age)
        if not one:
            for lane in range(lanes):
                exponent[lane] = nu[start + lane]
        _drift(value, age, exponent, LANES, noise, clock, per_siemens, amplitude, scale)
        for lane in range(lanes):
            now[start + lane] = value[lane]
            variance[start + lane] = noise[lane]


@loop
def products(x, w, v, y, s, part, parts):
    """Write ``y = x w`` and ``s = x^2 v``, row after row; zeros of x are skipped.

    x : (B, R) float32; w, v : (R, C) float32, v may be empty; y, s : (B, C) float32, written.
    """
    noisy = v.size > 0
    values, squares, places = _row_of(x)
    for b in share(x.shape[0], part, parts):
        _product(x[b], w, v, y[b], s[b], noisy, values, squares, places)


@point
def _row_of(x):
    """Return room for the values of a row of x that are not zero, their squares, their places."""
    return (
        np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32),
        np.empty(x.shape[1], np.int64),
    )  # fmt: skip


@point
def _product(x, w, v, y, s, noisy, values, squares, places):
    y[:] = f32(0.0)
    s[:] = f32(0.0)
    n = others_than_zero(x, values, places)
    add_rows(values, places, n, w, y)
    if noisy:
        for k in range(n):
            squares[k] = values[k] * values[k]
        add_rows(squares, places, n, v, s)


@loop
def send(x, span, limit, out, outside, part, parts):
    """Convert inputs, ``out = step clip(rint(x / step), +-limit)`` with ``step = span / limit``.

    x : (B, R) float32; span : (B,) or (1,) float32, half the range, 0 for that of values that are
    all zero; limit : float32; out : (B, R) float32 and outside : (B, R) bool, written.
    """
    for b in share(x.shape[0], part, parts):
        half = span[b] if span.size > 1 else span[0]
        step = (half if half > f32(0.0) else f32(1.0)) / limit
        per_step = f32(1.0) / step
        for r in range(x.shape[1]):
            code = whole(x[b, r], per_step)
            outside[b, r] = abs(code) > limit
            out[b, r] = min(max(code, -limit), limit) * step


@loop
def convert(y, s, first, key, step, limit, rounds, beyond, part, parts):
    """Add noise to products and convert them, in place.

    y : (B, C) float32, updated; s : (B, C) float32, variance of its noise; first : int, number of
    the first vector, which addresses the noise; key : (2,) uint32; step : (B,) or (1,) float32,
    of the converter, 0 for none; limit : float32, largest code; rounds : bool; beyond : (B,) int64,
    written: conversions beyond the limit.
    """
    for b in share(y.shape[0], part, parts):
        number = np.uint64(first) + np.uint64(b)
        low, high = np.uint32(number), np.uint32(number >> np.uint64(32))
        for c in range(y.shape[1]):
            if s[b, c] > f32(0.0):
                w0, w1, _, _ = philox7(np.uint32(c), low, high, _PRODUCT, key[0], key[1])
                xi, _ = wide_pair(w0, w1)
                y[b, c] += np.sqrt(s[b, c]) * xi
        beyond[b] = 0
        unit = step[b] if step.size > 1 else step[0]
        if unit > f32(0.0):
            per_step = f32(1.0) / unit
            for c in range(y.shape[1]):
                code = whole(y[b, c], per_step) if rounds else y[b, c] * per_step
                beyond[b] += np.int64(abs(code) > limit)
                y[b, c] = min(max(code, -limit), limit) * unit


# --------------------------------------------------------------------------- outer products


@loop
def outer(x, d, out, part, parts):
    """Write ``out = sum over b of x_b^T d_b``, in the order of b.

    x : (B, R) float32; d : (B, C) float32; out : (R, C) float32.
    """
    turns = share(x.shape[1], part, parts)
    values, places = _block_of()
    for first in range(turns.start, turns.stop, GROUP):
        rows = min(GROUP, turns.stop - first)
        out[first : first + rows] = f32(0.0)
        for start in range(0, x.shape[0], BLOCK):
            for r in range(first, first + rows):
                some = slice(start, start + BLOCK)
                n = others_than_zero(x[some, r], values, places)
                add_rows(values, places, n, d[some], out[r])


@point
def _block_of():
    """Return room for the inputs of a row that are not zero, in a block of vectors, and places."""
    return np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int64)


@loop
def accumulate(x, d, factor, chi, epsilon, hits, part, parts):
    """Add ``factor sum over b of x_b^T d_b`` to an accumulator; count who reached a pulse.

    x, d as of :func:`outer`; factor : float32; chi : (R, C) float32, updated; epsilon : float32,
    change of the weight that one pulse stands for; hits : (R,) int64, written: entries of each
    row with ``|chi| >= epsilon``.
    """
    turns = share(x.shape[1], part, parts)
    values, places = _block_of()
    cols, total = d.shape[1], np.empty((GROUP, d.shape[1]), np.float32)
    touched = np.empty(GROUP, np.bool_)
    for first in range(turns.start, turns.stop, GROUP):
        rows = min(GROUP, turns.stop - first)
        touched[:] = False
        for start in range(0, x.shape[0], BLOCK):
            some = slice(start, start + BLOCK)
            for r in range(rows):
                n = others_than_zero(x[some, first + r], values, places)
                if n > 0:
                    if not touched[r]:
                        touched[r] = True
                        total[r] = f32(0.0)
                    add_rows(values, places, n, d[some], total[r])
        for r in range(rows):
            found = np.int32(0)
            if touched[r]:
                for c in range(cols):
                    chi[first + r, c] += factor * total[r, c]
                    found += np.int32(abs(chi[first + r, c]) >= epsilon)
            hits[first + r] = found


@loop
def add(total, factor, chi, epsilon, hits, part, parts):
    """Add ``factor total`` to an accumulator; count who reached a pulse.

    total : (R, C) float32, sum of outer products; others as of :func:`accumulate`.
    """
    for r in share(total.shape[0], part, parts):
        found = np.int32(0)
        for c in range(total.shape[1]):
            chi[r, c] += factor * total[r, c]
            found += np.int32(abs(chi[r, c]) >= epsilon)
        hits[r] = found


@serial
def take(chi, epsilon, hits, index, counts):
    """Take whole pulses out of an accumulator: ``n = trunc(chi / eps)``, ``chi -= n eps``.

    chi, epsilon, hits as of :func:`accumulate`; index : (N,) int64 and counts : (N,) int32,
    written, N the sum of hits: entries in C order and their pulses with sign. Returns the largest
    number of pulses of an entry, which 2^31 and more leave without a count.
    """
    cols, n, most = chi.shape[1], 0, 0.0
    for r in range(chi.shape[0]):
        if hits[r] == 0:
            continue
        for c in range(cols):
            if abs(chi[r, c]) >= epsilon:
                pulses = np.trunc(np.float64(chi[r, c]) / np.float64(epsilon))
                chi[r, c] = f32(np.float64(chi[r, c]) - pulses * np.float64(epsilon))
                most = max(most, abs(pulses))
                index[n], counts[n] = r * cols + c, np.int32(pulses)
                n += 1
    return most


# --------------------------------------------------------------------------- pulses


@loop
def train(
    index, counts, t, low, high, step, first, device_key, cycle_key,
    g, pulses, events, last, part, parts,
):  # fmt: skip
    """Give trains of accumulating pulses to some devices, in place.

    index : (N,) int64, each device once; counts : (N,) int32, pulses; other arguments as of
    :func:`.pulses.apply`, whose law and addresses these are.
    """
    for n in share(index.size, part, parts):
        i, factor = index[n], 1.0
        address = np.uint32(first + i)
        if step[7] > 0.0:
            z, _, _, _ = device_normals(address, device_key)
            factor = step_factor(step[7], z)
        value = g[i]
        for _ in range(counts[n]):
            pulses[i] += np.uint16(pulses[i] < 65535)
            xi, _ = cycle_normals(address, events[i], cycle_key)
            raw = set_step(np.float64(value), np.int64(pulses[i]), xi, factor, step)
            value = f32(clip(raw, low, high))
            events[i] = np.uint32(events[i] + np.uint32(1))
        g[i], last[i] = value, t


@serial
def turns(devices, counts, cols, longest):
    """Write the longest train of every row.

    devices : (N,) int64 in C order of (..., R, C); counts : (N,) int; longest : (R,) int64,
    zeros at first.
    """
    for n in range(devices.size):
        r = devices[n] // cols % longest.size
        longest[r] = max(longest[r], np.int64(counts[n]))


@loop
def reset(index, t, high, reset_law, first, cycle_key, g, pulses, events, last, part, parts):
    """RESET some devices, in place; arguments as of :func:`train` and :func:`.pulses.apply`."""
    for n in share(index.size, part, parts):
        i = index[n]
        xi, _ = cycle_normals(np.uint32(first + i), events[i], cycle_key)
        g[i] = f32(clip(reset_law[0] + reset_law[1] * xi, reset_law[2], high))
        events[i] = np.uint32(events[i] + np.uint32(1))
        pulses[i], last[i] = np.uint16(0), t


@loop
def normals(index, key, xi, part, parts):
    """Draw normals for a check of pairs: xi (2, N) float32, written; index (N,) int64 of pairs."""
    for n in share(index.size, part, parts):
        w0, w1, _, _ = philox10(
            np.uint32(index[n]), np.uint32(0), np.uint32(0), _CHECK, key[0], key[1]
        )
        xi[0, n], xi[1, n] = wide_pair(w0, w1)


@loop
def exponents(index, g, g_max, mean, std, scale, first, device_key, nu, part, parts):
    """Write the drift exponents of some devices, which belong to their present states.

    index : (N,) int64; nu : (devices,) float32, written there; other arguments as of
    :func:`.pulses.conductance`.
    """
    for n in share(index.size, part, parts):
        i = index[n]
        z = drift_normal(first + i, device_key)
        nu[i] = drift_exponent(np.float64(g[i]) / g_max, z, mean, std, scale)


@loop
def coincidences(rows, columns, row_signs, column_signs, ups, downs, part, parts):
    """Count the coincidences of pulse trains, by the sign of the product of their signs.

    rows : (B, R) uint64; columns : (B, C) uint64, a bit per slot; row_signs, column_signs : int8
    of their shapes; ups, downs : (R, C) int32, written.
    """
    for r in share(rows.shape[1], part, parts):
        for c in range(columns.shape[1]):
            ups[r, c] = 0
            downs[r, c] = 0
        for b in range(rows.shape[0]):
            if rows[b, r] == np.uint64(0):
                continue
            for c in range(columns.shape[1]):
                both = rows[b, r] & columns[b, c]
                n = 0
                while both != np.uint64(0):
                    both &= both - np.uint64(1)
                    n += 1
                if row_signs[b, r] * column_signs[b, c] > 0:
                    ups[r, c] += n
                elif row_signs[b, r] * column_signs[b, c] < 0:
                    downs[r, c] += n
