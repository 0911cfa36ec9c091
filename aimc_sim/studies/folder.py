"""A folder of results: its files, and who may write it.

::

    DIR/
      trials/*.jsonl         one segment per run of the sweep (see ``records``): the results
      specs/<id>.json        every machine, in full
      studies/<id>.json      every study that was run here
      environments/<id>.json versions and processor behind the results
      table.parquet, layers.parquet   made from the above, by :func:`.results.export`

Names are hashes of the content, so that folders of several machines merge by copying; nothing is
ever written over.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from . import identity
from .records import Damage, Segment, line_of, read_segment, reference_key, values

TRIALS = "trials"
KINDS = ("specs", "studies", "environments")
_ASIDE = ("costs", "searches")
"""Folders that :mod:`aimc_sim.search` keeps beside them."""

_VOLATILE = ("seconds", "peak_bytes", "environment", "host", "setting", "preset", "changes")
"""Parts of a record that may differ between two runs of the same trial."""


@dataclass
class Contents:
    """Contents of a folder.

    Attributes
    ----------
    trials : dict
        Record of every finished trial, by identity.
    failures : dict
        Record of every trial that failed and did not succeed elsewhere, by identity.
    references : dict
        Record of every network, data and metric in floating point, by
        :data:`.reference.NetworkAndData`.
    damage : list of Damage
        Lines that could not be used.
    """

    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    references: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)


class ConflictError(ValueError):
    """Two results of the same trial differ."""


def read(folders: Iterable[Path], keep_rows: bool = True) -> Contents:
    """Read one or several folders; equal trials merge.

    Parameters
    ----------
    folders : iterable of Path
        Folders of results.
    keep_rows : bool
        False keeps only what a sweep needs to go on: much less memory.

    Returns
    -------
    Contents

    Raises
    ------
    FileNotFoundError
        If a folder holds no results.
    ConflictError
        If two results of one trial differ.
    """
    found = Contents()
    seen: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        for path in _segments(folder):
            for record in read_segment(path):
                if isinstance(record, Damage):
                    found.damage.append(record)
                elif record.get("kind") == "failure":
                    found.failures[record["identity"]] = record
                elif record.get("kind") == "reference":
                    # Of two machines that round otherwise the first one counts: no trial has it.
                    found.references.setdefault(reference_key(record), record)
                elif record.get("kind") == "trial":
                    _merge(found, record, path, seen, keep_rows)
    for name in found.trials:
        found.failures.pop(name, None)
    return found


def _merge(
    found: Contents, record: dict[str, Any], path: Path, seen: dict[str, tuple[str, Path]],
    keep_rows: bool,
) -> None:  # fmt: skip
    name = record["identity"]
    lasting = identity.digest({k: v for k, v in record.items() if k not in _VOLATILE})
    if name in seen:
        other, where = seen[name]
        if other != lasting:
            raise ConflictError(
                f"trial {name[:16]} (setting '{record['setting']}', seed {record['seed']}) has "
                f"two different results, in '{where}' and '{path}'. Equal identity promises "
                "equal results, so one of them comes from a processor or library that rounds "
                "otherwise (compare the folder environments), or from a defect. Load the two "
                "folders one by one, or take one of the two files away"
            )
        return
    seen[name] = lasting, path
    if not keep_rows:
        record = {"shares": values(record)}
    found.trials[name] = record


def _segments(folder: Path) -> list[Path]:
    """Return the files of records in a folder, in order of their names.

    Raises
    ------
    FileNotFoundError
        If the folder holds no results.
    """
    if not (folder / TRIALS).is_dir():
        raise FileNotFoundError(
            f"'{folder}' holds no results of a study (no folder '{TRIALS}' in it); give the "
            "--out folder of 'aimc-sim sweep'"
        )
    found = sorted((folder / TRIALS).glob("*.jsonl"))
    for path in found:
        if files.kind_of(path) != "a file":
            raise ValueError(
                f"'{path}' is {files.kind_of(path)}, where a file of records is wanted; take it "
                "out of the folder"
            )
    return found


def prepare(folder: Path) -> None:
    """Make a folder for results, or accept one that is there.

    Raises
    ------
    FileExistsError
        If it is a file, or a folder of something else.
    OSError
        If it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"the output folder '{folder}' is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / TRIALS).is_dir():
        raise FileExistsError(
            f"the folder '{folder}' holds something else than results of a study; give another one"
        )
    for name in (TRIALS, *KINDS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        files.clear(folder / name)
    files.clear(folder)


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """After an error, take a folder of results away that was made meanwhile and holds no trial."""
    made = files.missing(folder)
    try:
        yield
    except BaseException:
        if made and not any((folder / TRIALS).glob("*.jsonl")):
            for kind in (*KINDS, *_ASIDE):
                for path in (folder / kind).glob("*.json"):
                    path.unlink()
            for name in (".lock", f".lock{files.HOLDER}"):
                with suppress(OSError):
                    (folder / name).unlink(missing_ok=True)
            for level in (*(folder / name for name in (TRIALS, *KINDS, *_ASIDE)), *made):
                with suppress(OSError):  # missing, or somebody else put something there
                    level.rmdir()
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other sweeps out of a folder; the lock ends with the process, however it ends.

    Raises
    ------
    BlockingIOError
        If another process writes there.
    """
    try:
        with files.locked(folder / ".lock"):
            yield
    except files.LockedError as error:
        raise BlockingIOError(
            f"another sweep is writing to '{folder}' ({error}); wait for it, or give another folder"
        ) from None


def new_segment(folder: Path) -> Segment:
    """Return a segment whose name nobody else uses."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    unique = f"{time.time_ns() % 10**9:09d}"
    return Segment(folder / TRIALS / f"{stamp}-{socket.gethostname()}-{os.getpid()}-{unique}.jsonl")


def keep(folder: Path, kind: str, value: Any, name: str | None = None) -> str:
    """Write a specification, study or environment once; return its name."""
    name = name or identity.digest(value)[:16]
    files.create_text(folder / kind / f"{name}.json", files.json_text(value, sort_keys=True))
    return name


def merge(folders: Iterable[Path], out: Path) -> Contents:
    """Copy the results of several folders into one; return its contents then.

    Files that ``out`` holds already stay. Nothing is copied if two results of a trial differ.

    Raises
    ------
    FileNotFoundError, FileExistsError, ConflictError
        See :func:`read` and :func:`prepare`.
    """
    folders = [Path(folder) for folder in folders]
    held = [out] if (out / TRIALS).is_dir() else []
    read([*held, *folders], keep_rows=False)
    prepare(out)
    with locked(out):
        for folder in folders:
            for path in _segments(folder):
                _copy(path, out / TRIALS / path.name)
            for kind in KINDS:
                for path in sorted((folder / kind).glob("*.json")):
                    files.require_file(path)
                    files.create_text(out / kind / path.name, path.read_text(encoding="utf-8"))
    return read([out], keep_rows=False)


def _copy(source: Path, target: Path) -> None:
    """Copy a segment; one of the same name with another content gets a name of its own."""
    records = [line for line in read_segment(source) if not isinstance(line, Damage)]
    if target.exists():
        if target.read_bytes() == source.read_bytes():
            return
        tail = identity.digest(records)[:8]
        target = target.with_stem(f"{target.stem}-{tail}")
        if target.exists():
            return
    with files.replacing(target, "the copy of the records") as temporary:
        with temporary.open("wb") as file:
            file.writelines(line_of(record) for record in records)
