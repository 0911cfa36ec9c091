"""The numbers of a machine with unit, meaning and source, and the changes that settings make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import presets
from ..spec import ChipSpec
from ..spec.parameters import Parameter, parameters, shown
from ..studies import attribute
from .tables import Table, TableCell

MOST_CHANGES = 8
"""Changed numbers of a setting that are listed."""

_LONG = 30  # letters of a changed value


@dataclass(frozen=True)
class SourceGroup:
    """Parameters that share a source.

    Attributes
    ----------
    source : str
        "" if none is stated.
    parameters : list of Parameter
        All that have it.
    """

    source: str
    parameters: list[Parameter]


def groups(spec: ChipSpec) -> list[SourceGroup]:
    """Return all parameters of a machine, those of one source together.

    The source of a number is that of the nearest part of the machine that states one.

    Parameters
    ----------
    spec : ChipSpec
    """
    found: dict[str, list[Parameter]] = {}
    for parameter in parameters(spec):
        found.setdefault(parameter.source, []).append(parameter)
    return [SourceGroup(source, members) for source, members in found.items()]


def references(shown: Sequence[SourceGroup]) -> list[tuple[str, str]]:
    """Return the full references of the short ones in use, as the presets' module gives them."""
    found = presets.references(group.source for group in shown)
    return [(mark, text.replace("``", "")) for mark, text in found]


def changes(front: ChipSpec, other: ChipSpec) -> list[str]:
    """Return how another machine differs: "core.adc.bits: 11 to 8".

    A part that one of them lacks is one difference.
    """
    return list(_changes(front.model_dump(), other.model_dump(), ""))


def settings_table(specs: Mapping[str, ChipSpec], front: str) -> Table:
    """Return the machine of every setting: identity, and what sets it apart from the front one.

    Parameters
    ----------
    specs : mapping of str to ChipSpec
        By label of the setting.
    front : str
        Label of the setting in front.
    """
    rows = []
    for label, spec in specs.items():
        found = changes(specs[front], spec)
        text = "; ".join(found[:MOST_CHANGES])
        more = len(found) - MOST_CHANGES
        text += f"; and {more} more" if more > 0 else ""
        same = "the machine in front" if label == front else "the same machine"
        rows.append(
            [TableCell(label), TableCell(text or same), TableCell(spec.name), TableCell(spec.id())]
        )
    return Table(
        "Settings, and what changes against the one in front",
        ("setting", "changes", "machine", "spec id"),
        rows,
    )


def effects_table(specs: Mapping[str, ChipSpec]) -> Table:
    """Return which effects every setting's machine has.

    Parameters
    ----------
    specs : mapping of str to ChipSpec
        By label of the setting.
    """
    names = list(dict.fromkeys(n for spec in specs.values() for n in attribute.switches(spec)))
    rows = []
    for label, spec in specs.items():
        present = attribute.effects(spec)
        rows.append(
            [TableCell(label), *(TableCell("on" if n in present else "off") for n in names)]
        )
    return Table("Effects that are on, by setting", ("setting", *names), rows)


def _changes(front: Mapping[str, Any], other: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in dict.fromkeys([*front, *other]):
        a, b = front.get(name), other.get(name)
        if a == b or name in ("name", "source"):
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _changes(a, b, f"{path}{name}.")
        else:
            yield f"{path}{name}: {_part(a)} to {_part(b)}"


def _part(value: Any) -> str:
    if isinstance(value, Mapping):
        return "present"
    text = shown(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
