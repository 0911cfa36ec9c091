"""Limits of the model."""

from __future__ import annotations

from collections.abc import Iterator

from .. import limits
from ..facts import Facts
from ..parts import Bullets
from . import section


@section("limits", order=90, title="What is not modelled", link="Not modelled")
def not_modelled(facts: Facts) -> Iterator[Bullets]:
    """Yield everything that a reader should miss in the numbers."""
    yield Bullets(limits.sentences(facts.material.specs[facts.head.spec_id]))
