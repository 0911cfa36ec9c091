"""Which designs dominate which, and how sure that is.

A design dominates another if it is at least as good in every objective and better in one. Energy,
time and cores are exact numbers of a model; values of the metric (accuracies) are means over
programmings. Two designs have the same seeds and images, so their values are compared by the 95 %
interval of the paired difference over other programmings and other images, see
:func:`aimc_sim.studies.paired.difference`. A design is then

- ``front``: no other one can dominate it: every one that costs no more is less accurate beyond
  the interval;
- ``likely``: on the front of the means, but a design that costs no more may be as accurate: its
  ``rivals``;
- ``possible``: dominated by means, by none beyond the interval;
- ``dominated``: beyond the interval;
- ``excluded``: a constraint is missed, there is no such machine, or a trial failed.

Every comparison has its own 95 %: of very many some are wrong, and the best of many designs is
overrated. Fresh programmings of the front tell, see :mod:`.outcome`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..studies import paired

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


def standings(
    gains: np.ndarray, scores: Sequence[np.ndarray | None] | None, bits: bool = True
) -> list[Standing]:
    """Return where every design stands.

    Parameters
    ----------
    gains : (N, M) float array
        Exact objectives, larger is better; NaN in any of them excludes a design.
    scores : sequence of N (P, I) arrays, or None
        Numbers per programming and image whose mean is the metric's value, larger is better, see
        :func:`aimc_sim.studies.statistics.linear`; None for a design excludes it. None altogether
        if the metric is no objective.
    bits : bool
        Whether they are 0 or 1.

    Returns
    -------
    list of Standing
    """
    n = len(gains)
    usable = ~np.isnan(gains).any(axis=1)
    if scores is not None:
        usable &= np.array([found is not None for found in scores], bool)
    by_mean, surely, perhaps = (np.zeros((n, n), bool) for _ in range(3))  # [a, b]: a over b
    for b in np.flatnonzero(usable).tolist():
        no_worse = usable & (gains >= gains[b]).all(axis=1)
        no_worse[b] = False
        for a in np.flatnonzero(no_worse).tolist():
            better = bool((gains[a] > gains[b]).any())
            mean = low = high = 0.0
            if scores is not None:
                before, after = scores[b], scores[a]
                assert before is not None  # else they are not usable
                assert after is not None
                mean, low, high = _difference(before, after, bits)
            by_mean[a, b] = mean >= 0 and (better or mean > 0)
            surely[a, b] = low >= 0 and (better or low > 0)
            perhaps[a, b] = high >= 0 and (better or high > 0)
    found = []
    for b in range(n):
        over = [bool(pairs[:, b].any()) for pairs in (by_mean, surely, perhaps)]
        status = _status(bool(usable[b]), *over)
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


def _difference(before: np.ndarray, after: np.ndarray, bits: bool) -> tuple[float, float, float]:
    """Return the paired difference and the ends of its interval.

    Designs whose answers agree in every image of every programming count as equal: they differ in
    what images do not meet, such as places and replicas.
    """
    if np.array_equal(before, after):
        return 0.0, 0.0, 0.0
    found = paired.difference(before, after, bits)
    return found.mean, found.low, found.high
