"""HDF5 files that are written whole, sealed, and checked before they are read.

The HDF5 library trusts what it reads: one flipped byte can make it read for ever, follow a link
into another file, or ask for memory that the file never held. So:

* *Seal.* A file that is written here begins with 512 bytes of its own (HDF5 calls them a user
  block; every HDF5 reader skips them) that hold the SHA-256 of all the others. Damage is found
  before the library reads a byte.
* *Rehearsal.* A file without a seal (made by an older release or another tool) is read once by a
  process of its own, which is ended after :data:`REHEARSAL_SECONDS` and may take no more memory
  than the file can need.
* *Contents.* Soft and external links, external and virtual storage, and datasets that declare
  more than the file can hold are refused by name.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path

import h5py

from . import files

SEAL_BYTES = 512
"""Size of the user block, the smallest that HDF5 allows."""

_MARK = b"aimc_sim sha256 "

REHEARSAL_SECONDS = 20.0
"""How long an unsealed file may take to be read, beside a second for every 20 MB."""

MOST_RATIO = 1100
"""Bytes that one byte of a file can stand for: gzip's limit is 1032."""

DEEPEST = 16
"""Groups inside groups."""


@contextmanager
def writing(path: str | Path, what: str) -> Iterator[h5py.File]:
    """Give a new HDF5 file; it takes the place of ``path`` complete and sealed, or not at all.

    Raises
    ------
    OSError
        See :func:`aimc_sim.files.replacing`.
    """
    with files.replacing(path, what) as temporary:
        with h5py.File(temporary, "w", userblock_size=SEAL_BYTES) as file:
            yield file
        with temporary.open("r+b") as raw:
            seal = _MARK + _digest(raw).encode()
            raw.seek(0)
            raw.write(seal.ljust(SEAL_BYTES, b"\n"))


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[h5py.File]:
    """Give an HDF5 file that can be read without surprises.

    Parameters
    ----------
    path : path
    what : str
        Expected content, for messages: "chip file".

    Raises
    ------
    FileNotFoundError
        If there is no ordinary file.
    ValueError
        If it is no HDF5 file, damaged, or holds links or datasets that are refused here.
    """
    path = files.require_file(path, what)
    try:
        with path.open("rb") as raw:
            begin = raw.read(SEAL_BYTES)
            sealed = begin.startswith(_MARK)
            if sealed and begin != (_MARK + _digest(raw).encode()).ljust(SEAL_BYTES, b"\n"):
                raise ValueError(
                    f"'{path}' is damaged, or another tool changed it: its content is not what was "
                    "written (checksum); use a copy, or make it again"
                )
        if not sealed:
            _rehearse(path)
        file = h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, error) from None
    with file:
        try:
            _check_contents(file, path)
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            if str(error).startswith(f"'{path}'"):
                raise
            raise _damaged(path, error) from None
        yield file


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error.args[0] if error.args else error).split())[:160]
    return ValueError(f"'{path}' is damaged or not an HDF5 file ({reason})")


def _digest(raw: BufferedReader | BufferedRandom) -> str:
    """Return the SHA-256 of everything behind the user block."""
    raw.seek(SEAL_BYTES)
    return hashlib.file_digest(raw, "sha256").hexdigest()


def _check_contents(file: h5py.File, path: Path) -> None:
    """Raise ValueError for contents that are refused; nothing is read but its structure."""
    budget = MOST_RATIO * path.stat().st_size + 2**20
    groups, seen = [(file["/"], 0)], set()
    while groups:
        group, depth = groups.pop()
        if depth > DEEPEST:
            raise ValueError(f"'{path}' has groups deeper than {DEEPEST} in each other")
        for name in group:
            place = f"'{path}', '{group.name.rstrip('/')}/{name}'"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{place} is a link to somewhere else; give a file without links")
            item = group[name]
            if isinstance(item, h5py.Group):
                token = h5py.h5o.get_info(item.id).addr
                if token not in seen:
                    seen.add(token)
                    groups.append((item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                raise ValueError(f"{place} is neither a group nor a dataset")
            if item.external or item.is_virtual:
                raise ValueError(f"{place} keeps its data in another file; give a file without")
            if item.size is not None and item.size * item.dtype.itemsize > budget:
                raise ValueError(
                    f"{place} declares {item.size:,} numbers, more than a file of "
                    f"{path.stat().st_size:,} bytes can hold"
                )


_REHEARSAL = """
import sys, h5py
most = int(sys.argv[2])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
except (ImportError, OSError, ValueError):  # Windows, macOS: only the time is limited
    pass
from aimc_sim import hdf5
from pathlib import Path
def read(name, item):
    for key in item.attrs:
        item.attrs[key]
    if isinstance(item, h5py.Dataset):
        item[()]
try:
    with h5py.File(sys.argv[1], "r") as file:
        hdf5._check_contents(file, Path(sys.argv[1]))
        read("/", file)
        file.visititems(read)
except Exception as error:
    sys.exit(" ".join(str(error).split())[:300] or type(error).__name__)
"""


def _rehearse(path: Path) -> None:
    """Let another process read an unsealed file to its end.

    Raises
    ------
    ValueError
        If that fails, does not end or takes too much memory.
    """
    size = path.stat().st_size
    with path.open("rb") as raw:
        begin = raw.read(8)
    if begin != b"\x89HDF\r\n\x1a\n":
        # At a power of two from 512 on there may be a user block of another tool.
        if not h5py.is_hdf5(path):
            raise ValueError(f"'{path}' is damaged or not an HDF5 file (file signature not found)")
    seconds = REHEARSAL_SECONDS + size / 20e6
    memory = 2**31 + 4 * MOST_RATIO * size if size < 2**20 else 2**33 + 20 * size
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _REHEARSAL, str(path), str(memory)],
            capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL,
            env=_environment(), text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"'{path}' is damaged: the HDF5 library did not finish reading it in {seconds:.0f} s"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"the HDF5 library ended with code {done.returncode}"
        raise ValueError(
            reason if reason.startswith(f"'{path}'")
            else f"'{path}' is damaged or not an HDF5 file ({reason})"
        )  # fmt: skip


def _environment() -> dict[str, str]:
    home = str(Path(__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, before]))}
