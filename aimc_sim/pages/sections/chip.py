"""Places of the network on the chip."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...analysis.performance import core_shares
from ...figures.floorplan import floorplan
from .. import machine
from ..facts import Facts
from ..parts import PagePart, Paragraph, Picture, TableGroup
from . import section


@section("chip", order=50, title="On the chip", link="On the chip")
def chip(facts: Facts) -> Iterator[PagePart | str]:
    """Yield the floorplan, and the place of every layer."""
    if facts.machine is None:
        yield Paragraph(facts.unavailable, "absent")
        return
    found, place = facts.machine, facts.machine.layout
    yield f"Setting '{found.label}', placed anew for this page."
    busy = core_shares(found.performance.pipeline)
    yield Picture(
        "floorplan", f"Floorplan: {place.cores_used} of {place.cores_available} cores in use",
        partial(floorplan, found.compiled, found.spec, busy=busy), "Colour: part of the network.",
    )  # fmt: skip
    yield TableGroup([machine.layer_table(found)], "Layer by layer")
