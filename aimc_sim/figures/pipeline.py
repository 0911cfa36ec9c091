"""Which layer works on which image, when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path as Outline

from .. import units
from ..chip.pipeline import PipelineReport
from .canvas import PALETTE, cut, figure_of, grid, say
from .output import written

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SHOWN = 6  # images with a colour of their own before colours repeat
_PIXEL = 1 / 800  # of the time axis: gaps below are not drawn
_LETTERS = 28  # of a layer's name
_HALF = 0.42  # height of a bar, from its middle


def gantt(
    report: PipelineReport,
    *,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw when every layer computes, image by image.

    Parameters
    ----------
    report : PipelineReport
        Simulated with ``trace`` large enough to hold all events that are to be drawn.
    title : str, optional
        "" for none.
    ax : Axes, optional
        Draw here; default a new figure.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
        Pale from the first MVM of an image to its last one, full where MVMs are under way.
    """
    stages = report.schedule.stages
    rows = report.record.trace[: report.record.totals[2]]
    rows = rows[rows[:, 1] == 0]  # MVMs
    layers = list(dict.fromkeys(stage.layer for stage in stages if stage.layer))
    figure, (ax,) = figure_of(ax, (9.5, 1.3 + 0.21 * max(8, len(layers))))
    number = np.array([layers.index(s.layer) if s.layer else -1 for s in stages])
    firings = np.array([max(1, stage.firings) for stage in stages])
    per_unit, unit = _scale(report.total_ps * 1e-12)
    per_ps = 1e-12 / per_unit
    stage, _, firing, begin, end = rows.T
    layer, image = number[stage], firing // firings[stage]
    pixel = report.total_ps * _PIXEL
    for n, name in enumerate(layers):
        for k in range(report.images):
            chosen = (layer == n) & (image == k)
            if not chosen.any():
                continue
            colour = PALETTE[k % _SHOWN]
            first, last = float(begin[chosen].min()), float(end[chosen].max())
            spans = _merged(begin[chosen], end[chosen], pixel)
            spans[:, 1] = np.maximum(spans[:, 1], spans[:, 0] + 3 * pixel)  # not to vanish
            full = PathPatch(_boxes(spans * per_ps, n), fc=colour, ec="none", lw=0)
            ax.add_patch(full)
            whole = Rectangle(
                (first * per_ps, n - _HALF), max(last - first, 3 * pixel) * per_ps, 2 * _HALF,
                fc=(colour, 0.25), ec=colour, lw=0.5,
            )  # fmt: skip
            busy = (end[chosen] - begin[chosen]).sum() / len(np.unique(stage[chosen]))
            say(
                whole,
                f"{name}, image {k + 1}: first MVM at {_time(first)}, last one ends at "
                f"{_time(last)}; MVMs take {100 * busy / max(1.0, last - first):.0f} % of it",
            )
            ax.add_patch(whole)
    ax.set_yticks(range(len(layers)), [cut(name, _LETTERS) for name in layers], fontsize=7.5)
    ax.set_ylim(len(layers) - 0.4, -0.6)
    ax.set_xlim(0, report.total_ps * per_ps)
    ax.set_xlabel(f"time ({unit})")
    grid(ax, "x")
    shown = min(report.images, _SHOWN)
    handles = [Patch(color=PALETTE[k], label=f"image {k + 1}") for k in range(shown)]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
              fontsize=8.5, title="full: MVMs under way;\nimages follow one another,\n"
              "left to right", title_fontsize=8.5, alignment="left")  # fmt: skip
    told = "pipeline: which layer works on which image"
    ax.set_title(told if title is None else title, fontsize=10, loc="left")
    return written(figure, path)


def _boxes(spans: np.ndarray, row: int) -> Outline:
    """Return rectangles as one outline: a page holds thousands of them."""
    begin, end = spans.T
    low, high = np.full(len(spans), row - _HALF), np.full(len(spans), row + _HALF)
    corners = np.stack(
        [np.column_stack(p) for p in ((begin, low), (end, low), (end, high), (begin, high),
                                      (begin, low))], axis=1
    )  # fmt: skip
    codes = [Outline.MOVETO, *3 * [Outline.LINETO], Outline.CLOSEPOLY]
    return Outline(corners.reshape(-1, 2), np.tile(codes, len(spans)).astype(np.uint8))


def _time(ps: float) -> str:
    return units.show(ps * 1e-12, "s").replace(" us", " µs")


def _merged(begin: np.ndarray, end: np.ndarray, gap: float) -> np.ndarray:
    """Join intervals that overlap or lie closer than `gap`, (n, 2) in order of time."""
    if begin.size == 0:
        return np.zeros((0, 2))
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order])
    fresh = np.concatenate([[True], begin[1:] > end[:-1] + gap])
    last = np.concatenate([np.flatnonzero(fresh)[1:] - 1, [begin.size - 1]])
    return np.column_stack([begin[fresh], end[last]]).astype(float)


def _scale(seconds: float) -> tuple[float, str]:
    return next(((size, unit) for size, unit in _SCALES if seconds >= size), _SCALES[-1])
