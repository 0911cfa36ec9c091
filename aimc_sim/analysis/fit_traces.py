"""Power laws through single traces: ``ln G = ln G0 - nu ln(t / t0)``, and what is left over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..device.measured.traces import Traces

GROUPS = 16
"""Groups of equal size that stand for levels where there are neither targets nor pulses."""
NOISIEST = 0.3
"""Largest relative noise at which the logarithm of a read is still near enough to linear."""


@dataclass(frozen=True)
class Regression:
    """Least squares of ln G on ln(t / t0), trace by trace.

    Attributes
    ----------
    trace : (M,) int64
        Index of the trace; those with fewer than two usable reads are left out.
    reads : (M,) int64
        Reads used: later than time 0.
    intercept, slope : (M,) float64
        ln of G at t0 in siemens; minus the drift exponent.
    sum_xx, mean_x : (M,) float64
        Of x = ln(t / t0) about its mean.
    squares : (M,) float64
        Sum of squared residuals.
    band, grown : (M,) float64
        What ``squares`` would be for noise of variance 1, and ln(t / t0), at every read.
    t0_seconds : float
        Median time of the first read after time 0.
    left_out : int
        Traces with a read of zero, which has no logarithm.
    """

    trace: np.ndarray
    reads: np.ndarray
    intercept: np.ndarray
    slope: np.ndarray
    sum_xx: np.ndarray
    mean_x: np.ndarray
    squares: np.ndarray
    band: np.ndarray
    grown: np.ndarray
    residual: Residuals
    t0_seconds: float
    left_out: int


@dataclass(frozen=True)
class Residuals:
    """Single residuals, (R,) each: row of the regression, square, and what it should be.

    ``band`` and ``grown`` are the expected squares for noise of variance 1 and ln(t / t0).
    """

    row: np.ndarray
    square: np.ndarray
    band: np.ndarray
    grown: np.ndarray


def regress(found: Traces) -> Regression:
    """Fit every trace that has at least two reads after time 0 and none of zero."""
    owner = np.repeat(np.arange(len(found)), found.reads)
    use = found.time_seconds > 0
    zero = np.zeros(len(found), bool)
    zero[owner[use & (found.conductance_siemens <= 0)]] = True
    use &= ~zero[owner]
    count = np.bincount(owner[use], minlength=len(found))
    use &= (count >= 2)[owner]
    trace, row = np.unique(owner[use], return_inverse=True)
    t, g = found.time_seconds[use], found.conductance_siemens[use]
    if not len(trace):
        none = np.empty(0)
        return Regression(
            trace, *[none] * 8, Residuals(row, none, none, none), math.nan, int(zero.sum())
        )
    first = np.append(True, np.diff(row) > 0)
    t0 = float(np.median(t[first]))
    x, y = np.log(t / t0), np.log(g)
    total = _per(row)
    n = total(np.ones_like(x))
    mean_x, mean_y = total(x) / n, total(y) / n
    u = x - mean_x[row]
    sum_xx = total(u * u)
    slope = total(u * y) / sum_xx
    residual = y - mean_y[row] - slope[row] * u
    # The regression takes part of the noise with it: with the hat matrix h, the square of
    # residual i is on average sum_j (delta_ij - h_ij)^2 v_j for noise of variance v_j.
    u2 = u / sum_xx[row]
    hat = 1 / n[row] + u * u2
    mixed = (
        total(x)[row] / n[row] ** 2
        + 2 * u2 * total(u * x)[row] / n[row]
        + u2**2 * total(u * u * x)[row]
    )
    band, grown = 1 - hat, x * (1 - 2 * hat) + mixed
    return Regression(
        trace, n.astype(np.int64), mean_y - slope * mean_x, slope, sum_xx, mean_x,
        total(residual**2), total(band), total(grown),
        Residuals(row, residual**2, band, grown), t0, int(zero.sum()),
    )  # fmt: skip


def levels(found: Traces) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the level number of every trace, the conductance of every level, and its kind.

    Levels are targets, pulses, or (data with neither) groups of equal size by the first read.
    Traces without a target among others with one have the number -1.
    """
    if np.isfinite(found.target_siemens).any():
        number = np.full(len(found), -1)
        has = np.isfinite(found.target_siemens)
        value, number[has] = np.unique(found.target_siemens[has], return_inverse=True)
        return number, value, "target"
    if found.pulse is not None:
        value, number = np.unique(found.pulse, return_inverse=True)
        kind = "pulse"
    else:
        groups = min(GROUPS, max(1, len(found) // 30))
        rank = np.argsort(np.argsort(found.first_siemens, kind="stable"), kind="stable")
        number, kind = rank * groups // len(found), "first read"
        value = np.arange(groups)
    first = found.first_siemens
    medians = np.array([np.median(first[number == i]) for i in range(len(value))])
    return number, medians, kind


def _per(row: np.ndarray):
    """Return the sum over the reads of each row."""
    return lambda values: np.bincount(row, weights=values)
