"""Accuracy against time: program a chip several times and look at it again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import presets, units
from ..runtime.chip import Chip
from ..spec import ChipSpec
from . import intervals as metrics

TIMES = ("0", "1 h", "1 d", "30 d", "1 y")
"""Times after programming that a study looks at unless told otherwise."""

BATCH = 512
"""Images between two reports of progress; changes no result."""

COLUMNS = (
    "preset", "spec_id", "compensation", "time_seconds", "seed", "images", "correct", "accuracy",
    "adc_saturated_fraction", "output_clipped_fraction", "wall_seconds",
)  # fmt: skip
"""Columns of :func:`drift_study`; all but the last (computing time) are the same on every run."""

ImageProgress = Callable[[int], Any]
"""Called with the number of images done since the last call."""


class Labelled(Protocol):
    """Images (N, ...) float32 and labels (N,) int64; for example a zoo ``ImageSet``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class References:
    """What the drifting chip is compared with; shares of correct images, 0..1.

    Attributes
    ----------
    float_accuracy : float
        The torch model itself.
    ideal_devices_accuracy : float
        The same chip with perfect devices: converters and integers only.
    """

    float_accuracy: float
    ideal_devices_accuracy: float


def drift_rows(
    chip: Chip,
    images: Labelled,
    *,
    times: Iterable[float | str] = TIMES,
    methods: Iterable[str] = ("none", "gdc"),
    seeds: Iterable[int] = (0, 1, 2),
    preset: str | None = None,
    progress: ImageProgress | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one row per (seed, time, compensation) of a calibrated chip, as they are computed.

    Parameters
    ----------
    chip : Chip
        Calibrated; programmed anew for every seed, left at the last setting.
    images : Labelled
        Images and labels to classify.
    times : iterable of float (seconds) or str
        Times after programming.
    methods : iterable of "none", "gdc", "column"
        Drift compensations.
    seeds : iterable of int
        One programming each.
    preset : str, optional
        Name for the rows; default the spec's own.
    progress : callable, optional
        See :data:`ImageProgress`.

    Yields
    ------
    dict
        With the keys :data:`COLUMNS`. Fractions count converted outputs.

    Raises
    ------
    ValueError
        If a time or method is not possible, images do not fit or hold NaN, or the chip was not
        calibrated.
    """
    moments = list(dict.fromkeys(units.seconds(moment) for moment in times))
    methods, seeds = list(dict.fromkeys(methods)), list(dict.fromkeys(seeds))
    for name, given in (("times", moments), ("methods", methods), ("seeds", seeds)):
        if not given:
            raise ValueError(f"{name} is empty; a drift study needs at least one")
    if chip.ranges is None:
        raise ValueError(
            "the chip was not calibrated; call chip.calibrate(images) with images that are not "
            "counted here"
        )
    name, spec_id = preset or chip.spec.name, chip.spec.id()
    for seed in seeds:
        chip.program(seed)
        for moment in moments:
            row: dict[str, Any] = {}
            for method in methods:
                chip.at(moment).compensate(method)
                if row and moment == 0:
                    # Compensation compares with the reads at time 0: here its factors are 1.
                    row = {**row, "compensation": method, "wall_seconds": 0.0}
                    if progress is not None:
                        progress(len(images.labels))
                else:
                    place = {"preset": name, "spec_id": spec_id, "compensation": method}
                    row = place | _look(chip, images, progress)
                yield row


def _look(chip: Chip, images: Labelled, progress: ImageProgress | None) -> dict[str, Any]:
    """Return the columns of a row that follow from running the images, time and seed too."""
    began, before = time.perf_counter(), _totals(chip)
    correct = count_correct(chip, images, progress)
    conversions, saturated, clipped = _totals(chip) - before
    return {
        "time_seconds": chip.time_seconds,
        "seed": chip.state.seed,
        "images": len(images.labels),
        "correct": correct,
        "accuracy": correct / len(images.labels),
        "adc_saturated_fraction": float(saturated / conversions),
        "output_clipped_fraction": float(clipped / conversions),
        "wall_seconds": round(time.perf_counter() - began, 3),
    }


def drift_study(
    model: nn.Module | Callable[[], nn.Module],
    specs: Mapping[str, ChipSpec],
    images: Labelled,
    calibration: Tensor,
    *,
    times: Sequence[float | str] = TIMES,
    methods: Sequence[str] = ("none", "gdc"),
    seeds: Sequence[int] = (0, 1, 2),
    progress: ImageProgress | None = None,
) -> pd.DataFrame:
    """Return the rows of :func:`drift_rows` for several machines.

    Each machine is mapped and calibrated once, and programmed once per seed.

    Parameters
    ----------
    model : nn.Module, or a callable that returns one
    specs : mapping from name to ChipSpec
    images : Labelled
    calibration : (B, ...) float32 tensor
        Images that set the integer ranges; not the ones that are counted.
    times, methods, seeds, progress
        As in :func:`drift_rows`.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`.
    """
    rows = [
        row
        for name, spec in specs.items()
        for row in drift_rows(
            Chip.from_model(model, spec).calibrate(calibration),
            images,
            times=times,
            methods=methods,
            seeds=seeds,
            preset=name,
            progress=progress,
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy and 95 % interval per (preset, compensation, time).

    Parameters
    ----------
    rows : DataFrame
        From :func:`drift_study`.

    Returns
    -------
    DataFrame
        Columns preset, compensation, time_seconds, programmings, images, mean, low, high,
        interval ("student-t" over programmings, or "wilson" over images where there is only
        one); presets and compensations in their order of appearance, times ascending.
    """
    keys, table = ["preset", "compensation", "time_seconds"], []
    order = {key: {v: i for i, v in enumerate(rows[key].unique())} for key in keys[:2]}
    for (preset, method, moment), group in rows.groupby(keys, sort=True):
        images = int(group["images"].iloc[0])
        found = metrics.mean_interval(group["accuracy"].tolist(), images)
        table.append(
            {
                "preset": preset,
                "compensation": method,
                "time_seconds": float(moment),
                "programmings": len(group),
                "images": images,
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "interval": found.method,
            }
        )
    table.sort(
        key=lambda r: (order["preset"][r["preset"]], order["compensation"][r["compensation"]])
    )
    return pd.DataFrame(table)


def reference_accuracy(
    model: nn.Module, spec: ChipSpec, images: Labelled, calibration: Tensor
) -> References:
    """Return the accuracies of the torch model and of the chip with perfect devices."""
    chip = Chip.from_model(model, spec).calibrate(calibration)
    return References(float_accuracy(model, images), ideal_devices_accuracy(chip, images))


def float_accuracy(
    model: nn.Module, images: Labelled, progress: ImageProgress | None = None
) -> float:
    """Return the share of images that the torch model classifies correctly, in ``eval()``."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            correct = count_correct(model, images, progress)
    finally:
        model.train(was_training)
    return correct / len(images.labels)


def ideal_devices_accuracy(
    chip: Chip, images: Labelled, progress: ImageProgress | None = None
) -> float:
    """Return the accuracy of a calibrated chip if its devices were perfect.

    Placement and integer ranges do not depend on the devices: those of ``chip`` are used.
    """
    ideal = Chip(chip.compiled, presets.ideal_devices(chip.spec))
    ideal.ranges = chip.ranges
    return count_correct(ideal.program(0), images, progress) / len(images.labels)


def count_correct(
    network: Callable[[Tensor], Tensor], images: Labelled, progress: ImageProgress | None = None
) -> int:
    """Return how many images have their largest score at their label.

    Parameters
    ----------
    network : callable
        A chip or a torch module: images (B, ...) to scores (B, classes).
    images : Labelled
    progress : callable, optional
        See :data:`ImageProgress`.
    """
    largest, correct = int(images.labels.max()), 0
    for x, labels in zip(images.images.split(BATCH), images.labels.split(BATCH), strict=True):
        scores = network(x)
        if scores.ndim != 2 or scores.shape[1] <= largest:
            raise ValueError(
                f"the network answers {len(x)} images with the shape {tuple(scores.shape)}; the "
                f"labels want ({len(x)}, classes) with at least {largest + 1} classes: give a "
                "network for these classes"
            )
        correct += int((scores.argmax(1) == labels).sum())
        if progress is not None:
            progress(len(labels))
    return correct


def _totals(chip: Chip) -> np.ndarray:
    """Return (3,) counts so far: conversions, saturated at the ADC, clipped at the output."""
    fields = ("conversions", "adc_saturated", "output_clipped")
    return np.array([sum(getattr(c, f) for c in chip.counts.values()) for f in fields], np.int64)
