"""The metric against time."""

from __future__ import annotations

from collections.abc import Iterator

from .. import accuracy
from ..facts import Facts
from ..parts import PagePart, TableGroup, chart
from . import section

_NOTE = (
    "Bands and square brackets: 95 % interval over other programmings on these images "
    '(Student\'s t), or over other images where there is one programming. "With other images": '
    "over other programmings and other images. Spread: standard deviation between programmings. "
    "Where all programmings agree, the interval is as wide as what so few of them, on so few "
    "images, leave open."
)


@section("accuracy", order=10, title="{metric} against time", link="{metric}")
def against_time(facts: Facts) -> Iterator[PagePart]:
    """Yield the curves and all values."""
    specs = facts.material.specs
    shown, levels = accuracy.once(facts.summary, facts.front, specs, facts.head)
    if facts.losses is not None:
        name = "in floating point"
        if facts.summary["network_id"].nunique() > 1 or facts.summary["data_id"].nunique() > 1:
            name = f"{name} ({facts.head.first['network']}, {facts.head.first['data']})"
        levels = {name: facts.losses.value, **levels}
    yield chart("accuracy", accuracy.chart(shown, facts.head, levels), _NOTE)
    yield TableGroup([accuracy.table(facts.summary, facts.front, specs)])
