"""The noise of reads about the power law of their trace: its size per level, and its growth.

The published read noise is 1/f: the variance of ln G is ``Q^2 ln((t + t_read) / (2 t_read))``, so
it grows by ``Q^2`` with every factor e of time. How much it grows relative to its size, r, is one
number for all levels (``1 / ln(t / (2 t_read))`` at time t), so it is estimated and tested once,
with the reads of all levels together: level by level, only upward chance would be found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..device.measured.traces import Traces
from . import fit_traces
from .fit_estimates import FEWEST_DEVICES, FEWEST_TRACES

_SIGMAS = 3.0
_NOISIEST_VARIANCE = fit_traces.NOISIEST**2
_MOST_WITHOUT = 0.05
"""Share of traces with a read of zero or below from which on a level is too noisy for logarithms:
those left out would be a choice among the reads."""


@dataclass(frozen=True)
class Noise:
    """Noise of the reads of one level.

    Attributes
    ----------
    variance, variance_error : float
        Of ln G about the power law, averaged over the reads; error clustered by device.
    devices : int
        Devices behind the estimate.
    q, q_error : float
        1/f amplitude, NaN where it is not known.
    at_t0, per_x : float
        The variance of a read is ``at_t0 + per_x ln(t / t0)``.
    """

    variance: float
    variance_error: float
    devices: int
    q: float
    q_error: float
    at_t0: float
    per_x: float

    def of(self, band: np.ndarray, grown: np.ndarray) -> np.ndarray:
        """Return a variance that is band for noise of variance 1, and grown for ln(t / t0)."""
        return np.maximum(0.0, self.at_t0 * band + self.per_x * grown)


@dataclass(frozen=True)
class Growth:
    """How the noise of all levels grows with time.

    Attributes
    ----------
    rate, error : float
        Growth of the variance per factor e of time, relative to its size at ``centre_seconds``.
    freedom : int
        Devices less one.
    centre_seconds : float
        Time at which size and rate are independent, s.
    expected : float
        Rate of 1/f noise of the given duration of a read; NaN where that is not known.
    """

    rate: float
    error: float
    freedom: int
    centre_seconds: float
    expected: float

    @property
    def is_not_white(self) -> bool:
        """Whether the noise grows for sure."""
        return self.rate > self._edge() * self.error

    @property
    def is_not_flicker(self) -> bool:
        """Whether it does not grow as 1/f noise of that duration of a read would, for sure."""
        away = abs(self.rate - self.expected)
        return not math.isnan(self.expected) and away > self._edge() * self.error

    def _edge(self) -> float:
        from scipy import stats

        return float(stats.t.isf(stats.norm.sf(_SIGMAS), self.freedom))


@dataclass(frozen=True)
class LevelTraces:
    """A level whose traces a power law can serve.

    Attributes
    ----------
    number : int
        Of the level.
    siemens : float
        Conductance of the level.
    rows : (M,) int64
        Its rows in the regression.
    device : (M,) int64
        Device of every row.
    covariate : (M,) float64
        Target (or first read) of each trace, in siemens.
    noise : Noise
        Noise of the reads of the level.
    """

    number: int
    siemens: float
    rows: np.ndarray
    device: np.ndarray
    covariate: np.ndarray
    noise: Noise


@dataclass(frozen=True)
class Usable:
    """The levels that power laws can serve, with the common growth of their noise.

    Attributes
    ----------
    levels : tuple of LevelTraces
        Levels with enough quiet traces, in ascending order of their numbers.
    growth : Growth or None
        Growth of the noise with time, common to all levels; None if it cannot be estimated.
    too_noisy : tuple of float
        Levels in siemens that were left out for their noise.
    trace : (M,) int64
        Index of the trace of every row of the regression.
    """

    levels: tuple[LevelTraces, ...]
    growth: Growth | None
    too_noisy: tuple[float, ...]
    trace: np.ndarray

    def trace_of(self, level: LevelTraces) -> np.ndarray:
        """Return the indices of the traces of a level, (M,) int64."""
        found: np.ndarray = self.trace[level.rows]
        return found


def usable(
    found: Traces,
    groups: fit_traces.Levels,
    regression: fit_traces.Regression,
    read_seconds: float | None,
) -> Usable:
    """Return the levels with enough traces, devices and quiet reads; their noise is joint."""
    covariate = np.where(
        np.isfinite(found.target_siemens), found.target_siemens, found.first_siemens
    )
    parts, noisy = [], []
    for i, value in enumerate(groups.siemens):
        rows = np.flatnonzero((groups.number[regression.trace] == i) & (regression.reads >= 3))
        if len(rows) < FEWEST_TRACES:
            continue
        device = found.device[regression.trace[rows]]
        freedom = int((regression.reads[rows] - 2).sum())
        if len(np.unique(device)) < FEWEST_DEVICES or freedom < FEWEST_TRACES:
            continue
        here = groups.number == i
        variance = float(regression.squares[rows].sum()) / freedom
        if regression.without[here].mean() > _MOST_WITHOUT or variance > _NOISIEST_VARIANCE:
            noisy.append(float(value))
            continue
        parts.append((i, float(value), rows, device, covariate[regression.trace[rows]]))
    rate = growth(regression, [part[2] for part in parts], found.device, read_seconds)
    levels = tuple(
        LevelTraces(*part, _noise(regression, part[2], part[3], rate, read_seconds))
        for part in parts
    )
    return Usable(levels, rate, tuple(noisy), regression.trace)


def growth(
    regression: fit_traces.Regression,
    levels: list[np.ndarray],
    device: np.ndarray,
    read_seconds: float | None,
) -> Growth | None:
    """Return how the noise grows with time, from all levels; None without an estimate."""
    rows = np.concatenate(levels) if levels else np.empty(0, np.int64)
    if not len(rows):
        return None
    size = np.zeros(len(regression.trace))
    for part in levels:
        size[part] = regression.squares[part].sum() / regression.band[part].sum()
    parts = regression.residual
    use = size[parts.row] > 0
    if not use.any():
        return None
    row, band = parts.row[use], np.maximum(parts.band[use], 1e-9)
    square, grown = parts.square[use] / size[row], parts.grown[use]
    centre = float((grown / band).mean())  # ln(t / t0) where size and growth are independent
    design = np.stack([np.ones_like(band), grown / band - centre], axis=1)
    if np.ptp(design[:, 1]) < 1e-9:
        return None
    # Divided by band all squares have the same relative error, sqrt(2).
    inverse = np.linalg.inv(design.T @ design)
    first, slope = inverse @ (design.T @ (square / band))
    left = square / band - design @ np.array([first, slope])
    pull = (design * left[:, None]) @ inverse[:, 1]
    owner = np.unique(device[regression.trace[row]], return_inverse=True)[1]
    sums = np.bincount(owner, pull)
    d = len(sums)
    if d < FEWEST_DEVICES or first <= 0:
        return None
    error = math.sqrt(float((sums**2).sum()) * d / (d - 1)) / first
    middle = regression.t0_seconds * math.exp(centre)
    expected = math.nan
    if read_seconds is not None and middle > 2 * read_seconds:
        expected = 1 / math.log(middle / (2 * read_seconds))
    return Growth(float(slope / first), error, d - 1, middle, expected)


def _noise(
    regression: fit_traces.Regression,
    rows: np.ndarray,
    device: np.ndarray,
    rate: Growth | None,
    read_seconds: float | None,
) -> Noise:
    owner = np.unique(device, return_inverse=True)[1]
    squares, band = (
        np.bincount(owner, part[rows]) for part in (regression.squares, regression.band)
    )
    variance, error = _ratio(squares, band)
    # ln(1 + e) has the variance s^2 + 5/2 s^4 for a normal e of variance s^2: taken back here.
    linear = 1 - 2.5 * min(variance, _NOISIEST_VARIANCE)
    q2, q2_error = math.nan, math.nan
    at_t0, per_x = variance * linear, 0.0
    if read_seconds is not None:
        # The 1/f law: variance Q^2 ln((t + t_read) / (2 t_read)); t_read is far below any t.
        offset = math.log(regression.t0_seconds / (2 * read_seconds))
        law = np.bincount(owner, regression.grown[rows] + offset * regression.band[rows])
        if law.sum() > 0:
            q2, q2_error = _ratio(squares, law)
            if rate is None or not rate.is_not_flicker:
                at_t0, per_x = q2 * linear * offset, q2 * linear
    elif rate is not None and rate.is_not_white:
        centre = math.log(rate.centre_seconds / regression.t0_seconds)
        grown = np.bincount(owner, regression.grown[rows] - centre * regression.band[rows])
        q2, q2_error = (rate.rate * part for part in _ratio(squares, band + rate.rate * grown))
        q2_error = math.hypot(q2_error, q2 * rate.error / rate.rate)
        at_t0, per_x = q2 * linear * (1 / rate.rate - centre), q2 * linear
    q = math.sqrt(q2 * linear) if q2 > 0 else q2
    q_error = q2_error * linear / (2 * q) if q2 > 0 else math.nan
    return Noise(variance * linear, error * linear, len(squares), q, q_error, at_t0, per_x)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float]:
    """Return a ratio of sums over devices and its standard error."""
    d, ratio = len(top), float(top.sum() / bottom.sum())
    pull = (top - ratio * bottom) / bottom.sum()
    return ratio, math.sqrt(float((pull**2).sum()) * d / (d - 1))
