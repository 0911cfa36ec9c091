"""The statistical laws of PCM devices, per element. The coefficients are data, not code.

A curve is a vector of 10 numbers, see :func:`curve`; ``programming`` is (c0, c1, c2, c3) in
siemens. ``x`` is the *target* conductance over ``g_max``: drift and noise belong to the state
that was asked for, not to the value that was hit.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from . import loop, point
from .normal import pair64
from .philox import philox10

LOG, POWER = 0.0, 1.0
"""First entry of a curve: ``a ln x + b`` or ``a x**b`` below the knee."""


@point
def curve(x, table):
    """Return the value of a curve at state x.

    ``table`` = (form, a, b, low, high, knee, c0, c1, c2, c3).
    """
    x = max(x, 1e-7)  # before the logarithm, as in the published code
    if x >= table[5]:
        return table[6] + x * (table[7] + x * (table[8] + x * table[9]))
    raw = table[1] * math.log(x) + table[2] if table[0] == 0.0 else table[1] * x ** table[2]
    return min(max(raw, table[3]), table[4])


@point
def programming_sigma(x, c):
    """Return the spread of the programmed conductance, in siemens, before scaling."""
    return c[0] + x * (c[1] + x * (c[2] + x * c[3]))


@point
def _normals(address, key):
    """Return the two normals that belong to an element of a core."""
    zero = np.uint32(0)
    w0, w1, _, _ = philox10(np.uint32(address), zero, zero, zero, key[0], key[1])
    return pair64(w0, w1)


@loop
def program(
    target, programmed, g_max, sigma_table, sigma_scale, reset, nu_mean, nu_std, nu_scale,
    core_cols, core_cells, key, g, nu,
):  # fmt: skip
    """Draw the programmed conductance and the drift exponent of every element.

    Parameters
    ----------
    target : (E, R, C) float32, siemens.
    programmed : (E, R, C) bool, False for elements left in RESET.
    g_max : float, siemens.
    sigma_table : (4,) float64, siemens; sigma_scale : float, 0 switches the error off.
    reset : (2,) float64, mean and spread of a RESET element, siemens.
    nu_mean, nu_std : (10,) float64, curves; nu_scale : float, 0 switches drift off.
    core_cols, core_cells : int, address of an element: ``e core_cells + r core_cols + c``.
    key : (2,) uint32.
    g, nu : (E, R, C) float32, written.
    """
    elements, rows, cols = target.shape
    for er in numba.prange(elements * rows):
        e, r = er // rows, er % rows
        for c in range(cols):
            address = e * core_cells + r * core_cols + c
            xi_g, xi_nu = _normals(address, key)
            aim = np.float64(target[e, r, c])
            x = aim / g_max
            if programmed[e, r, c]:
                sigma = sigma_scale * programming_sigma(x, sigma_table)
                g[e, r, c] = max(0.0, aim + sigma * xi_g)
            else:
                g[e, r, c] = max(0.0, reset[0] + reset[1] * xi_g)
            if nu_scale > 0.0:
                nu[e, r, c] = nu_scale * abs(curve(x, nu_mean) + curve(x, nu_std) * xi_nu)
            else:
                nu[e, r, c] = 0.0


@loop
def evaluate(
    target, g, nu, g_max, log_age, q_table, frozen, core_cols, core_cells, key, now, fresh,
):  # fmt: skip
    """Move elements to a moment: drift, frozen 1/f noise, and the spread of the fresh part.

    ``now = max(0, g exp(-nu log_age) (1 + Q_s(x) frozen xi))`` and, if ``fresh`` is not
    empty, ``fresh = g exp(-nu log_age) Q_s(x)``, the fresh noise per unit of its band factor.

    Parameters
    ----------
    target, g, nu : (E, R, C) float32; siemens, siemens, dimensionless.
    g_max : float, siemens.
    log_age : float, ln((t + t0) / t0), dimensionless.
    q_table : (10,) float64, curve of Q_s.
    frozen : float, square root of the frozen band integral; 0 for none.
    core_cols, core_cells, key : as in :func:`program`.
    now, fresh : (E, R, C) float32, siemens, written.
    """
    elements, rows, cols = target.shape
    wants_fresh = fresh.size > 0
    for er in numba.prange(elements * rows):
        e, r = er // rows, er % rows
        for c in range(cols):
            drifted = np.float64(g[e, r, c])
            if log_age > 0.0:
                drifted *= math.exp(-np.float64(nu[e, r, c]) * log_age)
            value = drifted
            if frozen > 0.0 or wants_fresh:
                amplitude = drifted * curve(np.float64(target[e, r, c]) / g_max, q_table)
                if frozen > 0.0:
                    address = e * core_cells + r * core_cols + c
                    xi, _ = _normals(address, key)
                    value = max(0.0, drifted + frozen * amplitude * xi)
                if wants_fresh:
                    fresh[e, r, c] = amplitude
            now[e, r, c] = value


@loop
def polarity_delta(mean, std, core_cols, core_cells, key, out):
    """Draw the relative difference of conduction between read polarities, per element.

    ``out`` : (E, R, C) float32, written; other arguments as in :func:`program`.
    """
    elements, rows, cols = out.shape
    for er in numba.prange(elements * rows):
        e, r = er // rows, er % rows
        for c in range(cols):
            address = e * core_cells + r * core_cols + c
            xi, _ = _normals(address, key)
            out[e, r, c] = mean + std * xi
