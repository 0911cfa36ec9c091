"""Statements about a table of results: never a bare number.

Three things make values of a metric differ, and they are kept apart. *Programmings*: another
chip, or the same one written again. *Images*: another test set of the same kind. *Both together*:
an image that one programming gets wrong and another right. With one score per image and programming
they are the variance components of a crossed table with one entry per cell (S. R. Searle,
G. Casella and C. E. McCulloch, Variance Components, Wiley 1992, chapter 4).

Two intervals follow. ``low..high``: the mean over *other programmings*, on these images.
``wide_low..wide_high``: over other programmings *and other images*. Both always have a width: few
images and programmings leave answers open that none of them gave.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .. import metrics
from ..analysis import intervals
from ..analysis.intervals import NORMAL, Interval
from ..metrics import Metric

_KEYS = ["network", "network_id", "data", "data_id", "physics", "setting", "layers"]
"""Columns that tell settings apart; results of two versions of the code are never averaged."""

EVALUATIONS = ["time_seconds", "compensation"]


@dataclass(frozen=True)
class Components:
    """Variance components of a table of P programmings x N images.

    Attributes
    ----------
    mean : float
        Of all entries.
    programming, image, residual : float
        Variances, >= 0: between programmings, between images, and the rest. With a single
        programming ``programming`` is NaN and ``image`` holds both others.
    wide_low, wide_high : float
        95 % interval of the mean over other programmings and other images; with a single
        programming over other images only.
    p_value : float
        Of the mean being zero, by the test that belongs to this interval.
    """

    mean: float
    programming: float
    image: float
    residual: float
    wide_low: float
    wide_high: float
    p_value: float


def components(
    values: np.ndarray, ends: tuple[float, float] | None = None, reach: float = 0.0
) -> Components:
    """Return the variance components of a crossed table, and the interval of its mean.

    Degrees of freedom are Satterthwaite's. So that images that were not drawn have their say,
    also where all entries agree, the interval is that of the table with ``z^2 / 2`` images more
    at each end of what an image can be, in every programming alike (z = 1.96). Of one programming
    of right and wrong this is the interval of Agresti and Coull, of differences without a single
    changed image Tango's score interval, +-3.84 / (N + 3.84).

    Parameters
    ----------
    values : (P, N) array
        One row per programming, one column per image: 0 or 1, differences of such, or scores.
    ends : (float, float), optional
        Values that are possible: (0, 1) for right and wrong, (-1, 1) for their differences.
        Default: as far on both sides of the mean as the farthest mean of an image.
    reach : float
        Without ends: the least distance that the added images have from the mean.

    Returns
    -------
    Components
        Not finite where a value is not.

    Raises
    ------
    ValueError
        If there are fewer than two images.

    Notes
    -----
    Source: F. E. Satterthwaite, Biometrics Bulletin 2, 110 (1946), doi:10.2307/3002019;
    A. Agresti and B. A. Coull, Am. Stat. 52, 119 (1998), doi:10.2307/2685469; A. Agresti and
    Y. Min, Stat. Med. 24, 729 (2005), doi:10.1002/sim.1781; T. Tango, Stat. Med. 17, 891 (1998).
    """
    x = np.asarray(values, np.float64)
    p, n = x.shape
    if n < 2:
        raise ValueError(f"{n} image: variances need at least two")
    mean, rows, columns = float(x.mean()), x.mean(1), x.mean(0)
    if not math.isfinite(mean):
        return _nothing([mean])
    if ends is None:
        far = max(float(np.abs(columns - mean).max()), reach)
        low, high = mean - far, mean + far
    else:
        low, high = ends
    more = NORMAL**2 / 2  # images at each end
    many = n + 2 * more
    centre = (n * mean + more * (low + high)) / many
    squares = float(np.square(columns - centre).sum())
    squares += more * ((low - centre) ** 2 + (high - centre) ** 2)
    by_column = p * squares / (many - 1)
    if p == 1:
        image = float(x.var(ddof=1))
        tests = [(centre, math.sqrt(by_column / many), n - 1.0)]
        parts = math.nan, image, 0.0
    else:
        by_row = n * float(rows.var(ddof=1))
        rest = x - rows[:, None] - columns[None, :] + mean
        left = float(np.square(rest).sum()) / ((p - 1) * (n - 1))
        # Mean squares: E(by_row) = residual + n programming, E(by_column) = residual + p image.
        whole = max(by_row + by_column - left, by_row, by_column)
        fourth = by_row**2 / (p - 1) + by_column**2 / (n - 1) + left**2 / ((p - 1) * (n - 1))
        freedom = whole**2 / fourth if fourth > 0 else float(p - 1)
        # Degrees of freedom can make the first the narrower one; it claims more, so what the
        # second leaves open is part of it.
        tests = [
            (centre, math.sqrt(whole / (p * many)), freedom),
            (mean, math.sqrt(by_row / (p * n)), p - 1.0),
        ]
        plain = p * float(columns.var(ddof=1))
        parts = max(0.0, (by_row - left) / n), max(0.0, (plain - left) / p), left
    begin = min(mean, *(middle - intervals.student(free) * error for middle, error, free in tests))
    end = max(mean, *(middle + intervals.student(free) * error for middle, error, free in tests))
    if ends is not None:
        begin, end = max(ends[0], begin), min(ends[1], end)
    return Components(mean, *parts, begin, end, max(_p_value(*test) for test in tests))


def _p_value(mean: float, error: float, freedom: float) -> float:
    from scipy.stats import t  # here: scipy.stats takes a second to import

    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / error, freedom))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean value of every setting, time and compensation with its uncertainty.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.studies.results.load`.

    Returns
    -------
    DataFrame
        :data:`_KEYS` and :data:`EVALUATIONS`; ``metric``, ``unit``, ``larger`` (whether more is
        better) and ``metric_data``, see :mod:`aimc_sim.metrics`; ``programmings``, ``images``;
        ``mean``;
        ``low``, ``high`` (Student's t over programmings; over images where there is only one:
        Wilson's of right and wrong, Student's t of other scores) and ``interval``, which of them;
        ``wide_low``, ``wide_high``; ``spread``, the standard deviation between programmings on
        these images; ``programming_std``, ``image_std``, ``residual_std``, square roots of the
        variance components of one image: the first is the difference of programmings beyond single
        images that flip either way; ``worst``, ``best``, of the programmings. Values of the
        metric: accuracies are 0..1.

    Raises
    ------
    ValueError
        If one programming has two different results.
    """
    found = []
    keys = [*_KEYS, "metric", *EVALUATIONS]
    for place, group in unique(table).groupby(keys, sort=True):
        metric = metrics.of(group)
        found.append(
            {
                **dict(zip(keys, place, strict=True)),
                "unit": metric.unit,
                "larger": metric.larger,
                "metric_data": group["metric_data"].iloc[0],
                "programmings": len(group),
                "images": int(group["images"].iloc[0]),
                **_statement(metric, group),
            }
        )
    return pd.DataFrame(found)


def _statement(metric: Metric, group: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a summary that its scores decide."""
    x = linear(group)
    images, alone = x.shape[1], len(x) == 1
    if metric.bits:
        values = group["accuracy"].tolist()
        narrow = intervals.mean_interval(values, images)
        wide = components(x, (0.0, 1.0)) if images >= 2 else None
        if wide is None:
            wide = replace(_nothing(values), wide_low=0.0, wide_high=1.0)
        elif alone:  # Wilson's stays inside 0..1 and is never empty
            wide = replace(wide, wide_low=narrow.low, wide_high=narrow.high)
    else:
        values = x.mean(1).tolist()
        reach = _between(x)
        wide = components(x, reach=reach) if images >= 2 else _nothing(values)
        narrow = intervals.of_mean(np.array(values), reach * intervals.unseen(len(x), images))
        if alone:
            narrow = Interval(narrow.mean, wide.wide_low, wide.wide_high, images, "images")
    low, high = metric.bounds
    first, last = (min(values), max(values)) if metric.larger else (max(values), min(values))
    return {
        "mean": narrow.mean,
        "low": max(low, narrow.low),
        "high": min(high, narrow.high),
        "interval": narrow.method,
        "wide_low": max(low, wide.wide_low),
        "wide_high": min(high, wide.wide_high),
        "spread": _std(values),
        "programming_std": math.sqrt(wide.programming),
        "image_std": math.sqrt(wide.image),
        "residual_std": math.sqrt(wide.residual),
        "worst": first,
        "best": last,
    }


def _nothing(values: list[float]) -> Components:
    unknown = math.nan
    mean = float(np.mean(values))
    return Components(mean, unknown, unknown, unknown, unknown, unknown, unknown)


def _between(x: np.ndarray) -> float:
    """Return the standard deviation of scores between images, of the mean programming."""
    return float(x.mean(0).std(ddof=1)) if x.shape[1] > 1 else 0.0


def within(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the interval of every single programming over images.

    Adds ``low`` and ``high``: where the value of this programming would lie on other images.
    Wilson's interval of right and wrong, Student's t of other scores.
    """
    found = [
        _statement(metrics.of(row), row) for row in (table.iloc[[i]] for i in range(len(table)))
    ]
    return table.assign(low=[f["low"] for f in found], high=[f["high"] for f in found])


def layer_summary(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the mean error of every layer with its 95 % interval over programmings.

    Parameters
    ----------
    layers : DataFrame
        From :func:`aimc_sim.studies.results.load_layers`.

    Returns
    -------
    DataFrame
        :data:`_KEYS`, :data:`LOOKS`, layer, position, programmings; ``sqnr_db``, ``low``,
        ``high`` (NaN with one programming) in dB; ``effective_bits``, ``bits_low``,
        ``bits_high``. Means are of decibels. Layers without any error are infinite.
    """
    from .results import effective_bits

    keys = [*_KEYS, *EVALUATIONS, "position", "layer"]
    found = []
    for place, group in layers.drop_duplicates([*keys, "seed"]).groupby(keys, sort=True):
        over = intervals.of_mean(group["sqnr_db"].to_numpy(float))
        found.append(
            {
                **dict(zip(keys, place, strict=True)),
                "programmings": len(group),
                "sqnr_db": over.mean,
                "low": over.low,
                "high": over.high,
                "effective_bits": effective_bits(over.mean),
                "bits_low": effective_bits(over.low),
                "bits_high": effective_bits(over.high),
            }
        )
    return pd.DataFrame(found)


def unique(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every programming once, also if two trials evaluated it.

    A study that was extended by a time runs its trials again; both results must agree.

    Raises
    ------
    ValueError
        If it does not.
    """
    if "metric" not in table:
        accuracy = json.dumps(metrics.ACCURACY.described(), sort_keys=True)
        table = table.assign(metric=metrics.ACCURACY.name, metric_data=accuracy)
    keys = [*_KEYS, "metric", *EVALUATIONS, "spec_id", "seed"]
    kept = table.drop_duplicates([*keys, *(n for n in _PACKED if n in table)])
    twice = kept.duplicated(keys)
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(
            f"setting '{row['setting']}', seed {row['seed']}, at {row['time_seconds']:g} s has two "
            "different results; the folders come from machines that round differently: look at "
            "them one by one"
        )
    twice = kept.duplicated([*_KEYS, "metric", *EVALUATIONS, "seed"])
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(
            f"the name '{row['setting']}' stands for two machines in these folders; load them one "
            "by one, or rename the setting in one of the studies"
        )
    return kept


_PACKED = ("correct_bits", "scores")


def scores(rows: pd.DataFrame) -> np.ndarray:
    """Return the scores of every image, (P, N) bool or float64, one row per row of the table.

    Parameters
    ----------
    rows : DataFrame
        Of one metric.
    """
    images = int(rows["images"].iloc[0])
    if not metrics.of(rows).bits:
        return np.stack([np.frombuffer(b, "<f4") for b in rows["scores"]]).astype(np.float64)
    found = [np.unpackbits(np.frombuffer(b, np.uint8), count=images) for b in rows["correct_bits"]]
    return np.stack(found).astype(bool)


def linear(rows: pd.DataFrame) -> np.ndarray:
    """Return numbers per image whose means are the values of the rows, (P, N) float64.

    See :meth:`aimc_sim.metrics.Metric.linear`.
    """
    return metrics.of(rows).linear(scores(rows))


def _std(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
