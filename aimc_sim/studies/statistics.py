"""What a table of results says: never a bare number.

Three things make accuracies differ, and they are kept apart. *Programmings*: another chip, or
the same one written again. *Images*: another test set of the same kind. *Both together*: an
image that one programming gets wrong and another right. With one bit per image and programming
they are the variance components of a crossed table with one entry per cell (S. R. Searle,
G. Casella and C. E. McCulloch, Variance Components, Wiley 1992, chapter 4).

Two intervals follow. ``low..high``: the mean over *other programmings*, on these images.
``wide_low..wide_high``: over other programmings *and other images*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..analysis import metrics
from ..analysis.metrics import LEVEL, Interval

KEYS = ["network", "network_id", "data", "data_id", "physics", "setting", "layers"]
"""Columns that tell settings apart; results of two versions of the code are never averaged."""

LOOKS = ["time_seconds", "compensation"]


@dataclass(frozen=True)
class Components:
    """Variance components of a table of P programmings x N images.

    Attributes
    ----------
    mean : float
        Of all entries.
    programming, image, residual : float
        Variances, >= 0: between programmings, between images, and what is left. With a single
        programming ``programming`` is NaN and ``image`` holds both others.
    wide_low, wide_high : float
        95 % interval of the mean over other programmings and other images; with a single
        programming over other images only. Degrees of freedom by Satterthwaite.

    Source: F. E. Satterthwaite, Biometrics Bulletin 2, 110 (1946), doi:10.2307/3002019.
    """

    mean: float
    programming: float
    image: float
    residual: float
    wide_low: float
    wide_high: float


def components(values: np.ndarray) -> Components:
    """Return the variance components of a crossed table.

    Parameters
    ----------
    values : (P, N) array
        One row per programming, one column per image: 0 or 1, or differences of such.

    Returns
    -------
    Components

    Raises
    ------
    ValueError
        If there are fewer than two images.
    """
    x = np.asarray(values, np.float64)
    p, n = x.shape
    if n < 2:
        raise ValueError(f"{n} image: variances need at least two")
    mean = float(x.mean())
    if p == 1:
        image = float(x.var(ddof=1))
        half = _student(n - 1) * math.sqrt(image / n)
        return Components(mean, math.nan, image, 0.0, mean - half, mean + half)
    rows, columns = x.mean(1), x.mean(0)
    by_row = n * float(rows.var(ddof=1))
    by_column = p * float(columns.var(ddof=1))
    rest = x - rows[:, None] - columns[None, :] + mean
    left = float(np.square(rest).sum()) / ((p - 1) * (n - 1))
    # Mean squares: E(by_row) = residual + n programming, E(by_column) = residual + p image.
    spread = max(by_row + by_column - left, by_row, by_column, 0.0)
    squares = by_row**2 / (p - 1) + by_column**2 / (n - 1) + left**2 / ((p - 1) * (n - 1))
    freedom = spread**2 / squares if squares > 0 else float(p - 1)
    half = _student(freedom) * math.sqrt(spread / (p * n))
    # More degrees of freedom can make it the narrower one; it claims more, so it may not be.
    half = max(half, _student(p - 1) * math.sqrt(by_row / (p * n)))
    return Components(
        mean, max(0.0, (by_row - left) / n), max(0.0, (by_column - left) / p), left,
        mean - half, mean + half,
    )  # fmt: skip


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy of every setting, time and compensation with its uncertainty.

    Parameters
    ----------
    table : DataFrame
        From :func:`aimc_sim.studies.results.load`.

    Returns
    -------
    DataFrame
        :data:`KEYS` and :data:`LOOKS`; ``programmings``, ``images``; ``mean``; ``low``, ``high``
        (Student's t over programmings; Wilson over images where there is only one) and
        ``interval``, which of both; ``wide_low``, ``wide_high``; ``spread``, the standard
        deviation between programmings on these images; ``programming_std``, ``image_std``,
        ``residual_std``, square roots of the variance components of one image: the first is what
        programmings differ by beyond single images that flip either way; ``worst``, ``best``, of
        the programmings. Accuracies 0..1.

    Raises
    ------
    ValueError
        If one programming has two different results.
    """
    found = []
    for place, group in unique(table).groupby(KEYS + LOOKS, sort=True):
        accuracies = group["accuracy"].tolist()
        images = int(group["images"].iloc[0])
        narrow = metrics.mean_interval(accuracies, images)
        if images >= 2:
            wide = components(bits(group))
        else:
            wide = Components(narrow.mean, math.nan, math.nan, math.nan, 0.0, 1.0)
        if len(group) == 1:  # Wilson stays inside 0..1 and is never empty
            low, high = narrow.low, narrow.high
        else:
            low, high = max(0.0, wide.wide_low), min(1.0, wide.wide_high)
        found.append(
            {
                **dict(zip(KEYS + LOOKS, place, strict=True)),
                "programmings": len(group),
                "images": images,
                "mean": narrow.mean,
                "low": narrow.low,
                "high": narrow.high,
                "interval": narrow.method,
                "wide_low": low,
                "wide_high": high,
                "spread": _spread(accuracies),
                "programming_std": math.sqrt(wide.programming),
                "image_std": math.sqrt(wide.image),
                "residual_std": math.sqrt(wide.residual),
                "worst": min(accuracies),
                "best": max(accuracies),
            }
        )
    return pd.DataFrame(found)


def within(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the Wilson interval of every single programming.

    Adds ``low`` and ``high``: where the accuracy of this programming would lie on other images.
    """
    found = [
        metrics.wilson(int(row.correct), int(row.images)) for row in table.itertuples(index=False)
    ]
    return table.assign(low=[f.low for f in found], high=[f.high for f in found])


def layer_summary(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the mean error of every layer with its 95 % interval over programmings.

    Parameters
    ----------
    layers : DataFrame
        From :func:`aimc_sim.studies.results.load_layers`.

    Returns
    -------
    DataFrame
        :data:`KEYS`, :data:`LOOKS`, layer, position, programmings; ``sqnr_db``, ``low``,
        ``high`` (NaN with one programming) in dB; ``effective_bits``, ``bits_low``,
        ``bits_high``. Means are of decibels. Layers without any error are infinite.
    """
    from .results import effective_bits

    keys = [*KEYS, *LOOKS, "position", "layer"]
    found = []
    for place, group in layers.drop_duplicates([*keys, "seed"]).groupby(keys, sort=True):
        mean, low, high = _mean_interval(group["sqnr_db"].to_numpy(float))
        found.append(
            {
                **dict(zip(keys, place, strict=True)),
                "programmings": len(group),
                "sqnr_db": mean,
                "low": low,
                "high": high,
                "effective_bits": effective_bits(mean),
                "bits_low": effective_bits(low),
                "bits_high": effective_bits(high),
            }
        )
    return pd.DataFrame(found)


def unique(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every programming once, also if two trials looked at it.

    A study that was extended by a time runs its trials again; what both saw must agree.

    Raises
    ------
    ValueError
        If it does not.
    """
    keys = [*KEYS, *LOOKS, "spec_id", "seed"]
    kept = table.drop_duplicates([*keys, "correct_bits"])
    twice = kept.duplicated(keys)
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(
            f"setting '{row['setting']}', seed {row['seed']}, at {row['time_seconds']:g} s has two "
            "different results; the folders come from machines that round differently: look at "
            "them one by one"
        )
    twice = kept.duplicated([*KEYS, *LOOKS, "seed"])
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(
            f"the name '{row['setting']}' stands for two machines in these folders; load them one "
            "by one, or rename the setting in one of the studies"
        )
    return kept


def bits(rows: pd.DataFrame) -> np.ndarray:
    """Return which images were right, (P, N) bool, one row per row of the table."""
    images = int(rows["images"].iloc[0])
    found = [np.unpackbits(np.frombuffer(b, np.uint8), count=images) for b in rows["correct_bits"]]
    return np.stack(found).astype(bool)


def interval_of_mean(values: np.ndarray) -> Interval:
    """Return the mean of numbers and its 95 % interval by Student's t; NaN bounds for one."""
    mean, low, high = _mean_interval(np.asarray(values, float))
    return Interval(mean, low, high, len(values), "student-t")


def _mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    if not np.isfinite(values).all():
        return float(values.mean()), math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = _student(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _student(freedom: float) -> float:
    from scipy.stats import t  # here: scipy.stats takes a second to import

    return float(t.ppf((1 + LEVEL) / 2, freedom))
