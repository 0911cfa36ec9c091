"""Horizontal axes of line charts: times with room for "now", or names side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .. import units

NOW_GAP = 1.2
"""Decades between "now" and the first later time on a logarithmic axis."""

_COMMON = (1.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0, 3650 * 86400.0)
_MOST_TICKS = 8
_CLOSEST = 0.06  # of the axis, between two ticks


@dataclass(frozen=True)
class Across:
    """A horizontal axis from 0 to 1.

    Attributes
    ----------
    label : str
        Written below the axis.
    places : tuple of float
        Of the stops: where values are, 0 to 1, ascending.
    names : tuple of str
        Of the stops.
    ticks : tuple of (float, str)
        Places and names below the axis.
    broken : float, optional
        Where the axis leaves out decades.
    """

    label: str
    places: tuple[float, ...]
    names: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    broken: float | None = None


def times(evaluation_times: Sequence[float]) -> Across:
    """Return a logarithmic axis of times with room for 0.

    Parameters
    ----------
    evaluation_times : sequence of float
        Seconds after programming, ascending.
    """
    later = [seconds for seconds in evaluation_times if seconds > 0]
    first = math.log10(later[0]) if later else 0.0
    now = first - NOW_GAP if later else 0.0
    begin = now if len(later) < len(evaluation_times) else first
    span = (math.log10(later[-1]) if later else now) - begin

    def place(seconds: float) -> float:
        at = math.log10(seconds) if seconds > 0 else now
        return (at - begin) / span if span else 0.5

    wanted = list(evaluation_times)
    if len(evaluation_times) > _MOST_TICKS:
        common = [t for t in _COMMON if later[0] <= t <= later[-1]]
        wanted = [t for t in evaluation_times if t == 0]
        wanted += common if len(common) > 1 else [later[0], later[-1]]
    ticks: list[tuple[float, str]] = []
    for seconds in wanted:  # labels need room: leave out those that come too close
        if not ticks or place(seconds) - ticks[-1][0] > _CLOSEST:
            ticks.append((place(seconds), when(seconds)))
    broken = (now + first) / 2 if later and evaluation_times[0] == 0 else None
    return Across(
        "time after programming" + (" (logarithmic)" if len(later) > 1 else ""),
        tuple(map(place, evaluation_times)), tuple(map(when, evaluation_times)), tuple(ticks),
        None if broken is None else (broken - begin) / span,
    )  # fmt: skip


def names(found: Sequence[str], label: str) -> Across:
    """Return an axis of names, evenly spaced."""
    n = len(found)
    places = tuple((i + 0.5) / n for i in range(n))
    return Across(label, places, tuple(found), tuple(zip(places, found, strict=True)))


def when(seconds: float) -> str:
    """Return a time after programming as text; 0 is "now"."""
    return units.show_time(seconds) if seconds else "now"
