"""Traces taken apart: programmed conductance, course in time, error as a function of the level."""

from __future__ import annotations

import numpy as np

_FEWEST_READS = 3
_EXACT = 1e-6  # a standard deviation below this share of its level counts as zero
_FEWEST_TRACES = 5  # of a group whose standard deviation is compared with its noise


def errors(
    offsets: np.ndarray,
    times: np.ndarray,
    conductances: np.ndarray,
    level: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    """Return the programming error of every trace, without the noise of its reads.

    A trace with three or more reads, all positive and later than time 0, gets the value of a power
    law through them at the first read. The errors of a group are then drawn together about their
    mean until their variance is less by the variance of these estimates. Other traces get their
    first read as it is.

    Parameters
    ----------
    offsets : (N + 1,) int64
        First read of every trace, and the number of reads.
    times : (R,) float64, seconds
        Times of the reads since programming.
    conductances : (R,) float64, siemens
        Values of the reads.
    level : (N,) float64, siemens
        Level of every trace.
    group : (N,) int
        Number of the group of traces with a common level that a trace belongs to.

    Returns
    -------
    (N,) float64, siemens
    """
    error: np.ndarray = conductances[offsets[:-1]] - level
    start, own = starts(offsets, times, conductances, group)
    fitted = np.isfinite(start)
    error[fitted] = (start - level)[fitted]
    for number in np.unique(group[fitted]):
        here = np.flatnonzero(fitted & (group == number))
        if len(here) < _FEWEST_TRACES:
            continue
        sample = error[here]
        raw, noise = sample.var(ddof=1), float((start[here] ** 2 * own[here]).mean())
        share = np.sqrt(max(0.0, 1 - noise / raw)) if raw > 0 else 1.0
        error[here] = sample.mean() + share * (sample - sample.mean())
    return error


def starts(
    offsets: np.ndarray, times: np.ndarray, conductances: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the conductance of a power law at the first read, and the variance of its logarithm.

    Both (N,) float64, NaN for traces that have none; the noise is that of the group.
    """
    reads = np.diff(offsets)
    owner = np.repeat(np.arange(len(reads)), reads)
    good = np.bincount(owner, (times > 0) & (conductances > 0)) == reads
    good &= reads >= _FEWEST_READS
    start, own = np.full((2, len(reads)), np.nan)
    use = good[owner]
    if not use.any():
        return start, own
    rows, x, y = owner[use], np.log(times[use]), np.log(conductances[use])

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows, values, minlength=len(reads))

    n = np.maximum(total(np.ones_like(x)), 1)
    mean_x, mean_y = total(x) / n, total(y) / n
    u = x - mean_x[rows]
    sum_xx = total(u * u)
    good &= sum_xx > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = total(u * y) / sum_xx
    residual = total((y - mean_y[rows] - slope[rows] * u) ** 2)
    numbers = np.unique(group, return_inverse=True)[1]
    freedom = np.bincount(numbers, np.where(good, n - 2, 0))
    noise = np.bincount(numbers, np.where(good, residual, 0)) / np.maximum(freedom, 1)
    first = np.zeros(len(reads))
    first[good] = np.log(times[offsets[:-1][good]])
    start[good] = np.exp((mean_y + slope * (first - mean_x))[good])
    lever = (first - mean_x)[good] ** 2 / sum_xx[good]
    own[good] = noise[numbers][good] * (1 / n[good] + lever)
    return start, own


def stds(
    level: np.ndarray, values: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return every group's mean level, mean and standard deviation of values, number of traces.

    Groups with fewer than five traces are left out.
    """
    number = np.unique(group, return_inverse=True)[1]
    n = np.bincount(number)
    mean = np.bincount(number, values) / n
    squares = np.bincount(number, (values - mean[number]) ** 2)
    keep = n >= _FEWEST_TRACES
    place = np.bincount(number, level) / n
    return place[keep], mean[keep], np.sqrt(squares[keep] / (n[keep] - 1)), n[keep]


def trend_at_zero(level: np.ndarray, error: np.ndarray, group: np.ndarray) -> float:
    """Return the error's standard deviation at level zero over that at the lowest level, 0 to 1.

    From a line through two levels, a parabola through three or more; 1 where there is one.
    """
    place, _, std, n = stds(level, error, group)
    use = (place > 0) & (std > _EXACT * place)
    place, std, n = place[use], std[use], n[use]
    order = min(2, len(np.unique(place)) - 1)
    if order < 1:
        return 1.0
    weight = np.sqrt(n) / std
    found = np.polynomial.Polynomial.fit(place, std, order, w=weight)
    lowest = float(found(place.min()))
    return float(np.clip(found(0.0) / lowest, 0.0, 1.0)) if lowest > 0 else 1.0
