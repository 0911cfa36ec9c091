"""Layers against the limits of a core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..analysis.performance import Performance
from .canvas import GRID, MARKERS, PALETTE, SOFT, TEXT, figure_of
from .output import written


def roofline(
    found: Performance, *, title: str | None = None, ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:  # fmt: skip
    """Draw every layer's throughput per core against what a core could do.

    Parameters
    ----------
    found : Performance
        Of the placed network.
    title, path : optional
    ax : Axes, optional
        Draw here; default a new figure.

    Returns
    -------
    Figure
    """
    figure, (ax,) = figure_of(ax, (9.0, 4.8))
    roofs = found.roofs
    x = np.array([roof.intensity for roof in roofs])
    peak = roofs[0].peak_tops
    clock = next(1e12 / s.output_ps for s in found.pipeline.schedule.stages if s.kind == "core")
    span = np.geomspace(min(x.min() / 2, 1e12 * peak / clock / 2), 2 * x.max(), 200)
    ax.plot(span, np.minimum(peak, span * clock * 1e-12), color=TEXT, lw=1.4)
    ax.axhline(peak, color=TEXT, lw=0.8, ls=":")
    stages = list(dict.fromkeys(roof.layer.split(".")[0] for roof in roofs))
    for i, stage in enumerate(stages):
        of = [n for n, roof in enumerate(roofs) if roof.layer.split(".")[0] == stage]
        colour = PALETTE[i % len(PALETTE)]
        attainable = [roofs[n].attainable_tops for n in of]
        achieved = [roofs[n].achieved_tops for n in of]
        ax.vlines(x[of], achieved, attainable, color=colour, lw=0.8, alpha=0.5)
        marker = MARKERS[i % len(MARKERS)]
        ax.scatter(x[of], attainable, s=26, fc="none", ec=colour, marker=marker)
        ax.scatter(x[of], achieved, s=26, color=colour, marker=marker)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("operations per byte that leaves a core (twice its rows in use)")
    ax.set_ylabel("TOPS per core")
    ax.grid(color=GRID, which="both", lw=0.5)
    ax.set_axisbelow(True)
    handles = [
        Line2D(
            [],
            [],
            lw=0,
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            label=name,
        )
        for i, name in enumerate(stages)
    ]
    handles += [
        Line2D([], [], color=TEXT, lw=1.4, label="full crossbar: MVM or one byte per clock"),
        Line2D([], [], lw=0, marker="o", mfc="none", mec=SOFT, label="the layer's own block"),
        Line2D([], [], lw=0, marker="o", color=SOFT, label="in the pipeline"),
    ]  # fmt: skip
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
              fontsize=8.5)  # fmt: skip
    told = (
        f"layers against the limits of a core: {found.tops:.3g} TOPS in all, "
        f"{found.tops_per_watt:.3g} TOPS/W"
    )
    ax.set_title(told if title is None else title, fontsize=10, loc="left")
    return written(figure, path)
