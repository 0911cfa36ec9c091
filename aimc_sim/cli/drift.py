"""The study of ``aimc-sim run``: trials of :mod:`aimc_sim.studies.drift`, and the files of them."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import __version__, files
from ..figures import accuracy, floorplan, lines
from ..metrics import Metric
from ..spec import ChipSpec
from ..studies import drift, inputs, work
from ..studies.inputs import Data, Inputs
from ..studies.trial import Trial
from .errors import refusing

if TYPE_CHECKING:
    from torch import nn

    from ..runtime.chip import Chip
    from ..runtime.chip_report import Report

FLOAT = "torch float"
_PACKAGES = ("numpy", "numba", "scipy", "torch")

PartDone = Callable[[str, int], Any]
"""Called with the name of a part of the work and the images done since the last call."""


@dataclass(frozen=True)
class ReadyStudy:
    """A study whose chips are placed and calibrated.

    Attributes
    ----------
    given : Inputs
        Network, data and metric.
    specs : mapping
        Machines by preset.
    trials : list of Trial
        Preset by preset, seed by seed.
    float_value : float
        The metric's value of the torch network.
    """

    given: Inputs
    specs: Mapping[str, ChipSpec]
    trials: list[Trial]
    float_value: float

    def work(self) -> dict[str, int]:
        """Return the images of each part of the work."""
        n, first = len(self.given.images), self.trials[0]
        runs = len(first.times) * len(first.compensations) * len(self.trials) // len(self.specs)
        return {"references": n * len(self.specs), **{name: n * runs for name in self.specs}}


@dataclass(frozen=True)
class StudyOutcome:
    """A finished study.

    Attributes
    ----------
    metric : Metric
        Scores the outputs.
    images : int
        That were scored.
    data : str
        Name of the data.
    classes : int or None
        Of the data.
    rows, summary : DataFrame
        See :mod:`aimc_sim.studies.drift`.
    float_value : float
        The metric's value of the torch network.
    ideal_name : str
        Name of the chip with perfect devices.
    ideal : mapping
        Its value, by preset.
    reports : mapping
        By preset; after the last setting of its last programming.
    chip : Chip
        The last one, at its last setting.
    """

    metric: Metric
    images: int
    data: str
    classes: int | None
    rows: pd.DataFrame
    summary: pd.DataFrame
    float_value: float
    ideal_name: str
    ideal: Mapping[str, float]
    reports: Mapping[str, Report]
    chip: Chip

    @property
    def held(self) -> dict[str, Any]:
        """The saved chip in words: preset, seed, time and compensation."""
        last = self.rows.iloc[-1]
        return {
            "preset": str(last["preset"]),
            "seed": int(last["seed"]),
            "time_seconds": float(last["time_seconds"]),
            "compensation": str(last["compensation"]),
        }


def prepare(
    name: str, model: nn.Module, data: Data, metric: Metric, specs: Mapping[str, ChipSpec],
    **wanted: Any,
) -> ReadyStudy:  # fmt: skip
    """Map and calibrate; everything that can be wrong with the user's network shows here.

    Parameters
    ----------
    name : str
        Of the network.
    model : nn.Module
        The torch network.
    data : Data
        Images, targets and calibration images for it.
    metric : Metric
        Scores its outputs.
    specs : mapping
        Machines by preset.
    **wanted
        times, methods and seeds of :func:`aimc_sim.studies.drift.trials`.

    Raises
    ------
    BadInput
        If the network or the images cannot be used.
    """
    with refusing(ValueError, TypeError):
        given = inputs.joined(name, model, data, metric)
        trials = list(drift.trials(given, specs, **wanted))
        work.install(given)
        for trial in trials[:: len(trials) // len(specs)]:
            work.chip_of(trial)
        value = inputs.float_value(model, given)
    return ReadyStudy(given, specs, trials, value)


def compute(ready: ReadyStudy, step: PartDone) -> StudyOutcome:
    """Run the study.

    Parameters
    ----------
    ready : ReadyStudy
        From :func:`prepare`.
    step : callable
        See :data:`PartDone`.
    """
    given, metric = ready.given, ready.given.metric
    per = len(ready.trials) // len(ready.specs)
    ideal: dict[str, float] = {}
    reports: dict[str, Report] = {}
    tables: list[pd.DataFrame] = []
    for trial in ready.trials[::per]:
        ideal[trial.preset] = drift.ideal_value(given, trial)
        step("references", len(given.images))
    for i, trial in enumerate(ready.trials, 1):
        tables.append(drift.table_of(given, trial, step=functools.partial(step, trial.preset)))
        if i % per == 0:
            chip = work.chip_of(trial)
            reports[trial.preset] = chip.report()
    table = pd.concat(tables, ignore_index=True)
    return StudyOutcome(
        metric, len(given.images), given.data_name, given.classes,
        table[list(drift.columns(metric))], drift.summary(table), ready.float_value,
        _ideal_name(ready.specs), ideal, reports, chip,
    )  # fmt: skip


def write(folder: Path, outcome: StudyOutcome, request: Mapping[str, Any]) -> None:
    """Write all files of a study.

    Parameters
    ----------
    folder : Path
        Empty.
    outcome : StudyOutcome
        From :func:`compute`.
    request : mapping
        JSON values, for the report.
    """
    chip, metric = outcome.chip, outcome.metric
    files.write_text(folder / "results.csv", outcome.rows.to_csv(index=False))
    chance = None
    if metric.chance is not None and outcome.classes is not None:
        chance = metric.chance(outcome.classes)
    found = accuracy.chart(
        outcome.summary,
        by="preset",
        references={FLOAT: outcome.float_value, outcome.ideal_name: outcome.ideal},
        chance=chance,
        title=f"{request['model']}, {outcome.images:,} test images of {outcome.data}, "
        f"{request['seeds']} programming{'s' * (request['seeds'] > 1)}",
        metric=metric,
    )
    lines.draw(found, path=folder / "drift_accuracy.png")
    floorplan.floorplan(chip.compiled, chip.spec, path=folder / "floorplan.png")
    chip.save(folder / "chip.h5")
    value = "accuracy" if metric.name == "accuracy" else "value"
    report = {
        **request,
        "versions": {
            "aimc_sim": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "data": {"name": outcome.data, "split": "test", "images": outcome.images},
        **({} if value == "accuracy" else {"metric": metric.described()}),
        "references": {
            f"float_{value}": outcome.float_value,
            f"ideal_devices_{value}": dict(outcome.ideal),
        },
        "summary": outcome.summary.to_dict("records"),
        "chip_h5": outcome.held,
        "chips": {name: report.to_dict() for name, report in outcome.reports.items()},
    }
    files.write_json(folder / "report.json", report)


def _ideal_name(specs: Mapping[str, ChipSpec]) -> str:
    bits = {spec.core.dac.bits for spec in specs.values()}
    return "ideal devices" if len(bits) > 1 or None in bits else f"{bits.pop()}-bit ideal"
