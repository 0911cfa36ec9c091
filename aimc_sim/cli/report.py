"""``aimc-sim report``: one HTML page that says what a folder of results says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import arguments, files
from ..progress import status
from .errors import BadInput, refusing
from .output import complain, say

EXAMPLES = """
Examples:

  aimc-sim report drift

  aimc-sim report drift --out drift.html --figures figures

  aimc-sim report drift --setting "hermes-odp, as published"

  aimc-sim report drift --attribution where --section my_sections:seeds
"""

DEFAULT = "report.html"


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of 'aimc-sim sweep' or 'attribute'.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write.  [default: DIR/report.html]")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Also write every figure into this folder, PNG and SVG.")
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(help="Setting in front.  [default: the best one with imperfect devices]"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Of several in the folder.  [default: the first by name]"),
    ] = None,
    attribution: Annotated[
        Path | None,
        typer.Option(
            help="Folder of 'aimc-sim attribute' for the same machine: shown as the reasons.  "
            "[default: DIR itself, or DIR/attribution]"
        ),
    ] = None,
    section: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A section of your own, package.module:function or FILE.py:function; repeatable.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are no earlier report.")
    ] = False,
) -> None:
    """Write one self-contained HTML page about the results of a study.

    The loss against floating point, its reasons, changes that would help; accuracy with
    intervals, differences, layers, floorplan, pipeline, energy, settings with sources, the list of
    omissions, how to make it again. It works offline, on phones and in print. The study's
    network is loaded as the sweep did, placed and simulated anew.
    """
    with refusing():
        path = arguments.path(out or folder / DEFAULT, "--out")
        figures = figures and arguments.path(figures, "--figures")
    with status("reading the results, placing the network"):
        with refusing():
            from ..pages import material, sections

            found = material.read(folder)
            reasons = None if attribution is None else material.read(attribution)
            for name in section or ():
                sections.add(name)
        from ..pages import figures as pictures
        from ..pages import page as pages

        _refuse(path, pages.MARK, force)
        if figures is not None and figures.exists() and not figures.is_dir():
            raise BadInput(f"--figures '{figures}' is a file; give a folder")
        with refusing(KeyError, ValueError):
            page = pages.gather(found, setting, metric, reasons)
        if figures is not None:
            _refuse_figures(figures, pictures.names(page), force)
        with refusing(OSError, prefix=f"the report cannot be written to '{path}': "):
            pages.write(page, path)
        written = []
        if figures is not None:
            with refusing(OSError, prefix=f"the figures cannot be written to '{figures}': "):
                written = pictures.write(page, figures)
    for damage in found.damage:
        complain(f"left out: {damage}")
    if page.facts.unavailable:
        complain(f"left out: floorplan, pipeline and energy. {page.facts.unavailable}")
    more = f"; {len(written)} files of figures in {figures}" if written else ""
    say(f"Written: {path}{more}")


def _refuse(path: Path, mark: str, force: bool) -> None:
    """Raise BadInput unless the page may be written there: an earlier report may be replaced."""
    with refusing(OSError, ValueError, prefix="--out: "):
        files.refuse_target(path, "the report")
    if path.exists() and not force:
        with refusing(OSError, prefix=f"'{path}' cannot be read: "):
            with path.open("rb") as file:
                begin = file.read(200)
        if mark.encode() not in begin:
            raise BadInput(
                f"'{path}' is there already and is no earlier report; give --force to replace "
                "it, or another name with --out"
            )


def _refuse_figures(folder: Path, names: list[str], force: bool) -> None:
    with refusing(OSError, prefix="--figures: "):
        for name in names:
            if folder.is_dir():
                files.refuse_target(folder / name, "the figure")
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise BadInput(
            f"'{folder}' already holds {', '.join(there[:3])}; give --force to replace them, or "
            "another folder with --figures"
        )
