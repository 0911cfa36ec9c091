"""Which designs dominate which, and how sure that is.

A design dominates another if it is at least as good in every objective and better in one. Energy,
time and cores are exact numbers of a model; accuracies are means over programmings. Two designs
have the same seeds and images, so their accuracies are compared by the 95 % interval of the paired
difference: Student's t over programmings, with a single programming over images. A design is then

- ``front``: no other one can dominate it: every one that costs no more is less accurate beyond
  the interval;
- ``likely``: on the front of the means, but a design that costs no more may be as accurate: its
  ``rivals``;
- ``possible``: dominated by means, by none beyond the interval;
- ``dominated``: beyond the interval;
- ``excluded``: a constraint is missed, there is no such machine, or a trial failed.

Every comparison has its own 95 %: of very many some are wrong, and the best of many designs looks
better than it is. Fresh programmings of the front tell, see :mod:`.outcome`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.metrics import LEVEL

FRONT, LIKELY, POSSIBLE, DOMINATED, EXCLUDED = (
    "front", "likely", "possible", "dominated", "excluded",
)  # fmt: skip
STATUSES = (FRONT, LIKELY, POSSIBLE, DOMINATED, EXCLUDED)


@dataclass(frozen=True)
class Standing:
    """Where a design stands among all.

    Attributes
    ----------
    status : str
        See the module.
    rivals : tuple of int
        Of a likely or possible design: those that cost no more and may be as accurate or more,
        by position.
    """

    status: str
    rivals: tuple[int, ...]


def standings(gains: np.ndarray, accuracies: Sequence[np.ndarray | None] | None) -> list[Standing]:
    """Return where every design stands.

    Parameters
    ----------
    gains : (N, M) float array
        Exact objectives, larger is better; NaN in any of them excludes a design.
    accuracies : sequence of N (P, I) bool arrays, or None
        Which images were right in every programming; None for a design excludes it. None
        altogether if the accuracy is no objective.

    Returns
    -------
    list of Standing
    """
    n = len(gains)
    usable = ~np.isnan(gains).any(axis=1)
    if accuracies is not None:
        usable &= np.array([found is not None for found in accuracies], bool)
    by_mean, surely, perhaps = (np.zeros((n, n), bool) for _ in range(3))  # [a, b]: a over b
    for b in np.flatnonzero(usable):
        no_worse = usable & (gains >= gains[b]).all(axis=1)
        no_worse[b] = False
        for a in np.flatnonzero(no_worse):
            better = bool((gains[a] > gains[b]).any())
            mean = low = high = 0.0
            if accuracies is not None:
                mean, low, high = difference(accuracies[b], accuracies[a])
            by_mean[a, b] = mean >= 0 and (better or mean > 0)
            surely[a, b] = low >= 0 and (better or low > 0)
            perhaps[a, b] = high >= 0 and (better or high > 0)
    found = []
    for b in range(n):
        over = (by_mean[:, b].any(), surely[:, b].any(), perhaps[:, b].any())
        status = _status(usable[b], *over)
        rivals = np.flatnonzero(perhaps[:, b]) if status in (LIKELY, POSSIBLE) else ()
        found.append(Standing(status, tuple(int(a) for a in rivals)))
    return found


def _status(usable: bool, by_mean: bool, surely: bool, perhaps: bool) -> str:
    if not usable:
        return EXCLUDED
    if surely:
        return DOMINATED
    if by_mean:
        return POSSIBLE
    return LIKELY if perhaps else FRONT


def difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return the paired difference ``after - before`` in accuracy and its 95 % interval.

    Parameters
    ----------
    before, after : (P, I) bool arrays
        Which images were right, in programmings of the same seeds.

    Returns
    -------
    mean, low, high : float
        Over other programmings (Student's t, P > 1), or over other images (P = 1).

    Notes
    -----
    The interval of :func:`aimc_sim.studies.paired.compare`, without its other statistics: a
    search compares all pairs.
    """
    change = after.astype(np.int8) - before.astype(np.int8)
    values = change[0].astype(float) if len(change) == 1 else change.mean(axis=1)
    mean = float(values.mean())
    half = _student(len(values) - 1) * float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, mean - half, mean + half


@functools.cache
def _student(freedom: int) -> float:
    from scipy.stats import t  # here: scipy.stats takes a second to import

    return float(t.ppf((1 + LEVEL) / 2, freedom))
