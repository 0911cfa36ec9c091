"""Cost of effects and layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from ...figures.axes import when
from ...figures.waterfall import waterfall
from ...studies import attribute
from .. import advice, costs, machine
from ..facts import Facts
from ..parts import Code, PagePart, Paragraph, Picture, TableGroup
from . import section

MOST_WATERFALLS = 4
"""Times and compensations whose waterfalls are drawn."""

_NOTE = (
    "Hatched orange bars lose, plain green bars win; whiskers are 95 % intervals over other "
    "programmings and images. Effects act together: losses alone do not add up to the whole loss, "
    "and the rest is shown."
)


@section("costs", order=5, title="Why: where the {metric} goes", link="Why")
def where(facts: Facts) -> Iterator[PagePart]:
    """Yield a waterfall for each time and compensation, and all values."""
    found = facts.attribution
    if found.about:
        yield Paragraph(found.about, "" if len(found.rows) else "absent")
    if not len(found.rows):
        yield from _command(facts)
        return
    groups = _ordered(found.rows, facts)[:MOST_WATERFALLS]
    for n, ((seconds, method), part) in enumerate(groups, 1):
        name = "waterfall" if len(groups) == 1 else f"waterfall{n}"
        title = f"Change of {facts.metric.name} by effect: {when(seconds)}, compensation {method}"
        yield Picture(name, title, partial(waterfall, part), _NOTE)
    yield TableGroup([costs.table(found.rows)])


def _ordered(
    rows: pd.DataFrame, facts: Facts
) -> list[tuple[tuple[float, str], pd.DataFrame]]:  # fmt: skip
    """Return the rows by time and compensation, those of the numbers in front first."""
    groups = [
        ((float(seconds), str(method)), part)
        for (seconds, method), part in rows.groupby(["time_seconds", "compensation"])
    ]
    head = facts.head
    front = float(head.last["time_seconds"]), head.compensation
    return sorted(groups, key=lambda one: (one[0] != front, one[0][1] != front[1]))


def _command(facts: Facts) -> Iterator[PagePart]:
    """Yield how an attribution of the machine in front is made."""
    material, head = facts.material, facts.head
    spec = material.specs[head.spec_id]
    rows = material.table[material.table["label"] == head.label]
    if not attribute.effects(spec) or (rows["layers"] != "").any():
        yield Paragraph(
            f"'{head.label}' is not a whole machine with effects: there is nothing to take apart. "
            "Give 'aimc-sim report' another setting in front with --setting.", "absent",
        )  # fmt: skip
        return
    (study, *_) = [*machine.studies_of(material, head), None]
    command = advice.attribution_command(material, head, study)
    if not command:
        yield Paragraph(
            f"There is no attribution of '{head.label}', and the folder holds no study with its "
            "changes. Give them to 'aimc-sim attribute' with --set; 'aimc-sim report' takes its "
            "folder with --attribution.", "absent",
        )  # fmt: skip
        return
    yield Paragraph(
        f"There is no attribution of '{head.label}' yet, which switches every effect on and off. "
        "These commands make it, beside the folder's own results; --attribution shows that of "
        "another folder (aimc-sim report).", "absent",
    )  # fmt: skip
    yield Code("Commands of the attribution", command)
