"""From a study to its settings: one machine each, under a name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import arguments, presets
from ..core import compensation
from ..spec import ChipSpec
from .schema import SettingChoice, Study

MOST_TRIALS = 10**8
"""Of a study: a trial takes a tenth of a second at least, so these are months on many machines."""

CHECKED_AT_ONCE = 10_000
"""Up to so many settings are all made and checked before the first trial."""


@dataclass(frozen=True)
class Setting:
    """One machine of a study.

    Attributes
    ----------
    name : str
        Unique in the study; of a grid point: preset and changes.
    preset : str
        Name of the machine that is changed.
    changes : mapping
        Dotted key to value, what the study varies.
    spec : ChipSpec
        Preset, with the study's and these changes.
    layers : tuple of str or None
        Layers with the devices of ``spec``; the others are ideal. None: all.
    programmings : int or None
        In place of the study's number.
    """

    name: str
    preset: str
    changes: Mapping[str, Any]
    spec: ChipSpec
    layers: tuple[str, ...] | None = None
    programmings: int | None = None


def count(study: Study) -> int:
    """Return the number of settings, without making them."""
    return _points(study) + sum(_copies(study, choice) for choice in study.settings)


def trials(study: Study) -> int:
    """Return the number of trials of a study; with a stopping rule, the largest possible."""
    rule = study.programmings
    usual = rule if isinstance(rule, int) else rule.at_most
    explicit = ((_copies(study, c), c.programmings or usual) for c in study.settings)
    return _points(study) * usual + sum(copies * each for copies, each in explicit)


def _points(study: Study) -> int:
    if study.settings and not study.grid:
        return 0
    return len(study.presets) * math.prod(len(values) for values in study.grid.values())


def _copies(study: Study, choice: SettingChoice) -> int:
    return len(study.presets) if choice.preset is None else 1


def check(study: Study) -> None:
    """Raise for faults that are found without making every setting.

    Every preset and every single value of the grid is tried; up to :data:`CHECKED_AT_ONCE`
    settings are all made, and two names for the same machine are refused.

    Raises
    ------
    KeyError
        If a preset or a dotted key does not exist; gives the nearest name.
    ValueError
        If a value is not allowed, two settings are the same or have the same name, or converters of
        a setting cannot read a compensation of the study.
    """
    if trials(study) > MOST_TRIALS:
        raise ValueError(
            f"the study has {arguments.shown(trials(study))} trials; wanted at most "
            f"{MOST_TRIALS:,}: make the grid smaller"
        )
    for preset in study.presets:
        base = _base(study, preset)
        for key, values in study.grid.items():
            for value in values:
                _changed(base, {key: value}, "grid")
    if count(study) > CHECKED_AT_ONCE:
        return
    names: set[str] = set()
    machines: dict[tuple[Any, ...], str] = {}
    for setting in settings(study):
        if setting.name in names:
            raise ValueError(f"two settings are named '{setting.name}'; give every one its own")
        names.add(setting.name)
        for method in study.compensations:
            try:
                compensation.check("gdc" if method == "adabs" else method, setting.spec.core)
            except ValueError as error:
                raise ValueError(f"setting '{setting.name}': {error}") from None
        other = machines.setdefault((setting.spec.id_text(), setting.layers), setting.name)
        if other != setting.name:
            raise ValueError(
                f"the settings '{other}' and '{setting.name}' are the same machine "
                f"(spec {setting.spec.id()}); leave one out"
            )


def settings(study: Study) -> Iterator[Setting]:
    """Yield the settings, one after the other; nothing is kept of a large grid.

    The grid comes first: presets, and for each all combinations, the last key fastest. Without a
    grid and without explicit settings every preset is one setting.
    """
    if study.grid or not study.settings:
        for preset in study.presets:
            base = _base(study, preset)
            for values in itertools.product(*study.grid.values()):
                changes = dict(zip(study.grid, values, strict=True))
                name = ", ".join([preset, *(f"{k}={_show(v)}" for k, v in changes.items())])
                yield Setting(name, preset, changes, _changed(base, changes, "grid"))
    for choice in study.settings:
        yield from _explicit(study, choice)


def _explicit(study: Study, choice: SettingChoice) -> Iterator[Setting]:
    several = choice.preset is None and len(study.presets) > 1
    for preset in study.presets if choice.preset is None else (choice.preset,):
        spec = _changed(_base(study, preset), choice.changes, f"setting '{choice.name}'")
        if choice.ideal_devices:
            spec = presets.ideal_devices(spec)
        name = f"{preset}, {choice.name}" if several else choice.name
        yield Setting(name, preset, dict(choice.changes), spec, choice.layers, choice.programmings)


def _base(study: Study, preset: str) -> ChipSpec:
    return _changed(presets.by_name(preset), study.changes, "changes")


def _changed(spec: ChipSpec, changes: Mapping[str, Any], where: str) -> ChipSpec:
    try:
        return spec.with_(changes) if changes else spec
    except KeyError as error:
        raise KeyError(f"{where}: {error.args[0]}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _show(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
