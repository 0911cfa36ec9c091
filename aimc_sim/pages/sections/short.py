"""In short: how much is lost, the choice among rivals, and what the machine costs."""

from __future__ import annotations

from collections.abc import Iterator

from .. import loss, rivals
from ..facts import Facts
from ..parts import Cards, PagePart, Paragraph, TableGroup
from ..tables import shown
from . import section

_NOW = "The folder did not hold the score in floating point: it was computed for this page."


@section("headline", order=0, title="", link="In short")
def short(facts: Facts) -> Iterator[PagePart]:
    """Yield the loss in a sentence and a table, the rivals, and cores, energy and time."""
    found = facts.losses
    if found is not None:
        yield Paragraph(loss.sentence(found, facts.head, facts.metric), "answer")
    table = loss.table(facts.head, facts.summary, facts.metric, found, facts.ideal)
    yield TableGroup([table], "")
    if isinstance(facts.score, str):
        yield Paragraph(facts.score, "absent")
    elif not facts.score.stored:
        yield Paragraph(_NOW, "note")
    chosen = rivals.choice(facts.rivals, facts.head, facts.metric)
    if chosen:
        yield Paragraph(chosen, "flag")
    if facts.machine is not None:
        yield Cards(cards(facts))


def cards(facts: Facts) -> list[tuple[str, str, str]]:
    """Return what the machine in front costs: name, value, and a remark; empty without one.

    Parameters
    ----------
    facts : Facts
        The results.
    """
    if facts.machine is None:
        return []
    place, speed = facts.machine.layout, facts.machine.performance
    return [
        ("cores", f"{place.cores_used}", f"of {place.cores_available}"),
        ("energy per image", shown(speed.energies.joules, "J"), "model"),
        ("latency", shown(speed.pipeline.first_image_seconds, "s"), "first image, model"),
        ("throughput", f"{1 / speed.ledger.seconds:,.0f} /s", "images, model"),
    ]
