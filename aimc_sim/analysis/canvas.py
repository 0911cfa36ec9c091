"""What all pictures share: colours, a figure without pyplot, writing to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from .. import arguments, files

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
        save(figure, arguments.path(path))
    return figure


def save(figure: Figure, path: str | Path, **options: Any) -> None:
    """Write a figure to a file, whole or not at all; the suffix says in which format.

    Names of layers, settings and studies are drawn as they are: a ``$`` begins no formula.

    Raises
    ------
    ValueError
        If matplotlib cannot write that format, or a name makes the picture too large.
    OSError
        See :func:`aimc_sim.files.replacing`.
    """
    kind = Path(path).suffix.lower().removeprefix(".") or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(
            f"'{path}': no picture can be written with the suffix '.{kind}'; wanted one of "
            f"{', '.join(sorted(known))}"
        )
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(shorter(text.get_text()))
    with files.replacing(path, "the picture") as temporary:
        figure.savefig(temporary, dpi=_DPI, format=kind, **options)


LONGEST = 200
"""Characters of a line of text in a picture: a name of thousands would make it metres wide."""


def shorter(text: str) -> str:
    """Return a text whose control characters are visible and whose lines are not endless."""
    lines = ("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
             for line in text.split("\n"))  # fmt: skip
    return "\n".join(s if len(s) <= LONGEST else f"{s[:LONGEST]}..." for s in lines)
