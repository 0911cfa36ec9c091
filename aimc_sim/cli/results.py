"""A folder of results that is written completely or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import BadInput


@contextmanager
def results_folder(folder: Path, names: Sequence[str], force: bool) -> Iterator[Path]:
    """Give a scratch folder; move its files to ``folder`` when all went well.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    names : sequence of str
        Files that will be written.
    force : bool
        Replace files of these names that are there already.

    Yields
    ------
    Path
        An empty folder beside the final place. After an error or an interruption it is
        removed, and so is ``folder`` if it was made here.

    Raises
    ------
    BadInput
        Before anything is computed: if the folder is a file, cannot be made or written, or
        holds results and ``force`` is False.
    """
    _refuse_occupied(folder, names, force)
    made: list[Path] = []
    try:
        try:
            _make(folder, made)
            scratch = Path(tempfile.mkdtemp(prefix=".aimc_sim-", dir=folder))
        except OSError as error:
            raise BadInput(
                f"the output folder '{folder}' cannot be written ({error.strerror}); give "
                "another one with --out"
            ) from error
        try:
            yield scratch
            for name in names:
                os.replace(scratch / name, folder / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except BaseException:
        for level in reversed(made):
            with suppress(OSError):  # somebody else may use it by now
                level.rmdir()
        raise


def _refuse_occupied(folder: Path, names: Sequence[str], force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"the output folder '{folder}' is a file; give a folder with --out")
    for name in names:
        if (folder / name).is_dir():
            raise BadInput(
                f"'{folder / name}' is a folder, where a file is to be written; give another "
                "folder with --out"
            )
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise BadInput(
            f"'{folder}' already holds {', '.join(there)}; give --force to replace them, or "
            "another folder with --out"
        )


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents; what was made is added to ``made``, outermost first."""
    missing = []
    level = folder
    while not level.exists() and level != level.parent:
        missing.append(level)
        level = level.parent
    for level in reversed(missing):
        level.mkdir()
        made.append(level)
