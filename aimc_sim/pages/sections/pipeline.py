"""The network at work: time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...figures.pipeline import gantt
from .. import machine
from ..facts import Facts
from ..parts import PagePart, Paragraph, Picture, TableGroup
from . import section


@section("pipeline", order=60, title="Pipeline", link="Pipeline")
def pipeline(facts: Facts) -> Iterator[PagePart]:
    """Yield the layers in time, and the machines."""
    if facts.machine is None:
        yield Paragraph(facts.unavailable, "absent")
        return
    report = facts.machine.performance.pipeline
    yield Picture(
        "pipeline", f"Pipeline: when each layer computes, {report.images} images",
        partial(gantt, report),
        "A bar reaches from a layer's first to its last MVM of an image, with its waiting. Event "
        "simulation, a model.",
    )  # fmt: skip
    yield TableGroup([machine.machine_table(facts.machines)], "")
    yield Paragraph(
        "Settings that differ in devices only have the same times and energies and share a row.",
        "note",
    )
