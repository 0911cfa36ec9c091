"""The figures of the page as PNG and SVG files, for papers and slides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..figures.canvas import PALETTE, figure_of
from ..figures.energy import energy
from ..figures.floorplan import floorplan
from ..figures.output import save
from ..figures.pipeline import gantt
from ..figures.waterfall import waterfall
from .page import Page
from .tables import MOST_SERIES, PageChart

FORMATS = ("png", "svg")

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
_BESIDE = 0.012  # between points of one place, in widths of the chart
_MANY = 12  # names below the axis, above which they stand upright


def names(page: Page) -> list[str]:
    """Return the names of the files that :func:`write` makes."""
    return [f"{name}.{kind}" for name, _ in _figures(page) for kind in FORMATS]


def write(page: Page, folder: str | Path) -> list[Path]:
    """Write every figure of the page as PNG and SVG.

    Parameters
    ----------
    page : Page
        From :func:`.page.gather`.
    folder : path
        Made if it is missing.

    Returns
    -------
    list of Path

    Raises
    ------
    OSError
        If they cannot be written.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    # Text stays text, and equal results give equal files.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "aimc-sim"}):
        for name, draw in _figures(page):
            figure = draw()
            for kind in FORMATS:
                path = folder / f"{name}.{kind}"
                save(figure, path)
                written.append(path)
    return written


def line_chart(chart: PageChart) -> Figure:
    """Draw a chart of the page: means, and 95 % intervals as bands.

    Parameters
    ----------
    chart : PageChart
        Its first :data:`.tables.MOST_SERIES` curves, whether switched on at first or not.

    Returns
    -------
    Figure
    """
    figure, (ax,) = figure_of(None, (9.5, 4.8))
    places = np.array([at for at, _ in chart.stops])
    shown = chart.series[:MOST_SERIES]
    for n, series in enumerate(shown):
        known = np.array([value is not None for value in series.values])
        mean, low, high = np.array([v for v in series.values if v is not None], float).T
        colour = PALETTE[series.colour % len(PALETTE)]
        at = places[known]
        if not chart.joined:
            at = at + _BESIDE * (n - (len(shown) - 1) / 2)
        if known.sum() > 1 and chart.joined:
            ax.fill_between(at, low, high, color=colour, alpha=0.14, lw=0)
        else:
            ax.vlines(at, low, high, color=colour)
        ax.plot(
            at, mean, color=colour, label=series.name, ms=4.5,
            ls=_LINES[series.dash % 4] if chart.joined else "", marker=_MARKERS[series.dash % 4],
        )  # fmt: skip
    upright = {"rotation": 90, "fontsize": 7.5} if len(chart.stops) > _MANY else {}
    ax.set_xticks(places, [name for _, name in chart.stops], **upright)
    ax.set_xlabel(chart.x_label)
    ax.set_ylabel(f"{chart.y_label} ({chart.unit})")
    if chart.zero:
        ax.axhline(0, color="0.4", lw=0.8)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.set_title(chart.title, fontsize=10, loc="left")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    return figure


def _figures(page: Page) -> Iterator[tuple[str, Callable[[], Figure]]]:
    for name, chart in page.charts.items():
        yield name, lambda chart=chart: line_chart(chart)
    for n, (drawing, rows) in enumerate(page.waterfalls, 1):
        name = "waterfall" if len(page.waterfalls) == 1 else f"waterfall{n}"
        yield name, lambda title=drawing.title, rows=rows: waterfall(rows, title=title)
    machine = page.machine
    if machine is not None:
        yield "floorplan", lambda: floorplan(machine.compiled, machine.spec)
        yield "pipeline", lambda: gantt(machine.performance.pipeline)
        yield "energy", lambda: energy(machine.performance)
