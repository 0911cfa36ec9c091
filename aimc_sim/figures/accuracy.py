"""A metric against time after programming, with 95 % intervals: accuracy unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis import drift
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

_NEAR = 0.15  # where the level of chance is drawn: this close to a curve, in shares


@dataclass(frozen=True)
class Measure:
    """How a metric is drawn.

    Attributes
    ----------
    about : str
        Its name on the axis.
    unit : str
        Of the values on the axis.
    factor : float
        From a score to the unit.
    larger : bool
        Whether larger values are better.
    bounds : (float, float)
        In the unit: no value lies beyond.
    close : float, optional
        In the unit: curves this close to the best one are enlarged where others are far away.
    """

    about: str = "classified correctly"
    unit: str = "%"
    factor: float = 100.0
    larger: bool = True
    bounds: tuple[float, float] = (0.0, 100.0)
    close: float | None = 15.0

    @property
    def label(self) -> str:
        """Its name on the axis; the direction is said where less is better."""
        return self.about if self.larger else f"{self.about}, less is better"


ACCURACY = Measure()
"""Share of the images whose largest score is at their label."""


def chart(
    summary: pd.DataFrame,
    *,
    by: str = "setting",
    front: tuple[str, str] | None = None,
    references: Mapping[str, float | Mapping[str, float]] | None = None,
    chance: float | None = None,
    title: str | None = None,
    measure: Measure = ACCURACY,
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
    measure : Measure
        The metric whose scores these are.

    Returns
    -------
    Chart
        With a single time and several settings: points beside the names of the settings.
    """
    settings, methods = (summary[key].unique().tolist() for key in (by, "compensation"))
    if front is not None:
        settings.sort(key=lambda name: name != front[0])
        methods.sort(key=lambda name: name != front[1])
    moments = sorted(summary["time_seconds"].unique())
    found = {
        (getattr(row, by), row.compensation, row.time_seconds): tuple(
            measure.factor * x for x in (row.mean, row.low, row.high)
        )
        for row in summary.itertuples()
    }
    joined = len(moments) > 1 or len(settings) == 1
    if joined:
        across = axes.times(moments)
        curves = [
            ChartCurve(setting, method, values)
            for setting in settings
            for method in methods
            if any(values := [found.get((setting, method, t)) for t in moments])
        ]
    else:
        across = axes.names(settings, by)
        curves = [
            ChartCurve(
                method, "", [found.get((setting, method, moments[0])) for setting in settings]
            )
            for method in methods
        ]
    levels = [
        Level(name, measure.factor * level, setting)
        for name, value in (references or {}).items()
        for setting, level in (value.items() if isinstance(value, Mapping) else [(None, value)])
    ]
    if chance is not None:
        lowest = min([summary["low"].min(), *(level.value / measure.factor for level in levels)])
        if lowest < chance + _NEAR:
            levels.append(Level("chance", measure.factor * chance, aside=True))
    over = "programmings" if (summary["interval"] == "student-t").all() else "images"
    return Chart(
        _size(summary) if title is None else title, across, measure.label, measure.unit, curves,
        digits=1 if summary["images"].max() <= 1000 else 2, bounds=measure.bounds, joined=joined,
        levels=levels, close=measure.close, larger=measure.larger, dashes=DASHES,
        meanings=MEANINGS, interval=f"95 % interval over {over}",
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
        From :func:`aimc_sim.analysis.drift.drift_study`.
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
