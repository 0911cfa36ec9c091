"""Knobs as Optuna's distributions, and a proposal as a design."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from .. import arguments, presets
from ..spec import ChipSpec
from ..studies.schema import StudyMethod
from .schema import COMPENSATION, PRESET, Choices, Knob, Options, Range, Search

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DIGITS = 6
"""Significant digits of a proposed number: numbers are run as they are printed."""


@dataclass(frozen=True)
class Design:
    """One setting of all knobs.

    Attributes
    ----------
    preset, compensation : str
        Names.
    changes : mapping
        Dotted key to value, on top of the search's own.
    knobs : mapping
        Knob to its value; of options and lists the name or JSON text.
    """

    preset: str
    compensation: StudyMethod
    changes: Mapping[str, Any]
    knobs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Preset and knobs: the same machine has the same name in every search."""
        turned = (f"{k}={_text(v)}" for k, v in self.knobs.items() if k not in _NO_FIELD)
        return ", ".join([self.preset, *turned])

    def spec(self, search: Search) -> ChipSpec:
        """Return the machine; ValueError if these values cannot be together."""
        return presets.by_name(self.preset).with_({**search.changes, **self.changes})


_NO_FIELD = (PRESET, COMPENSATION)


def distribution(knob: Knob) -> BaseDistribution:
    """Return a knob as Optuna has it; choices and options are numbered."""
    from optuna import distributions

    if isinstance(knob, Range):
        if knob.whole:
            low, high, step = int(knob.low), int(knob.high), int(knob.step or 1)
            return distributions.IntDistribution(low, high, log=knob.log, step=step)
        return distributions.FloatDistribution(
            float(knob.low), float(knob.high), log=knob.log, step=knob.step
        )
    count = len(knob.options if isinstance(knob, Options) else knob.values)
    return distributions.CategoricalDistribution(tuple(range(count)))


def design(search: Search, proposal: Mapping[str, int | float]) -> Design:
    """Return the design that a proposal means.

    Parameters
    ----------
    search : Search
    proposal : mapping from knob to number
        Of ranges the value itself, of choices and options the position in the list.
    """
    fixed: dict[str, Any] = {PRESET: search.preset, COMPENSATION: search.compensation}
    changes: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for name, knob in search.knobs.items():
        number = proposal[name]
        if isinstance(knob, Options):
            option = list(knob.options)[int(number)]
            changes |= knob.options[option]
            shown[name] = option
            continue
        if isinstance(knob, Range):
            value = int(number) if knob.whole else float(f"{number:.{_DIGITS}g}")
        else:
            value = knob.values[int(number)]
        shown[name] = value if _plain(value) else json.dumps(value)
        (fixed if name in _NO_FIELD else changes)[name] = value
    return Design(fixed[PRESET], fixed[COMPENSATION], changes, shown)


def check(search: Search) -> None:
    """Raise for what cannot be, as far as single values tell.

    Every value of a list or option and both ends of a range are tried by themselves on every
    preset.

    Raises
    ------
    KeyError
        If a preset or a dotted key does not exist; gives the nearest name.
    ValueError
        If a value is not allowed.
    """
    for name in _of(search, PRESET) or [search.preset]:
        base = presets.by_name(name)
        for where, changes in [("changes", search.changes), *_single(search)]:
            _try(base, {**search.changes, **changes}, where)
    for value in _of(search, COMPENSATION):
        if value not in get_args(StudyMethod):
            raise ValueError(
                f"knobs.compensation: {value!r} is none of {', '.join(get_args(StudyMethod))}"
            )


def _of(search: Search, name: str) -> list[Any]:
    """Return the values of a knob that is no field of the machine."""
    if name not in search.knobs:
        return []
    knob = search.knobs[name]
    if not isinstance(knob, Choices):
        raise ValueError(f"knobs.{name}: wanted a list of names")
    return list(knob.values)


def _single(search: Search) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, knob in search.knobs.items():
        where = f"knobs.{name}"
        if name in _NO_FIELD:
            continue
        if isinstance(knob, Options):
            yield from ((f"{where}.{option}", dict(c)) for option, c in knob.options.items())
        elif isinstance(knob, Range):
            ends = (knob.low, knob.high)
            yield from ((where, {name: e if knob.whole else float(e)}) for e in ends)
        else:
            yield from ((where, {name: value}) for value in knob.values)


def _try(base: ChipSpec, changes: Mapping[str, Any], where: str) -> None:
    try:
        base.with_(changes)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    except KeyError as error:
        key = str(error.args[0]).split("'")[1]
        known = [*_NO_FIELD, *_fields(base.model_dump())]
        near = arguments.nearest(key, known, 0.5)
        hint = f": {error.args[0]}" if near is None else f"; did you mean '{near}'?"
        raise KeyError(f"{where}: the machine has no field '{key}'{hint}") from None


def _fields(level: Mapping[str, Any], walked: str = "") -> Iterator[str]:
    """Yield the dotted paths of a specification."""
    for name, value in level.items():
        yield f"{walked}{name}"
        if isinstance(value, Mapping):
            yield from _fields(value, f"{walked}{name}.")


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
