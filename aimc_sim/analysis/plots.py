"""The pictures: accuracy against time, and who sits where on the chip.

Plain ``Figure`` objects, no pyplot: nothing global, works without a display.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from .. import units
from ..chip.image import Block, ChipImage
from ..spec import ChipSpec
from . import drift

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C6D31")
"""Colours that stay apart for colour-blind readers: Okabe & Ito (2008), grey and brown added."""

STYLES = {"none": ("--", "o"), "gdc": ("-", "s"), "column": ("-.", "^")}
"""Line and marker of each drift compensation."""

STYLE_NAMES = {"none": "no compensation", "gdc": "gdc: a factor per core",
               "column": "column: a factor per column"}  # fmt: skip

_DECADE_TICKS = (1.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0, 3650 * 86400.0)
_MOST_TICKS = 8
_NOW_GAP = 1.2  # decades between "now" and the first later time
_DPI = 160


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
        Draw here; default a new figure.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    table = drift.summarise(rows)
    figure, ax = _figure(ax, (9.0, 4.8))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(table["preset"].unique())}
    moments = sorted(table["time_seconds"].unique())
    place = _time_axis(ax, moments)
    for (preset, method), line in table.groupby(["preset", "compensation"], sort=False):
        _curve(ax, line, place, colours[preset], STYLES.get(method, (":", "d")))
    lowest = _reference_lines(ax, references or {}, colours, table["low"].min())
    if chance is not None and lowest < chance + 0.15:
        ax.axhline(100 * chance, color="0.6", lw=1, ls=(0, (1, 3)))
        lowest = min(lowest, chance)
        ax.annotate(
            "chance", (1, 100 * chance), xycoords=("axes fraction", "data"), color="0.4",
            fontsize=8, ha="right", va="bottom", xytext=(-3, 1), textcoords="offset points",
        )  # fmt: skip
    top = 100.0
    bottom = max(0.0, 100 * lowest - 0.05 * (top - 100 * lowest))
    ax.set_ylim(bottom, top + 0.02 * (top - bottom))
    ax.set_ylabel("images classified correctly (%)")
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.set_title(title or _default_title(table), fontsize=10, loc="left")
    _drift_legend(ax, table, references or {}, colours)
    return _written(figure, path)


def floorplan(
    image: ChipImage,
    spec: ChipSpec,
    *,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw which block sits on which core, and how much of each crossbar it fills.

    Parameters
    ----------
    image : ChipImage
        For example ``chip.image``.
    spec : ChipSpec
        The machine of the image.
    title : str, optional
        Default: the number of cores in use.
    ax : Axes, optional
        Draw here; default a new figure.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    grid = spec.fabric
    figure, ax = _figure(ax, (1.25 * grid.cols + 0.6, 1.25 * grid.rows + 1.3))
    blocks: dict[int, list[Block]] = {}
    for block in image.blocks:
        blocks.setdefault(block.core, []).append(block)
    counts = {layer.name: len(layer.blocks) for layer in image.layers}
    stages = list(dict.fromkeys(_stage(layer.name) for layer in image.layers))
    colours = {stage: PALETTE[i % len(PALETTE)] for i, stage in enumerate(stages)}
    for core in range(grid.cores):
        row, col = divmod(core, grid.cols)
        _draw_core(ax, (col, row), core, blocks.get(core, []), counts, spec, colours)
    for transfer in image.transfers:
        if transfer.kind == "partial_sum":
            _arrow(ax, transfer.producer, transfer.consumer, grid.cols)
    ax.set_xlim(-0.05, grid.cols + 0.05)
    ax.set_ylim(grid.rows + 0.05, -0.05)
    ax.set_aspect("equal")
    ax.set_axis_off()
    cells = sum(math.prod(block.shape) for block in image.blocks)
    share = cells / (spec.core.rows * spec.core.cols * max(1, image.cores_used))
    ax.set_title(
        title
        or f"{spec.name}: {image.cores_used} of {image.cores_available} cores in use; "
        f"weights fill {share:.0%} of their cells",
        fontsize=12,
        loc="left",
    )
    _floorplan_legend(ax, stages, colours, spec)
    return _written(figure, path)


# ------------------------------------------------------------------------ drift_accuracy


def _time_axis(ax: Axes, moments: Sequence[float]) -> Any:
    """Set up a logarithmic time axis with room for 0; return seconds -> position."""
    later = [moment for moment in moments if moment > 0]
    first = math.log10(later[0]) if later else 0.0
    now = first - _NOW_GAP if later else 0.0

    def place(seconds: float) -> float:
        return math.log10(seconds) if seconds > 0 else now

    if len(moments) <= _MOST_TICKS:
        ticks = list(moments)
    else:
        ticks = [t for t in _DECADE_TICKS if later[0] <= t <= later[-1]]
        ticks += [0.0] if moments[0] == 0 else []
    ax.set_xticks([place(t) for t in ticks], [units.show_time(t) if t else "now" for t in ticks])
    ax.set_xlabel("time after programming (logarithmic)")
    if later and moments[0] == 0:  # the axis is broken between "now" and the first later time
        middle = (now + first) / 2
        ax.plot(
            [middle - 0.04, middle + 0.04], [0, 0], transform=ax.get_xaxis_transform(), lw=0,
            marker=[(-0.5, -1), (0.5, 1)], ms=9, mec="black", mew=1, clip_on=False, zorder=5,
        )  # fmt: skip
    return place


def _curve(
    ax: Axes, line: pd.DataFrame, place: Any, colour: str, style: tuple[str, str]
) -> None:
    x = [place(moment) for moment in line["time_seconds"]]
    mean, low, high = (100 * line[name].to_numpy() for name in ("mean", "low", "high"))
    if len(x) > 1:
        ax.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
    else:
        ax.errorbar(x, mean, [mean - low, high - mean], color=colour, capsize=4, lw=1)
    ax.plot(x, mean, color=colour, ls=style[0], marker=style[1], ms=5, lw=1.8)


def _reference_lines(
    ax: Axes, references: Mapping[str, Any], colours: Mapping[str, str], lowest: float
) -> float:
    """Draw the level lines; return the lowest value of the picture, 0..1."""
    for value in references.values():
        each = value if isinstance(value, Mapping) else {None: value}
        for preset, level in each.items():
            colour = "black" if preset is None else colours.get(preset, "black")
            ax.axhline(100 * level, color=colour, lw=1, ls="-" if preset is None else ":")
            lowest = min(lowest, level)
    return float(lowest)


def _drift_legend(
    ax: Axes, table: pd.DataFrame, references: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    """Place the legend right of the axes, where it covers nothing."""
    handles = [Line2D([], [], color=colour, lw=5, label=name) for name, colour in colours.items()]
    for method in table["compensation"].unique():
        line, marker = STYLES.get(method, (":", "d"))
        name = STYLE_NAMES.get(method, method)
        handles.append(Line2D([], [], color="0.3", ls=line, marker=marker, ms=5, label=name))
    handles.append(Patch(color="0.5", alpha=0.25, lw=0, label="95 % interval"))
    for name, value in references.items():
        style = {"color": "0.3", "ls": ":"} if isinstance(value, Mapping) else {"color": "black"}
        handles.append(Line2D([], [], lw=1, label=name, **style))
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5
    )


def _default_title(table: pd.DataFrame) -> str:
    n, images = int(table["programmings"].min()), int(table["images"].iloc[0])
    programmings = "one programming" if n == 1 else f"mean of {n} programmings"
    return f"{images:,} images, {programmings}"


# ----------------------------------------------------------------------------- floorplan


def _stage(layer: str) -> str:
    return layer.split(".")[0]


def _draw_core(
    ax: Axes, corner: tuple[int, int], core: int, blocks: Sequence[Block],
    counts: Mapping[str, int], spec: ChipSpec, colours: Mapping[str, str],
) -> None:  # fmt: skip
    """Draw one core: frame, the rectangle in use to scale, and what it is."""
    x, y, side = corner[0] + 0.04, corner[1] + 0.04, 0.92
    frame = {"fc": "white", "ec": "0.35", "lw": 0.8} if blocks else {
        "fc": "0.96", "ec": "0.75", "lw": 0.8, "ls": "--"}  # fmt: skip
    ax.add_patch(Rectangle((x, y), side, side, **frame))
    ax.text(x + side - 0.03, y + side - 0.02, str(core), fontsize=6, color="0.5", ha="right",
            va="bottom")  # fmt: skip
    if not blocks:
        ax.text(x + side / 2, y + side / 2, "empty", fontsize=7, color="0.55", ha="center",
                va="center")  # fmt: skip
    for block in blocks:
        rows, cols = block.shape
        size = side * cols / spec.core.cols, side * rows / spec.core.rows
        ax.add_patch(Rectangle((x, y), *size, fc=colours[_stage(block.layer)], ec="none"))
        number = 1 + _number_in_layer(block, blocks)
        del number
    if blocks:
        ax.text(x + side / 2, y + side / 2, _core_text(blocks, counts), fontsize=6.5,
                ha="center", va="center")  # fmt: skip


def _arrow(ax: Axes, producer: int, consumer: int, cols: int) -> None:
    pass
