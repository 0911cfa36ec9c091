"""Files of records that only grow, and that tell when they are damaged.

A segment is a text file. Every line is ``<sha256 of the payload, 32 hex digits> <payload>``,
the payload being one JSON object without line breaks. One process writes a segment, line by
line, each forced to the disk before the next trial counts as done; a later process writes a
segment of its own and touches no old one. A process that dies while it writes leaves a last line
without its line break: *half-written*. A complete line whose checksum is wrong is *damaged*:
something changed the file later.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

_DIGITS = 32


@dataclass(frozen=True)
class Damage:
    """A line that cannot be used: "half-written" by a process that died, or "damaged" later."""

    kind: Literal["half-written", "damaged"]
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.kind}: line {self.line} of '{self.path}'"


class Segment:
    """A new file of records; use as a context manager.

    Parameters
    ----------
    path : Path
        Must not exist.

    Raises
    ------
    FileExistsError
        If it does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        _sync_folder(path.parent)
        self._size = 0

    def append(self, value: dict[str, Any]) -> None:
        """Write one record and force it to the disk.

        Raises
        ------
        OSError
            If that is not possible, for example on a full disk. The file is cut back to the
            records before.
        """
        data = line_of(value)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        os.close(self._file)
        if self._size == 0:
            self.path.unlink(missing_ok=True)


def line_of(value: dict[str, Any]) -> bytes:
    """Return the line of a record, its line break included."""
    payload = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return _checksum(payload) + b" " + payload + b"\n"


def read_segment(path: Path) -> Iterator[dict[str, Any] | Damage]:
    """Yield the records of a file in order, and what is wrong with it.

    Parameters
    ----------
    path : Path

    Yields
    ------
    dict or Damage
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                yield Damage("half-written", path, number)
                return
            checksum, _, payload = line[:-1].partition(b" ")
            if checksum != _checksum(payload):
                yield Damage("damaged", path, number)
                continue
            yield json.loads(payload)


def write_new(path: Path, text: str) -> bool:
    """Write a whole file or nothing; leave a file that exists. Return whether it was written.

    Raises
    ------
    OSError
        If that is not possible.
    """
    if path.exists():
        return False
    temporary = _beside(path)
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, fails if somebody was faster
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest()[:_DIGITS].encode()


def _sync_folder(folder: Path) -> None:
    """Force the folder's list of names to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
