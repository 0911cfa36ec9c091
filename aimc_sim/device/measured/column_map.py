"""The column map of an import: the meaning and the unit of every column of a table.

``device=Device, pulse_volts=V[V], resistance=R[kohm], temperature=@25[C]``: the name inside, ``=``,
the name or 0-based number of the column (or ``@`` and a number that holds for all reads), and the
unit in brackets; a name with a comma stands in quotes. A unit may be left out where the header of
the column states it. Nothing is guessed: a quantity without a unit is refused.

Besides: ``device=WL+BL`` (two columns), ``device=#`` (every row is a device of its own),
``resistance=logR[log10 ohm]``, ``time=when[timestamp]``, ``current=I[A], read_volts=@0.2[V]``,
``conductance=*[uS]`` (the values of a wide table), ``time=*[s]`` (its headers, where they are bare
numbers) and ``time=@30 300 3000[s]`` (the times of an array).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ... import arguments
from . import columns as rules
from .headers import UNITS

Convert = Callable[[np.ndarray], np.ndarray]

CURRENT = "current_amperes"
READ_VOLTS = "read_volts"
TIMESTAMP = "timestamp"
WIDE, ROW = "*", "#"

TARGETS = {
    **{name: (name, unit) for name, unit in rules.UNITS.items()},
    "target": ("target_siemens", "S"),
    "time": ("time_seconds", "s"),
    "conductance": ("conductance_siemens", "S"),
    "resistance": ("conductance_siemens", "ohm"),
    "current": (CURRENT, "A"),
    "read_volts": (READ_VOLTS, "V"),
    "target_resistance": ("target_siemens", "ohm"),
    "temperature": ("temperature_kelvin", "K"),
    "row": ("device_row", "1"),
    "column": ("device_column", "1"),
}
"""Names that a map may use: the column inside, and the kind of unit that it asks for."""

_ENTRY = re.compile(
    r"\s*(\w+)\s*=\s*(@?)\s*(?:\"([^\"]*)\"|'([^']*)'|(.*?))\s*(?:\[([^\[\]]*)\])?\s*\Z", re.DOTALL
)
_PARTS = re.compile(r"""((?:"[^"]*"|'[^']*'|[^,"'])*)(?:,|\Z)""")


@dataclass(frozen=True)
class ColumnSource:
    """Where a column comes from.

    Attributes
    ----------
    name : str
        Column inside, see :data:`aimc_sim.device.measured.columns.UNITS`; or "current_amperes"
        and "read_volts", which become a conductance.
    source : str, float or tuple of float
        Name or number of the column in the table (``*``: the wide values or their headers; ``#``:
        the row); a float holds for all reads; several floats are the times of an array.
    unit : str
        Unit there.
    convert : callable
        From numbers in that unit to SI.
    """

    name: str
    source: str | float | tuple[float, ...]
    unit: str
    convert: Convert


def converter(kind: str, unit: str) -> Convert | None:
    """Return how numbers in a unit become SI values of a kind; None if the unit is unknown."""
    log = unit.startswith("log10")
    plain = unit.removeprefix("log10").strip() if log else unit
    if log and kind not in ("S", "ohm"):
        return None
    size = UNITS[kind].get(plain)
    if size is None:
        return None

    def convert(values: np.ndarray) -> np.ndarray:
        if log:
            values = 10.0 ** np.asarray(values, float)
        values = values + 273.15 if plain == "C" else values * size
        return 1.0 / values if kind == "ohm" else values

    return convert


def _known_units(kind: str) -> str:
    """Return the units of a kind, for messages."""
    more = [f"log10 {next(iter(UNITS[kind]))}"] if kind in ("S", "ohm") else []
    more += [TIMESTAMP] if kind == "s" else []
    return ", ".join([*UNITS[kind], *more])


def parse(
    text: str,
    unit_of: Callable[[str], str] = lambda _: "",
    given: Collection[str] = (),
) -> tuple[ColumnSource, ...]:
    """Return the entries of a column map.

    Parameters
    ----------
    text : str
        The map, as the module's first lines describe it.
    unit_of : callable
        Gives the unit that the header of a column states, empty if it states none.
    given : collection of str
        Columns inside that come from elsewhere (headers, names of files).

    Raises
    ------
    ValueError
        If an entry cannot be read, a unit is missing or unknown, or a column is given twice or
        is needed and missing.
    """
    parts = [part for part in _PARTS.findall(text) if part.strip()]
    entries = tuple(_entry(part, unit_of) for part in parts)
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the map gives '{name}' twice; leave one out")
    if CURRENT in names and "conductance_siemens" in names:
        raise ValueError("the map gives a current and a conductance; leave one out")
    for name, example in (
        ("device", "device=Device, device=@0 (there is one) or device=# (each row is one)"),
        ("conductance_siemens", "conductance=G[uS] or resistance=R[ohm]"),
    ):
        there = name in names or name in given or (name != "device" and CURRENT in names)
        if not there:
            raise ValueError(f"the map has no '{name}'; add for example {example}")
    return entries


def _entry(text: str, unit_of: Callable[[str], str]) -> ColumnSource:
    match = _ENTRY.match(text)
    source = "" if match is None else next((match[i] for i in (3, 4, 5) if match[i]), "")
    if match is None or not source:
        raise ValueError(
            f"map entry '{text.strip()}' cannot be read; write for example resistance=R[ohm]"
        )
    target, constant, unit = match[1], match[2], match[6]
    if target not in TARGETS:
        raise ValueError(arguments.unknown(f"the map's '{target}' is unknown", target, TARGETS))
    name, kind = TARGETS[target]
    if unit is None and not constant:
        unit = unit_of(source) or None
        if unit is not None and converter(kind, unit) is None:
            raise ValueError(
                f"column '{source}' ({target}): its header says '{unit}', which is no unit of a "
                f"{target}; map it as something else, or write {target}={source}[UNIT] with one of "
                f"{_known_units(kind)}"
            )
    if unit is None and kind != "1":
        if name == "time_seconds" and source == WIDE:
            return ColumnSource(name, source, "", lambda values: values)
        raise ValueError(
            f"column '{source}' ({target}) has no unit; write {target}={constant}{source}[UNIT] "
            f"with one of {_known_units(kind)}"
        )
    unit = (unit or "1").strip()
    convert = converter(kind, unit)
    if unit == TIMESTAMP and kind == "s" and not constant:
        return ColumnSource(name, source, TIMESTAMP, lambda values: values)
    if convert is None:
        raise ValueError(
            f"column '{source}' ({target}): the unit '{unit}' is unknown here; wanted one of "
            f"{_known_units(kind)}"
        )
    if not constant:
        if name == "read_seconds":
            raise ValueError(f"read_seconds is one number for all reads; write @{source}[{unit}]")
        return ColumnSource(name, source, unit, convert)
    try:
        values = tuple(float(part) for part in source.split())
    except ValueError:
        raise ValueError(f"map entry '{text.strip()}': '{source}' is not a number") from None
    if not all(np.isfinite(values)):
        raise ValueError(f"map entry '{text.strip()}': '{source}' is not a finite number")
    if len(values) > 1 and name != "time_seconds":
        raise ValueError(
            f"map entry '{text.strip()}': one number holds for all reads; got {source}"
        )
    return ColumnSource(name, values[0] if len(values) == 1 else values, unit, convert)
