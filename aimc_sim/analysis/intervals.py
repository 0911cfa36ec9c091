"""Numbers with their 95 % intervals: the claims that few programmings allow."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_LEVEL = 0.95
"""Confidence level of every interval of this package."""


@dataclass(frozen=True)
class Interval:
    """A mean or share and the interval around it.

    Attributes
    ----------
    mean, low, high : float
        Dimensionless (an accuracy lies in 0..1).
    n : int
        Values behind it: programmings for "student-t", images for "wilson".
    method : "student-t" or "wilson"
        Which uncertainty is meant, see :func:`mean_interval` and :func:`wilson`.
    """

    mean: float
    low: float
    high: float
    n: int
    method: str


def wilson(correct: int, n: int) -> Interval:
    """Return a share with its 95 % Wilson score interval.

    It answers: on *other images* of the same kind, where would the accuracy of this one
    programming lie?

    Parameters
    ----------
    correct : int
        Images classified correctly, 0 <= correct <= n.
    n : int
        Images, >= 1.

    Returns
    -------
    Interval
        Stays inside 0..1 and has a width above 0 even at 0 or n correct.

    Raises
    ------
    ValueError
        If the counts are impossible.

    Notes
    -----
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n} images: wanted 0 <= correct <= n and n >= 1")
    from scipy.stats import binomtest  # here: scipy.stats takes a second to import

    found = binomtest(int(correct), int(n)).proportion_ci(_LEVEL, method="wilson")
    return Interval(correct / n, float(found.low), float(found.high), int(n), "wilson")


NORMAL = 1.959963984540054
"""Quantile of the normal law behind a two-sided interval of :data:`_LEVEL`."""


def unseen(programmings: int, images: int) -> float:
    """Return how far the mean may lie off although no programming gave another answer anywhere.

    Of ``n`` answers of which none is another one, the score interval of the share of others ends
    at ``z^2 / (n + z^2)``, 3.84 / n: the "rule of three", two-sided (E. B. Wilson, J. Am. Stat.
    Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953; J. A. Hanley and A. Lippman-Hand,
    JAMA 249, 1743 (1983), doi:10.1001/jama.1983.03330370053031).

    Parameters
    ----------
    programmings, images : int
        How many there are of each; all pairs of them gave an answer.

    Returns
    -------
    float
        In units of the change by one answer.
    """
    return NORMAL**2 / (programmings * images + NORMAL**2)


def mean_interval(accuracies: Sequence[float], images: int) -> Interval:
    """Return the mean accuracy over programmings with its 95 % interval.

    It answers: over *other programmings* of the chip, on these same images, where does the mean
    accuracy lie? Student's t with ``len(accuracies) - 1`` degrees of freedom; the choice of the
    images is not part of it. One programming says nothing about others: there the interval is
    that of :func:`wilson`, about other images, and ``method`` says so.

    Parameters
    ----------
    accuracies : (N,) floats
        Share of correct images of each programming, dimensionless, 0..1.
    images : int
        Images behind each of them; used for a single programming only.

    Returns
    -------
    Interval
        Clipped to 0..1. It is never narrower than :func:`unseen` allows, so that programmings
        that all agree do not claim to be all there is.

    Raises
    ------
    ValueError
        If there is no value, or one is not in 0..1.
    """
    values = [float(value) for value in accuracies]
    if not values:
        raise ValueError("no accuracies to average; give one per programming")
    for value in values:
        if not 0 <= value <= 1:  # also refuses NaN
            raise ValueError(f"accuracy {value} is not in 0..1; give shares, not percent")
    if len(values) == 1:
        return wilson(round(values[0] * images), images)
    found = of_mean(values, unseen(len(values), images))
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def of_mean(values: Sequence[float] | np.ndarray, least: float = 0.0) -> Interval:
    """Return the mean of numbers and its 95 % interval by Student's t.

    Parameters
    ----------
    values : (N,) floats
        One per programming, in any unit.
    least : float
        Half width that the interval has at least, in that unit.

    Returns
    -------
    Interval
        With NaN bounds where there is a single value, or one that is not finite.
    """
    given = [float(value) for value in values]
    n = len(given)
    if not all(map(math.isfinite, given)):
        return Interval(sum(given) / n, math.nan, math.nan, n, "student-t")
    mean = math.fsum(given) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, n, "student-t")
    variance = math.fsum((value - mean) ** 2 for value in given) / (n - 1)
    half = max(student(n - 1) * math.sqrt(variance / n), least)
    return Interval(mean, mean - half, mean + half, n, "student-t")


@functools.cache
def student(freedom: float, level: float = _LEVEL) -> float:
    """Return how many standard errors a two-sided interval by Student's t reaches to either side.

    Parameters
    ----------
    freedom : float
        Degrees of freedom, infinite where the standard error is known.
    level : float
        Confidence, 0 to 1.

    Returns
    -------
    float
        Quantile of Student's t.
    """
    from scipy.stats import t  # here: scipy.stats takes a second to import

    return float(t.isf((1 - level) / 2, freedom))
