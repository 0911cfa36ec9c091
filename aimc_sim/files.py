"""Writing files: whole or not at all, and never over anything but an ordinary file.

Every writer of this package goes through :func:`replacing` (or :func:`create_text`, which leaves
a file that is there): the content is written under a temporary name beside the target, forced to
the disk and renamed. The target is checked first: a folder, a device, a FIFO, a
socket and a symbolic link are refused, because a rename would put a plain file in their place.
Links among the parent folders are followed, as everywhere.

A process that is killed leaves its temporary file behind. Its name holds the machine and the
process, so that :func:`clear` (called by every writer for its folder) removes the files that no
living process owns.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import arguments

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO (named pipe)", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a symbolic link",
}  # fmt: skip
HOLDER = ".holder"
"""Behind the name of a lock: the file that says who holds it."""

_TEMPORARY = re.compile(r"\.aimc_sim-(?P<host>[^ ]*)-(?P<process>\d+)-[0-9a-f]{8}(\..*)?\Z")


def kind_of(path: str | Path) -> str | None:
    """Return the kind of a path: "a file", "a folder", "a symbolic link", ...; None: nothing.

    Links are not followed.

    Raises
    ------
    OSError
        If that cannot be told, for example because the name is too long.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    return "a file" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no ordinary file")


def refuse_target(path: str | Path, what: str = "the file") -> None:
    """Raise unless a file can be written at a path, or an ordinary one replaced.

    Parameters
    ----------
    path : path
    what : str
        Name of the content, for the message: "the chip".

    Raises
    ------
    FileNotFoundError
        If the folder is missing.
    FileExistsError
        If something else than an ordinary file is there.
    OSError
        If the path cannot be one, for example because its name is too long.
    """
    path = arguments.path(path)
    found = kind_of(path)
    if found == "a folder":
        raise FileExistsError(f"{what} cannot be written: '{path}' is a folder; give a file's name")
    if found == "a symbolic link":
        raise FileExistsError(
            f"{what} cannot be written: '{path}' is a symbolic link; give the file it points to, "
            "or remove the link"
        )
    if found not in (None, "a file"):
        raise FileExistsError(
            f"{what} cannot be written: '{path}' is {found}; give the name of an ordinary file"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{what} cannot be written: there is no folder '{path.parent}'; make it first"
        )


def require_file(path: str | Path, what: str = "file", help_: str = "") -> Path:
    """Return a path if there is an ordinary file, links followed; reading it will end.

    Raises
    ------
    FileNotFoundError
        If there is none; ``help_`` ends the sentence.
    OSError
        If the path cannot be one.
    """
    path = arguments.path(path)
    more = f"; {help_}" if help_ else ""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no {what} '{path}'{more}") from None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise FileNotFoundError(f"there is no {what} '{path}': that is {kind}{more}")
    return path


@contextmanager
def replacing(path: str | Path, what: str = "the file") -> Iterator[Path]:
    """Give a temporary path; the file written there takes the place of ``path`` at the end.

    Parameters
    ----------
    path : path
        An ordinary file that is there is replaced; everything else is refused.
    what : str
        For messages, see :func:`refuse_target`.

    Yields
    ------
    Path
        In the same folder, with the same suffix; the file is there and empty. After an error it
        is removed and ``path`` is as before.

    Raises
    ------
    OSError
        See :func:`refuse_target`; or if writing fails.
    """
    path = arguments.path(path)
    refuse_target(path, what)
    temporary = _beside(path)
    try:
        yield temporary
        _force(temporary)
        refuse_target(path, what)  # again: writing may have taken long
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    force_folder(path.parent)


def create_text(path: str | Path, text: str) -> bool:
    """Write a text, whole or not at all, unless something is there; return whether it was written.

    Raises
    ------
    OSError
        If writing fails.
    """
    path = Path(path)
    if kind_of(path) is not None:
        return False
    temporary = _beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        _force(temporary)
        try:
            os.link(temporary, path)  # unlike a rename, fails if somebody was faster
        except FileExistsError:
            return False
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    force_folder(path.parent)
    return True


def write_text(path: str | Path, text: str, what: str = "the file") -> None:
    """Write a text (UTF-8) in place of an older one, whole or not at all; errors as above."""
    with replacing(path, what) as temporary:
        temporary.write_text(text, encoding="utf-8")


class LockedError(OSError):
    """Another process, or another thread, holds a lock; the text says who."""


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a lock, or refuse at once; it ends with the process, however that ends.

    Parameters
    ----------
    path : path
        File of the lock, made where it is missing and left behind. A file beside it, with
        :data:`HOLDER` behind its name, says who holds it.

    Raises
    ------
    LockedError
        If somebody else holds it.
    OSError
        If the file cannot be made, or is a symbolic link.
    """
    from filelock import FileLock, Timeout  # here: most callers of this module lock nothing

    path = arguments.path(path)
    holder = path.with_name(path.name + HOLDER)
    lock = FileLock(path, timeout=0, mode=0o644)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(_holder(holder)) from None
    try:
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        with suppress(OSError):  # it says who, and locks nothing
            write_text(holder, f"process {os.getpid()} on {_host()} since {began}\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:200].strip() or "it does not say which"
    except (OSError, UnicodeDecodeError):
        return "it does not say which"


def json_text(values: Any, sort_keys: bool = False) -> str:
    """Return plain values as JSON, indented, with a line break at the end.

    Parameters
    ----------
    values : object
        Of the kinds of JSON: mappings, lists, texts, finite numbers, truth values, None.
    sort_keys : bool
        Whether equal mappings give equal texts.

    Raises
    ------
    ValueError
        If a number is none or infinite.
    """
    return json.dumps(values, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n"


def write_json(path: str | Path, values: Any, what: str = "the file") -> None:
    """Write plain values as JSON in place of an older file; errors as of :func:`replacing`."""
    write_text(path, json_text(values), what)


def publish(scratch: Path, folder: Path, names: Iterable[str]) -> None:
    """Move files of a scratch folder to a folder beside it, each whole, in the order given.

    Parameters
    ----------
    scratch, folder : Path
        Of the same file system.
    names : iterable of str
        Names of files in ``scratch``; ordinary files of these names in ``folder`` are replaced.

    Raises
    ------
    OSError
        See :func:`refuse_target`; or if a file cannot be moved.
    """
    for name in names:
        refuse_target(folder / name)
        _force(scratch / name)
        os.replace(scratch / name, folder / name)
    force_folder(folder)


def missing(folder: Path) -> list[Path]:
    """Return a folder and its parents as far as they do not exist, innermost first."""
    found, level = [], folder
    while not level.exists() and level != level.parent:
        found.append(level)
        level = level.parent
    return found


def clear(folder: Path) -> None:
    """Remove temporary files and folders that dead processes of this machine left in a folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.match(name)
        if match is None or match["host"] != _host() or _alive(int(match["process"])):
            continue
        place = folder / name
        with suppress(OSError):
            if kind_of(place) == "a folder":
                for file in place.iterdir():
                    file.unlink()
                place.rmdir()
            else:
                place.unlink()


def temporary_name(suffix: str = "") -> str:
    """Return a name for a temporary file or folder that :func:`clear` recognises."""
    return f".aimc_sim-{_host()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, 64 hex digits; reading ends, see `require_file`."""
    with require_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def force_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _beside(path: Path) -> Path:
    """Make an empty temporary file in the folder of a path, with a short name."""
    clear(path.parent)
    suffix = path.suffix if len(path.suffix) <= 16 else ""
    temporary = path.parent / temporary_name(suffix)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _force(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # Windows forces only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64]


def _alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 is Ctrl-C: files of the dead are left
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
