"""In short: the numbers in front."""

from __future__ import annotations

from collections.abc import Iterator

from ...figures.axes import when
from ..facts import Facts
from ..parts import Cards
from ..tables import shown
from . import section


@section("headline", order=0, title="", link="In short")
def short(facts: Facts) -> Iterator[Cards]:
    """Yield the metric now and later, cores, energy and time."""
    yield Cards(cards(facts))


def cards(facts: Facts) -> list[tuple[str, str, str]]:
    """Return the numbers in front: name, value, and a remark.

    Parameters
    ----------
    facts : Facts
        The results.
    """
    found, metric = [], facts.metric
    rows = [facts.head.first, facts.head.last]
    for row in rows if rows[0]["time_seconds"] < rows[1]["time_seconds"] else rows[:1]:
        digits, seconds = metric.digits_of(int(row["images"])), row["time_seconds"]
        name = f"{metric.name} now" if seconds == 0 else f"{metric.name} after {when(seconds)}"
        value = f"{metric.show(row['mean'], digits)} {metric.unit}".rstrip()
        found.append((name, value, metric.span(row["low"], row["high"], digits)))
    if facts.machine is None:
        return found
    place, speed = facts.machine.layout, facts.machine.performance
    return [
        *found,
        ("cores", f"{place.cores_used}", f"of {place.cores_available}"),
        ("energy per image", shown(speed.ledger.joules, "J"), "model"),
        ("latency", shown(speed.pipeline.first_image_seconds, "s"), "first image, model"),
        ("throughput", f"{1 / speed.ledger.seconds:,.0f} /s", "images, model"),
    ]
