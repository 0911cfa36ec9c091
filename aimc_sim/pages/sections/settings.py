"""Settings and their sources."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from .. import parameters
from ..facts import Facts
from ..parts import PagePart, Paragraph, Parameters, TableGroup
from . import section

MOST_SPECS = 200
"""Settings whose machines are listed."""


@section("settings", order=80, title="Settings and their sources", link="Settings and sources")
def settings(facts: Facts) -> Iterator[PagePart | str]:
    """Yield the settings, and every number of the machine in front."""
    material, head = facts.material, facts.head
    labels = facts.front.drop_duplicates("label").set_index("label")["spec_id"].iloc[:MOST_SPECS]
    specs = {label: material.specs[name] for label, name in labels.items()}
    specs[head.label] = material.specs[head.spec_id]
    yield TableGroup(
        [parameters.settings_table(specs, head.label), parameters.effects_table(specs)], ""
    )
    yield Markup("<h3>Every number of '{}'</h3>").format(head.label)
    yield Paragraph(
        Markup(
            'SI units; "none": the effect is absent. Change one with '
            "<code>--set core.adc.bits=9</code> or under <code>changes</code> in a study."
        ),
        "note",
    )
    groups = parameters.groups(material.specs[head.spec_id])
    yield Parameters(groups, parameters.references(groups))
