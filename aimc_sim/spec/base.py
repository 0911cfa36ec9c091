"""Base of all specifications: frozen, strict about names, changed by dotted path, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from markupsafe import Markup
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from .. import arguments, markup, units

_FORMAT_VERSION = 1
"""Version of the specification's JSON form; part of every identity."""

PHYSICS_VERSION = 2
"""Raised by every change that moves simulated results beyond rounding; tables of validation hold
the one they were made with. 2: phases as conversions, g_max rule, published drift compensation."""

_DESCRIPTIVE = {"name", "source", "path"}
"""Fields that describe and do not change an answer: left out of the identity."""


@dataclass(frozen=True)
class Magnitudes:
    """Magnitudes that a quantity of some unit may have.

    Attributes
    ----------
    least : float, in the unit
        Smallest magnitude of a quantity that must be above zero; 0: no bound.
    most : float, in the unit
        Largest magnitude of any quantity with this unit.
    reason : str
        Why no machine needs more or less, for the message of a refusal.
    """

    least: float
    most: float
    reason: str


SPANS = {
    "S": Magnitudes(1e-15, 1.0, "memory elements conduct nanosiemens to millisiemens"),
    "s": Magnitudes(1e-15, 1e11, "from a period of light to three thousand years"),
    "A": Magnitudes(1e-15, 100.0, "from a few electrons a second to more than any chip takes"),
    "V": Magnitudes(1e-6, 1e3, "chips work with millivolts to volts"),
    "Hz": Magnitudes(1e-3, 1e15, "clocks and oscillators of electronics"),
    "Hz/A": Magnitudes(1.0, 1e24, "a clock over a current of electronics"),
    "1/A": Magnitudes(1e-6, 1e18, "inverse currents of electronics"),
    "J": Magnitudes(1e-24, 1e6, "from below one electron in one millivolt to a warm bath"),
    "W": Magnitudes(1e-15, 1e6, "from leakage to a data centre"),
    "ohm": Magnitudes(1e-9, 1e9, "from a superconductor's contact to an insulator"),
    "K": Magnitudes(1.0, 5e3, "above it everything is molten, below it no law here holds"),
    "eV": Magnitudes(1e-9, 100.0, "above it an atom is no longer whole"),
    "B/s": Magnitudes(1e-3, 1e18, "from a byte in a quarter of an hour to all links of the world"),
    "mm2": Magnitudes(1e-12, 1e6, "from a transistor to more than a wafer"),
    "%": Magnitudes(0.0, 100.0, "a share"),
    "bit": Magnitudes(1, 64, "no number here is wider"),
    "count": Magnitudes(1e-9, 1e9, "counters have 32 bits at most"),
    "-": Magnitudes(0.0, 1e6, "a factor, a share or a number of things in one core"),
}
"""Bounds of every quantity, by unit, where its own declaration gives none: beyond them is a slip
of the unit or a number that overflows on the way, not a machine."""


FORMER_NAMES = {"pcm": "device"}
"""Fields that had another name in a published release. Specifications are read and changed by
either name; the identity is written with the former one, so that old results keep theirs."""

_WRITTEN = {now: former for former, now in FORMER_NAMES.items()}


def current_path(path: str) -> str:
    """Return a dotted path of fields with former names replaced by present ones."""
    return ".".join(FORMER_NAMES.get(part, part) for part in path.split("."))


def quantity(
    unit: str, about: str, default: Any = ..., *, later: bool = False, **bounds: Any
) -> Any:
    """Declare a field with its unit and meaning, which ``aimc-sim info`` prints.

    ``later`` marks a field that was added to a published class: while it holds its default,
    which must mean "as before", it is left out of the identity, so that old results keep theirs.
    """
    extra: dict[str, Any] = {"unit": unit, "later": later}
    return Field(default, description=about, json_schema_extra=extra, **bounds)


class Marks(NamedTuple):
    """Notes that :func:`quantity` leaves beside a field; see there."""

    unit: str = "-"
    later: bool = False


def marked(field: FieldInfo) -> Marks:
    """Return the notes of a field; those of a field without any are the defaults."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        return Marks()
    return Marks(str(extra.get("unit", "-")), bool(extra.get("later", False)))


class Spec(BaseModel):
    """Base of all specifications: frozen, strict about names, hashed by content."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, strict=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _within_its_unit(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse numbers beyond :data:`SPANS`."""
        numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if _is_number(v)]
        if not numbers:
            return value
        field = cls.model_fields[info.field_name or ""]
        unit = marked(field).unit
        span = SPANS[unit]
        has_top = any(isinstance(part, (Le, Lt)) for part in field.metadata)
        has_bottom = any(isinstance(part, Ge) and _above_zero(part) for part in field.metadata)
        positive = any(isinstance(part, Gt) for part in field.metadata)
        shown = "" if unit == "-" else f" {unit}"
        for number in numbers:
            if not has_top and abs(number) > span.most:
                raise ValueError(f"wanted at most {span.most:g}{shown}: {span.reason}")
            if positive and not has_bottom and abs(number) < span.least:
                raise ValueError(f"wanted at least {span.least:g}{shown}: {span.reason}")
        return value

    def with_(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """Return a re-validated copy with some fields changed.

        Parameters
        ----------
        changes : mapping from dotted path to value, optional
            For example ``{"core.adc.bits": 9}``.
        **fields
            The same for fields of this level.

        Returns
        -------
        Spec
            A new specification of the same class; ``self`` is untouched.

        Raises
        ------
        KeyError
            If a path names no field; the message gives the nearest name.
        TypeError
            If ``changes`` is no mapping from texts.
        ValueError
            If a value is outside its range.

        Examples
        --------
        >>> from aimc_sim import presets
        >>> spec = presets.hermes().with_({"core.adc.bits": 9}, chips=2)
        >>> spec.core.adc.bits, spec.chips
        (9, 2)
        """
        if changes is not None and not isinstance(changes, Mapping):
            raise TypeError(
                f"changes = {arguments.shown(changes)}: wanted a mapping from dotted path to value"
            )
        data = self.model_dump()
        for path, value in {**(changes or {}), **fields}.items():
            arguments.text(path, "path of a field")
            self._set(data, path, _plain(value))
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = _dotted(data, first["loc"]) or "specification"
            given = first["input"]
            value = "" if isinstance(given, dict) else f" = {arguments.shown(given)}"
            reason = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}{value} is not allowed: {reason}") from None

    def _set(self, data: dict[str, Any], path: str, value: Any) -> None:
        parts = path.split(".")
        level, walked = data, ""
        for number, part in enumerate(parts):
            if not isinstance(level, dict):
                raise KeyError(
                    f"'{path}': '{walked}' is {level!r} and has no field '{part}'; "
                    f"set '{walked}' as a whole first"
                )
            if part not in level and FORMER_NAMES.get(part) in level:
                part = FORMER_NAMES[part]
            if part not in level:
                place = f"'{walked}'" if walked else "the specification"
                fault = f"'{path}': {place} has no field '{part}'"
                raise KeyError(arguments.unknown(fault, part, sorted(level), most=len(level)))
            if number == len(parts) - 1:
                level[part] = value
            else:
                walked, level = f"{walked}.{part}".lstrip("."), level[part]

    def id_text(self) -> str:
        """Return the canonical JSON that :meth:`id` hashes (descriptive texts left out)."""
        return json.dumps(
            {"class": type(self).__name__, "format": _FORMAT_VERSION, "spec": _identity(self)},
            sort_keys=True,
            separators=(",", ":"),
        )

    def _repr_html_(self) -> str:
        facts = markup.facts([("identity", self.id())])
        parts = [facts, *_parts(self)]
        works = [markup.linked(text) for told in _REFERENCES for text in told(self)]
        if works:
            parts.append(markup.folded("references of the sources", markup.bullets(works)))
        return markup.display(type(self).__name__, getattr(self, "name", ""), *parts)

    def _identified(self) -> dict[str, Any]:
        """Return the fields that change an answer, by the names that the identity has for them."""
        return {
            _WRITTEN.get(name, name): _identity(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name not in _DESCRIPTIVE
            and not (marked(field).later and getattr(self, name) == field.default)
        }

    def id(self) -> str:
        """Return the identity: the first 16 hex digits of the SHA-256 of :meth:`id_text`."""
        return hashlib.sha256(self.id_text().encode()).hexdigest()[:16]


_REFERENCES: list[Callable[[Spec], Iterable[str]]] = []


def tell_references(function: Callable[[Spec], Iterable[str]]) -> None:
    """Let displays of specifications end with references in full.

    Parameters
    ----------
    function : callable
        From a specification to the references that its sources name, a line each. Sources of the
        presets are short marks, which only the presets can write out.
    """
    _REFERENCES.append(function)


def _parts(spec: Spec) -> list[Markup]:
    """Return the fields for a notebook: a table of numbers and choices, and a fold per part."""
    rows, parts = [], []
    for name, field in type(spec).model_fields.items():
        value, about = getattr(spec, name), field.description or ""
        if isinstance(value, Spec):
            title = f"{name}: {about}" if about else name
            parts.append(markup.folded(title, *_parts(value)))
        elif name not in ("name", "source"):
            rows.append((name, _with_unit(value, marked(field).unit), about))
    source = getattr(spec, "source", "")
    found = [markup.table(("field", ">value", "meaning"), rows)] if rows else []
    if source:
        label = Markup("source: {}").format(markup.linked(source))
        found.append(markup.paragraph(label, soft=True))
    return [*found, *parts]


_PREFIXED = {"S", "s", "A", "V", "Hz", "J", "W", "B/s", "ohm", "eV"}


def _with_unit(value: Any, unit: str) -> str:
    """Return a value as it stands in a notebook: all digits, with prefix and unit."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(_with_unit(part, unit) for part in value) or "none"
    if not _is_number(value):
        return str(value)
    if unit in _PREFIXED:
        return units.show(value, unit, 10)
    plain = f"{value:.10g}" if isinstance(value, float) else str(value)
    return plain if unit in ("-", "count") else f"{plain} {unit}"


def _dotted(data: Any, place: tuple[Any, ...]) -> str:
    """Return the path of a field; pydantic adds the kind of a union's member, which is no field."""
    path = []
    for part in place:
        if isinstance(data, dict) and part not in data:
            continue
        path.append(str(part))
        data = data[part] if isinstance(data, dict) else None
    return ".".join(path)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _above_zero(bound: Ge) -> bool:
    return isinstance(bound.ge, int | float) and bound.ge > 0


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):  # a device, as a file of a chip or a study holds it
        return {name: _plain(part) for name, part in value.items()}
    return tuple(_plain(part) for part in value) if isinstance(value, list) else value


def tupled(value: Any) -> Any:
    """Return parsed JSON with tuples for lists, as strict validation of Python objects wants it.

    A validator that runs before the others hands on Python objects, also where JSON came in.
    """
    if isinstance(value, Mapping):
        return {name: tupled(part) for name, part in value.items()}
    return tuple(tupled(part) for part in value) if isinstance(value, list | tuple) else value


def _identity(value: Any) -> Any:
    if isinstance(value, Spec):
        return value._identified()
    return [_identity(v) for v in value] if isinstance(value, tuple) else value
