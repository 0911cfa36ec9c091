"""Means and standard deviations of traces that come from the same devices, with their errors.

Traces of one device are alike, so N traces of D devices say less than N independent ones. All
errors here are those of D devices: a mean is the mean of the devices' means, a variance is split
into parts between and within devices, as in an analysis of variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_MANY = 100
"""Devices from which on the error of a variance is taken from the data, not from normality."""


@dataclass(frozen=True)
class Moments:
    """Mean and variance of a sample in clusters.

    Attributes
    ----------
    mean, mean_error : float
        In the unit of the sample; the error has ``devices - 1`` degrees of freedom.
    variance : float
        Of a trace of a new device, between and within devices.
    freedom : float
        Degrees of freedom of the variance (Satterthwaite).
    parts : tuple of (float, float)
        The variances that add up to it, each with its own degrees of freedom.
    devices : int
        Number of devices, D.
    ids : (D,) int64
        Numbers of the devices.
    mean_pull, variance_pull : (D,) float64
        Contribution of each device to the estimates; squares add up to their variances.
    """

    mean: float
    mean_error: float
    variance: float
    freedom: float
    parts: tuple[tuple[float, float], ...]
    devices: int
    ids: np.ndarray
    mean_pull: np.ndarray
    variance_pull: np.ndarray


def moments(sample: np.ndarray, device: np.ndarray) -> Moments:
    """Return mean and variance of a sample, (N,) float64, of devices, (N,) int."""
    ids, number = np.unique(device, return_inverse=True)
    d, n = len(ids), np.bincount(number)
    means = np.bincount(number, sample) / n
    squares = np.bincount(number, (sample - means[number]) ** 2)
    mean = float(means.mean())
    away = means - mean
    if d < 2:
        nothing = np.zeros(d)
        return Moments(mean, math.inf, math.nan, 0.0, ((math.nan, 0.0),), d, ids, nothing, nothing)
    between = float((away**2).sum()) / (d - 1)
    inner = int((n - 1).sum())
    within = float(squares.sum()) / inner if inner else 0.0
    share = 1 - float((1 / n).mean())  # of the variance within devices that their means lose
    variance = between + share * within
    pulls = away**2 * d / (d - 1)
    split: tuple[tuple[float, float], ...] = ((between, float(d - 1)),)
    if inner:
        pulls = pulls + share * squares / (inner / d)
        split += ((share * within, float(inner)),)
    if variance <= 0:
        freedom = float(d - 1)
    elif d >= _MANY:
        freedom = 2 * variance**2 / max(float(pulls.var(ddof=1)) / d, 1e-300)
        split = ((variance, freedom),)
    else:
        freedom = variance**2 / (
            between**2 / (d - 1) + (share**2 * within**2 / inner if inner else 0.0)
        )
    root = math.sqrt(d * (d - 1))
    return Moments(
        mean, math.sqrt(between / d), variance, freedom, split, d, ids,
        away / root, (pulls - pulls.mean()) / root,
    )  # fmt: skip


def covariance(ids: list[np.ndarray], pulls: list[np.ndarray], errors: np.ndarray) -> np.ndarray:
    """Return the covariance of estimates that share devices.

    Parameters
    ----------
    ids, pulls : lists of (D,) arrays
        Devices of each estimate, and their contributions to it.
    errors : (L,) float64
        Standard errors.

    Returns
    -------
    (L, L) float64
        Covariance of the estimates, in the unit of the errors squared.
    """
    known, number = np.unique(np.concatenate(ids), return_inverse=True)
    table = np.zeros((len(ids), len(known)))
    row = np.repeat(np.arange(len(ids)), [len(part) for part in ids])
    np.add.at(table, (row, number), np.concatenate(pulls))
    size = np.sqrt((table**2).sum(axis=1))
    size[size == 0] = 1.0
    correlation = (table / size[:, None]) @ (table / size[:, None]).T
    np.fill_diagonal(correlation, 1.0)
    found: np.ndarray = correlation * np.outer(errors, errors)
    return found


def detrended(sample: np.ndarray, covariate: np.ndarray) -> np.ndarray:
    """Return a sample without its linear dependence on a covariate, (N,) float64."""
    u = covariate - covariate.mean()
    square = float((u * u).sum())
    return sample if square == 0 else sample - float((u * sample).sum()) / square * u
