"""What ``aimc-sim run`` computes, and the files it makes of it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from .. import __version__, files
from ..analysis import drift
from ..errors import UnsupportedLayerError
from ..figures import accuracy, floorplan
from ..runtime.chip import Chip
from ..runtime.chip_report import Report
from ..spec import ChipSpec
from ..zoo import ImageSet
from .errors import refusing

FLOAT = "torch float"
_PACKAGES = ("numpy", "numba", "scipy", "torch")

StepReport = Callable[[str, int], Any]
"""Called with the name of a part of the work and the images done since the last call."""


@dataclass(frozen=True)
class StudyOutcome:
    """A finished study.

    Attributes
    ----------
    rows, summary : DataFrame
        As in :mod:`aimc_sim.analysis.drift`.
    float_accuracy : float
        Of the torch network, 0..1.
    ideal_name : str
        How to call the chip with perfect devices.
    ideal_accuracy : mapping
        Its accuracy, by preset, 0..1.
    reports : mapping
        By preset; after the last setting of its last programming.
    chip : Chip
        The last one, at its last setting.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    float_accuracy: float
    ideal_name: str
    ideal_accuracy: Mapping[str, float]
    reports: Mapping[str, Report]
    chip: Chip


@dataclass(frozen=True)
class Prepared:
    """Calibrated chips by preset, and what torch gives on the same images."""

    chips: Mapping[str, Chip]
    images: ImageSet
    float_accuracy: float

    def work(self, settings: int) -> dict[str, int]:
        """Return the images of each part of the work; ``settings`` per preset."""
        n = len(self.images)
        return {"references": n * len(self.chips), **{name: n * settings for name in self.chips}}


def prepare(
    model: nn.Module, specs: Mapping[str, ChipSpec], images: ImageSet, calibration: Tensor
) -> Prepared:
    """Map and calibrate; everything that can be wrong with the user's network shows here.

    Raises
    ------
    BadInput
        If the network or the images cannot be used.
    """
    cannot_run = f"the network cannot run {images.name}: "
    with refusing(ValueError, TypeError):
        try:
            chips = {name: Chip.from_model(model, spec) for name, spec in specs.items()}
        except UnsupportedLayerError:
            with refusing(RuntimeError, prefix=cannot_run):  # where torch itself says why
                drift.float_accuracy(model, images.take(1))
            raise
        with refusing(RuntimeError, prefix=cannot_run):
            for chip in chips.values():
                chip.calibrate(calibration)
            accuracy = drift.float_accuracy(model, images)
    return Prepared(chips, images, accuracy)


def compute(
    ready: Prepared,
    *,
    times: Sequence[float],
    methods: Sequence[str],
    seeds: Sequence[int],
    step: StepReport,
) -> StudyOutcome:
    """Run the study."""
    chips, images = ready.chips, ready.images
    ideal, reports, rows = {}, {}, []
    for name, chip in chips.items():
        ideal[name] = drift.ideal_devices_accuracy(chip, images, lambda n: step("references", n))
    for name, chip in chips.items():
        rows += drift.drift_rows(
            chip,
            images,
            times=times,
            methods=methods,
            seeds=seeds,
            preset=name,
            progress=lambda n, name=name: step(name, n),
        )
        reports[name] = chip.report()
    table = pd.DataFrame(rows, columns=drift.COLUMNS)
    return StudyOutcome(
        table, drift.summarise(table), ready.float_accuracy, _ideal_name(chips), ideal, reports,
        chip,
    )  # fmt: skip


def write(
    folder: Path, outcome: StudyOutcome, images: ImageSet, request: Mapping[str, Any]
) -> None:
    """Write all files of a study; ``request`` (JSON values) goes into the report."""
    chip = outcome.chip
    files.write_text(folder / "results.csv", outcome.rows.to_csv(index=False))
    accuracy.drift_accuracy(
        outcome.rows,
        {FLOAT: outcome.float_accuracy, outcome.ideal_name: outcome.ideal_accuracy},
        chance=1 / len(images.classes),
        title=f"{request['model']}, {len(images):,} test images of {images.name}, "
        f"{request['seeds']} programming{'s' * (request['seeds'] > 1)}",
        path=folder / "drift_accuracy.png",
    )
    floorplan.floorplan(chip.compiled, chip.spec, path=folder / "floorplan.png")
    chip.save(folder / "chip.h5")
    report = {
        **request,
        "versions": {
            "aimc_sim": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "data": {"name": images.name, "split": images.split, "images": len(images)},
        "references": {
            "float_accuracy": outcome.float_accuracy,
            "ideal_devices_accuracy": dict(outcome.ideal_accuracy),
        },
        "summary": outcome.summary.to_dict("records"),
        "chip_h5": held(outcome),
        "chips": {name: report.to_dict() for name, report in outcome.reports.items()},
    }
    files.write_json(folder / "report.json", report)


def held(outcome: StudyOutcome) -> dict[str, Any]:
    """Return what the saved chip is: preset, seed, time and compensation."""
    last = outcome.rows.iloc[-1]
    return {
        "preset": str(last["preset"]),
        "seed": int(last["seed"]),
        "time_seconds": float(last["time_seconds"]),
        "compensation": str(last["compensation"]),
    }


def _ideal_name(chips: Mapping[str, Chip]) -> str:
    bits = {chip.spec.core.dac.bits for chip in chips.values()}
    return "ideal devices" if len(bits) > 1 or None in bits else f"{bits.pop()}-bit ideal"
