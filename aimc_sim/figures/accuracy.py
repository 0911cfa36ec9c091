"""A metric against time after programming, with 95 % intervals: accuracy unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import metrics
from ..metrics import Metric
from ..studies import drift
from . import axes, lines
from .lines import Chart, ChartCurve, Level

DASHES = {"gdc": 0, "none": 1, "adabs": 2, "column": 3, "ls": 4, "gdc-signs": 5}
"""Number of the dash pattern of each drift compensation."""

MEANINGS = {
    "none": "no compensation",
    "gdc": "gdc: a factor per core",
    "column": "column: a factor per column",
    "adabs": "adabs: normalisation set anew",
}
"""Names of the compensations in the legend."""

_CLOSE = 15.0  # percent: curves this close to the best one are enlarged, others being far away
_NEAR = 0.15  # where the level of chance is drawn: this close to a curve, in shares


def chart(
    summary: pd.DataFrame,
    *,
    by: str = "setting",
    front: tuple[str, str] | None = None,
    references: Mapping[str, float | Mapping[str, float]] | None = None,
    chance: float | None = None,
    title: str | None = None,
    metric: Metric | None = None,
) -> Chart:
    """Return a metric against time, a curve per setting and compensation.

    Parameters
    ----------
    summary : DataFrame
        Columns: the one that `by` names, compensation, time_seconds, mean, low, high, images,
        programmings, interval; as from :func:`aimc_sim.results.summary`.
    by : str
        Column with the names of the settings.
    front : (str, str), optional
        Setting and compensation that come first.
    references : mapping, optional
        Scores to draw as level lines, by name: one number, or one for each setting.
    chance : float, optional
        Score of guessing, drawn where the curves come near it.
    title : str, optional
        Default: the number of images and programmings.
    metric : Metric, optional
        Its name, unit and direction are written at the axis. Default: that of the summary.

    Returns
    -------
    Chart
        With a single time and several settings: points beside the names of the settings.
    """
    metric = metrics.of(summary) if metric is None else metric
    settings, methods = (summary[key].unique().tolist() for key in (by, "compensation"))
    if front is not None:
        settings.sort(key=lambda name: name != front[0])
        methods.sort(key=lambda name: name != front[1])
    evaluation_times = sorted(summary["time_seconds"].unique())
    found = {
        (getattr(row, by), row.compensation, row.time_seconds): tuple(
            metric.scale * x for x in (row.mean, row.low, row.high)
        )
        for row in summary.itertuples()
    }
    joined = len(evaluation_times) > 1 or len(settings) == 1
    if joined:
        across = axes.times(evaluation_times)
        curves = [
            ChartCurve(setting, method, values)
            for setting in settings
            for method in methods
            if any(values := [found.get((setting, method, t)) for t in evaluation_times])
        ]
    else:
        across = axes.names(settings, by)
        curves = [
            ChartCurve(
                method,
                "",
                [found.get((setting, method, evaluation_times[0])) for setting in settings],
            )
            for method in methods
        ]
    levels = [
        Level(name, metric.scale * level, setting)
        for name, value in (references or {}).items()
        for setting, level in (value.items() if isinstance(value, Mapping) else [(None, value)])
    ]
    if chance is not None:
        lowest = min([summary["low"].min(), *(level.value / metric.scale for level in levels)])
        if lowest < chance + _NEAR:
            levels.append(Level("chance", metric.scale * chance, aside=True))
    over = "programmings" if (summary["interval"] == "student-t").all() else "images"
    about = metric.about if metric.larger else f"{metric.about}, less is better"
    low, high = (metric.scale * x for x in metric.bounds)
    return Chart(
        _size(summary) if title is None else title, across, about, metric.unit, curves,
        digits=metric.digits_of(int(summary["images"].max())), bounds=(low, high), joined=joined,
        levels=levels, close=_CLOSE if metric.unit == "%" else None, larger=metric.larger,
        dashes=DASHES, meanings=MEANINGS, interval=f"95 % interval over {over}",
    )  # fmt: skip


def drift_accuracy(
    rows: pd.DataFrame,
    references: Mapping[str, float | Mapping[str, float]] | None = None,
    *,
    chance: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw accuracy against time after programming, with 95 % intervals.

    Parameters
    ----------
    rows : DataFrame
        From :func:`aimc_sim.studies.drift.drift_study`.
    references, chance, title
        As in :func:`chart`; references by preset.
    ax, path : optional
        As in :func:`.lines.draw`.

    Returns
    -------
    Figure
        The good curves are enlarged where others fall far.
    """
    found = chart(drift.summarise(rows), by="preset", references=references, chance=chance,
                  title=title)  # fmt: skip
    return lines.draw(found, ax=ax, path=path)


def _size(summary: pd.DataFrame) -> str:
    n, images = int(summary["programmings"].min()), int(summary["images"].iloc[0])
    programmings = "one programming" if n == 1 else f"mean of {n} programmings"
    return f"{images:,} images, {programmings}"
