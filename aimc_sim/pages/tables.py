"""Tables and charts as data, and how numbers are written on the page.

The template writes them; nothing here knows HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import units

MOST_ROWS = 600
"""Rows of a table on the page; the Parquet files have all."""

MOST_SERIES, SHOWN_SERIES = 40, 10
"""Curves of a chart; those that are switched on at first."""

NOW_GAP = 1.2
"""Decades between "now" and the first later time on a logarithmic axis."""


@dataclass(frozen=True)
class TableCell:
    """One entry of a table.

    Attributes
    ----------
    text : str
    key : float or str
        What sorting compares; default: the text.
    bar : float, optional
        Length of a bar behind the text, 0..1.
    """

    text: str
    key: float | str | None = None
    bar: float | None = None

    @property
    def sort_key(self) -> float | str:
        """What sorting compares; numbers that are none come out as ""."""
        key = self.text if self.key is None else self.key
        return "" if isinstance(key, float) and not math.isfinite(key) else key


@dataclass(frozen=True)
class Table:
    """A table whose columns can be sorted.

    Attributes
    ----------
    caption : str
    columns : sequence of str
        A name that begins with ">" stands over numbers: aligned to the right.
    rows : list of lists of TableCell
    """

    caption: str
    columns: Sequence[str]
    rows: list[list[TableCell]]

    @property
    def shown(self) -> list[list[TableCell]]:
        """The rows that the page writes."""
        return self.rows[:MOST_ROWS]


@dataclass(frozen=True)
class Series:
    """One curve: a mean and an interval at some of the chart's stops.

    Attributes
    ----------
    name : str
    group : str
        Curves of one group can be shown alone.
    colour, dash : int
        Numbers of the page's colours and of its kinds of lines.
    values : list
        One entry per stop: (mean, low, high), or None.
    """

    name: str
    group: str
    colour: int
    dash: int
    values: list[tuple[float, float, float] | None]


@dataclass(frozen=True)
class PageChart:
    """A line chart.

    Attributes
    ----------
    name : str
        Of the files of this figure.
    title, x_label, y_label, unit : str
    stops : list of (float, str)
        Places on the horizontal axis, 0..1 ascending, and their names.
    series : list of Series
    digits : int
        Of values, after the point.
    bounds : (float, float)
        The vertical axis never goes beyond.
    zero : bool
        A line at zero.
    group : str, optional
        Only curves of this group are on at first; others than the first :data:`SHOWN_SERIES`
        never are.
    joined : bool
        Whether points of a curve are joined; else they stand side by side with whiskers.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    unit: str
    stops: list[tuple[float, str]]
    series: list[Series]
    digits: int = 1
    bounds: tuple[float, float] = (-1e9, 1e9)
    zero: bool = False
    group: str | None = None
    joined: bool = True

    def data(self) -> dict:
        """Return what the script reads, JSON values only: no NaN, no infinity."""
        series = [
            {
                "name": s.name, "group": s.group, "colour": s.colour % 8, "dash": s.dash % 4,
                "on": n < SHOWN_SERIES and self.group in (None, s.group),
                "values": [None if v is None else [_number(x) for x in v] for v in s.values],
            }
            for n, s in enumerate(self.series[:MOST_SERIES])
        ]  # fmt: skip
        return {
            "title": self.title, "x": self.x_label, "y": self.y_label, "unit": self.unit,
            "digits": self.digits, "bounds": list(self.bounds), "zero": self.zero,
            "joined": self.joined,
            "stops": [[at, label] for at, label in self.stops], "series": series,
        }  # fmt: skip


def time_stops(times: Sequence[float]) -> list[tuple[float, str]]:
    """Return places, 0..1, and names of times on a logarithmic axis with room for 0.

    Parameters
    ----------
    times : sequence of float
        Seconds after programming, ascending.
    """
    later = [t_seconds for t_seconds in times if t_seconds > 0]
    now = math.log10(later[0]) - NOW_GAP if later else 0.0
    at = np.array([math.log10(t_seconds) if t_seconds > 0 else now for t_seconds in times])
    span = at[-1] - at[0]
    return list(zip(((at - at[0]) / span if span else at * 0 + 0.5).tolist(),
                    [when(t_seconds) for t_seconds in times], strict=True))  # fmt: skip


def even_stops(names: Sequence[str]) -> list[tuple[float, str]]:
    """Return evenly spaced places, 0..1, with these names."""
    n = len(names)
    return [((i + 0.5) / n, name) for i, name in enumerate(names)]


def when(t_seconds: float) -> str:
    """Return a time after programming as text; 0 is "now"."""
    return units.show_time(t_seconds) if t_seconds else "now"


def shown(value: float, unit: str) -> str:
    """Return a number with an SI prefix and the letter µ."""
    number, letter = units.show(value, unit).split(" ")
    return f"{number} {'µ' + letter[1:] if len(letter) > 1 and letter[0] == 'u' else letter}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share 0..1 as a percentage without its sign; "-" if there is none."""
    return "-" if share != share else f"{100 * share:.{digits}f}"


def span(low: float, high: float, digits: int = 1, sign: bool = False) -> str:
    """Return an interval of shares in percent."""
    if low != low:
        return "-"
    plus = "+" if sign else ""
    return f"[{100 * low:{plus}.{digits}f}, {100 * high:{plus}.{digits}f}]"


def _number(x: float) -> float | None:
    return round(float(x), 6) if math.isfinite(x) else None
