"""The network at work: energy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...figures.energy import energy as drawn
from .. import machine
from ..facts import Facts
from ..parts import PagePart, Paragraph, Picture, TableGroup
from . import section


@section("energy", order=70, title="Energy of an image", link="Energy")
def energy(facts: Facts) -> Iterator[PagePart]:
    """Yield the energy by part and by layer."""
    if facts.machine is None:
        yield Paragraph(facts.unavailable, "absent")
        return
    yield Picture(
        "energy", "Energy of an image, by part and by layer (model)",
        partial(drawn, facts.machine.performance),
    )  # fmt: skip
    yield TableGroup(machine.energy_tables(facts.machine), "", beside=True)
