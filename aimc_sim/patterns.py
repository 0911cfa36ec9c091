"""Shell patterns of layer names (``stage3.*``), for every option that has them.

``*``, ``?`` and ``[...]`` as in :mod:`fnmatch`; capitals count. Where several patterns fit a layer,
later ones overrule earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TypeVar

from . import arguments

T = TypeVar("T")


def fits(name: str, pattern: str) -> bool:
    """Return whether a pattern fits the name of a layer."""
    return fnmatchcase(name, pattern)


def every(choices: Iterable[tuple[str, T]], name: str) -> list[T]:
    """Return the choices whose patterns fit a name.

    Parameters
    ----------
    choices : iterable of (pattern, choice)
        In the order in which they were given.
    name : str
        Of a layer.

    Returns
    -------
    list
        In the order of ``choices``.
    """
    return [choice for pattern, choice in choices if fits(name, pattern)]


def last(choices: Iterable[tuple[str, T]], name: str, default: T) -> T:
    """Return the choice of the last pattern that fits a name, or a default.

    Parameters
    ----------
    choices : iterable of (pattern, choice)
        In the order in which they were given.
    name : str
        Of a layer.
    default : object
        The choice for layers that no pattern fits.

    Returns
    -------
    object
        One of the choices, or the default.
    """
    return [default, *every(choices, name)][-1]


def check(where: str, pattern: str, names: Iterable[str], kind: str) -> None:
    """Refuse a pattern that fits no layer.

    Parameters
    ----------
    where : str
        The option that has the pattern, for the message.
    pattern : str
        One pattern.
    names : iterable of str
        Layers that it may fit.
    kind : str
        Of these layers, for the message: "layer with weights".

    Raises
    ------
    ValueError
        If it fits none; names the nearest.
    """
    names = list(names)
    if not any(fits(name, pattern) for name in names):
        fault = f"{where}: '{pattern}' matches no {kind}"
        raise ValueError(arguments.unknown(fault, pattern, names, most=8, cutoff=0.4))
