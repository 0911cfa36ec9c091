"""Changes that would help: the study's own settings, and tests that its results point to."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from .. import advice, rivals
from ..facts import Facts
from ..parts import PagePart, Paragraph, TableGroup
from . import section

_ALONE = (
    "There is no other setting or compensation to compare with. Give the study more of them "
    "(presets, grid, settings, compensations) and run 'aimc-sim sweep' again."
)
_NONE = "Nothing else in these results points to a change."


@section("help", order=7, title="What would help", link="What would help")
def what_would_help(facts: Facts) -> Iterator[PagePart | str]:
    """Yield the settings that are better, all differences with costs, and pointers."""
    found, metric = facts.rivals, facts.metric
    if len(found):
        yield _verdict(facts)
        yield TableGroup(
            [rivals.table(found, facts.head, metric, facts.machines, facts.material.specs)], ""
        )
    else:
        yield Paragraph(_ALONE, "absent")
    costs = facts.attribution.rows
    pointers = advice.pointers(
        facts.head, facts.front, facts.material.specs[facts.head.spec_id], metric, facts.losses,
        facts.differences, found, costs if facts.attribution.of_front else costs.iloc[:0],
    )  # fmt: skip
    if not pointers:
        yield Paragraph(_NONE, "note")
        return
    yield Markup("<h3>What the results point to</h3>")
    rows = [
        Markup("<li>{} <span class='test'><b>To test it:</b> {}</span></li>").format(p.fact, p.test)
        for p in pointers
    ]
    yield Markup("<ul class='pointers'>{}</ul>").format(Markup("").join(rows))


def _verdict(facts: Facts) -> str:
    """Return which settings are better than the one in front, in a sentence."""
    found = facts.rivals[facts.rivals["answer"] != rivals.BOUND]
    if not len(found):
        return "The study has no other machine with imperfect devices."
    better = found[found["answer"] == rivals.GAINS]
    open_ = found[found["answer"] == rivals.OPEN]
    unit = f" {facts.metric.difference_unit}" if facts.metric.difference_unit else ""
    if len(better):
        told = [
            f"'{row.label}' with {row.compensation} ({rivals.difference(row, facts.metric)}{unit})"
            for row in better.head(3).itertuples()
        ]
        more = f" and {len(better) - 3} more" if len(better) > 3 else ""
        return f"Better than '{facts.head.label}': {'; '.join(told)}{more}."
    left = "" if not len(open_) else (
        f" {len(open_)} of the {len(found)} others cannot be told apart from it with these "
        "programmings and images."
    )  # fmt: skip
    others = "No other setting or compensation of this study is"
    if len(facts.rivals) >= rivals.MOST:
        others = f"None of the {len(found)} others with the best means is"
    return f"{others} better than '{facts.head.label}'.{left}"
