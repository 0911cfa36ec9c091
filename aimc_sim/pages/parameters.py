"""The numbers of a machine with unit, meaning and source; what settings change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import presets
from ..spec import ChipSpec, Spec
from ..studies import attribute
from .tables import Cell, Table

MOST_CHANGES = 8
"""Changed numbers of a setting that are listed."""

ABSENT = "none"

_LONG = 30  # letters of a changed value


@dataclass(frozen=True)
class Parameter:
    """One number or choice of a specification.

    Attributes
    ----------
    key : str
        Dotted path, as ``--set`` takes it.
    value, unit, about : str
        Value in SI units; "none": the effect is absent.
    """

    key: str
    value: str
    unit: str
    about: str


@dataclass(frozen=True)
class Group:
    """Parameters that share a source.

    Attributes
    ----------
    source : str
        "" if none is stated.
    parameters : list of Parameter
    """

    source: str
    parameters: list[Parameter]


def groups(spec: ChipSpec) -> list[Group]:
    """Return all parameters of a machine, those of one source together.

    The source of a number is that of the nearest part of the machine that states one.

    Parameters
    ----------
    spec : ChipSpec
    """
    found: dict[str, list[Parameter]] = {}
    for source, parameter in _walk(spec, "", ""):
        found.setdefault(source, []).append(parameter)
    return [Group(source, members) for source, members in found.items()]


def references(shown: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the full references of the short ones in use, as the presets' module gives them."""
    cited = {mark for group in shown for mark in re.findall(r"\[[\w-]+\]", group.source)}
    entries = re.findall(r"^(\[[\w-]+\])\s+(.*?)(?=^\[|\Z)", presets.__doc__ or "", re.M | re.S)
    plain = [(mark, " ".join(text.replace("``", "").split())) for mark, text in entries]
    return [(mark, text) for mark, text in plain if mark in cited]


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
        rows.append([Cell(label), Cell(text or same), Cell(spec.name), Cell(spec.id())])
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
    names = list(attribute.EFFECTS)
    rows = []
    for label, spec in specs.items():
        present = attribute.effects(spec)
        rows.append([Cell(label), *(Cell("on" if n in present else "off") for n in names)])
    return Table("Effects that are on, by setting", ("setting", *names), rows)


def _walk(spec: Spec, path: str, source: str) -> Iterator[tuple[str, Parameter]]:
    """Yield sources and parameters: a part's own first, then those of its parts."""
    source = getattr(spec, "source", "") or source
    parts = []
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if isinstance(value, Spec):
            parts.append((name, value))
        elif name not in ("name", "source"):
            unit = (field.json_schema_extra or {}).get("unit", "-")
            about = field.description or ""
            yield source, Parameter(f"{path}{name}", _text(value), unit.strip("-"), about)
    for name, part in parts:
        yield from _walk(part, f"{path}{name}.", source)


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
    text = _text(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, (tuple, list)):
        return ", ".join(_text(part) for part in value) or ABSENT
    return f"{value:.10g}" if isinstance(value, float) else str(value)
