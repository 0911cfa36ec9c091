"""Objects that a user names: ``package.module:attribute``, or ``path/to/file.py:attribute``.

A name with a colon is the user's own; every other name is one of a registry. A file is executed
once in a process, whichever of its objects are named. Its folder is searched for modules that it
imports, as Python does for a script.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from . import arguments, files

HOW = "package.module:function or path/to/file.py:function"
"""The forms of a name, for messages."""

_FILES: dict[Path, ModuleType] = {}
"""Modules that were made of files, by the file's full path."""

_CODES: dict[str, tuple[ModuleSpec | None, str]] = {}
"""Of each module that was found: how it was imported, and the SHA-256 of its file then, or ""."""


def look_in(*folders: Path | None) -> None:
    """Let modules of the user's own be found in these folders, and in the present one."""
    for place in (*(str(folder) for folder in folders if folder is not None), ""):
        if place not in sys.path:
            sys.path.insert(0, place)


def is_own(name: str) -> bool:
    """Return whether a name is that of a user's own object."""
    return ":" in name


def find(name: str, what: str) -> Any:
    """Return the object that a name stands for. Its module or file is executed.

    Parameters
    ----------
    name : str
        ``package.module:attribute`` or ``path/to/file.py:attribute``.
    what : str
        Key or option that holds the name, for messages.

    Raises
    ------
    ValueError
        If the module or file cannot be executed, or has no such attribute; names the nearest.
    """
    place, attribute = _split(name)
    found = _module(name, what)
    if not hasattr(found, attribute):
        known = [n for n in dir(found) if n[0] != "_"]
        fault = f"{what}: '{place}' has no callable '{attribute}'"
        raise ValueError(arguments.unknown(fault, attribute, known, most=8))
    return getattr(found, attribute)


def call(name: str, what: str) -> Any:
    """Return what the callable of a name gives without arguments.

    Parameters
    ----------
    name, what : str
        As of :func:`find`.

    Raises
    ------
    ValueError
        If there is none, or it fails.
    """
    build = find(name, what)
    if not callable(build):
        place, attribute = _split(name)
        raise ValueError(f"{what}: '{place}' has no callable '{attribute}'")
    try:
        return build()
    except (Exception, SystemExit) as error:  # the user's own code
        raise ValueError(
            f"{what}: {name} failed when called without arguments: {type(error).__name__}: {error}"
        ) from error


def loaded(name: str) -> ModuleType | None:
    """Return the module of a name whose object was found before; None if there is none."""
    place, _ = _split(name)
    if _is_file(place):
        return _FILES.get(Path(place).resolve())
    return sys.modules.get(place)


def code_of(name: str) -> str:
    """Return the SHA-256 (64 hex digits) of the file behind a name whose object was found.

    It is that of the file as it was when its module was found first: a file that is edited
    afterwards is executed again by a new process, or after ``importlib.reload``, and not before.
    "" for a module that has no file.
    """
    module = loaded(name)
    return "" if module is None else _remembered(module)


def label(name: str) -> str:
    """Return a name as it stands in titles, tables and identities: of a file without its folder.

    Results of one file are then equal wherever the file lies.
    """
    if not is_own(name) or not _is_file(_split(name)[0]):
        return name
    place, attribute = _split(name)
    return f"{Path(place).name}:{attribute}"


def absolute(name: str, folder: Path) -> str:
    """Return a name whose file, if it is one, is relative to ``folder`` no more."""
    if not is_own(name) or not _is_file(_split(name)[0]):
        return name
    place, attribute = _split(name)
    return f"{folder / place}:{attribute}"


def _split(name: str) -> tuple[str, str]:
    """Return module or file, and attribute. A path may have a colon of its own (a drive)."""
    place, _, attribute = name.rpartition(":")
    if _is_file(place) or _is_path(place):
        return place, attribute
    place, _, attribute = name.partition(":")
    return place, attribute


def _is_file(place: str) -> bool:
    return place.endswith(".py")


def _is_path(place: str) -> bool:
    return "/" in place or "\\" in place


def _module(name: str, what: str) -> ModuleType:
    place, _ = _split(name)
    if _is_path(place) and not _is_file(place):
        raise ValueError(
            f"{what}: '{arguments.shown(place)[1:-1]}' of '{name}' is the path of no Python file "
            f"(.py); wanted {HOW}"
        )
    try:
        if _is_file(place):
            path = files.require_file(place, "Python file").resolve()
            if path not in _FILES:
                _FILES[path] = _executed(path)
            found = _FILES[path]
        else:
            found = importlib.import_module(place)
        _remembered(found)
        return found
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is read
        where = (
            "" if _is_file(place) else "; it is looked for beside the study, in the present folder "
            "and among the installed packages"
        )  # fmt: skip
        raise ValueError(
            f"{what}: '{place}' of '{name}' cannot be imported ({type(error).__name__}: {error})"
            f"{where}"
        ) from error


def _remembered(module: ModuleType) -> str:
    """Return the SHA-256 of a module's file at the first call since the module was executed."""
    spec = module.__spec__  # another one after a reload
    if module.__name__ not in _CODES or _CODES[module.__name__][0] is not spec:
        path = getattr(module, "__file__", None)
        _CODES[module.__name__] = spec, files.sha256(Path(path)) if path else ""
    return _CODES[module.__name__][1]


def _executed(path: Path) -> ModuleType:
    """Return the module of a file.

    It has the file's own name if Python finds this file by that name: then a module beside it that
    imports it, and a process that is given one of its objects, use the same one. Else its name
    holds a hash of the path, so that no other module is replaced.
    """
    look_in(path.parent)
    if path.stem.isidentifier():
        try:
            found = importlib.util.find_spec(path.stem)
        except (ImportError, ValueError):
            found = None
        if found is not None and found.origin and Path(found.origin).resolve() == path:
            return importlib.import_module(path.stem)
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
