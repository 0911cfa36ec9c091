"""Pictures of a network at work: its pipeline in time, its energy, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..chip.pipeline import PipelineReport
from .canvas import PALETTE, figure_of, written
from .performance import Performance

_SCALES = ((1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SHOWN = 6  # images with a colour of their own before colours repeat
_PIXEL = 1 / 1500  # of the time axis: gaps below are not drawn


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
        Simulated with ``trace`` large enough to hold all events that are to be seen.
    title, path : optional
    ax : Axes, optional
        Draw here; default a new figure.

    Returns
    -------
    Figure
    """
    stages = report.schedule.stages
    rows = report.record.trace[: report.record.totals[2]]
    rows = rows[rows[:, 1] == 0]  # MVMs
    layers = list(dict.fromkeys(stage.layer for stage in stages if stage.layer))
    figure, (ax,) = figure_of(ax, (9.5, 1.3 + 0.21 * max(8, len(layers))))
    number = np.array([layers.index(s.layer) if s.layer else -1 for s in stages])
    firings = np.array([stage.firings for stage in stages])
    per_unit, unit = _scale(report.total_ps * 1e-12)
    per_ps = 1e-12 / per_unit
    stage, _, firing, begin, end = rows.T
    layer, image = number[stage], firing // firings[stage]
    for n in range(len(layers)):
        for k in range(report.images):
            chosen = (layer == n) & (image == k)
            spans = _merged(begin[chosen], end[chosen], report.total_ps * _PIXEL) * per_ps
            thinnest = 3 * report.total_ps * _PIXEL * per_ps  # a single MVM must not vanish
            ax.broken_barh(
                [(a, max(b - a, thinnest)) for a, b in spans], (n - 0.42, 0.84), lw=0,
                fc=PALETTE[k % _SHOWN],
            )  # fmt: skip
    ax.set_yticks(range(len(layers)), layers, fontsize=7.5)
    ax.set_ylim(len(layers) - 0.4, -0.6)
    ax.set_xlim(0, report.total_ps * per_ps)
    ax.set_xlabel(f"time ({unit})")
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    shown = min(report.images, _SHOWN)
    handles = [Patch(color=PALETTE[k], label=f"image {k + 1}") for k in range(shown)]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
              fontsize=8.5, title="a bar: MVMs under way", title_fontsize=8.5)  # fmt: skip
    ax.set_title(title or "pipeline: which layer works on which image", fontsize=10, loc="left")
    return written(figure, path)


def energy(
    found: Performance, *, title: str | None = None, path: str | Path | None = None
) -> Figure:
    """Draw where the energy of one image goes, by component and by layer.

    Parameters
    ----------
    found : Performance
    title, path : optional

    Returns
    -------
    Figure
    """
    table = found.ledger.table()
    components = list(found.ledger.by("component"))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(components)}
    layers = [name for name in dict.fromkeys(table["layer"]) if name]
    heights = 0.5 + 0.26 * len(components), 0.8 + 0.2 * len(layers)
    figure = Figure(figsize=(9.5, 1.0 + sum(heights)), layout="constrained")
    whole, parts = figure.subplots(2, height_ratios=heights)
    per_unit, unit = _prefix(found.ledger.joules, "J")
    sums = table.groupby("component")["joules"].sum()
    for i, name in enumerate(components):
        value = sums[name] / per_unit
        whole.barh(i, value, color=colours[name])
        whole.text(value, i, f"  {value:.3g} {unit}, {sums[name] / found.ledger.joules:.1%}",
                   va="center", fontsize=8)  # fmt: skip
    whole.set_yticks(range(len(components)), components, fontsize=8.5)
    whole.invert_yaxis()
    whole.set_xlim(0, 1.25 * sums.max() / per_unit)
    whole.set_title(
        title or f"energy of one image: {found.ledger.joules / per_unit:.3g} {unit} "
        "(model, see the report)", fontsize=10, loc="left",
    )  # fmt: skip
    left = np.zeros(len(layers))
    by_layer = table.pivot_table("joules", "layer", "component", "sum", fill_value=0.0)
    per_layer, unit = _prefix(by_layer.drop(index="", errors="ignore").sum(axis=1).max(), "J")
    for name in components:
        if name not in by_layer or not by_layer.loc[layers, name].any():
            continue
        values = by_layer.loc[layers, name].to_numpy() / per_layer
        parts.barh(range(len(layers)), values, left=left, color=colours[name], label=name)
        left += values
    parts.set_yticks(range(len(layers)), layers, fontsize=7.5)
    parts.invert_yaxis()
    parts.set_xlabel(f"{unit} per image, without static power")
    parts.legend(frameon=False, fontsize=8.5, loc="lower right")
    for ax in (whole, parts):
        ax.grid(axis="x", color="0.92")
        ax.set_axisbelow(True)
    return written(figure, path)


def roofline(
    found: Performance, *, title: str | None = None, ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:  # fmt: skip
    """Draw every layer's throughput per core against what a core could do.

    Parameters
    ----------
    found : Performance
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
    ax.plot(span, np.minimum(peak, span * clock * 1e-12), color="0.2", lw=1.4)
    ax.axhline(peak, color="0.2", lw=0.8, ls=":")
    stages = list(dict.fromkeys(roof.layer.split(".")[0] for roof in roofs))
    for i, stage in enumerate(stages):
        of = [n for n, roof in enumerate(roofs) if roof.layer.split(".")[0] == stage]
        colour = PALETTE[i % len(PALETTE)]
        attainable = [roofs[n].attainable_tops for n in of]
        achieved = [roofs[n].achieved_tops for n in of]
        ax.vlines(x[of], achieved, attainable, color=colour, lw=0.8, alpha=0.5)
        ax.scatter(x[of], attainable, s=26, fc="none", ec=colour)
        ax.scatter(x[of], achieved, s=26, color=colour)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("operations per byte that leaves a core (twice its rows in use)")
    ax.set_ylabel("TOPS per core")
    ax.grid(color="0.93", which="both", lw=0.5)
    ax.set_axisbelow(True)
    handles = [Patch(color=PALETTE[i % len(PALETTE)], label=s) for i, s in enumerate(stages)]
    handles += [
        Line2D([], [], color="0.2", lw=1.4, label="full crossbar: MVM or one byte per clock"),
        Line2D([], [], lw=0, marker="o", mfc="none", mec="0.3", label="the layer's own block"),
        Line2D([], [], lw=0, marker="o", color="0.3", label="in the pipeline"),
    ]  # fmt: skip
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
              fontsize=8.5)  # fmt: skip
    ax.set_title(
        title or f"layers against the limits of a core: {found.tops:.3g} TOPS in all, "
        f"{found.tops_per_watt:.3g} TOPS/W", fontsize=10, loc="left",
    )  # fmt: skip
    return written(figure, path)


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


def _prefix(value: float, unit: str) -> tuple[float, str]:
    for size, letter in ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if value >= size:
            return size, letter + unit
    return 1e-12, "p" + unit


def core_shares(report: PipelineReport) -> dict[int, float]:
    """Return the share of time in which every core has an MVM under way, 0 to 1."""
    shares: dict[int, float] = {}
    for stage, share in zip(report.schedule.stages, report.mvm_utilisation, strict=True):
        if stage.core is not None:
            shares[stage.core] = shares.get(stage.core, 0.0) + float(share)
    return shares


def link_shares(report: PipelineReport) -> Mapping[tuple[int, int], float]:
    """Return the share of time in which every link between cores carries bytes, 0 to 1."""
    shares = {}
    for link, share in zip(report.schedule.links, report.link_utilisation, strict=True):
        ends = link.name.split(" -> ")
        if len(ends) == 2 and all(end.isdigit() for end in ends):
            shares[int(ends[0]), int(ends[1])] = float(share)
    return shares
