"""A study as data: the contents of its file, checked.

``load_study`` reads a YAML file, or a Python file that defines ``study``; both hold the same
mapping. Every key is explained where it is declared below.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from .. import arguments, files, markup, metrics, own, units
from ..arguments import MOST_SEED
from .text import read_yaml

StudyMethod = Literal["none", "gdc", "column", "gdc-signs", "ls", "adabs"]
"""Drift compensations; "adabs" is "gdc" with batch norm measured anew on the calibration images."""


MOST_PROGRAMMINGS = 10**6
"""Of a setting: the standard error of the mean is then a thousandth of the standard deviation."""

LONGEST_NAME = 500
"""Characters of the name of a study or setting, which stands in tables and titles."""

CALIBRATION = 256
"""Images that calibrate unless told otherwise."""

MOST_IMAGES = 10**9
"""Of a data set; loading it tells how many there are."""


_MOST_STEPS = 10**6
"""Time steps of a sequence."""


class Checked(BaseModel):
    """Frozen; a key that does not exist is refused with the nearest one that does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for key in data:
            if key not in cls.model_fields:
                raise ValueError(arguments.unknown(f"no key '{key}'", str(key), cls.model_fields))
        return data

    def _repr_html_(self) -> str:
        rows = [
            (name, value._facts() if isinstance(value := getattr(self, name), Checked) else value)
            for name in type(self).model_fields
        ]
        shown = [(name, value) for name, value in rows if value not in (None, "", (), {})]
        kind, name = type(self).__name__, str(getattr(self, "name", ""))
        return markup.display(kind, name, markup.facts(shown))

    def _facts(self) -> str:
        """Return the keys that are set, in a line."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return ", ".join(f"{name}: {value}" for name, value in found.items() if value is not None)


def named(value: Any) -> Any:
    """Return a choice that is given by its name alone as a mapping."""
    return {"name": value} if isinstance(value, str) else value


Model = TypeVar("Model", bound=Checked)


class NetworkChoice(Checked):
    """Which trained network."""

    name: str = Field(
        description="of the zoo, or a callable without arguments: package.module:function or "
        "path/to/file.py:function"
    )
    weights: str | None = Field(default=None, description="path of a state dict; default: its own")


class DataChoice(Checked):
    """Which images or sequences are scored, and which ones calibrate."""

    name: str = Field(
        default="digits",
        description="digits, cifar10, ptb, or package.module:function or path/to/file.py:function "
        "that returns (inputs, targets, calibration inputs)",
    )
    folder: str | None = Field(
        default=None, description="where cifar-10-batches-py or ptb.char.test.txt is"
    )
    images: StrictInt | None = Field(
        default=None,
        ge=1,
        le=MOST_IMAGES,
        description="first test images or sequences; default: all",
    )
    calibration: StrictInt = Field(
        default=CALIBRATION,
        ge=1,
        le=MOST_IMAGES,
        description="first training images, never counted; of your own data that have fewer than "
        "the default, all",
    )
    length: StrictInt | None = Field(
        default=None,
        ge=1,
        le=_MOST_STEPS,
        description="characters of a sequence of ptb; default: 150",
    )


class Stopping(Checked):
    """Programmings until the mean value of a setting is known well enough."""

    half_width: float = Field(
        gt=0, le=1e9, description="of the 95 % interval of the metric's value: of a share 0..1"
    )
    at_least: StrictInt = Field(default=5, ge=2, le=MOST_PROGRAMMINGS)
    at_most: StrictInt = Field(default=100, ge=2, le=MOST_PROGRAMMINGS)
    batch: StrictInt = Field(
        default=5, ge=1, le=MOST_PROGRAMMINGS, description="programmings between two evaluations"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least = {self.at_least} is above at_most = {self.at_most}")
        return self


class SettingChoice(Checked):
    """One explicit setting: a preset with changes, under a name."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    preset: str | None = Field(default=None, description="default: every one of `presets`")
    changes: dict[str, Any] = Field(
        default={}, description="dotted key to value, after the study's own"
    )
    ideal_devices: StrictBool = Field(default=False, description="perfect devices, same converters")
    layers: tuple[str, ...] | None = Field(
        default=None, description="only these layers are physical"
    )
    programmings: StrictInt | None = Field(
        default=None, ge=1, le=MOST_PROGRAMMINGS, description="in place of the study's"
    )


def listed(value: Any) -> Any:
    """Return a single value as a list of one."""
    return [value] if isinstance(value, (str, int, float)) else value


Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


def _kind(value: Any) -> str:
    return _RULE if isinstance(value, (Mapping, Stopping)) else _NUMBER


_RULE, _NUMBER = "<rule>", "<number>"  # names in <> are not shown to the user
Programmings = Annotated[
    Annotated[StrictInt, Field(ge=1, le=MOST_PROGRAMMINGS), Tag(_NUMBER)]
    | Annotated[Stopping, Tag(_RULE)],
    Discriminator(_kind),
]


class Study(Checked):
    """A study: network, data, settings, times, compensations, programmings."""

    name: str = Field(default="study", max_length=LONGEST_NAME, description="for titles")
    network: Annotated[NetworkChoice, BeforeValidator(named)] = NetworkChoice(
        name="resnet32-digits"
    )
    data: Annotated[DataChoice, BeforeValidator(named)] = DataChoice()
    metric: str = Field(
        default="accuracy",
        description="what is scored, see aimc_sim.metrics, or package.module:name or "
        "path/to/file.py:name",
    )
    presets: Names = Field(default=("hermes-tdp",), min_length=1, description="see 'aimc-sim info'")
    changes: dict[str, Any] = Field(default={}, description="of every preset: dotted key to value")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default={}, description="dotted key to values; all combinations, with every preset"
    )
    settings: tuple[SettingChoice, ...] = Field(
        default=(), description="single settings, beside the grid"
    )
    times: tuple[float, ...] = Field(
        default=(0.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0), min_length=1,
        description="after programming: seconds, or text such as '1 h'",
    )  # fmt: skip
    compensations: Annotated[tuple[StudyMethod, ...], BeforeValidator(listed)] = Field(
        default=("none", "gdc"), min_length=1, description="of drift"
    )
    programmings: Programmings = Field(
        default=5, description="a number, or a stopping rule: half_width, at_least, at_most, batch"
    )
    first_seed: StrictInt = Field(
        default=0, ge=0, le=MOST_SEED - MOST_PROGRAMMINGS, description="seeds count up from here"
    )
    probe_images: StrictInt = Field(
        default=16,
        ge=0,
        le=MOST_IMAGES,
        description="first images behind the error of every layer; 0 leaves it out",
    )
    seconds_per_trial: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="if known: then no trial is run before a large study is announced",
    )

    @field_validator("times", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple, str, int, float)):
            raise ValueError("wanted a time or a list of times")
        return sorted({evaluation_time(one) for one in listed(value)})

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        rule = self.programmings
        known = metrics.BY_NAME.get(self.metric)
        share = known is not None and known.bounds == (0.0, 1.0)
        if isinstance(rule, Stopping) and share and rule.half_width >= 1:
            raise ValueError(
                f"programmings: half_width = {rule.half_width:g}: give a share 0..1, not percent"
            )
        return self

    @field_validator("compensations", "presets")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))


def evaluation_time(value: Any) -> float:
    """Return a time in seconds; ValueError for everything else, as pydantic wants it."""
    try:
        return units.seconds(value)
    except TypeError as error:
        raise ValueError(str(error)) from None


def load_study(path: str | Path) -> Study:
    """Read a study from a ``.yaml``/``.yml`` file, or a ``.py`` file that defines ``study``.

    Paths in it (weights, folder, files with objects of your own) are relative to the file. A Python
    file is executed.

    Parameters
    ----------
    path : path

    Returns
    -------
    Study

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or says something that cannot be; names the nearest key.
    """
    path = arguments.path(path)
    study = make_study(read_mapping(path, "study"), f"'{path}'")
    return absolute(study, path.parent.resolve())


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Return what a YAML file, or a Python file that defines the variable `what`, holds.

    Parameters
    ----------
    path : Path
    what : str
        "study" or "search": the name of the variable, and of the thing in messages.

    Raises
    ------
    FileNotFoundError, ValueError
        As in :func:`load_study`.
    """
    files.require_file(
        path, what, "give the path of a YAML file, such as 'aimc-sim examples --out DIR' writes"
    )
    if path.suffix == ".py":
        try:
            data = runpy.run_path(str(path)).get(what)
        except (Exception, SystemExit) as error:  # whatever the user's file does
            raise ValueError(f"'{path}' fails with {type(error).__name__}: {error}") from error
    elif path.suffix in (".yaml", ".yml"):
        data = read_yaml(path)
    else:
        raise ValueError(f"'{path}' is no .yaml, .yml or .py file; give a {what} as one of them")
    if isinstance(data, Checked):
        data = data.model_dump(exclude_unset=True)
    if not isinstance(data, Mapping):
        raise ValueError(
            f"'{path}' holds a {type(data).__name__}; wanted a mapping of keys such as network "
            "and data" + (f" in the variable '{what}'" if path.suffix == ".py" else "")
        )
    return dict(data)


def make_study(data: Mapping[str, Any], where: str = "study") -> Study:
    """Return the study that a mapping describes; ValueError is one sentence about ``where``."""
    return checked(Study, data, where)


def scored_by(study: Study, metric: str | None) -> Study:
    """Return a study with another metric; None: the study as it is."""
    return study if metric is None else changed(study, {"metric": metric})


def changed(study: Study, keys: Mapping[str, Any]) -> Study:
    """Return a study with some keys replaced, checked again; none: the study as it is."""
    if not keys:
        return study
    return make_study(study.model_dump(exclude_unset=True) | dict(keys), "study with options")


def checked(kind: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Return what a mapping describes; ValueError is one sentence about ``where``."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{where} = {arguments.shown(data)}: wanted a mapping of keys to values")
    try:
        return kind.model_validate(dict(data))
    except RecursionError:
        raise ValueError(f"{where}: it is nested too deeply") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if str(part)[:1] != "<")
        reason = first["msg"].removeprefix("Value error, ")
        given = first["input"]
        short = isinstance(given, (str, int, float, bool))
        shown = f" = {arguments.shown(given)}" if short else ""
        raise ValueError(f"{where}: {place}{shown}{': ' if place else ''}{reason}") from None


def absolute(study: Model, folder: Path) -> Model:
    """Return a study whose paths are relative to ``folder`` no more.

    Paths are those of weights, of the folder of data, and of Python files with objects of the
    user's own.
    """
    data = study.model_dump(exclude_unset=True)
    for part in ("network", "data"):
        if "name" in data.get(part, {}):
            data[part]["name"] = own.absolute(data[part]["name"], folder)
    if "metric" in data:
        data["metric"] = own.absolute(data["metric"], folder)
    for part, key in (("network", "weights"), ("data", "folder")):
        if data.get(part, {}).get(key) is not None:
            data[part][key] = str(folder / data[part][key])
    return type(study).model_validate(data)
