"""Designs in their objectives, and their front."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, MaxNLocator

from .. import metrics
from ..metrics import Metric
from ..search.front import DOMINATED, EXCLUDED, FRONT, LIKELY, POSSIBLE
from ..search.objectives import COSTS, goals, quality
from .canvas import PALETTE, Drawing, grid
from .output import written

_HALO = withStroke(linewidth=2.5, foreground="white")

_STYLES: dict[str, tuple[str, dict[str, Any]]] = {
    EXCLUDED: ("a constraint is missed", {"marker": "x", "color": "0.6", "ms": 5}),
    DOMINATED: ("dominated", {"marker": "o", "color": "0.72", "ms": 4.5}),
    POSSIBLE: (
        "dominated by means, not beyond the intervals",
        {"marker": "s", "color": PALETTE[4], "ms": 5, "mfc": "white", "mew": 1.4},
    ),
    LIKELY: (
        "front by means; one that costs no more may equal it",
        {"marker": "D", "color": PALETTE[0], "ms": 6, "mfc": "white", "mew": 1.6},
    ),
    FRONT: ("front beyond the intervals", {"marker": "D", "color": PALETTE[0], "ms": 6.5}),
}


def pareto(
    designs: pd.DataFrame, objectives: Sequence[str], *, title: str = "",
    paths: Sequence[str | Path] = (),
) -> Figure:  # fmt: skip
    """Draw all designs in their objectives, and the front.

    Parameters
    ----------
    designs : DataFrame
        From :func:`.outcome.table`.
    objectives : sequence of str
        The metric, or else the first, is drawn upwards; one panel for each of the others. One
        objective alone is drawn against the numbers of the designs.
    title : str, optional
    paths : sequence of path, optional
        Also write the picture to these files.

    Returns
    -------
    Figure
        Whiskers are 95 % intervals of the metric over programmings. Two objectives have their
        front as a line; of more, panels are projections, and a point of the front may seem
        dominated in one of them.
    """
    metric = metrics.of(designs)
    up = quality(metric.name)
    up = up if up in objectives else objectives[0]
    across = [name for name in objectives if name != up] or ["design"]
    figure = Drawing(figsize=(1.2 + 4.9 * len(across), 5.6), layout="constrained")
    panels = figure.subplots(1, len(across), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, across, strict=True):
        _panel(ax, designs, name, up, metric)
        if len(across) == 1 and name != "design":
            _line(ax, designs, name, up, metric)
        _axis(ax.xaxis, name, ax.set_xlabel, metric)
    _axis(panels[0].yaxis, up, panels[0].set_ylabel, metric)
    if title:
        wrapped = textwrap.fill(title, 72 * len(across))
        figure.suptitle(wrapped, fontsize=10.5, x=0.01, ha="left")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        loc="outside lower left",
        frameon=False,
        fontsize=8.5,
        ncols=min(2, len(panels)),
    )
    for path in paths:
        written(figure, path)
    return figure


def _panel(ax: Axes, designs: pd.DataFrame, across: str, up: str, metric: Metric) -> None:
    scale = 1.0 if up in COSTS else metric.scale
    for order, (status, (label, style)) in enumerate(_STYLES.items()):
        part = designs[designs["status"] == status].dropna(subset=[across, up])
        if part.empty:
            continue
        x, y = part[across].to_numpy(float), scale * part[up].to_numpy(float)
        if up not in COSTS:
            bars = np.abs(y - scale * part[["low", "high"]].to_numpy(float).T)
            ax.errorbar(x, y, bars, fmt="none", ecolor=style["color"], elinewidth=0.9, alpha=0.6,
                        zorder=2 + order)  # fmt: skip
        ax.plot(x, y, ls="none", label=f"{label} ({len(part)})", zorder=3 + order, **style)
        if status in (FRONT, LIKELY):
            for number, place in zip(part["design"], zip(x, y, strict=True), strict=True):
                ax.annotate(f"{number}", place, xytext=(6, 5), textcoords="offset points",
                            fontsize=8, color=PALETTE[0], zorder=12,
                            path_effects=[_HALO])  # fmt: skip
    grid(ax)
    ax.margins(x=0.08, y=0.08)


def _line(ax: Axes, designs: pd.DataFrame, across: str, up: str, metric: Metric) -> None:
    """Draw the edge of what the designs of the front dominate."""
    on = designs[designs["status"].isin((FRONT, LIKELY))]
    if len(on) < 2:
        return
    on = on.sort_values(across, ascending=not COSTS[across].larger)
    scale = 1.0 if up in COSTS else metric.scale
    ax.step(
        on[across],
        scale * on[up],
        where="post",
        color=PALETTE[0],
        lw=1.1,
        ls="--",
        alpha=0.7,
        zorder=2,
    )


def _axis(axis: Axis, name: str, label: Callable[[str], Any], metric: Metric) -> None:
    """Name an axis with its unit and direction."""
    if name == "design":
        label("design, in the order of proposal")
        axis.set_major_locator(MaxNLocator(integer=True))
        return
    goal = goals(metric)[name]
    unit = goal.unit if goal.unit in ("J", "s") else ""  # at the ticks, with its prefix
    about = goal.about if name in COSTS or not goal.unit else f"{goal.about} ({goal.unit})"
    label(f"{about}: {'more' if goal.larger else 'less'} is better")
    if name == "cores":
        axis.set_major_locator(MaxNLocator(integer=True))
    elif name in COSTS:
        axis.set_major_formatter(EngFormatter(unit=unit, sep=" "))
