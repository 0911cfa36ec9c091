"""Every number and choice of a specification in a row, with unit, meaning and source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .base import Spec, marked


@dataclass(frozen=True)
class Parameter:
    """One number or choice of a specification.

    Attributes
    ----------
    key : str
        Dotted path, as ``--set`` takes it.
    value : number, text, tuple or None
        SI units. None: the effect is absent.
    unit, about, source : str
        ``unit`` is "-" for pure numbers and choices; ``source`` is that of the nearest part of
        the machine that states one.
    """

    key: str
    value: Any
    unit: str
    about: str
    source: str


def parameters(spec: Spec, path: str = "", source: str = "") -> Iterator[Parameter]:
    """Yield all parameters of a specification: its own first, then those of its parts.

    Parameters
    ----------
    spec : Spec
    path, source : str
        Of the part that holds it.
    """
    source = getattr(spec, "source", "") or source
    parts: list[tuple[str, Spec]] = []
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if isinstance(value, Spec):
            parts.append((name, value))
        elif name not in ("name", "source"):
            unit = marked(field).unit
            yield Parameter(f"{path}{name}", value, unit, field.description or "", source)
    for name, part in parts:
        yield from parameters(part, f"{path}{name}.", source)


def shown(value: Any) -> str:
    """Return a parameter's value as text: "none" for an absent effect.

    Examples
    --------
    >>> shown(None), shown(2.5e-05), shown((1, 2))
    ('none', '2.5e-05', '1, 2')
    """
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return ", ".join(shown(part) for part in value) or "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
