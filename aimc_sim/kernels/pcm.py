"""The statistical laws of PCM devices, per element. The coefficients are data, not code.

A curve is ten numbers, see :func:`curve`; ``programming`` is (c0, c1, c2, c3) in siemens.
``x`` is the *target* conductance over ``g_max``, here the largest one of the fit: drift and noise
belong to the state that was asked for, not to the value that was hit. A device in SET conducts
more, and there drift and noise keep the size in siemens that they have at ``g_max``:
amorphous material fluctuates and relaxes, and there is no more of it (assumption).

The array loops work on runs of ``LANES`` elements in single precision without branches, so that
they become SIMD code; a run at the end of a row is computed in full and stored in part, so that
an element gets the same bits wherever it stands. ``tests/naive.py`` has the same laws in plain
float64, as oracle.
"""

from __future__ import annotations

import math

import numpy as np

from . import flicker, loop, point, share
from .math32 import exp32, f32, log_negated
from .normal import pair64, wide_pair
from .philox import philox10

LOG, POWER, INVERSE = 0.0, 1.0, 2.0
"""First entry of a curve: ``a ln x + b``, ``a x**b`` or ``a / x + b`` below the knee."""

LANES = 64
"""Elements of a run."""

SMALLEST = 1e-7
"""Smallest state: a bound before the logarithm, as in the published code."""


@point
def curve(x, table):
    """Return the value of a curve at state x, in float64.

    ``table`` = (form, a, b, low, high, knee, c0, c1, c2, c3).
    """
    x = max(x, SMALLEST)
    if x >= table[5]:
        return table[6] + x * (table[7] + x * (table[8] + x * table[9]))
    if table[0] == LOG:
        raw = table[1] * math.log(x) + table[2]
    elif table[0] == POWER:
        raw = table[1] * x ** table[2]
    else:
        raw = table[1] / x + table[2]
    return min(max(raw, table[3]), table[4])


@point
def curve32(x, ln_x, table):
    """Return the same in float32 without branches; ``ln_x`` is the logarithm of x."""
    if table[0] == LOG:
        raw = f32(table[1]) * ln_x + f32(table[2])
    elif table[0] == POWER:
        raw = f32(table[1]) * exp32(f32(table[2]) * ln_x)
    else:
        raw = f32(table[1]) * exp32(-ln_x) + f32(table[2])
    low = min(max(raw, f32(table[3])), f32(table[4]))
    high = f32(table[6]) + x * (f32(table[7]) + x * (f32(table[8]) + x * f32(table[9])))
    return high if x >= f32(table[5]) else low


@point
def normals64(address, key):
    """Return the two normals (float64) that belong to an element of a core."""
    zero = np.uint32(0)
    w0, w1, _, _ = philox10(np.uint32(address), zero, zero, zero, key[0], key[1])
    return pair64(w0, w1)


@point
def _normals(first, k0, k1, words, xi):
    """Write the two normals of a run of elements, (2, LANES); words is scratch of that shape."""
    zero = np.uint32(0)
    # Words first, then normals: two short loops keep their values in registers, one does not.
    for lane in range(LANES):
        w0, w1, _, _ = philox10(np.uint32(first + np.uint32(lane)), zero, zero, zero, k0, k1)
        words[0, lane] = w0
        words[1, lane] = w1
    for lane in range(LANES):
        xi[0, lane], xi[1, lane] = wide_pair(words[0, lane], words[1, lane])


@point
def _load(source, e, r, start, columns, lane_values):
    for lane in range(columns):
        lane_values[lane] = source[e, r, start + lane]


@point
def _store(lane_values, columns, out, e, r, start):
    for lane in range(columns):
        out[e, r, start + lane] = lane_values[lane]


@loop
def program(
    target, programmed, g_max, sigma_table, sigma_scale, sigma_states, reset, nu_mean, nu_std,
    nu_scale, core_cols, core_cells, key, g, nu, part, parts,
):  # fmt: skip
    """Draw the programmed conductance and the drift exponent of every element.

    Parameters
    ----------
    target : (E, R, C) float32, siemens
        Conductance that every element is written to.
    programmed : (E, R, C) bool
        False for elements left in RESET.
    g_max : float, siemens
        Conductance of state 1.
    sigma_table : 4 floats, siemens
        Polynomial of the programming error's standard deviation against state.
    sigma_scale : float
        Factor on that error; 0 switches it off.
    sigma_states : 2 floats
        States at which the polynomial ends.
    reset : 2 floats, siemens
        Mean and standard deviation of a RESET element.
    nu_mean, nu_std : 10 floats
        Curves of the drift exponent's mean and standard deviation against state.
    nu_scale : float
        Factor on the exponent; 0 switches drift off.
    core_cols, core_cells : int
        Columns and cells of a core: element (e, r, c) has the address
        ``e core_cells + r core_cols + c``.
    key : (2,) uint32
        Key words of the draws.
    g : (E, R, C) float32, siemens, written
        Programmed conductance.
    nu : (E, R, C) float32, written
        Drift exponent.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    elements, rows, cols = target.shape
    per_siemens = f32(1.0 / g_max)
    s0, s1 = f32(sigma_scale * sigma_table[0]), f32(sigma_scale * sigma_table[1])
    s2, s3 = f32(sigma_scale * sigma_table[2]), f32(sigma_scale * sigma_table[3])
    low, high = f32(sigma_states[0]), f32(sigma_states[1])
    level, reset_std, scale = f32(reset[0]), f32(reset[1]), f32(nu_scale)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        words, xi = np.empty((2, LANES), np.uint32), np.empty((2, LANES), np.float32)
        aim, exponent = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
        tuned, hit = np.zeros(LANES, np.bool_), np.empty(LANES, np.float32)
        for start in range(0, cols, LANES):
            columns = min(LANES, cols - start)
            _load(target, e, r, start, columns, aim)
            _load(programmed, e, r, start, columns, tuned)
            first = np.uint32(e * core_cells + r * core_cols + start)
            _normals(first, key[0], key[1], words, xi)
            for lane in range(LANES):
                x = max(aim[lane] * per_siemens, f32(SMALLEST))
                ln_x = -log_negated(x)
                y = min(max(aim[lane] * per_siemens, low), high)
                sigma = s0 + y * (s1 + y * (s2 + y * s3))
                written = aim[lane] + sigma * xi[0, lane]
                left = level + reset_std * xi[0, lane]
                hit[lane] = max(f32(0.0), written if tuned[lane] else left)
                mean, std = curve32(x, ln_x, nu_mean), curve32(x, ln_x, nu_std)
                exponent[lane] = scale * abs(mean + std * xi[1, lane])
            _store(hit, columns, g, e, r, start)
            _store(exponent, columns, nu, e, r, start)


@loop
def evaluate(
    target, g, nu, g_max, log_age, heat, q_table, weights, rates, age,
    core_cols, core_cells, key, now, fresh, part, parts,
):  # fmt: skip
    """Evaluate elements at a time: drift, slow 1/f noise, standard deviation of the fresh part.

    ``now = max(0, d (1 + Q_s(x) noise))`` with ``d = g exp(-nu log_age - heat[0] - heat[1] x)``
    and, if ``fresh`` is not empty, ``fresh = d Q_s(x)``, the fresh noise per unit of its band
    factor.

    Parameters
    ----------
    target : (E, R, C) float32, siemens
        Conductance that every element was written to.
    g : (E, R, C) float32, siemens
        Programmed conductance.
    nu : (E, R, C) float32
        Drift exponent.
    g_max : float, siemens
        Conductance of state 1.
    log_age : float
        ``ln((t + t0) / t0)``.
    heat : 2 floats
        Thermal activation of conduction, constant part and part per state; (0, 0) for none.
    q_table : 10 floats
        Curve of Q_s against state.
    weights, rates : (K,) float32 and float64 (1/s)
        Components of the slow noise, see :func:`flicker.add`; K = 0 for none.
    age : float, seconds
        Time on the clock of the noise.
    core_cols, core_cells, key : int, int, (2,) uint32
        As of :func:`program`.
    now, fresh : (E, R, C) float32, siemens, written
        Conductances, and standard deviations of their fresh noise per unit of its band factor.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    elements, rows, cols = target.shape
    wants_fresh = fresh.size > 0
    per_siemens, length = f32(1.0 / g_max), f32(log_age)
    heat0, heat1 = f32(heat[0]), f32(heat[1])
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        words, noise = np.empty((4, LANES), np.uint32), np.empty(LANES, np.float32)
        period = np.empty((2, LANES), np.uint32)
        aim, value = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
        exponent, amplitude = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
        for start in range(0, cols, LANES):
            columns = min(LANES, cols - start)
            _load(target, e, r, start, columns, aim)
            _load(g, e, r, start, columns, value)
            _load(nu, e, r, start, columns, exponent)
            for lane in range(LANES):
                noise[lane] = f32(0.0)
            first = np.uint32(e * core_cells + r * core_cols + start)
            flicker.add(noise, words, period, first, LANES, weights, rates, age, key[0], key[1])
            for lane in range(LANES):
                state = aim[lane] * per_siemens
                x = min(max(state, f32(SMALLEST)), f32(1.0))
                # Beyond g_max the noise keeps its size in siemens, see the module's docstring.
                q = curve32(x, -log_negated(x), q_table) / max(state, f32(1.0))
                drifted = value[lane] * exp32(-(exponent[lane] * length + heat0 + heat1 * x))
                amplitude[lane] = drifted * q
                value[lane] = max(f32(0.0), drifted + amplitude[lane] * noise[lane])
            _store(value, columns, now, e, r, start)
            if wants_fresh:
                _store(amplitude, columns, fresh, e, r, start)


@loop
def polarity_delta(mean, std, core_cols, core_cells, key, out, part, parts):
    """Draw the relative difference of conduction between read polarities, per element.

    ``out`` : (E, R, C) float32, written; other arguments as in :func:`program`.
    """
    elements, rows, cols = out.shape
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            xi, _ = normals64(e * core_cells + r * core_cols + c, key)
            out[e, r, c] = mean + std * xi


@loop
def stuck(in_set, in_reset, core_cols, core_cells, key, out, part, parts):
    """Draw which devices are stuck: 1 in SET, 2 in RESET, 0 good.

    in_set, in_reset : float, fractions; ``out`` : (E, R, C) uint8, written; other arguments as
    in :func:`program`.
    """
    elements, rows, cols = out.shape
    zero = np.uint32(0)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            address = np.uint32(e * core_cells + r * core_cols + c)
            word, _, _, _ = philox10(address, zero, zero, zero, key[0], key[1])
            u = (np.float64(word) + 0.5) * 2.0**-32
            out[e, r, c] = 1 if u < in_set else 2 if u < in_set + in_reset else 0
