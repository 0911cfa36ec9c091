"""Compiled loops on disk, in files named after everything that they were compiled from.

numba's own cache asks only whether the file of a function has changed, and keeps its code beside
that file. A loop whose inlined formula stands in another file would be loaded as it was before
that formula was edited, and two installations of one release would compile everything twice.
Here the name of a file is a hash of

- the sources of all kernels, the file of the function, its byte code and what it encloses;
- the types of its arguments;
- the processor and its features, the release of Python, numba and llvmlite, numba's settings.

A file is found or it is not: there is no index, nothing becomes stale, and processes that compile
the same loop at one time write the same file, each whole. A file that is damaged, or whose types
are others, is compiled anew and replaced.

The folder is the first that can be written: ``NUMBA_CACHE_DIR``, the user's cache folder
(``~/.cache/aimc_sim`` on Linux), ``__pycache__`` beside the kernels. When code of new sources is
first written, that of others is removed: of those not used for :data:`KEPT_DAYS` days, and of all
but the :data:`KEPT` used last.

Some names of numba that are used here are not documented as stable (tested: 0.61 and 0.68). Where
one is missing, or where no folder can be written, numba's own cache is asked.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba

from .. import files

__all__ = ["KEPT", "KEPT_DAYS", "KernelFile", "folder", "of"]

KEPT_DAYS = 30.0
"""Days after which code that nobody used is removed."""

KEPT = 16
"""Sources whose code is kept, 10 MB each at most."""

_SETTINGS = (
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML",
)  # fmt: skip
"""Settings of numba, from its environment, that change code; the processor has its own part.

With ``USING_SVML`` code calls Intel's vector functions: where they are not installed it could not
be linked, and where they are, logarithms have other last bits.
"""

_HERE = Path(__file__).resolve().parent
_DAY_SECONDS = 86400.0


def of(function: Callable[..., Any]) -> KernelFile | None:
    """Return the code on disk of a function; None if numba's own cache has to do.

    Parameters
    ----------
    function : callable
        A Python function, to be compiled.

    Returns
    -------
    KernelFile or None
        To be set as the cache of its dispatcher.
    """
    if getattr(numba.config, "CACHE_LOCATOR_CLASSES", ""):  # the user has a cache of their own
        return None
    place = folder()
    source = Path(function.__code__.co_filename)
    if place is None or not source.is_file():
        return None
    try:
        return KernelFile(function, source, place)
    except (ImportError, AttributeError, TypeError):  # another numba
        return None


@functools.cache
def folder() -> Path | None:
    """Return the folder for code of the present sources, which can be written; None: there is none.

    Returns
    -------
    Path or None
        Named after the sources of all kernels and the releases that compile them.
    """
    sources = sorted(_HERE.glob("*.py"))
    if not sources:  # a package without sources
        return None
    # A build of Python without the lock has its own layout of objects, and the same tag.
    python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    found = hashlib.sha256(f"{python} {numba.__version__}".encode())
    found.update(f" {llvmlite.__version__} {_settings()}".encode())
    for path in sources:
        found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for root in _roots():
        with suppress(OSError):
            place = root / found.hexdigest()[:16]
            if not place.is_dir():
                root.mkdir(parents=True, exist_ok=True)
                _remove_unused(root)
                place.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
            os.utime(place)
            return place
    return None


def _settings() -> str:
    return " ".join(f"{name}={getattr(numba.config, name, None)}" for name in _SETTINGS)


def _roots() -> Iterator[Path]:
    """Yield the folders to try, best first."""
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / "aimc_sim-kernels"
    with suppress(ImportError, AttributeError, RuntimeError):  # or there is no home
        from numba.misc.appdirs import AppDirs

        yield Path(AppDirs(appname="aimc_sim", appauthor=False).user_cache_dir) / "kernels"
    yield _HERE / "__pycache__" / "kernels"


def _remove_unused(root: Path) -> None:
    """Remove the code of sources that nobody has used for a long time, or of too many."""
    before = time.time() - KEPT_DAYS * _DAY_SECONDS
    used = []
    for place in root.iterdir():
        if re.fullmatch("[0-9a-f]{16}", place.name):
            with suppress(FileNotFoundError):  # another process was faster
                used.append((place.stat().st_mtime, place))
    for number, (when, place) in enumerate(sorted(used, reverse=True)):
        if when < before or number >= KEPT:
            shutil.rmtree(place, ignore_errors=True)


class KernelFile:
    """Compiled code of one function, as numba's dispatchers ask for it.

    Parameters
    ----------
    function : callable
        The Python function.
    source : Path
        Its file.
    place : Path
        Folder of the code.
    """

    def __init__(self, function: Callable[..., Any], source: Path, place: Path) -> None:
        from numba.core.compiler import CompileResult
        from numba.core.serialize import dumps

        self._dump, self._rebuild = dumps, CompileResult._rebuild
        self._place = place
        self._name = f"{source.stem}.{function.__qualname__}".replace("<", "").replace(">", "")
        enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
        self._made_from = hashlib.sha256(
            b"\0".join(
                (
                    b"" if source.parent.resolve() == _HERE else source.read_bytes(),
                    f"{function.__module__} {function.__code__.co_firstlineno}".encode(),
                    function.__code__.co_code,
                    dumps(enclosed) if enclosed else b"",
                )
            )
        ).hexdigest()
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """Folder of the code."""
        return str(self._place)

    def enable(self) -> None:
        """Read and write code from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Compile without reading or writing code."""
        self._enabled = False

    def flush(self) -> None:
        """Remove the code of this function."""
        for path in self._place.glob(f"{self._name}-*.code"):
            path.unlink(missing_ok=True)

    def load_overload(self, sig: tuple[Any, ...], target_context: Any) -> Any:
        """Return the code for some types of arguments, ready to run; None if there is none.

        Parameters
        ----------
        sig : tuple of numba types
            One for each argument.
        target_context : numba's target context
            In which it will run.

        Returns
        -------
        numba's CompileResult or None
            None also of a file that is damaged, or of other types.
        """
        target_context.refresh()
        if not self._enabled:
            return None
        try:
            text = self._path(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(text[32:]).digest() != text[:32]:
            return None
        try:
            found = self._rebuild(target_context, *pickle.loads(text[32:]))
        except Exception:  # a class that has moved, for example: compiled anew
            return None
        return found if tuple(found.signature.args) == tuple(sig) else None

    def save_overload(self, sig: tuple[Any, ...], data: Any) -> None:
        """Write the code for some types of arguments.

        Parameters
        ----------
        sig : tuple of numba types
            One for each argument.
        data : numba's CompileResult
            The code.
        """
        if not self._enabled:
            return
        if data.library.has_dynamic_globals or any(not one.can_cache for one in data.lifted):
            warnings.warn(
                f"the code of {self._name} cannot be kept on disk: it holds large global arrays, "
                "addresses or Python objects",
                numba.NumbaWarning,
                stacklevel=2,
            )
            return
        path, text = self._path(sig, data.codegen), self._dump(data._reduce())
        try:
            with files.replacing(path, "compiled code") as temporary:
                temporary.write_bytes(hashlib.sha256(text).digest() + text)
        except OSError as error:
            if not path.is_file():  # else another process was faster, where open files stay
                warnings.warn(f"compiled code is not kept: {error}", RuntimeWarning, stacklevel=2)

    def _path(self, sig: tuple[Any, ...], codegen: Any) -> Path:
        made_from = f"{self._made_from} {codegen.magic_tuple()} {[_shown(one) for one in sig]}"
        return self._place / f"{self._name}-{hashlib.sha256(made_from.encode()).hexdigest()}.code"


def _shown(kind: Any) -> str:
    """Return a type of numba as a text; of named tuples also which class they are of."""
    of_class = getattr(kind, "instance_class", None)
    where = f" of {of_class.__module__}.{of_class.__qualname__}" if of_class else ""
    return f"{kind}{where}{getattr(of_class, '_fields', '')}"
