"""Power laws through single traces: ``ln G = ln G0 - nu ln(t / t0)``, and their residuals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..device.measured.traces import Traces, is_continuous

GROUPS = 16
"""Groups of equal size that stand for levels where there are neither targets nor pulses."""
_FEWEST, _CLEAN = 5, 3.0  # traces of a cluster; width of a gap in deviations of its sides
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
        Expectation of ``squares`` for noise of variance 1, and ln(t / t0), at every read.
    start_band, start_grown : (M,) float64
        Variance of ``intercept`` for noise of variance 1, and ln(t / t0), at every read.
    slope_grown : (M,) float64
        Variance of ``slope`` for noise of variance ln(t / t0); for 1 it is ``1 / sum_xx``.
    t0_seconds : float
        Median time of the first read after time 0.
    without : (N,) bool
        Of all traces: those with a read of zero or below, which has no logarithm.
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
    start_band: np.ndarray
    start_grown: np.ndarray
    slope_grown: np.ndarray
    t0_seconds: float
    without: np.ndarray


@dataclass(frozen=True)
class Residuals:
    """Single residuals, (R,) each: row of the regression, square, and its expectation.

    ``band`` and ``grown`` are the expected squares for noise of variance 1 and ln(t / t0).
    """

    row: np.ndarray
    square: np.ndarray
    band: np.ndarray
    grown: np.ndarray


def regress(found: Traces) -> Regression:
    """Fit every trace that has reads at two or more times after time 0, all of them positive."""
    owner = np.repeat(np.arange(len(found)), found.reads)
    use = found.time_seconds > 0
    zero = np.zeros(len(found), bool)
    zero[owner[use & (found.conductance_siemens <= 0)]] = True
    use &= ~zero[owner]
    latest, earliest = np.zeros(len(found)), np.full(len(found), np.inf)
    np.maximum.at(latest, owner[use], found.time_seconds[use])
    np.minimum.at(earliest, owner[use], found.time_seconds[use])
    use &= (latest > earliest)[owner]
    trace, row = np.unique(owner[use], return_inverse=True)
    t, g = found.time_seconds[use], found.conductance_siemens[use]
    if not len(trace):
        none = np.empty(0)
        parts = Residuals(row, none, none, none)
        return Regression(
            trace, none, none, none, none, none, none, none, none, parts, none, none, none,
            math.nan, zero,
        )  # fmt: skip
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
    at_start = 1 / n[row] - mean_x[row] * u2  # weights of the reads in the intercept
    return Regression(
        trace, n.astype(np.int64), mean_y - slope * mean_x, slope, sum_xx, mean_x,
        total(residual**2), total(band), total(grown),
        Residuals(row, residual**2, band, grown), total(at_start**2), total(at_start**2 * x),
        total(u2**2 * x), t0, zero,
    )  # fmt: skip


@dataclass(frozen=True)
class Levels:
    """Traces in levels.

    Attributes
    ----------
    number : (N,) int64
        Level of every trace; -1 for those that belong to none.
    siemens : (L,) float64
        Conductance of every level, ascending in the number of the level's target or pulse.
    by : "target", "pulse" or "first read"
        Property by which traces are put into levels.
    width_siemens : (L,) float64
        Range of the targets (or first reads) in a level; zero where they are all the same.
    """

    number: np.ndarray
    siemens: np.ndarray
    by: str
    width_siemens: np.ndarray

    def text(self) -> str:
        """Return number and kind of the levels in words."""
        count = len(self.siemens)
        if self.by == "target" and (self.width_siemens > 0).any():
            return f"{count} bins of continuous targets, {np.median(self.width_siemens):.2g} S wide"
        return f"{count} level(s) by {self.by}"


def levels(found: Traces) -> Levels:
    """Return the levels of traces.

    They are targets; bins of equal size where nearly every trace has a target of its own; pulses;
    or, of data with neither, the clusters of the first reads where there are clean ones, else
    groups of equal size. Traces without a target among others with one have the number -1.
    """
    first, has = found.first_siemens, np.isfinite(found.target_siemens)
    if has.any():
        number = np.full(len(found), -1)
        targets = found.target_siemens[has]
        if not is_continuous(targets):
            value, number[has] = np.unique(targets, return_inverse=True)
            return Levels(number, value, "target", np.zeros(len(value)))
        number[has] = _equal(targets)
        parts = [found.target_siemens[number == i] for i in range(number.max() + 1)]
        return Levels(
            number, np.array([part.mean() for part in parts]), "target",
            np.array([np.ptp(part) for part in parts]),
        )  # fmt: skip
    if found.pulse is not None:
        value, number = np.unique(found.pulse, return_inverse=True)
        kind, count = "pulse", len(value)
    else:
        number = clusters(first)
        kind, count = "first read", int(number.max()) + 1
    parts = [first[number == i] for i in range(count)]
    width = np.zeros(count) if kind == "pulse" else np.array([np.ptp(part) for part in parts])
    return Levels(number, np.array([np.median(part) for part in parts]), kind, width)


def clusters(first: np.ndarray) -> np.ndarray:
    """Return the cluster of every value, or its group of equal size where there are no clusters.

    Values are cut at their widest gaps; a cut is clean if the gap is more than three standard
    deviations of either side wide. The most clusters with clean cuts count, each of five or more.
    """
    order = np.argsort(first, kind="stable")
    ascending = first[order]
    gaps = np.diff(ascending)
    widest = np.argsort(gaps, kind="stable")[::-1]
    for count in range(min(GROUPS, len(first) // _FEWEST), 1, -1):
        cuts = np.sort(widest[: count - 1]) + 1
        parts = np.split(ascending, cuts)
        if min(map(len, parts)) < _FEWEST:
            continue
        sd = np.array([part.std() for part in parts])
        if (gaps[cuts - 1] > _CLEAN * np.maximum(sd[:-1], sd[1:])).all():
            number = np.empty(len(first), np.int64)
            number[order] = np.repeat(np.arange(count), [len(part) for part in parts])
            return number
    return _equal(first)


def _equal(values: np.ndarray) -> np.ndarray:
    """Return groups of equal size by rank, at most :data:`GROUPS` and of thirty or more."""
    groups = min(GROUPS, max(1, len(values) // 30))
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return rank * groups // len(values)


def _per(row: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the sum over the reads of each row."""
    return lambda values: np.bincount(row, weights=values)
