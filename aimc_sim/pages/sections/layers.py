"""Errors of layers."""

from __future__ import annotations

from collections.abc import Iterator

from .. import errors
from ..facts import Facts
from ..headline import is_attribution
from ..parts import PagePart, Paragraph, TableGroup, chart
from . import section

_ABSENT = (
    "The study has no probe images; set 'probe_images: 16' in it and run 'aimc-sim sweep' again."
)
_NOTE = (
    "Ratio of signal to error (SQNR) against the same chip with perfect devices; errors of the "
    "layers before are in it. Effective bits: (SQNR \N{MINUS SIGN} 1.76 dB) / 6.02 dB, a "
    "convention made for sine signals."
)


@section("layers", order=40, title="Errors of layers", link="Layers")
def layers(facts: Facts) -> Iterator[PagePart]:
    """Yield the errors along the network, and all values."""
    found = errors.summary(facts.material.layers, facts.head)
    found = found[~found["setting"].map(is_attribution)] if len(found) else found
    if not len(found):
        yield Paragraph(_ABSENT, "absent")
        return
    yield chart("layers", errors.chart(found, facts.head), _NOTE)
    yield TableGroup([errors.table(found, facts.head)])
