"""Base of all specifications: frozen, strict about names, changed by dotted path, hashed."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT_VERSION = 1
"""Version of the specification's JSON form; part of every identity."""

PHYSICS_VERSION = 2
"""Raised by every change that moves simulated results beyond rounding; tables of validation hold
the one they were made with. 2: phases as conversions, g_max rule, published drift compensation."""

_DESCRIPTIVE = {"name", "source", "path"}
"""Fields that describe and do not change an answer: left out of the identity."""


def quantity(
    unit: str, about: str, default: Any = ..., *, later: bool = False, **bounds: Any
) -> Any:
    """Declare a field with its unit and meaning, which ``aimc-sim info`` prints.

    ``later`` marks a field that was added to a published class: while it holds its default,
    which must mean "as before", it is left out of the identity, so that old results keep theirs.
    """
    extra = {"unit": unit, "later": later}
    return Field(default, description=about, json_schema_extra=extra, **bounds)


class Spec(BaseModel):
    """Base of all specifications: frozen, strict about names, hashed by content."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, strict=True
    )

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
        ValueError
            If a value is outside its range.
        """
        data = self.model_dump()
        for path, value in {**(changes or {}), **fields}.items():
            self._set(data, path, _plain(value))
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = _dotted(data, first["loc"]) or "specification"
            value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
            reason = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}{value} is not allowed: {reason}") from None

    def _set(self, data: dict[str, Any], path: str, value: Any) -> None:
        *parents, last = path.split(".")
        level, walked = data, ""
        for part in [*parents, last]:
            if not isinstance(level, dict):
                raise KeyError(
                    f"'{path}': '{walked}' is {level!r} and has no field '{part}'; "
                    f"set '{walked}' as a whole first"
                )
            if part not in level:
                near = difflib.get_close_matches(part, level, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                place = f"'{walked}'" if walked else "the specification"
                known = ", ".join(sorted(level))
                raise KeyError(f"'{path}': {place} has no field '{part}'; {hint}Known: {known}")
            if part is not last or len(walked.split(".")) < len(parents):
                walked = f"{walked}.{part}".lstrip(".")
            parent, level = level, level[part]
        parent[last] = value

    def id_text(self) -> str:
        """Return the canonical JSON that :meth:`id` hashes (descriptive texts left out)."""
        return json.dumps(
            {"class": type(self).__name__, "format": FORMAT_VERSION, "spec": _identity(self)},
            sort_keys=True,
            separators=(",", ":"),
        )

    def id(self) -> str:
        """Return the identity: the first 16 hex digits of the SHA-256 of :meth:`id_text`."""
        return hashlib.sha256(self.id_text().encode()).hexdigest()[:16]


def _dotted(data: Any, place: tuple[Any, ...]) -> str:
    """Return the path of a field; pydantic adds the kind of a union's member, which is no field."""
    path = []
    for part in place:
        if isinstance(data, dict) and part not in data:
            continue
        path.append(str(part))
        data = data[part] if isinstance(data, dict) else None
    return ".".join(path)


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.model_dump()
    return tuple(_plain(part) for part in value) if isinstance(value, list) else value


def _identity(value: Any) -> Any:
    if isinstance(value, Spec):
        return {
            name: _identity(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name not in _DESCRIPTIVE
            and not (
                (field.json_schema_extra or {}).get("later")
                and getattr(value, name) == field.default
            )
        }
    return [_identity(v) for v in value] if isinstance(value, tuple) else value
