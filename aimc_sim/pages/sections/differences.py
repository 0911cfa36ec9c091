"""Paired differences."""

from __future__ import annotations

from collections.abc import Iterator

from .. import accuracy
from ..facts import Facts
from ..parts import PagePart, Paragraph, TableGroup, chart
from . import section

_ABSENT = (
    "There is one setting, one compensation and one time: nothing to compare. Give the study more "
    "of them (presets, grid, settings, times) and run 'aimc-sim sweep' again."
)
_NOTE = (
    "p: of the test that belongs to the interval, with one programming of right and wrong "
    "McNemar's exact test; each by itself, not corrected for the number of questions. Effect size: "
    "mean over its spread between programmings (Hedges)."
)


@section("differences", order=20, title="Paired differences", link="Differences")
def differences(facts: Facts) -> Iterator[PagePart | str]:
    """Yield the differences between settings, compensations and times."""
    found = facts.differences
    if not len(found):
        yield Paragraph(_ABSENT, "absent")
        return
    sign = "Positive" if facts.metric.larger else "Negative"
    yield (
        "On the same seeds and the same images, so that they are known better than the values "
        f"themselves. {sign} is better. Intervals are over other programmings and other images; "
        '"on these images": over other programmings only. An interval has a width also where no '
        "image changed: of the images that were not run some might."
    )
    content = accuracy.difference_chart(found, facts.head)
    if content is not None:
        yield chart("differences", content)
    yield Paragraph(_NOTE, "note")
    yield TableGroup([accuracy.difference_table(found)])
