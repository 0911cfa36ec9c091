"""What all pictures share: colours, a figure without pyplot, writing to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C6D31")
"""Colours that stay apart for colour-blind readers: Okabe & Ito (2008), grey and brown added."""

_DPI = 160


def figure_of(
    ax: Axes | None, size: tuple[float, float], rows: int = 1
) -> tuple[Figure, Sequence[Axes]]:
    """Return the figure of `ax`, or a new one of `rows` panels below each other, and the axes."""
    if ax is not None:
        return ax.figure, [ax]
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, sharex=True, squeeze=False)[:, 0]


def written(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure to a file if there is a path, and return it."""
    if path is not None:
        figure.savefig(path, dpi=_DPI)
    return figure
