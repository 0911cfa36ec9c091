"""Arguments of public functions: one check for every kind, the same sentence everywhere.

::

    seed = 1.5: wanted a whole number from 0 to 9223372036854775807

Each function returns the argument as a plain Python value, or raises TypeError for another kind
of thing and ValueError for one outside its bounds. ``bool`` is no number here: ``seed=True`` is a
mistake more often than a 1.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MOST_IMAGES = 2**62
"""First image number that no image may have: noise is addressed by 64-bit numbers, and the upper
ones belong to AdaBS."""

MOST_SEED = 2**63 - 1
"""Largest seed, that of a signed 64-bit column in a table of results."""


LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes of a file's name and characters of a path, as file systems have them."""


def whole(value: Any, name: str, low: int, high: int, advice: str = "") -> int:
    """Return a whole number between two bounds, both included.

    Parameters
    ----------
    value : int or numpy integer
        The argument.
    name : str
        Of the argument, for the message.
    low, high : int
        The bounds.
    advice : str
        Ends the message with a way out.

    Raises
    ------
    TypeError
        If it is another kind of thing: float, text, bool, None, an array.
    ValueError
        If it is outside the bounds.
    """
    wanted = f"wanted a whole number from {low} to {high}{_tail(advice)}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {shown(value)}: {wanted}")
    found = int(value)
    if not low <= found <= high:
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    return found


def seed(value: Any, name: str = "seed") -> int:
    """Return a seed, 0 to :data:`MOST_SEED`; errors as of :func:`whole`."""
    return whole(value, name, 0, MOST_SEED)


def number(value: Any, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite real number between two bounds, both included.

    Raises
    ------
    TypeError, ValueError
        As of :func:`whole`.
    """
    span = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
    wanted = f"wanted a finite number{span}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {shown(value)}: {wanted}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or not low <= found <= high:
        raise ValueError(f"{name} = {shown(value)}: {wanted}")
    return found


def flag(value: Any, name: str) -> bool:
    """Return True or False; TypeError for everything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} = {shown(value)}: wanted True or False")
    return value


def text(value: Any, name: str) -> str:
    """Return a text; TypeError for everything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name} = {shown(value)}: wanted a text")
    return value


def choice(value: Any, name: str, known: Iterable[str]) -> str:
    """Return one of the texts that are known.

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If it is not known; see :func:`unknown`.
    """
    known = list(known)
    wanted = "wanted one of " + ", ".join(f"'{one}'" for one in known)
    if not isinstance(value, str):
        raise TypeError(f"{name} = {shown(value)}: {wanted}")
    if value not in known:
        raise ValueError(unknown(f"{name} = {shown(value)} is unknown", value, known))
    return value


def unknown(
    fault: str,
    name: str,
    known: Iterable[str],
    advice: str = "",
    *,
    most: int = 20,
    cutoff: float = 0.6,
) -> str:
    """Return the message about a name that does not exist: the nearest one, and those that do.

    ``no preset named 'idael'; did you mean 'ideal'? There are: generic-pcm, ideal``

    Parameters
    ----------
    fault : str
        Says where, and which name; no full stop.
    name : str
        The name that does not exist.
    known : iterable of str
        The names there are, in the order of the message.
    advice : str
        Ends the message with an alternative.
    most : int
        Names that are listed; an ellipsis stands for the others.
    cutoff : float
        See :func:`nearest`.

    Returns
    -------
    str
        One sentence, or two where a name is near.
    """
    known = list(known)
    near = nearest(name, known, cutoff)
    hint = "there are: " if near is None else f"did you mean '{near}'? There are: "
    listed = ", ".join(known[:most]) + ", ..." * (len(known) > most)
    return f"{fault}; {hint}{listed or 'none'}{_tail(advice)}"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name that is nearest to a mistyped one, or None.

    Parameters
    ----------
    name : str
        The mistyped one.
    known : iterable of str
        The names there are.
    cutoff : float
        Least similarity, 0 to 1, as in :func:`difflib.get_close_matches`.

    Returns
    -------
    str or None
        None if no name is that near.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def path(value: Any, name: str = "path") -> Path:
    """Return the path of a file or folder.

    Raises
    ------
    TypeError
        If it is neither text nor a path.
    ValueError
        If it is empty, too long or holds the character 0.
    """
    if not isinstance(value, (str, os.PathLike)) or isinstance(value, bytes):
        raise TypeError(f"{name} = {shown(value)}: wanted the path of a file, as text or Path")
    found = os.fspath(value)
    if not isinstance(found, str):
        raise TypeError(f"{name} = {shown(value)}: wanted the path of a file, as text or Path")
    if not found or "\0" in found:
        raise ValueError(f"{name} = {shown(found)}: wanted the path of a file, as text or Path")
    parts = Path(found).parts
    try:
        longest = max((len(os.fsencode(part)) for part in parts), default=0)
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} = {shown(found)} holds characters that no file name has"
        ) from None
    if longest > LONGEST_NAME or len(found) > LONGEST_PATH:
        raise ValueError(
            f"{name} = {shown(found)} is too long: wanted names of at most {LONGEST_NAME} bytes"
        )
    return Path(found)


def patterns(value: Any, name: str) -> dict[str, str] | list[str]:
    """Return a mapping from texts to texts, or a list of texts (shell patterns of names).

    Raises
    ------
    TypeError
        If it is something else, a single text included.
    """
    wanted = "wanted a list of patterns of names, or a dictionary from pattern to choice"
    if isinstance(value, Mapping):
        for key, side in value.items():
            if not (isinstance(key, str) and isinstance(side, str)):
                raise TypeError(f"{name}: {shown(key)}: {shown(side)} in it: {wanted}")
        return dict(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} = {shown(value)}: {wanted}")
    found = list(value)
    for one in found:
        if not isinstance(one, str):
            raise TypeError(f"{name}: {shown(one)} in it: {wanted}")
    return found


def dense(value: Any, name: str) -> Any:
    """Return a torch tensor if it holds real numbers in memory, one behind the other.

    Works without torch being loaded.

    Raises
    ------
    TypeError
        If it is complex, sparse, nested, quantised or on the "meta" device (a shape without
        numbers): torch would drop or misread what makes it so.
    """
    layout = str(value.layout).removeprefix("torch.")
    if value.is_nested:
        kind = "nested"
    elif value.is_quantized:
        kind = "quantised"
    elif value.is_complex():
        kind = "complex"
    elif value.device.type == "meta":
        kind = "without numbers (device meta)"
    elif layout not in ("strided", "_mkldnn"):
        kind = f"sparse ({layout})"
    else:
        return value
    raise TypeError(f"{name}: a tensor that is {kind}: wanted a dense tensor of real numbers")


def shown(value: Any, most: int = 60) -> str:
    """Return a value as short text for a message, with its type where its text does not say it."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"a whole number of about {value.bit_length() * 0.30103:.0f} digits"
    try:
        plain = repr(value)
    except Exception as error:  # a foreign object may refuse
        plain = f"<no repr: {type(error).__name__}>"
    plain = " ".join(plain.split())
    plain = plain if len(plain) <= most else f"{plain[:most]}..."
    if value is None or isinstance(value, (bool, str, int, float, list, tuple, dict)):
        return plain
    return f"{plain} ({type(value).__name__})"


def _tail(advice: str) -> str:
    return f"; {advice}" if advice else ""
