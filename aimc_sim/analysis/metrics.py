"""Numbers with their 95 % intervals: what a study may claim from a few programmings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
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

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n} images: wanted 0 <= correct <= n and n >= 1")
    from scipy.stats import binomtest  # here: scipy.stats takes a second to import

    found = binomtest(int(correct), int(n)).proportion_ci(LEVEL, method="wilson")
    return Interval(correct / n, float(found.low), float(found.high), int(n), "wilson")


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
        Clipped to 0..1. Programmings that all agree give a width of 0.

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
    from scipy.stats import t as student

    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(student.ppf((1 + LEVEL) / 2, n - 1)) * math.sqrt(variance / n)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), n, "student-t")
