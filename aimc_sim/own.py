"""Objects that a user names as ``package.module:attribute``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from . import arguments, files


def look_in(*folders: Path | None) -> None:
    """Let modules of the user's own be found in these folders, and in the present one."""
    for place in (*(str(folder) for folder in folders if folder is not None), ""):
        if place not in sys.path:
            sys.path.insert(0, place)


def find(name: str, what: str) -> Any:
    """Return what ``package.module:attribute`` names. The module is executed.

    Parameters
    ----------
    name : str
        With a colon.
    what : str
        Key or option that holds the name, for messages.

    Raises
    ------
    ValueError
        If the module cannot be imported, or has no such attribute; names the nearest.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is read
        raise ValueError(
            f"{what}: '{module}' of '{name}' cannot be imported ({type(error).__name__}: {error}); "
            "it is looked for beside the study, in the present folder and among the installed "
            "packages"
        ) from error
    if not hasattr(found, attribute):
        known = [n for n in dir(found) if n[0] != "_"]
        fault = f"{what}: '{module}' has no callable '{attribute}'"
        raise ValueError(arguments.unknown(fault, attribute, known, most=8))
    return getattr(found, attribute)


def call(name: str, what: str) -> Any:
    """Return what the callable ``package.module:callable`` gives without arguments.

    Raises
    ------
    ValueError
        If there is none, or it fails.
    """
    build = find(name, what)
    if not callable(build):
        module, _, attribute = name.partition(":")
        raise ValueError(f"{what}: '{module}' has no callable '{attribute}'")
    try:
        return build()
    except (Exception, SystemExit) as error:  # the user's own code
        raise ValueError(
            f"{what}: {name} failed when called without arguments: {type(error).__name__}: {error}"
        ) from error


def code_of(name: str) -> str:
    """Return the SHA-256 (64 hex digits) of the file of the module in ``package.module:attribute``.

    "" for a module that has no file.
    """
    path = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    return files.sha256(Path(path)) if path else ""
