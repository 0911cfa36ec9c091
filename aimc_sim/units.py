"""Text with units to SI numbers and back; the only home of prefixes.

Text is scaled by its decimal exponent (``"25 uS"`` becomes ``float("25e-6")``), so that equal
physics has an equal identity.
"""

from __future__ import annotations

import math
import re

from . import arguments

_PREFIX = {"p": -12, "n": -9, "u": -6, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}

_DURATION = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "week": 604800.0, "weeks": 604800.0,
    "month": 30 * 86400.0, "months": 30 * 86400.0,
    "y": 365 * 86400.0, "year": 365 * 86400.0, "years": 365 * 86400.0,
}  # fmt: skip
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]*)\s*\Z")


MOST_SECONDS = 3000 * 365 * 86400.0
"""Longest time after programming."""


def seconds(time: float | str) -> float:
    """Return a duration in seconds.

    Parameters
    ----------
    time : float or str
        Seconds, or text such as "0", "250 ns", "1 h", "1 day", "30 d", "1 year" (365 days).

    Returns
    -------
    float
        Seconds, 0 to :data:`MOST_SECONDS`.

    Raises
    ------
    ValueError
        If the text has an unknown unit, or the time is negative, not finite or too long.
    TypeError
        If it is neither text nor a number.

    Examples
    --------
    >>> seconds("1 day"), seconds("250 ns"), seconds(60)
    (86400.0, 2.5e-07, 60.0)
    """
    if isinstance(time, str):
        if len(time) > 100:
            raise ValueError(f"time = {arguments.shown(time)} cannot be read: it is too long")
        match = _NUMBER.match(time)
        if match is None:
            raise ValueError(f"time = {time!r} cannot be read; write for example '1 day' or '90 s'")
        number, unit = match.groups()
        if unit in _DURATION or unit == "":
            value = float(number) * _DURATION.get(unit, 1.0)
        elif unit[-1] == "s" and unit[:-1] in _PREFIX:
            mantissa, _, exponent = number.lower().partition("e")
            power = int(exponent or 0) if len(exponent) < 9 else 10**9
            value = float(f"{mantissa}e{power + _PREFIX[unit[:-1]]}")
        else:
            raise ValueError(
                f"time = {time!r} has the unknown unit '{unit}'; known: ns, us, ms, s, min, h, "
                "day, week, month (30 days), year (365 days)"
            )
    else:
        value = arguments.number(time, "time")
    if not math.isfinite(value) or value < 0:
        raise ValueError(
            f"time = {arguments.shown(time)} must be a finite time >= 0 after programming"
        )
    if value > MOST_SECONDS:
        raise ValueError(
            f"time = {arguments.shown(time)} is {value:.3g} s; wanted at most {MOST_SECONDS:.3g} s "
            "(3000 years) after programming: no law of drift is known beyond decades"
        )
    return value


def show_time(t_seconds: float) -> str:
    """Return a duration as short text.

    Parameters
    ----------
    t_seconds : float, seconds
        The duration, >= 0.

    Examples
    --------
    >>> show_time(0), show_time(3600), show_time(30 * 86400), show_time(1e-6)
    ('0 s', '1 h', '30 d', '1 us')
    """
    if 0 < t_seconds < 1:
        return show(t_seconds, "s")
    sizes = (("y", 365 * 86400.0), ("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
    for name, size in sizes:
        if t_seconds >= size and math.isclose(t_seconds / size, round(t_seconds / size)):
            return f"{round(t_seconds / size)} {name}"
        if t_seconds >= 100 * size:  # no smaller unit would be easier to read
            return f"{t_seconds / size:.4g} {name}"
    return f"{t_seconds:.4g} s"


def show(value: float, unit: str, digits: int = 4) -> str:
    """Return a number with an SI prefix.

    Parameters
    ----------
    value : float
        The number, in the unit without a prefix.
    unit : str
        Symbol of the unit.
    digits : int
        Significant digits.

    Examples
    --------
    >>> show(2.5e-5, "S"), show(400e6, "Hz")
    ('25 uS', '400 MHz')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    exponent = min(9, max(-15, exponent))
    prefix = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
    return f"{value / 10.0**exponent:.{digits}g} {prefix[exponent]}{unit}"
