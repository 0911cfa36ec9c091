"""Differences between two settings on the same seeds and the same images.

Two machines that share a seed share what the seed draws, and all programmings see the same
images: differences are much better known than the two values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import metrics
from ..analysis import intervals
from ..metrics import Metric
from . import statistics

Choice = str | Mapping[str, Any]
"""A setting's name, or columns and their values: {"setting": ..., "compensation": "gdc"}."""


def compare(table: pd.DataFrame, before: Choice, after: Choice) -> pd.DataFrame:
    """Return ``after - before`` in the metric, at every time and compensation that both have.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.studies.results.load`; of one metric.
    before, after : str or mapping
        Which rows; for example the names of two settings.

    Returns
    -------
    DataFrame
        ``time_seconds`` and ``compensation`` (those of ``after``); ``metric``, ``unit`` (of
        differences), ``larger`` and ``metric_data``; ``programmings``, ``images``;
        ``difference``, of values (shares for accuracies), and its 95 % intervals: ``low``,
        ``high`` over other programmings and other images, ``interval`` telling so ("images" with
        one programming: over other images only); ``same_low``, ``same_high`` over other
        programmings on the same images (Student's t on the paired differences; NaN with one);
        ``p_value`` of the test that belongs to ``low..high`` (with one programming of right and
        wrong: McNemar's exact test on its images); ``effect_size``, the mean difference over its
        standard deviation between programmings (Cohen's d of pairs with Hedges' correction; NaN
        with one); ``lost`` and ``gained``: images that are worse and better after, summed over
        programmings.

        No interval is empty, also where nothing changed: see :func:`.statistics.components`.

    Raises
    ------
    KeyError
        If nothing matches; lists the settings there are.
    ValueError
        If both have no seed, time and compensation in common, ran different images, or the table
        is of several metrics.

    Notes
    -----
    Sources: Q. McNemar, Psychometrika 12, 153 (1947), doi:10.1007/BF02295996; L. V. Hedges,
    J. Educ. Stat. 6, 107 (1981), doi:10.3102/10769986006002107.
    """
    table = statistics.unique(table)
    metric = metrics.of(table)
    first, second = _chosen(table, before), _chosen(table, after)
    fixed = set(before if isinstance(before, Mapping) else ()) | set(
        after if isinstance(after, Mapping) else ()
    )
    shared = [name for name in statistics.EVALUATIONS if name not in fixed]
    both = first.merge(second, on=["seed", *shared], suffixes=("_before", "_after"))
    if both.empty:
        raise ValueError(
            f"{_shown(before)} and {_shown(after)} have no seed, time and compensation in common; "
            "run both with the same seeds"
        )
    if (both["data_id_before"] != both["data_id_after"]).any():
        raise ValueError(f"{_shown(before)} and {_shown(after)} saw different images")
    if both.duplicated(["seed", *shared]).any():
        raise ValueError(
            f"{_shown(before)} against {_shown(after)} pairs several rows; name also the "
            f"{' and '.join(n for n in statistics.EVALUATIONS if n in fixed) or 'network'} of both"
        )
    evaluations = [name if name in shared else f"{name}_after" for name in statistics.EVALUATIONS]
    return pd.DataFrame(
        [
            {
                **dict(zip(statistics.EVALUATIONS, place, strict=True)),
                "metric": metric.name,
                "unit": metric.difference_unit,
                "larger": metric.larger,
                **_difference(
                    metric,
                    *(statistics.linear(_side(group, side)) for side in ("before", "after")),
                ),
                "metric_data": table["metric_data"].iloc[0],
            }
            for place, group in both.groupby(evaluations, sort=True)
        ]
    )


def against(table: pd.DataFrame, before: str) -> pd.DataFrame:
    """Return :func:`compare` of every other setting with one; with a column ``setting``."""
    others = [name for name in sorted(table["setting"].unique()) if name != before]
    found = []
    for name in others:
        rows = compare(table, before, name)
        rows.insert(0, "setting", name)
        found.append(rows)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def against_reference(table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of every setting with one row that all programmings share.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.studies.results.load`; of one metric, network and data.
    reference : DataFrame
        Of one row, of the same metric and data: the network in floating point
        (:func:`.reference.load`), or a machine whose results do not depend on programming.

    Returns
    -------
    DataFrame
        As from :func:`compare`, ``table`` minus ``reference``, paired image by image, for every
        setting, time and compensation; ``setting`` stands before.

    Raises
    ------
    ValueError
        If there is not exactly one row to compare with, or it has other images.
    """
    table = statistics.unique(table)
    metric = metrics.of(table)
    if len(reference) != 1 or metrics.of(reference).name != metric.name:
        raise ValueError(f"{len(reference)} rows to compare with; wanted one of '{metric.name}'")
    if set(table["data_id"]) != set(reference["data_id"]):
        raise ValueError("the results and the row to compare with saw different images")
    before = statistics.linear(reference)
    keys = ["setting", *statistics.EVALUATIONS]
    found = []
    for place, group in table.groupby(keys, sort=True):
        after = statistics.linear(group)
        found.append(
            {
                **dict(zip(keys, place, strict=True)),
                "metric": metric.name,
                "unit": metric.difference_unit,
                "larger": metric.larger,
                **_difference(metric, np.broadcast_to(before, after.shape), after),
                "metric_data": table["metric_data"].iloc[0],
            }
        )
    return pd.DataFrame(found)


def _difference(metric: Metric, old: np.ndarray, new: np.ndarray) -> dict[str, Any]:
    found = difference(old, new, bits=metric.bits)
    change, alone = new - old, len(old) == 1
    worse, better = int((change < 0).sum()), int((change > 0).sum())
    if not metric.larger:
        worse, better = better, worse
    values = change.mean(1)
    least = found.reach * intervals.unseen(*change.shape)
    same = intervals.of_mean(values, least)
    return {
        "programmings": len(change),
        "images": change.shape[1],
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "interval": "images" if alone else "programmings and images",
        "same_low": math.nan if alone else same.low,
        "same_high": math.nan if alone else same.high,
        "p_value": _mcnemar(worse, better) if alone and metric.bits else found.p_value,
        "effect_size": _effect_size(values),
        "lost": worse,
        "gained": better,
    }


@dataclass(frozen=True)
class Difference:
    """A paired difference and its 95 % interval over other programmings and other images.

    Attributes
    ----------
    mean, low, high : float
        In the unit of the values.
    p_value : float
        Of no difference, by the test that belongs to the interval; NaN of a single image.
    reach : float
        The largest change that a single image can make.
    """

    mean: float
    low: float
    high: float
    p_value: float
    reach: float


def difference(before: np.ndarray, after: np.ndarray, bits: bool) -> Difference:
    """Return ``after - before`` of the same programmings and images.

    Parameters
    ----------
    before, after : (P, N) arrays
        From :func:`.statistics.linear`.
    bits : bool
        Whether they are 0 or 1.

    Returns
    -------
    Difference
        See :func:`.statistics.components`. An image that did not change could have by 1 for right
        and wrong; for other scores by the largest change of an image, and where nothing
        changed by the standard deviation of the scores between images (assumption).
    """
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    mean, images = float(change.mean()), change.shape[1]
    if images < 2:
        return Difference(mean, math.nan, math.nan, math.nan, 1.0)
    if bits:
        found, reach = statistics.components(change, (-1.0, 1.0)), 1.0
    else:
        reach = float(np.abs(change.mean(0) - mean).max()) if math.isfinite(mean) else math.nan
        if reach == 0:
            reach = float(np.asarray(before).mean(0).std(ddof=1))
        found = statistics.components(change, reach=reach)
    return Difference(mean, found.wide_low, found.wide_high, found.p_value, reach)


def _mcnemar(lost: int, gained: int) -> float:
    """Return the p-value of McNemar's exact test: losses and gains are equally likely.

    Parameters
    ----------
    lost, gained : int
        Images that changed from right to wrong, and from wrong to right, of one programming.
    """
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _effect_size(differences: np.ndarray) -> float:
    n = len(differences)
    std = float(differences.std(ddof=1)) if n > 1 else math.nan
    if n < 3 or not std > 0:
        return math.nan
    hedges = 1 - 3 / (4 * (n - 1) - 1)
    return float(differences.mean()) / std * hedges


def _side(group: pd.DataFrame, name: str) -> pd.DataFrame:
    known = ("images", "correct_bits", "scores", "metric_data")
    columns = [f"{column}_{name}" for column in known if f"{column}_{name}" in group]
    return group[columns].rename(columns=lambda column: column.removesuffix(f"_{name}"))


def _chosen(table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    wanted = {"setting": choice} if isinstance(choice, str) else dict(choice)
    rows = table
    for column, value in wanted.items():
        if column not in table:
            raise KeyError(f"the table has no column '{column}'; it has {', '.join(table)}")
        rows = rows[rows[column] == value]
    if rows.empty:
        known = ", ".join(f"'{name}'" for name in sorted(table["setting"].unique()))
        raise KeyError(f"no rows with {_shown(choice)}; settings: {known}")
    return rows


def _shown(choice: Choice) -> str:
    wanted = {"setting": choice} if isinstance(choice, str) else choice
    return ", ".join(f"{column} '{value}'" for column, value in wanted.items())
