"""Figures as files; the suffix says in which format."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from .. import arguments, files
from . import svg
from .canvas import DPI, plain


def written(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure to a file if there is a path, and return it."""
    if path is not None:
        save(figure, arguments.path(path))
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure to a file, whole or not at all; the suffix says in which format.

    Equal figures give equal SVG files, whose text is text and whose values are titles.

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
    plain(figure)
    # The layout of axes with a fixed aspect needs a first drawing: titles were cut off without it.
    figure.draw_without_rendering()
    if kind == "svg":
        files.write_text(path, svg.alone(figure), "the picture")
        return
    with files.replacing(path, "the picture") as temporary:
        figure.savefig(temporary, dpi=DPI, format=kind)
