"""A search as data: the contents of its file, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .. import arguments, metrics
from ..arguments import MOST_SEED
from ..studies import schema
from ..studies.schema import Checked, DataChoice, NetworkChoice, Study, StudyMethod
from .objectives import ACCURACY, COSTS, VALUE, demand_possible, known, quality

PRESET, COMPENSATION = "preset", "compensation"
"""Knobs that are no field of the machine."""

MOST_TRIALS = 100_000
"""Designs of one search: Optuna keeps all of them, and compares them at every step."""


LARGEST = 10**18
"""Magnitude of a knob: Optuna's whole numbers are 64 bits wide."""

COLUMNS = (
    "design", "status", "rivals", "setting", "preset", "spec_id", "compensation", "time_seconds",
    "programmings", "images", "low", "high", "wide_low", "wide_high", "missed", "reason",
    ACCURACY, *COSTS,
)  # fmt: skip
"""Of the table of designs, see :mod:`.outcome`; no knob of options may be named so."""

OTHER_COLUMNS = (VALUE, "metric_data")
"""Columns where the metric is another one than the accuracy."""


class Choices(Checked):
    """A knob with a list of values, in the file simply the list."""

    values: tuple[Any, ...] = Field(min_length=1)


class Range(Checked):
    """A knob between two numbers, both included; whole numbers if both bounds are."""

    low: StrictInt | float = Field(ge=-LARGEST, le=LARGEST)
    high: StrictInt | float = Field(ge=-LARGEST, le=LARGEST)
    step: StrictInt | float | None = Field(
        default=None, gt=0, le=LARGEST, description="between values"
    )
    log: StrictBool = Field(default=False, description="even over the logarithm")

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the range is empty: low = {self.low} is above high = {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a range with log needs low > 0 and no step")
        if self.whole and isinstance(self.step, float):
            raise ValueError(f"step = {self.step} between whole numbers; give a whole number")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class Options(Checked):
    """A knob of named options, each a set of changes made together; its own name is free."""

    options: dict[str, dict[str, Any]] = Field(
        min_length=1, description="name to changes: dotted key to value"
    )


def _kind(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else ()
    if isinstance(value, (Choices, list, tuple)) or "values" in keys:
        return "<choices>"
    return "<options>" if isinstance(value, Options) or "options" in keys else "<range>"


def _values(value: Any) -> Any:
    return {"values": value} if isinstance(value, (list, tuple)) else value


Knob = Annotated[
    Annotated[Choices, BeforeValidator(_values), Tag("<choices>")]
    | Annotated[Range, Tag("<range>")]
    | Annotated[Options, Tag("<options>")],
    Discriminator(_kind),
]


class Search(Checked):
    """A search: network, data, knobs, objectives, constraints."""

    name: str = Field(default="search", max_length=schema.LONGEST_NAME, description="for titles")
    network: Annotated[NetworkChoice, BeforeValidator(schema.named)] = NetworkChoice(
        name="resnet32-digits"
    )
    data: Annotated[DataChoice, BeforeValidator(schema.named)] = DataChoice()
    metric: str = Field(
        default=ACCURACY,
        description="what is scored, see aimc_sim.metrics, or package.module:name or "
        "path/to/file.py:name",
    )
    preset: str = Field(default="hermes-tdp", description="of every design; see 'aimc-sim info'")
    changes: dict[str, Any] = Field(default={}, description="of every design: dotted key to value")
    knobs: dict[str, Knob] = Field(
        min_length=1,
        description="dotted key of the machine, preset or compensation, to a list of values or "
        "{low, high, step, log}; any other name to {options: {name: changes}}",
    )
    objectives: Annotated[tuple[str, ...], BeforeValidator(schema.listed)] = Field(
        default=(VALUE, "energy"), min_length=1, validate_default=True,
        description=f"the metric (its name, or '{VALUE}'), {', '.join(COSTS)}",
    )  # fmt: skip
    constraints: dict[str, float] = Field(
        default={},
        description="objective to the worst value allowed (the metric's value: shares; J, s, "
        "1/s, cores)",
    )
    time: float = Field(
        default=86400.0, description="after programming: seconds, or text such as '1 d'"
    )
    compensation: StudyMethod = Field(default="gdc", description="of drift")
    programmings: StrictInt = Field(
        default=5,
        ge=1,
        le=schema.MOST_PROGRAMMINGS,
        description="of every design, on the same seeds",
    )
    first_seed: StrictInt = Field(
        default=0,
        ge=0,
        le=MOST_SEED - schema.MOST_PROGRAMMINGS,
        description="of the programmings; they count up",
    )
    trials: StrictInt = Field(default=64, ge=1, le=MOST_TRIALS, description="designs proposed")
    batch: StrictInt = Field(
        default=16, ge=2, le=1000, description="designs proposed at once; the population of nsga2"
    )
    sampler: Literal["nsga2", "tpe"] = Field(
        default="nsga2", description="how Optuna proposes designs"
    )
    seed: StrictInt = Field(default=0, ge=0, lt=2**32, description="of the sampler")
    mode: Literal["pipelined", "host"] = Field(
        default="pipelined",
        description="of the pipeline behind energy and time, see 'aimc-sim perf'",
    )
    seconds_per_trial: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="of one programming, if known: then none is run to measure it",
    )

    @field_validator("time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return schema.evaluation_time(value)

    @field_validator("objectives")
    @classmethod
    def _known(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        metric = info.data.get("metric", ACCURACY)
        return tuple(dict.fromkeys(known(name, metric) for name in value))

    @field_validator("constraints")
    @classmethod
    def _bounds(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        metric = info.data.get("metric", ACCURACY)
        found: dict[str, float] = {}
        for given, bound in value.items():
            name = known(given, metric)
            if name in found:
                raise ValueError(f"'{given}' is '{name}', which has a bound already; leave one out")
            demand_possible(name, bound, metrics.BY_NAME.get(metric))
            found[name] = bound
        return found

    @model_validator(mode="after")
    def _once(self) -> Self:
        owners: dict[str, str] = {}
        columns = COLUMNS if self.quality == ACCURACY else (*COLUMNS, *OTHER_COLUMNS)
        for name, knob in self.knobs.items():
            if isinstance(knob, Options) and name in columns:
                raise ValueError(f"the knob '{name}' has the name of a column; give it another")
            options = knob.options.values() if isinstance(knob, Options) else ({name: None},)
            for key in sorted({key for changes in options for key in changes}):
                if owners.setdefault(key, name) != name:
                    raise ValueError(f"the knobs '{owners[key]}' and '{name}' both turn '{key}'")
                if key in self.changes:
                    raise ValueError(f"'{key}' is a knob and under changes; leave one out")
        return self

    @property
    def needs_images(self) -> bool:
        """Whether the metric is asked for."""
        return self.quality in (*self.objectives, *self.constraints)

    @property
    def quality(self) -> str:
        """Name of the metric among objectives and columns, see :mod:`.objectives`."""
        return quality(self.metric)

    def asked(self) -> dict[str, Any]:
        """Return the search as it is kept; the metric is left out if it is the accuracy."""
        left_out = {"metric"} if self.quality == ACCURACY else None
        return self.model_dump(mode="json", exclude=left_out)

    def study(self, compensation: StudyMethod | None = None, preset: str | None = None) -> Study:
        """Return the study of one design: the same network, data, time and seeds."""
        return Study(
            name=self.name, network=self.network, data=self.data, metric=self.metric,
            presets=(preset or self.preset,), changes=self.changes, times=(self.time,),
            compensations=(compensation or self.compensation,), programmings=self.programmings,
            first_seed=self.first_seed, probe_images=0, seconds_per_trial=self.seconds_per_trial,
        )  # fmt: skip


def make_search(data: Mapping[str, Any], where: str = "search") -> Search:
    """Return the search that a mapping describes; ValueError is one sentence about ``where``."""
    return schema.checked(Search, data, where)


def load_search(path: str | Path) -> Search:
    """Read a search from a ``.yaml``/``.yml`` file, or a ``.py`` file that defines ``search``.

    Parameters and errors as in :func:`aimc_sim.studies.schema.load_study`.
    """
    path = arguments.path(path)
    search = make_search(schema.read_mapping(path, "search"), f"'{path}'")
    return schema.absolute(search, path.parent.resolve())


def scored_by(search: Search, metric: str | None) -> Search:
    """Return a search with another metric in the objective's place; None: the search as it is.

    Parameters
    ----------
    search : Search
        The search of the file.
    metric : str or None
        See :func:`aimc_sim.metrics.named`.

    Raises
    ------
    ValueError
        If there is no such metric, or a constraint is a bound of the one before.
    """
    if metric is None or metric == search.metric:
        return search
    before = search.quality
    if before in search.constraints:
        raise ValueError(
            f"--metric {metric}: constraints.{before} = {search.constraints[before]:g} is a bound "
            f"of '{search.metric}'; take it out of the search"
        )
    objectives = [VALUE if name == before else name for name in search.objectives]
    data = search.model_dump(exclude_unset=True) | {"metric": metric, "objectives": objectives}
    return make_search(data, "--metric")


def changed(search: Search, **fields: Any) -> Search:
    """Return a search with some keys changed, checked again."""
    return make_search(search.model_dump(exclude_unset=True) | fields)
