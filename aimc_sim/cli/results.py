"""A folder of results that is written completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import files
from .errors import BadInput, refusing


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
            files.clear(folder)
            scratch = folder / files.temporary_name()
            scratch.mkdir()
        except OSError as error:
            raise BadInput(
                f"the output folder '{folder}' cannot be written ({error.strerror}); give "
                "another one with --out"
            ) from error
        try:
            yield scratch
            with refusing(OSError, prefix=f"the results cannot be written to '{folder}': "):
                files.publish(scratch, folder, names)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except BaseException:
        for level in reversed(made):
            with suppress(OSError):  # somebody else may use it by now
                level.rmdir()
        raise


def _refuse_occupied(folder: Path, names: Sequence[str], force: bool) -> None:
    with refusing(OSError, ValueError, prefix=f"the output folder '{folder}' cannot be used: "):
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"the output folder '{folder}' is a file; give a folder with --out")
        kinds = {name: files.kind_of(folder / name) for name in names}
    for name, kind in kinds.items():
        if kind not in (None, "a file"):
            raise BadInput(
                f"'{folder / name}' is {kind}, where a file is to be written; give another "
                "folder with --out"
            )
    there = [name for name, kind in kinds.items() if kind is not None]
    if there and not force:
        raise BadInput(
            f"'{folder}' already holds {', '.join(there)}; give --force to replace them, or "
            "another folder with --out"
        )


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents; new folders are added to ``made``, outermost first."""
    for level in reversed(files.missing(folder)):
        level.mkdir()
        made.append(level)
