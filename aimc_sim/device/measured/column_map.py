"""The column map of an import: which column of a table is what, in which unit.

``device=Device, pulse_volts=V[V], resistance=R[kohm], temperature=@25[C]``: the name inside, ``=``,
the name or 0-based number of the column (or ``@`` and a number that holds for all reads), and the
unit in brackets. Nothing is guessed: a quantity without a unit is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import columns as rules

Convert = Callable[[np.ndarray], np.ndarray]


def _times(factor: float) -> Convert:
    return lambda values: values * factor


def _inverse(factor: float) -> Convert:
    return lambda values: 1.0 / (values * factor)


_SIEMENS = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9, "pS": 1e-12}
_OHM = {"ohm": 1.0, "kohm": 1e3, "Mohm": 1e6, "Gohm": 1e9}
_CONVERT: dict[str, dict[str, Convert]] = {
    "S": {name: _times(factor) for name, factor in _SIEMENS.items()},
    "ohm": {name: _inverse(factor) for name, factor in _OHM.items()},
    "V": {"V": _times(1.0), "mV": _times(1e-3)},
    "A": {"A": _times(1.0), "mA": _times(1e-3), "uA": _times(1e-6), "nA": _times(1e-9)},
    "s": {
        "s": _times(1.0), "ms": _times(1e-3), "us": _times(1e-6), "ns": _times(1e-9),
        "min": _times(60.0), "h": _times(3600.0), "d": _times(86400.0),
    },
    "K": {"K": _times(1.0), "C": lambda values: values + 273.15},
    "1": {"1": _times(1.0)},
}  # fmt: skip

TARGETS = {
    **{name: (name, unit) for name, unit in rules.UNITS.items()},
    "target": ("target_siemens", "S"),
    "time": ("time_seconds", "s"),
    "conductance": ("conductance_siemens", "S"),
    "resistance": ("conductance_siemens", "ohm"),
    "target_resistance": ("target_siemens", "ohm"),
    "temperature": ("temperature_kelvin", "K"),
}
"""Names that a map may use: the column inside, and the kind of unit that it asks for."""

_ENTRY = re.compile(r"\s*(\w+)\s*=\s*(@?)(.*?)\s*(?:\[([^\[\]]*)\])?\s*\Z")


@dataclass(frozen=True)
class Source:
    """Where a column comes from.

    Attributes
    ----------
    name : str
        Column inside, see :data:`aimc_sim.device.measured.columns.UNITS`.
    source : str or float
        Name or number of the column in the table; a float holds for all reads.
    unit : str
        Unit there.
    convert : callable
        From numbers in that unit to SI.
    """

    name: str
    source: str | float
    unit: str
    convert: Convert


def parse(text: str) -> tuple[Source, ...]:
    """Return the entries of a column map.

    Raises
    ------
    ValueError
        If an entry cannot be read, a unit is missing or unknown, or a column is given twice or
        is needed and missing.
    """
    entries = tuple(_entry(part) for part in text.split(",") if part.strip())
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the map gives '{name}' twice; leave one out")
    for name, example in (
        ("device", "device=Device or device=@0"),
        ("conductance_siemens", "conductance=G[uS] or resistance=R[ohm]"),
    ):
        if name not in names:
            raise ValueError(f"the map has no '{name}'; add for example {example}")
    return entries


def _entry(text: str) -> Source:
    match = _ENTRY.match(text)
    if match is None or not match[3]:
        raise ValueError(
            f"map entry '{text.strip()}' cannot be read; write for example resistance=R[ohm]"
        )
    target, constant, source, unit = match.groups()
    if target not in TARGETS:
        near = difflib.get_close_matches(target, TARGETS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"the map's '{target}' is unknown; {hint}Known: {', '.join(TARGETS)}")
    name, kind = TARGETS[target]
    known = _CONVERT[kind]
    if unit is None and kind != "1":
        raise ValueError(
            f"column '{source}' ({target}) has no unit; write {target}={constant}{source}[UNIT] "
            f"with one of {', '.join(known)}"
        )
    unit = unit or "1"
    if unit not in known:
        raise ValueError(
            f"column '{source}' ({target}): the unit '{unit}' is unknown here; wanted one of "
            f"{', '.join(known)}"
        )
    if not constant:
        if name == "read_seconds":
            raise ValueError(f"read_seconds is one number for all reads; write @{source}[{unit}]")
        return Source(name, source, unit, known[unit])
    try:
        return Source(name, float(source), unit, known[unit])
    except ValueError:
        raise ValueError(f"map entry '{text.strip()}': '{source}' is not a number") from None
