"""Means with intervals: curves along times or layers, or points beside names."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from .axes import Across
from .canvas import DASHES, LINE, PALETTE, PAPER, SOFT, TEXT, Look, cut, figure_of, grid, look, say
from .output import written

MOST_CURVES = 40
"""Curves of a chart that are drawn."""

WIDE, NARROW = 9.5, 4.0
"""Widths of a chart in inches: at a desk, and on a phone."""

_BESIDE = 6.0  # width from which on the legend stands beside the axes, inches
_TOGETHER = 12  # curves in one panel
_MANY = 10  # names below the axis, above which they stand upright
_LETTERS = 30  # of a line of the legend
_UNIT = re.compile(r"(?<=\d) (?=\w{1,3}\b)")  # between a number and its unit
_ASIDE = 0.14  # between points of one name, in rows

NumberSpan = tuple[float, float, float]
"""Mean and the ends of its interval."""


@dataclass(frozen=True)
class ChartCurve:
    """A mean and an interval at some of the chart's stops.

    Attributes
    ----------
    hue : str
        Curves of one hue share colour and marker.
    dash : str
        Curves of one dash share a pattern; "" if there is nothing to tell apart.
    values : sequence of NumberSpan or None
        One entry per stop, in the chart's unit.
    """

    hue: str
    dash: str
    values: Sequence[NumberSpan | None]

    @property
    def name(self) -> str:
        """Hue and dash."""
        return ", ".join(part for part in (self.hue, self.dash) if part)


@dataclass(frozen=True)
class Level:
    """A horizontal line.

    Attributes
    ----------
    name : str
        In the legend.
    value : float
        In the chart's unit.
    hue : str, optional
        Whose level it is.
    aside : bool
        Named at the line, not in the legend, and no reason to enlarge anything.
    """

    name: str
    value: float
    hue: str | None = None
    aside: bool = False


@dataclass(frozen=True)
class Chart:
    """Content of a figure of :func:`draw`.

    Attributes
    ----------
    title : str
    across : Across
        The other axis: times or names.
    label, unit : str
        Of the values.
    curves : list of ChartCurve
        Those of the first hue are repeated where curves are spread over panels.
    digits : int
        Of values, after the point.
    bounds : (float, float)
        The axis of values does not go beyond.
    zero : bool
        A line at zero.
    joined : bool
        Curves; else points beside the names of ``across``.
    levels : list of Level
        Horizontal lines, for comparison.
    close : float, optional
        Curves this close to the best one are enlarged where others are far away; in the unit.
    larger : bool
        Whether larger values are better.
    dashes : mapping of str to int
        Fixed patterns: numbers of :data:`.canvas.DASHES`.
    meanings : mapping of str to str
        Names of dashes in the legend.
    interval : str
        Name of the intervals in the legend.
    """

    title: str
    across: Across
    label: str
    unit: str
    curves: list[ChartCurve]
    digits: int = 1
    bounds: tuple[float, float] = (-math.inf, math.inf)
    zero: bool = False
    joined: bool = True
    levels: list[Level] = field(default_factory=list)
    close: float | None = None
    larger: bool = True
    dashes: Mapping[str, int] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    interval: str = "95 % interval"

    @property
    def axis(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def draw(
    chart: Chart,
    *,
    title: str | None = None,
    width: float = WIDE,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw a chart; the values at every stop are there for the pointer.

    Parameters
    ----------
    chart : Chart
        Its first :data:`MOST_CURVES` curves.
    title : str, optional
        Default: the chart's own; "" for none.
    width : float
        In inches; below 6 the legend stands above.
    ax : Axes, optional
        Draw all curves here; default a new figure, with several panels where they are many or
        where some are far from the others.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    curves = chart.curves[:MOST_CURVES]
    groups = [("", curves)] if ax is not None or not chart.joined else _groups(chart, curves)
    looks = _looks(chart, curves, split=len(groups) > 1)
    if not chart.joined:
        return written(_beside(chart, curves, looks, title, width, ax), path)
    panels = [(name, part, _range(chart, part, chart.levels)) for name, part in groups]
    close = _close_up(chart, curves) if ax is None and len(groups) == 1 else None
    if close is not None:
        panels.insert(0, ("", curves, close))
    names = max(map(len, chart.across.names))
    upright = len(chart.across.ticks) > _MANY or names * len(chart.across.ticks) > 14 * width
    legends: list[list[Line2D | Patch]] = []
    drawn: set[str] = set()
    for _, part, _ in panels:
        hues = {curve.hue for curve in part}
        legends.append([] if hues <= drawn else _handles(chart, part, looks, width))
        drawn |= hues
    beside = width >= _BESIDE
    rows = [sum(str(h.get_label()).count("\n") + 1 for h in handles) for handles in legends]
    tall = (4.2 if beside else 3.0) if len(panels) == 1 else 2.9
    heights = [max(tall, 0.5 + 0.175 * n) if beside else tall + 0.19 * n for n in rows]
    size = width, sum(heights) + (0.07 * min(names, 24) if upright else 0)
    figure, axes = figure_of(ax, size, rows=len(panels))
    for panel, (name, part, bounds), handles in zip(axes, panels, legends, strict=True):
        panel.set_ylim(*bounds)
        _panel(panel, chart, part, looks, upright)
        panel.set_ylabel(_axis(chart, bounds[0]))
        if handles:
            _legend(panel, handles, width)
        if name:
            panel.set_title(name, fontsize=8.5, color=SOFT, loc="right")
    if close is not None:
        name = "upper part, enlarged" if chart.larger else "lower part, enlarged"
        axes[0].text(0.99, 0.03, name, fontsize=8.5, color=SOFT, ha="right",
                     transform=axes[0].transAxes)  # fmt: skip
    axes[-1].set_xlabel(chart.across.label)
    free = (beside and not panels[0][0]) or ax is not None  # nothing else above the first panel
    _title(figure, axes[0], chart.title if title is None else title, free, width)
    return written(figure, path)


def _looks(
    chart: Chart, curves: Sequence[ChartCurve], *, split: bool
) -> dict[tuple[str, str], Look]:
    """Return colour, marker and dash of every curve: by hue, or by dash if there is one hue.

    With ``split`` curves of different dashes are in different panels.
    """
    hues, dashes = (list(dict.fromkeys(getattr(c, key) for c in curves)) for key in ("hue", "dash"))
    patterns = {name: chart.dashes.get(name, i) for i, name in enumerate(dashes)}
    if len(hues) == 1:
        return {(hues[0], name): look(i, patterns[name]) for i, name in enumerate(dashes)}
    number = {name: i for i, name in enumerate(hues)}
    n = len(PALETTE)
    # Hues beyond the palette have a panel of their own, whose first curve is that in front.
    of = {name: i if i < n else 1 + (i - n) % (n - 1) for name, i in number.items()}
    # Where no dash is to be told apart, every hue has one of its own beside its marker.
    single = split or len(dashes) == 1
    return {
        (c.hue, c.dash): look(of[c.hue], of[c.hue] if single else patterns[c.dash]) for c in curves
    }


def _groups(chart: Chart, curves: Sequence[ChartCurve]) -> list[tuple[str, Sequence[ChartCurve]]]:
    """Split curves into panels in which they can be told apart."""
    hues = list(dict.fromkeys(curve.hue for curve in curves))
    n = len(PALETTE)
    if len(curves) <= _TOGETHER and len(hues) <= n:
        return [("", curves)]
    chunks = [hues[:n], *(hues[i : i + n - 1] for i in range(n, len(hues), n - 1))]
    found: list[tuple[str, Sequence[ChartCurve]]] = []
    for chunk in chunks:
        for dash in dict.fromkeys(curve.dash for curve in curves):
            part = [c for c in curves if c.dash == dash and c.hue in {hues[0], *chunk}]
            if any(c.hue in chunk for c in part):
                found.append((chart.meanings.get(dash, dash), part))
    return found


def _range(
    chart: Chart, curves: Sequence[ChartCurve], levels: Sequence[Level]
) -> tuple[float, float]:  # fmt: skip
    found = [x for c in curves for v in c.values if v is not None for x in v if math.isfinite(x)]
    found += [level.value for level in levels if not level.aside] + [0.0] * chart.zero
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5
    low, high = max(low - room, chart.bounds[0]), min(high + room, chart.bounds[1] + room / 2)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _axis(chart: Chart, begin: float) -> str:
    """Return the name of the axis of values; one that leaves zero out says so."""
    if not chart.bounds[0] == 0 < begin:
        return chart.axis
    told = f"{begin:.{chart.digits}f} {chart.unit}".rstrip()
    return f"{chart.axis}\naxis begins at {told}, not at 0"


def _dash(chart: Chart, level: str) -> Any:
    """Return the pattern of a level that is nobody's own: each name has another one."""
    names = dict.fromkeys(v.name for v in chart.levels if v.hue is None and not v.aside)
    return DASHES[[*names, level].index(level) % len(DASHES)]


def _close_up(chart: Chart, curves: Sequence[ChartCurve]) -> tuple[float, float] | None:
    """Return bounds that enlarge the good curves, where others are far from them."""
    if chart.close is None:
        return None
    sign = 1.0 if chart.larger else -1.0
    worst = [min(sign * x for v in c.values if v for x in v) for c in curves]
    best = max(worst)
    if min(worst) > best - 2 * chart.close:
        return None
    good = [c for c, x in zip(curves, worst, strict=True) if x > best - chart.close]
    near = [v for v in chart.levels if not v.aside and sign * v.value > best - 2 * chart.close]
    return _range(chart, good, near)


def _panel(
    ax: Axes, chart: Chart, curves: Sequence[ChartCurve], looks: Mapping[tuple[str, str], Look],
    upright: bool,
) -> None:  # fmt: skip
    """Draw curves, levels and the horizontal axis."""
    across = chart.across
    places = np.array(across.places)
    for n, curve in enumerate(curves):
        at = [i for i, value in enumerate(curve.values) if value is not None]
        if not at:
            continue
        mean, low, high = np.array([curve.values[i] for i in at], float).T
        style, x = looks[curve.hue, curve.dash], places[at]
        if len(places) == 1:
            x = x + n - (len(curves) - 1) / 2  # else points would hide each other
            ax.errorbar(x, mean, [mean - low, high - mean], color=style.colour, capsize=4, lw=1)
        else:
            ax.fill_between(x, low, high, color=style.colour, alpha=0.14, lw=0)
        ax.plot(x, mean, ms=5, lw=1.8, **style.line())
    for level in chart.levels:
        _level(ax, level, looks, _dash(chart, level.name))
    if chart.zero:
        ax.axhline(0, color=SOFT, lw=0.8, zorder=1)
    if len(places) == 1:
        ax.set_xlim(places[0] - len(curves), places[0] + len(curves))
    else:
        ax.set_xlim(-0.03, 1.03)
    ax.set_xticks([at for at, _ in across.ticks], [cut(name, 24) for _, name in across.ticks])
    if upright:
        for label in ax.get_xticklabels():
            label.set(rotation=90, rotation_mode="anchor", ha="right", va="center", fontsize=7.5)
    if across.broken is not None:
        ax.plot(
            across.broken + np.array([-0.008, 0.008]), [0, 0], transform=ax.get_xaxis_transform(),
            lw=0, marker=[(-0.5, -1), (0.5, 1)], ms=9, mec=TEXT, mew=1, clip_on=False, zorder=5,
        )  # fmt: skip
    grid(ax, "y")
    edges = [ax.get_xlim()[0], *((places[1:] + places[:-1]) / 2), ax.get_xlim()[1]]
    for stop, (begin, end) in enumerate(itertools.pairwise(edges)):
        band = Rectangle((begin, 0), end - begin, 1, transform=ax.get_xaxis_transform())
        _over(ax, band, _value(chart, curves, stop))


def _over(ax: Axes, band: Rectangle, value: str) -> None:
    """Lay an unseen area over a part of the axes, which has a value for the pointer."""
    band.set(facecolor="none", edgecolor="none", zorder=9, in_layout=False)
    say(band, value)
    ax.add_artist(band)


def _level(
    ax: Axes, level: Level, looks: Mapping[tuple[str, str], Look], dash: Any
) -> None:  # fmt: skip
    low, high = ax.get_ylim()
    if level.aside:
        if not low <= level.value <= high:
            return
        ax.axhline(level.value, color=LINE, lw=1, ls=(0, (1, 3)))
        ax.annotate(
            level.name, (0, level.value), xycoords=("axes fraction", "data"), color=SOFT,
            fontsize=8, va="bottom", xytext=(4, 1), textcoords="offset points",
        )  # fmt: skip
        return
    colour = next((v.colour for (hue, _), v in looks.items() if hue == level.hue), TEXT)
    ax.axhline(level.value, color=colour, lw=1, ls=dash if level.hue is None else ":")


def _value(chart: Chart, curves: Sequence[ChartCurve], stop: int) -> str:
    """Return the values of all curves at a stop, as text."""

    def number(x: float) -> str:
        return f"{x:.{chart.digits}f}" if math.isfinite(x) else "?"

    found = [f"{chart.across.names[stop]} ({chart.unit})"]
    for curve in curves:
        value = curve.values[stop]
        if value is not None:
            mean, low, high = map(number, value)
            found.append(f"{curve.name}: {mean} [{low}, {high}]")
    found += [f"{v.name}: {number(v.value)}" for v in chart.levels if v.hue is None and not v.aside]
    return "; ".join(found)


def _handles(
    chart: Chart, curves: Sequence[ChartCurve], looks: Mapping[tuple[str, str], Look], width: float
) -> list[Line2D | Patch]:  # fmt: skip
    """Return the entries of a legend: hues and dashes by themselves."""
    hues, dashes = (list(dict.fromkeys(getattr(c, key) for c in curves)) for key in ("hue", "dash"))
    line: dict[str, Any] = {"ms": 5, "lw": 1.8}
    handles: list[Line2D | Patch] = []
    if len(hues) == 1 or len(dashes) == 1:
        for curve in curves:
            name = curve.dash if len(hues) == 1 and len(dashes) > 1 else curve.hue
            keywords = looks[curve.hue, curve.dash].line() | line
            if not chart.joined:
                keywords["ls"] = "-"
            handles.append(Line2D([], [], label=chart.meanings.get(name, name), **keywords))
    else:
        for hue in hues:
            style = next(v for (name, _), v in looks.items() if name == hue)
            handles.append(Line2D([], [], color=style.colour, marker=style.marker, label=hue,
                                  **line))  # fmt: skip
        for dash in filter(None, dashes):
            style = next(v for (_, name), v in looks.items() if name == dash)
            face = SOFT if style.filled else PAPER
            handles.append(Line2D([], [], color=SOFT, ls=style.dash, marker="o", mfc=face,
                                  label=chart.meanings.get(dash, dash), **line))  # fmt: skip
    bands = chart.joined and len(chart.across.places) > 1
    whisker = Line2D([], [], color=SOFT, lw=1.5, marker="o", ms=5, label=chart.interval)
    band = Patch(color=SOFT, alpha=0.25, lw=0, label=chart.interval)
    handles.append(band if bands else whisker)
    for name in dict.fromkeys(level.name for level in chart.levels if not level.aside):
        own = any(level.hue for level in chart.levels if level.name == name)
        level_style: dict[str, Any] = {"color": SOFT, "ls": ":"}
        if not own:
            level_style = {"color": TEXT, "ls": _dash(chart, name)}
        if own and not chart.joined:
            level_style = {"color": TEXT, "ls": "", "marker": "|", "ms": 12, "mew": 1}
        handles.append(Line2D([], [], lw=1, label=name, **level_style))
    letters = _LETTERS if width >= _BESIDE else 38
    for handle in handles:
        label = _UNIT.sub("\N{NO-BREAK SPACE}", str(handle.get_label()))
        wrapped = textwrap.wrap(label, letters, break_on_hyphens=False)
        handle.set_label("\n".join(wrapped[:3]))
    return handles


def _legend(ax: Axes, handles: list[Line2D | Patch], width: float) -> None:
    """Place a legend where it covers nothing: right of the axes, or above narrow ones."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}
    if width < _BESIDE:
        place = {"loc": "lower left", "bbox_to_anchor": (-0.12, 1.0)}
    ax.legend(handles=handles, frameon=False, fontsize=8.5, handlelength=3.6, labelspacing=0.5,
              borderaxespad=0.3, **place)  # fmt: skip


def _title(figure: Figure, first: Axes, title: str, beside: bool, width: float) -> None:
    if not title:
        return
    wrapped = "\n".join(textwrap.wrap(title, int(11 * width)))
    if beside:
        first.set_title(wrapped, fontsize=10, loc="left")
    else:
        figure.suptitle(wrapped, fontsize=10, x=0.01, ha="left")


def _beside(
    chart: Chart, curves: Sequence[ChartCurve], looks: Mapping[tuple[str, str], Look],
    title: str | None, width: float, ax: Axes | None,
) -> Figure:  # fmt: skip
    """Draw points with whiskers in rows, beside the names."""
    names = chart.across.names
    row = max(0.3, _ASIDE * (len(curves) + 1))
    narrow = width < _BESIDE
    handles = _handles(chart, curves, looks, width) if len(curves) > 1 else []
    figure, (ax, *_) = figure_of(ax, (width, 1.2 + row * len(names) + 0.2 * narrow * len(handles)))
    for n, curve in enumerate(curves):
        at = [i for i, value in enumerate(curve.values) if value is not None]
        if not at:
            continue
        mean, low, high = np.array([curve.values[i] for i in at], float).T
        style = looks[curve.hue, curve.dash]
        y = np.array(at) + (n - (len(curves) - 1) / 2) * _ASIDE / row
        ax.hlines(y, low, high, color=style.colour, lw=1.5)
        ax.plot(mean, y, ms=5, **(style.line() | {"ls": ""}))
    if chart.zero:
        ax.axvline(0, color=SOFT, lw=0.8, zorder=1)
    for level in chart.levels:
        if level.hue in names:
            ax.plot(
                level.value, names.index(level.hue), marker="|", ms=14, mew=1, color=TEXT, ls=""
            )
        else:
            ax.axvline(level.value, color=LINE if level.aside else TEXT, lw=1,
                       ls=_dash(chart, level.name))  # fmt: skip
    letters = 34 if not narrow else 20
    ax.set_yticks(range(len(names)), ["\n".join(textwrap.wrap(n, letters)[:2]) for n in names],
                  fontsize=8.5)  # fmt: skip
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(*_range(chart, curves, chart.levels))
    ax.set_xlabel(_axis(chart, ax.get_xlim()[0]).replace("\n", "; "))
    grid(ax, "x")
    for i in range(len(names)):
        band = Rectangle((0, i - 0.5), 1, 1, transform=ax.get_yaxis_transform())
        _over(ax, band, _value(chart, curves, i))
    if handles:
        _legend(ax, handles, width)
    _title(figure, ax, chart.title if title is None else title, not narrow, width)
    return figure
