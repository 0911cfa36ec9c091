"""Differences between two settings on the same seeds and the same images.

Two machines that share a seed share what the seed draws, and all programmings see the same
images: differences are much better known than the two accuracies themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import statistics

Choice = str | Mapping[str, Any]
"""A setting's name, or columns and their values: {"setting": ..., "compensation": "gdc"}."""


def compare(table: pd.DataFrame, before: Choice, after: Choice) -> pd.DataFrame:
    """Return ``after - before`` in accuracy, at every time and compensation that both have.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.studies.results.load`.
    before, after : str or mapping
        Which rows; for example the names of two settings.

    Returns
    -------
    DataFrame
        ``time_seconds`` and ``compensation`` (those of ``after``); ``programmings``, ``images``;
        ``difference``, of shares, and its 95 % intervals: ``low``, ``high`` over other
        programmings (Student's t on the paired differences; with one programming over other
        images), ``interval`` telling which, and ``wide_low``, ``wide_high`` over other
        programmings and images; ``p_value`` of that test (with one programming: McNemar's exact
        test on its images); ``effect_size``, the mean difference over its spread between
        programmings (Cohen's d of pairs with Hedges' correction; NaN with one); ``lost`` and
        ``gained``: images right only before and only after, summed over programmings.

    Raises
    ------
    KeyError
        If nothing matches; lists the settings there are.
    ValueError
        If both have no seed, time and compensation in common, or saw different images.

    Sources: Q. McNemar, Psychometrika 12, 153 (1947), doi:10.1007/BF02295996; L. V. Hedges,
    J. Educ. Stat. 6, 107 (1981), doi:10.3102/10769986006002107.
    """
    table = statistics.unique(table)
    first, second = _chosen(table, before), _chosen(table, after)
    fixed = set(before if isinstance(before, Mapping) else ()) | set(
        after if isinstance(after, Mapping) else ()
    )
    shared = [name for name in statistics.LOOKS if name not in fixed]
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
            f"{' and '.join(n for n in statistics.LOOKS if n in fixed) or 'network'} of both"
        )
    looks = [name if name in shared else f"{name}_after" for name in statistics.LOOKS]
    return pd.DataFrame(
        [
            {**dict(zip(statistics.LOOKS, place, strict=True)), **_difference(group)}
            for place, group in both.groupby(looks, sort=True)
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


def _difference(group: pd.DataFrame) -> dict[str, Any]:
    old = statistics.bits(_side(group, "before"))
    new = statistics.bits(_side(group, "after"))
    change = new.astype(np.int8) - old.astype(np.int8)
    lost, gained = int((change < 0).sum()), int((change > 0).sum())
    wide = statistics.components(change) if change.shape[1] > 1 else None
    narrow = statistics.interval_of_mean(change.mean(1))
    alone = len(change) == 1
    low, high = (wide.wide_low, wide.wide_high) if alone and wide else (narrow.low, narrow.high)
    return {
        "programmings": len(change),
        "images": change.shape[1],
        "difference": narrow.mean,
        "low": low,
        "high": high,
        "interval": "images" if alone else "student-t",
        "wide_low": wide.wide_low if wide else math.nan,
        "wide_high": wide.wide_high if wide else math.nan,
        "p_value": mcnemar(lost, gained) if alone else _t_test(change.mean(1)),
        "effect_size": _effect_size(change.mean(1)),
        "lost": lost,
        "gained": gained,
    }


def mcnemar(lost: int, gained: int) -> float:
    """Return the p-value of McNemar's exact test: losses and gains are equally likely.

    Parameters
    ----------
    lost, gained : int
        Images that changed from right to wrong, and from wrong to right, of one programming.
    """
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _t_test(differences: np.ndarray) -> float:
    from scipy.stats import ttest_1samp

    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def _effect_size(differences: np.ndarray) -> float:
    n = len(differences)
    spread = float(differences.std(ddof=1)) if n > 1 else math.nan
    if n < 3 or not spread > 0:
        return math.nan
    hedges = 1 - 3 / (4 * (n - 1) - 1)
    return float(differences.mean()) / spread * hedges


def _side(group: pd.DataFrame, name: str) -> pd.DataFrame:
    return group[[f"images_{name}", f"correct_bits_{name}"]].rename(
        columns=lambda column: column.removesuffix(f"_{name}")
    )


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
