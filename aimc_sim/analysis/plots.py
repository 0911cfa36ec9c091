"""The picture of a study: accuracy against time.

Plain ``Figure`` objects, no pyplot: nothing global, works without a display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .. import units
from . import drift
from .canvas import PALETTE, figure_of, written

STYLES = {
    "none": ("--", "o"),
    "gdc": ("-", "s"),
    "column": ("-.", "^"),
    "gdc-signs": ("-", "v"),
    "ls": (":", "D"),
}
"""Line and marker of each drift compensation."""

STYLE_NAMES = {"none": "no compensation", "gdc": "gdc: a factor per core",
               "column": "column: a factor per column"}  # fmt: skip

_COMMON_TICKS = (1.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0, 3650 * 86400.0)
_MOST_TICKS = 8
_NOW_GAP = 1.2  # decades between "now" and the first later time
_CLOSE = 0.15  # accuracies this close (0..1) are drawn in one panel


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
    references : mapping, optional
        Accuracies (0..1) to draw as level lines, by name: one number, or one for each preset.
    chance : float, optional
        Accuracy of guessing (0..1), drawn where the curves come near it.
    title : str, optional
        Default: the number of images and programmings.
    ax : Axes, optional
        Draw here; default a new figure, with the good curves enlarged where others fall far.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    table = drift.summarise(rows)
    references = references or {}
    levels = [
        x for v in references.values() for x in (v.values() if isinstance(v, Mapping) else [v])
    ]
    lowest = min([table["low"].min(), *levels])
    near_chance = chance is not None and lowest < chance + 0.15
    bounds = [(min(lowest, chance) if near_chance else lowest, 1.0)]
    close = _close_up(table, levels) if ax is None else None
    if close is not None:
        bounds.insert(0, close)
    figure, panels = figure_of(ax, (9.0, 4.8 if close is None else 6.6), rows=len(bounds))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(table["preset"].unique())}
    for panel, (low, high) in zip(panels, bounds, strict=True):
        _panel(panel, table, references, colours)
        panel.set_ylim(100 * max(0.0, low - 0.05 * (high - low)), 100 * high + 2 * (high - low))
        panel.set_ylabel("classified correctly (%)")
    if near_chance:
        _chance_line(panels[-1], chance)
    if close is not None:
        panels[0].set_xlabel("")
        panels[0].text(
            0.99, 0.03, "upper part, enlarged", fontsize=8.5, color="0.4", ha="right",
            transform=panels[0].transAxes,
        )  # fmt: skip
    panels[0].set_title(title or _default_title(table), fontsize=10, loc="left")
    _drift_legend(panels[0], table, references, colours)
    return written(figure, path)


# ------------------------------------------------------------------------ drift_accuracy


def _close_up(table: pd.DataFrame, levels: Sequence[float]) -> tuple[float, float] | None:
    """Return bounds that enlarge the good curves, where others fall far below them."""
    lows = table.groupby(["preset", "compensation"])["low"].min()
    good = lows[lows > lows.max() - _CLOSE]
    if lows.min() > lows.max() - 2 * _CLOSE:
        return None
    highs = table.groupby(["preset", "compensation"])["high"].max()[good.index]
    near = [level for level in levels if level > good.min() - _CLOSE]
    return min([good.min(), *near]), max([highs.max(), *near])


def _panel(
    ax: Axes, table: pd.DataFrame, references: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    """Draw all curves and level lines."""
    moments = sorted(table["time_seconds"].unique())
    place = _time_axis(ax, moments)
    curves = list(table.groupby(["preset", "compensation"], sort=False))
    for i, ((preset, method), line) in enumerate(curves):
        aside = i - (len(curves) - 1) / 2 if len(moments) == 1 else 0.0  # else points would hide
        x = [place(moment) + aside for moment in line["time_seconds"]]
        _curve(ax, line, x, colours[preset], STYLES.get(method, (":", "d")))
    if len(moments) == 1:
        ax.set_xlim(place(moments[0]) - len(curves), place(moments[0]) + len(curves))
    for value in references.values():
        each = value if isinstance(value, Mapping) else {None: value}
        for preset, level in each.items():
            colour = "black" if preset is None else colours.get(preset, "black")
            ax.axhline(100 * level, color=colour, lw=1, ls="-" if preset is None else ":")
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)


def _time_axis(ax: Axes, moments: Sequence[float]) -> Any:
    """Set up a logarithmic time axis with room for 0; return seconds -> position."""
    later = [moment for moment in moments if moment > 0]
    first = math.log10(later[0]) if later else 0.0
    now = first - _NOW_GAP if later else 0.0

    def place(seconds: float) -> float:
        return math.log10(seconds) if seconds > 0 else now

    ticks = list(moments)
    if len(ticks) > _MOST_TICKS:
        common = [t for t in _COMMON_TICKS if later[0] <= t <= later[-1]]
        ticks = [t for t in moments if t == 0]
        ticks += common if len(common) > 1 else [later[0], later[-1]]
    span, shown = place(moments[-1]) - place(moments[0]), []
    for tick in sorted(ticks):  # labels need room: leave out what comes too close
        if not shown or place(tick) - place(shown[-1]) > 0.06 * span:
            shown.append(tick)
    ax.set_xticks([place(t) for t in shown], [units.show_time(t) if t else "now" for t in shown])
    ax.set_xlabel("time after programming" + (" (logarithmic)" if len(later) > 1 else ""))
    if later and moments[0] == 0:  # the axis is broken between "now" and the first later time
        middle = (now + first) / 2
        ax.plot(
            [middle - 0.04, middle + 0.04], [0, 0], transform=ax.get_xaxis_transform(), lw=0,
            marker=[(-0.5, -1), (0.5, 1)], ms=9, mec="black", mew=1, clip_on=False, zorder=5,
        )  # fmt: skip
    return place


def _curve(
    ax: Axes, line: pd.DataFrame, x: Sequence[float], colour: str, style: tuple[str, str]
) -> None:
    mean, low, high = (100 * line[name].to_numpy() for name in ("mean", "low", "high"))
    if len(x) > 1:
        ax.fill_between(x, low, high, color=colour, alpha=0.14, lw=0)
    else:
        ax.errorbar(x, mean, [mean - low, high - mean], color=colour, capsize=4, lw=1)
    ax.plot(x, mean, color=colour, ls=style[0], marker=style[1], ms=5, lw=1.8)


def _chance_line(ax: Axes, chance: float) -> None:
    ax.axhline(100 * chance, color="0.6", lw=1, ls=(0, (1, 3)))
    ax.annotate(
        "chance", (1, 100 * chance), xycoords=("axes fraction", "data"), color="0.4", fontsize=8,
        ha="right", va="bottom", xytext=(-3, 2), textcoords="offset points",
    )  # fmt: skip


def _drift_legend(
    ax: Axes, table: pd.DataFrame, references: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    """Place the legend right of the axes, where it covers nothing."""
    handles = [Line2D([], [], color=colour, lw=5, label=name) for name, colour in colours.items()]
    for method in table["compensation"].unique():
        line, marker = STYLES.get(method, (":", "d"))
        name = STYLE_NAMES.get(method, method)
        handles.append(Line2D([], [], color="0.3", ls=line, marker=marker, ms=5, label=name))
    over = "programmings" if (table["interval"] == "student-t").all() else "images"
    handles.append(Patch(color="0.5", alpha=0.25, lw=0, label=f"95 % interval over {over}"))
    for name, value in references.items():
        style = {"color": "0.3", "ls": ":"} if isinstance(value, Mapping) else {"color": "black"}
        handles.append(Line2D([], [], lw=1, label=name, **style))
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=8.5,
        handlelength=3.6,
        labelspacing=0.7,
    )


def _default_title(table: pd.DataFrame) -> str:
    n, images = int(table["programmings"].min()), int(table["images"].iloc[0])
    programmings = "one programming" if n == 1 else f"mean of {n} programmings"
    return f"{images:,} images, {programmings}"
