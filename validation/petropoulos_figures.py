"""Figures of ``petropoulos_2020.py``: levels over time, quantiles, accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from pcm_25us_law import Check
from scipy.special import ndtr, ndtri

from aimc_sim.figures.canvas import PALETTE


def seconds(t_seconds: float) -> str:
    """Return a time as text in seconds, without exponents."""
    return f"{t_seconds:,.0f} s" if t_seconds >= 100 else f"{t_seconds:g} s"


def draw_time(checks: dict[tuple[str, float], Check], path: Path) -> None:
    """Draw mean and spread of every level over time: lines from the law, dots simulated."""
    names = list(dict.fromkeys(name for name, _ in checks))
    times = list(dict.fromkeys(t for _, t in checks))
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    panels = figure.subplots(1, 2)
    colours = colormaps["viridis"](np.linspace(0, 0.93, len(names)))
    for name, colour in reversed(list(zip(names, colours, strict=True))):
        line = [checks[name, t] for t in times]
        for ax, law, ours in zip(
            panels, ("law_mean", "law_spread"), ("mean", "spread"), strict=True
        ):
            ax.plot(times, [1e6 * getattr(c, law) for c in line], color=colour, lw=1.3)
            ax.plot(times, [1e6 * getattr(c, ours) for c in line], ls="", marker="o",
                    ms=4.5, color=colour, label=f"{name}  ({line[0].devices:,})")  # fmt: skip
    titles = ("mean conductance (µS)", "spread around the mean of each target (µS)")
    for ax, title in zip(panels, titles, strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("time after programming (s)")
        ax.set_title(title, fontsize=10.5, loc="left")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    panels[1].legend(
        title="dots: simulated devices\nlines: published laws\n\ntarget x = G / 25 µS (devices)",
        loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, title_fontsize=9,
        alignment="left",
    )  # fmt: skip
    figure.savefig(path, dpi=160)


def draw_quantiles(samples: dict[tuple[str, float], tuple], path: Path) -> None:
    """Draw quantiles of the simulated devices against those of the law, for five levels."""
    names = list(dict.fromkeys(name for name, _ in samples))
    shown = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, 5).round().astype(int))]
    times = list(dict.fromkeys(t for _, t in samples))
    figure = Figure(figsize=(2.6 * len(shown), 5.9), layout="constrained")
    grid = figure.subplots(len(times), len(shown), squeeze=False)
    for row, t in zip(grid, times, strict=True):
        for ax, name in zip(row, shown, strict=True):
            ours, law = samples[name, t]
            # Spaced evenly for a normal law; the outermost still have ten devices beyond them.
            edge = min(3.3, -float(ndtri(10 / ours.size)))
            p = ndtr(np.linspace(-edge, edge, 45))
            a, b = 1e6 * np.quantile(law, p), 1e6 * np.quantile(ours, p)
            ends = [min(a[0], b[0]), max(a[-1], b[-1])]
            ax.plot(ends, ends, color="0.6", lw=1)
            ax.plot(a, b, ls="", marker="o", ms=3.2, color=PALETTE[0])
            ax.set_title(f"{name}, {seconds(t)}", fontsize=9.5, loc="left")
            ax.set_aspect("equal", "datalim")
            ax.grid(color="0.93")
            ax.set_axisbelow(True)
    figure.supxlabel("quantile of the published law (µS); grey: both equal", fontsize=10.5)
    figure.supylabel("quantile of the simulated devices (µS)", fontsize=10.5)
    figure.savefig(path, dpi=160)


def draw_accuracy(summary: pd.DataFrame, float_accuracy: float, path: Path) -> None:
    """Draw mean accuracy and 95 % interval over programmings, from ``drift.summarise``."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    ax = figure.subplots()
    moments = sorted(summary["time_seconds"].unique())
    curves = list(summary.groupby(["preset", "compensation"], sort=False))
    colours = dict(zip(summary["preset"].unique(), PALETTE, strict=False))
    for number, ((preset, method), line) in enumerate(curves):
        aside = 0.09 * (number - (len(curves) - 1) / 2)  # else intervals would hide each other
        x = [moments.index(t) + aside for t in line["time_seconds"]]
        mean, low, high = (100 * line[name].to_numpy() for name in ("mean", "low", "high"))
        gdc = method == "gdc"
        ax.errorbar(
            x, mean, [mean - low, high - mean], color=colours[preset], ls="-" if gdc else ":",
            marker="s" if gdc else "o", mfc=colours[preset] if gdc else "white", ms=5, lw=1.3,
            elinewidth=1, capsize=2,
            label=f"{preset}, {'drift compensated' if gdc else 'not compensated'}",
        )  # fmt: skip
    ax.axhline(100 * float_accuracy, color="black", lw=1, label="torch model, float")
    ax.set_xticks(range(len(moments)), [f"{t:,.0f}" for t in moments])
    ax.set_xlabel("time after programming (s)")
    ax.set_ylabel("classified correctly (%)")
    ax.set_title("mean and 95 % interval over programmings", fontsize=10.5, loc="left")
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)
