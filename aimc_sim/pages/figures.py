"""The figures of the page as PNG and SVG files, for papers and slides."""

from __future__ import annotations

from pathlib import Path

from ..figures.output import save
from .page import Page

FORMATS = ("png", "svg")
"""Suffixes of the files of each figure."""


def names(page: Page) -> list[str]:
    """Return the names of the files that :func:`write` makes."""
    return [f"{picture.name}.{kind}" for picture in page.pictures() for kind in FORMATS]


def write(page: Page, folder: str | Path) -> list[Path]:
    """Write every figure of the page as PNG and SVG; equal results give equal SVG files.

    Parameters
    ----------
    page : Page
        From :func:`.page.gather`.
    folder : path
        Made if it is missing.

    Returns
    -------
    list of Path

    Raises
    ------
    OSError
        If they cannot be written.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for picture in page.pictures():
        figure = picture.figure()
        for kind in FORMATS:
            path = folder / f"{picture.name}.{kind}"
            save(figure, path)
            written.append(path)
    return written
