"""How to make the results again."""

from __future__ import annotations

from collections.abc import Iterator

from ... import __version__
from .. import reproduce
from ..facts import Facts
from ..parts import Code, PagePart, TableGroup
from . import section


@section("reproduce", order=100, title="Reproduce", link="Reproduce")
def again(facts: Facts) -> Iterator[PagePart | str]:
    """Yield commands, studies, versions."""
    material = facts.material
    yield f"{reproduce.progress(material)} Made with aimc-sim {__version__}."
    yield Code("Commands", "\n".join(reproduce.commands(material)) + "\n")
    for number, study in enumerate(material.studies, 1):
        yield "study.yaml:" if len(material.studies) == 1 else f"study{number}.yaml:"
        yield Code("Study", reproduce.study_text(study))
    yield TableGroup(reproduce.environment_tables(material), "")
