"""Cost of effects and layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...figures.axes import when
from ...figures.waterfall import waterfall
from .. import costs
from ..facts import Facts
from ..parts import PagePart, Paragraph, Picture, TableGroup
from . import section

MOST_WATERFALLS = 4
"""Times and compensations whose waterfalls are drawn."""

_NOTE = (
    "Orange bars lose, green bars win; whiskers are 95 % intervals over other programmings and "
    "images. Effects act together: losses alone do not add up to the whole loss, and the rest is "
    "shown."
)


@section("costs", order=30, title="Where the {metric} goes", link="Where it goes")
def where(facts: Facts) -> Iterator[PagePart]:
    """Yield a waterfall for each time and compensation, and all values."""
    found = costs.rows(facts.material.table)
    if not len(found):
        table = facts.material.table
        preset = table.loc[table["label"] == facts.head.label, "preset"].iloc[0]
        yield Paragraph(
            "This folder holds no attribution. 'aimc-sim attribute --preset "
            f"{preset} --model {facts.head.first['network']} --out where' makes one; then "
            "'aimc-sim report where', or 'aimc-sim merge' both folders.", "absent",
        )  # fmt: skip
        return
    groups = list(found.groupby(["time_seconds", "compensation"]))[:MOST_WATERFALLS]
    for n, ((seconds, method), part) in enumerate(groups, 1):
        name = "waterfall" if len(groups) == 1 else f"waterfall{n}"
        title = f"Change of {facts.metric.name} by effect: {when(seconds)}, compensation {method}"
        yield Picture(name, title, partial(waterfall, part), _NOTE)
    yield TableGroup([costs.table(found)])
