"""Spiking neurons on a chip: raster of spikes, membranes over time, energy per spike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import units
from ..runtime.probe import NeuronTraces
from ..runtime.spiking_report import SpikingReport
from .canvas import HATCHES, PALETTE, PAPER, SOFT, Drawing, cut, grid, look, say
from .output import written

_MEMBRANES = 4
"""Membranes that are drawn: more would hide each other."""


def spikes(
    traces: Sequence[NeuronTraces], report: SpikingReport, *, image: int = 0,
    title: str | None = None, path: str | Path | None = None,
) -> Figure:  # fmt: skip
    """Draw one input on its way through the neurons, and the energy of all that were run.

    Parameters
    ----------
    traces : sequence of NeuronTraces
        From :func:`aimc_sim.runtime.probe.neuron_traces`.
    report : SpikingReport
        From :meth:`aimc_sim.Chip.spiking_report`.
    image : int
        Which of the traced inputs.
    title : str, optional
        "" for none.
    path : path, optional
        Also write the picture to this file.

    Returns
    -------
    Figure
    """
    figure = Drawing(figsize=(11.0, 6.4), layout="constrained")
    grids = figure.add_gridspec(2, 2, width_ratios=(1.25, 1))
    _raster(figure.add_subplot(grids[:, 0]), traces, image)
    _membranes(figure.add_subplot(grids[0, 1]), traces[-1], image)
    _energy(figure.add_subplot(grids[1, 1]), report)
    words = "spikes of one input, and their energy" if title is None else title
    if words:
        figure.suptitle(words, fontsize=11, x=0.01, ha="left")
    return written(figure, path)


def _raster(ax: Axes, traces: Sequence[NeuronTraces], image: int) -> None:
    first, places = 0, []
    rows = sum(int(np.prod(layer.outputs.shape[2:])) for layer in traces)
    points = min(6.0, 380.0 / rows)  # height of a row, so that marks of neighbours stay apart
    for i, layer in enumerate(traces):
        own = layer.outputs[image].reshape(layer.outputs.shape[1], -1)
        steps, neurons = np.nonzero(own > 0)
        marks = ax.scatter(
            steps + 1, first + neurons, marker="|", s=(0.8 * points) ** 2, lw=5,
            color=PALETTE[i % len(PALETTE)],
        )  # fmt: skip
        told = ", ".join(f"step {t + 1}: {int(n)}" for t, n in enumerate((own > 0).sum(1)))
        say(marks, f"{layer.name}; spikes in {told}")
        places.append((first + own.shape[1] / 2, layer.name))
        first += own.shape[1]
        if i + 1 < len(traces):
            ax.axhline(first - 0.5, color=SOFT, lw=0.6)
    ax.set_ylim(-1, first)
    ax.set_xlim(0.5, traces[0].outputs.shape[1] + 0.5)
    ax.set_yticks([place for place, _ in places], [cut(name, 18) for _, name in places],
                  rotation=90, va="center", fontsize=8.5)  # fmt: skip
    ax.set(xlabel="time step", title="spikes, one row per neuron")
    grid(ax, "x")


def _membranes(ax: Axes, layer: NeuronTraces, image: int) -> None:
    own = layer.states[image].reshape(layer.states.shape[1], -1)
    sent = layer.outputs[image].reshape(own.shape)
    busiest = np.argsort(-sent.sum(0), kind="stable")
    some = [int(n) for n in busiest[:: max(1, len(busiest) // _MEMBRANES)][:_MEMBRANES]]
    times = np.arange(1, len(own) + 1)
    for i, n in enumerate(some):
        (line,) = ax.plot(times, own[:, n], label=f"neuron {n}", **look(i, i).line())
        told = ", ".join(f"step {t}: {v:.3g}" for t, v in zip(times, own[:, n], strict=True))
        say(line, f"neuron {n}; {told}")
        fired = sent[:, n] > 0
        ax.scatter(times[fired], own[fired, n], marker="*", s=90, color=PALETTE[i], zorder=3)
    theta = layer.threshold[some]
    ax.axhspan(float(theta.min()), float(theta.max()) + 1e-9, color=SOFT, alpha=0.25, lw=0.8)
    words = "time step (star: spike; grey: thresholds)"
    ax.set(xlabel=words, ylabel="membrane", title=f"membranes of '{cut(layer.name, 24)}'")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))  # room for the legend
    ax.legend(fontsize=7.5, ncols=4, loc="upper center")
    grid(ax)


def _energy(ax: Axes, report: SpikingReport) -> None:
    variants = ("all rows driven", "rows gated", "silent MVMs left out too")
    rows = [row for row in report.layers if row.driven_rows]
    height = 0.8 / len(variants)
    for j, name in enumerate(variants):
        for i, row in enumerate(rows):
            joules = (row.joules, row.joules - row.row_joules, row.gated_joules)[j]
            each = joules / row.driven_rows
            (bar,) = ax.barh(
                i + (j - 1) * height, each * 1e12, height, color=PALETTE[j], hatch=HATCHES[j],
                ec=PAPER, lw=0, label=name if i == 0 else None,
            )  # fmt: skip
            say(bar, f"{row.name}, {name}: {units.show(each, 'J')} per spike that a row carries")
    ax.set_yticks(range(len(rows)), [cut(row.name, 24) for row in rows], fontsize=8.5)
    ax.invert_yaxis()
    ax.set(xlabel="energy of MVMs per spike that drives a row (pJ)", title="energy per spike")
    ax.legend(fontsize=7.5)
    grid(ax, "x")
