"""Cost of effects and layers, step by step: the figure of :mod:`aimc_sim.studies.attribute`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import metrics
from ..metrics import Metric
from .axes import when
from .canvas import HATCHES, PALETTE, PAPER, TEXT, Drawing, cut, grid, say
from .output import written

_TITLES = {
    "alone": "this effect alone",
    "missing": "everything, against everything but this",
    "layer": "this layer with real devices, the others perfect",
}


def waterfall(
    rows: pd.DataFrame, *, title: str | None = None, path: str | Path | None = None
) -> Figure:
    """Draw what effects and layers cost at one time and compensation.

    Parameters
    ----------
    rows : DataFrame
        From :func:`.attribute.table`, of one time and one compensation.
    title : str, optional
        "" for none.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
        One panel per kind: bars from where the effects above ended ("alone", with the rest that
        effects have in common, down to the whole), or from zero; whiskers are 95 % intervals.

    Raises
    ------
    ValueError
        If the rows are of several times or compensations.
    """
    looks = rows[["time_seconds", "compensation"]].drop_duplicates()
    if len(looks) != 1:
        raise ValueError(f"{len(looks)} times and compensations; choose the rows of one")
    kinds = [kind for kind in _TITLES if kind in set(rows["kind"])]
    heights = [len(rows[rows["kind"] == kind]) + 3 for kind in kinds]
    figure = Drawing(figsize=(8, 1.0 + 0.28 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(kinds), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    whole, metric = rows[rows["kind"] == "whole"].iloc[0], metrics.of(rows)
    for ax, kind in zip(panels, kinds, strict=True):
        part = rows[rows["kind"] == kind]
        if kind != "layer":
            part = part.sort_values("difference")
        _panel(ax, part, whole, metric, falls=kind == "alone")
        ax.set_title(_TITLES[kind], fontsize=10, loc="left")
    unit = f" ({metric.difference_unit})" if metric.difference_unit else ""
    panels[-1].set_xlabel(f"change of {metric.name}{unit}")
    (time, compensation) = looks.iloc[0]
    told = f"{when(time)}, compensation {compensation}" if title is None else title
    if told:
        figure.suptitle(told, fontsize=11, x=0.01, ha="left")
    return written(figure, path)


def _panel(
    ax: Axes, part: pd.DataFrame, whole: pd.Series, metric: Metric, *, falls: bool
) -> None:  # fmt: skip
    labels = part["effect"].tolist()
    size = metric.scale * part["difference"].to_numpy()
    low, high = metric.scale * part["low"].to_numpy(), metric.scale * part["high"].to_numpy()
    begin = np.zeros(len(size))
    if falls:
        begin = np.concatenate([[0.0], np.cumsum(size)[:-1]])
        rest = metric.scale * whole["difference"] - size.sum()
        labels += ["together, beyond the sum", "all effects"]
        begin = np.append(begin, [size.sum(), 0.0])
        size = np.append(size, [rest, metric.scale * whole["difference"]])
        low = np.append(low, [np.nan, metric.scale * whole["low"]])
        high = np.append(high, [np.nan, metric.scale * whole["high"]])
    y = np.arange(len(size))
    colours = [PALETTE[1] if metric.better(s) < 0 else PALETTE[2] for s in size]
    bars = ax.barh(y, size, left=begin, color=colours, height=0.65, alpha=0.75)
    for bar, s in zip(bars, size, strict=True):
        if metric.better(s) < 0:
            bar.set(hatch=HATCHES[1], edgecolor=PAPER, linewidth=0)
    unit = metric.difference_unit.replace("percentage ", "")
    for bar, name, value, *ends in zip(bars, labels, size, low, high, strict=True):
        interval = "" if np.isnan(ends[0]) else f" [{ends[0]:+.2f}, {ends[1]:+.2f}]"
        say(bar, f"{name}: {value:+.2f}{interval} {unit}".rstrip())
    known = np.isfinite(low)
    whiskers = np.abs(np.array([size - low, high - size]))[:, known]
    ends = (begin + size)[known]
    ax.errorbar(ends, y[known], xerr=whiskers, fmt="none", ecolor=TEXT, elinewidth=1, capsize=2)
    ax.axvline(0, color=TEXT, lw=0.8)
    ax.set_yticks(y, [cut(name, 32) for name in labels], fontsize=8.5)
    ax.invert_yaxis()
    for place, value in zip(y, size, strict=True):
        ax.annotate(
            f"{value:+.2f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    grid(ax, "x")
