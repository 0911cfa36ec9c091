"""Accuracy, or another metric, against time: the trials of a few machines, one after the other.

``aimc-sim run`` and scripts read results at once and keep no folder of trials; each row is the
trial of :mod:`.work` that a sweep would run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, cast, get_args

import pandas as pd
import torch
from torch import Tensor, nn

from .. import __version__, arguments, metrics, presets, units
from ..analysis import intervals
from ..metrics import Metric
from ..runtime.chip import Chip
from ..spec import ChipSpec
from . import identity, inputs, results, statistics, work
from .inputs import Data, Inputs
from .schema import StudyMethod
from .settings import Setting
from .trial import Trial

TIMES = ("0", "1 h", "1 d", "30 d", "1 y")
"""Times after programming of a study unless told otherwise."""

COLUMNS = (
    "preset", "spec_id", "compensation", "time_seconds", "seed", "images", "correct", "accuracy",
    "adc_saturated_fraction", "output_clipped_fraction", "wall_seconds",
)  # fmt: skip
"""Columns of rows, of the accuracy; all but the last (computing time) are the same on every run.
Other metrics have ``metric`` and ``value`` in place of ``correct`` and ``accuracy``."""


class Labelled(Protocol):
    """Images (N, ...) float32 and labels (N,) int64; for example a zoo ``ImageSet``."""

    images: Tensor
    labels: Tensor


def columns(metric: Metric) -> tuple[str, ...]:
    """Return the columns of rows of a metric."""
    if metric.bits and metric == metrics.ACCURACY:
        return COLUMNS
    other = {"correct": "metric", "accuracy": "value"}
    return tuple(other.get(name, name) for name in COLUMNS)


def trials(
    given: Inputs, specs: Mapping[str, ChipSpec], *, times: Iterable[float | str] = TIMES,
    methods: Iterable[str] = ("none", "gdc"), seeds: Iterable[int] = (0, 1, 2),
) -> Iterator[Trial]:  # fmt: skip
    """Yield the trials of some machines: all programmings of the first, then of the next.

    Parameters
    ----------
    given : Inputs
        Network, data and metric.
    specs : mapping from name to ChipSpec
        The machines.
    times : iterable of float (seconds) or str
        After programming.
    methods : iterable of str
        Drift compensations.
    seeds : iterable of int
        One programming each.

    Raises
    ------
    ValueError
        If a time is not possible, or one of the three is empty.
    """
    evaluation_times = tuple(dict.fromkeys(units.seconds(seconds) for seconds in times))
    chosen = tuple(_method(name) for name in dict.fromkeys(methods))
    seeds = list(dict.fromkeys(seeds))
    for name, each in (("times", evaluation_times), ("methods", chosen), ("seeds", seeds)):
        if not each:
            raise ValueError(f"{name} is empty; a drift study needs at least one")
    for name, spec in specs.items():
        setting = Setting(name, name, {}, spec)
        first = Trial(
            setting.name, setting.preset, {}, spec, None, seeds[0], evaluation_times, chosen, 0,
            given.network_id, given.data_id, identity.physics(), given.metric.identity(),
        )  # fmt: skip
        yield from (first.with_seed(seed) for seed in seeds)


def _method(name: str) -> StudyMethod:
    return cast(StudyMethod, arguments.choice(name, "compensation", get_args(StudyMethod)))


def table_of(
    given: Inputs, trial: Trial, threads: int | None = None, step: work.StepDone = work.quiet,
    device: str = "cpu",
) -> pd.DataFrame:  # fmt: skip
    """Run a trial in this process and return its rows.

    Parameters
    ----------
    given : Inputs
        Network, data and metric.
    trial : Trial
        From :func:`trials`.
    threads : int, optional
        Of torch and of the loops; default: as many as torch uses.
    step : callable, optional
        See :data:`.work.StepDone`.
    device : str
        Of torch, where images are run.

    Returns
    -------
    DataFrame
        Columns of :func:`aimc_sim.studies.results.load`, and ``preset`` and ``wall_seconds``.
    """
    work.install(given)
    found = work.execute(trial, threads or torch.get_num_threads(), step, device)
    seconds = found["seconds"]["rows"]
    record = {
        "identity": trial.id, "setting": trial.setting, "preset": trial.preset, "changes": {},
        "spec_id": trial.spec_id, "seed": trial.seed, "layers": None,
        "network": given.network_name, "network_id": trial.network_id[:16],
        "data": given.data_name, "data_id": trial.data_id[:16], "physics": trial.physics[:16],
        "aimc_sim": __version__, **found, "environment": "",
    }  # fmt: skip
    rows = pd.DataFrame(results.rows_of(record))
    return rows.assign(wall_seconds=[round(each, 3) for each in seconds])


def drift_rows(
    given: Inputs, specs: Mapping[str, ChipSpec], *, step: work.StepDone = work.quiet,
    device: str = "cpu", **wanted: Any,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield one row per machine, programming, time and compensation, trial by trial.

    Parameters
    ----------
    given : Inputs
        Network, data and metric.
    specs : mapping from name to ChipSpec
        The machines.
    step, device
        As in :func:`table_of`.
    **wanted
        times, methods and seeds of :func:`trials`.

    Yields
    ------
    dict
        With the keys :func:`columns`. Fractions count converted outputs.

    Raises
    ------
    ValueError
        If a time or method is not possible, or images do not fit or hold NaN.
    """
    for trial in trials(given, specs, **wanted):
        table = table_of(given, trial, step=step, device=device)
        yield from table[list(columns(given.metric))].to_dict("records")


def given_of(
    model: nn.Module | Callable[[], nn.Module], images: Labelled, calibration: Tensor,
    metric: str = "accuracy",
) -> Inputs:  # fmt: skip
    """Return network and data that a script holds as what trials run on.

    Parameters
    ----------
    model : nn.Module, or a callable that returns one
        The network.
    images : Labelled
        Images and labels that are scored.
    calibration : (B, ...) float32 tensor
        Images that set the integer ranges; not the ones that are scored.
    metric : str
        See :func:`aimc_sim.metrics.named`.
    """
    built = model if isinstance(model, nn.Module) else model()
    data = Data("images", images.images.numpy(), images.labels.numpy(), calibration.numpy())
    return inputs.joined(type(built).__name__, built, data, metrics.named(metric))


def drift_study(
    model: nn.Module | Callable[[], nn.Module], specs: Mapping[str, ChipSpec], images: Labelled,
    calibration: Tensor, **wanted: Any,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of :func:`drift_rows` for a network and machines.

    Each machine is mapped and calibrated once, and programmed once per seed.

    Parameters
    ----------
    model, images, calibration
        As in :func:`given_of`.
    specs : mapping from name to ChipSpec
        The machines.
    **wanted
        times, methods, seeds and step of :func:`drift_rows`.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`.
    """
    found = drift_rows(given_of(model, images, calibration), specs, **wanted)
    return pd.DataFrame(found, columns=list(COLUMNS))


def ideal_value(given: Inputs, trial: Trial) -> float:
    """Return the metric's value of a trial's machine if its devices were perfect.

    Placement and integer ranges do not depend on the devices: those of the trial are used.

    Parameters
    ----------
    given : Inputs
        Network, data and metric.
    trial : Trial
        From :func:`trials`.
    """
    work.install(given)
    chip = work.chip_of(trial)
    ideal = Chip(chip.compiled, presets.ideal_devices(trial.spec))
    ideal.ranges = chip.ranges
    outputs = inputs.first_output(ideal.program(0)(torch.from_numpy(given.images)))
    return float(given.metric.value(given.metric.scored(outputs.numpy(), given.targets)))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy and 95 % interval per (preset, compensation, time).

    Parameters
    ----------
    rows : DataFrame
        Columns preset, compensation, time_seconds, images, accuracy: one row per programming.

    Returns
    -------
    DataFrame
        Columns preset, compensation, time_seconds, programmings, images, mean, low, high,
        interval ("student-t" over programmings, or "wilson" over images where there is only
        one); presets and compensations in their order of appearance, times ascending.
    """
    found = []
    for (preset, method, seconds), group in rows.groupby(_PLACE, sort=True):
        images = int(group["images"].iloc[0])
        mean = intervals.mean_interval(group["accuracy"].tolist(), images)
        found.append(
            {
                "preset": preset, "compensation": method, "time_seconds": float(seconds),
                "programmings": len(group), "images": images, "mean": mean.mean, "low": mean.low,
                "high": mean.high, "interval": mean.method,
            }
        )  # fmt: skip
    return _in_order(pd.DataFrame(found), rows)


_PLACE = ["preset", "compensation", "time_seconds"]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`.statistics.summary` of rows of :func:`table_of`, by preset.

    Parameters
    ----------
    table : DataFrame
        Rows of all trials.

    Returns
    -------
    DataFrame
        As :func:`summarise`, for any metric.
    """
    found = statistics.summary(table).rename(columns={"setting": "preset"})
    kept = [*_PLACE, "programmings", "images", "mean", "low", "high", "interval"]
    return _in_order(found[kept], table)


def _in_order(found: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a summary with presets and compensations in the order of the rows."""
    order = [[*rows[key].unique()] for key in _PLACE[:2]]
    place = [
        (order[0].index(row.preset), order[1].index(row.compensation), row.time_seconds)
        for row in found.itertuples()
    ]
    return found.iloc[sorted(range(len(found)), key=place.__getitem__)].reset_index(drop=True)
