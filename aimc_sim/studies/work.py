"""The work of a worker: one trial, from specification to rows.

A process keeps its study's inputs and the last few calibrated chips; a trial never depends on
which trials the process ran before. Trials of one process run one after the other, each with the
number of threads it is given; no number of threads changes a result: everything before the
images runs on one thread, and images are addressed one by one.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import mapping
from ..kernels import threads as kernel_threads
from ..runtime import probe
from ..runtime.chip import Chip
from . import identity
from .inputs import Inputs, first_output, inputs_id
from .records import packed
from .schema import StudyMethod
from .trial import Trial

CHIPS = 4
"""Calibrated chips that a process keeps."""


class VersionMismatch(RuntimeError):
    """A worker and its client do not compute with the same code."""


@dataclass(frozen=True)
class _Ready:
    chip: Chip
    ideal: Chip | None  # perfect devices, if something is compared with them
    reference: dict[str, np.ndarray]  # what its layers give


StepDone = Callable[[int], Any]
"""Called with the number of images that were run since the last call."""


def quiet(images: int) -> None:
    """Take no note of progress."""


_inputs: dict[str, Inputs] = {}
_chips: OrderedDict[tuple[Any, ...], _Ready] = OrderedDict()
_one_at_a_time = threading.Lock()


def install(inputs: Inputs) -> None:
    """Give this process the network and the images of a study."""
    _inputs[inputs.id] = inputs


def execute(
    trial: Trial, threads: int = 1, step: StepDone = quiet, device: str = "cpu"
) -> dict[str, Any]:
    """Run a trial; its network and images must be installed.

    Parameters
    ----------
    trial : Trial
        Its network and images are installed.
    threads : int
        Of torch and of the loops.
    step : callable, optional
        See :data:`StepDone`.
    device : str
        Of torch, where images are run. Other devices than "cpu" round otherwise: their results
        are none of a stored study.

    Returns
    -------
    dict
        JSON values: ``layer_names``; ``rows``, one per time and compensation, with
        ``time_seconds``, ``compensation``, ``images``, the scores (see :func:`.records.packed`),
        ``conversions``, ``adc_saturated``, ``output_clipped``, ``sqnr_db`` (one per layer name,
        None if there is no error); ``metric`` unless it is the accuracy; and what differs from
        run to run: ``seconds``, ``peak_bytes``, ``environment``.

    Raises
    ------
    VersionMismatch
        If this process has other code than the trial was made for.
    ValueError
        If the network does not fit the machine or the images.
    """
    if trial.physics != identity.physics():
        raise VersionMismatch(
            f"this worker computes with another aimc_sim than the client (physics "
            f"{identity.physics()[:12]} against {trial.physics[:12]}); install the same release "
            "everywhere"
        )
    with _one_at_a_time, _threads(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clipped fractions are columns of the table
        began = time.perf_counter()
        ready = _ready(trial)
        prepared = time.perf_counter()
        rows, each = [], []
        for row, seconds in _rows(trial, ready, step, device):
            rows.append(row)
            each.append(round(seconds, 4))
        done = time.perf_counter()
    names = [layer.name for layer in ready.chip.compiled.layers] if trial.probe_images else []
    metric = _of(trial).metric
    return {
        "layer_names": names,
        **({} if trial.metric is None else {"metric": metric.described()}),
        "rows": rows,
        "seconds": {
            "prepare": round(prepared - began, 4), "run": round(done - prepared, 4), "rows": each,
        },
        "peak_bytes": _peak_bytes(),
        "environment": identity.environment(),
    }  # fmt: skip


def chip_of(trial: Trial) -> Chip:
    """Return the chip that a trial of this process ran on, at its last time and compensation.

    Parameters
    ----------
    trial : Trial
        The last one of its setting; trials of other settings do not move its chip.
    """
    return _ready(trial).chip


def _rows(
    trial: Trial, ready: _Ready, step: StepDone, device: str
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield every row and the seconds that its images took."""
    inputs, chip = _of(trial), ready.chip.to(device)
    images = torch.from_numpy(inputs.images)
    chip.program(trial.seed)
    for t_seconds in trial.times:
        plain: dict[str, Any] = {}
        for method in trial.compensations:
            if plain and t_seconds == 0 and method != "adabs":
                # Compensation compares with the reads at time 0: here its factors are 1.
                chip.compensate(method)
                step(len(images))
                yield {**plain, "compensation": method}, 0.0
                continue
            compensate(chip.at(t_seconds), method, inputs.calibration)
            runs: Any = chip
            if trial.layers is not None:
                assert ready.ideal is not None  # a trial of some layers has one
                runs = probe.Mixed(chip, ready.ideal, trial.layers)
            began, before = time.perf_counter(), _counts(runs)
            outputs = first_output(runs(images)).cpu().numpy()
            scores = inputs.metric.scored(outputs, inputs.targets)
            conversions, saturated, clipped = (_counts(runs) - before).tolist()
            seconds = time.perf_counter() - began
            step(len(images))
            row = {
                "time_seconds": t_seconds,
                "compensation": method,
                "images": len(images),
                **packed(scores),
                "conversions": conversions,
                "adc_saturated": saturated,
                "output_clipped": clipped,
                "sqnr_db": _layer_errors(trial, ready, runs, images),
            }
            plain = plain if method == "adabs" else row
            yield row, seconds


def compensate(chip: Chip, method: StudyMethod, calibration: np.ndarray) -> None:
    """Set a chip's compensation at its time, AdaBS included.

    Parameters
    ----------
    chip : Chip
        At its time.
    method : "none", "gdc", "column", "gdc-signs", "ls" or "adabs"
        "adabs": one factor per core, then batch norm measured on the calibration images (V. Joshi
        et al., Nature Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9).
    calibration : (N, ...) float32 array
        Images for AdaBS.
    """
    chip.compensate("gdc" if method == "adabs" else method)
    chip.adapt_batch_norm(calibration if method == "adabs" else None)


def sqnr_db(reference: np.ndarray, values: np.ndarray) -> float | None:
    """Return the ratio of signal to error in dB; None if there is no error or no signal.

    ``10 log10(sum r^2 / sum (v - r)^2)`` over all entries, in float64, on one thread.

    Parameters
    ----------
    reference, values : arrays of the same shape
        Right and present outputs.
    """
    r = reference.astype(np.float64)
    error = float(np.square(values - r).sum())
    signal = float(np.square(r).sum())
    return None if error == 0 or signal == 0 else round(10 * float(np.log10(signal / error)), 9)


def _layer_errors(trial: Trial, ready: _Ready, runs: Any, images: Tensor) -> list[float | None]:
    if not trial.probe_images:
        return []
    x = images[: trial.probe_images]
    with _torch_threads(1):
        seen = runs.layer_outputs(x) if trial.layers is not None else probe.layer_outputs(runs, x)
    return [sqnr_db(reference, seen[name]) for name, reference in ready.reference.items()]


def _ready(trial: Trial) -> _Ready:
    """Return the calibrated chip of a trial's setting, made or kept."""
    needs = trial.probe_images > 0 or trial.layers is not None
    key = (trial.spec.id_text(), trial.network_id, trial.data_id, needs, trial.probe_images)
    if key in _chips:
        _chips.move_to_end(key)
        return _chips[key]
    inputs = _of(trial)
    with _torch_threads(1):
        chip = Chip(mapping.compile_network(inputs.network, trial.spec), trial.spec)
        for network in inputs.others:
            chip.variants.add(network)
        try:
            chip.calibrate(torch.from_numpy(inputs.calibration))
        except RuntimeError as error:
            raise ValueError(
                f"the network cannot run {inputs.data_name}: {' '.join(str(error).split())}"
            ) from error
        ideal, reference = None, {}
        if needs:
            ideal = Chip(chip.compiled, trial.reference_spec)
            ideal.variants.others = chip.variants.others
            ideal.ranges = chip.ranges
            ideal.program(0)
            if trial.probe_images:
                x = torch.from_numpy(inputs.images[: trial.probe_images])
                reference = probe.layer_outputs(ideal, x)
    _chips[key] = _Ready(chip, ideal, reference)
    if len(_chips) > CHIPS:
        _chips.popitem(last=False)
    return _chips[key]


def _of(trial: Trial) -> Inputs:
    key = inputs_id(trial.network_id, trial.data_id, trial.metric)
    if key not in _inputs:
        raise RuntimeError("the network and images of this study are not on this worker")
    return _inputs[key]


def _counts(network: Chip | probe.Mixed) -> np.ndarray:
    """Return (3,) counts so far: conversions, saturated at the ADC, clipped at the output."""
    fields = ("conversions", "adc_saturated", "output_clipped")
    tally = network.counts.values()
    return np.array([sum(getattr(c, f) for c in tally) for f in fields], np.int64)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = kernel_threads.get_threads()
    kernel_threads.set_threads(n)
    try:
        with _torch_threads(n):
            yield
    finally:
        kernel_threads.set_threads(before)


@contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _peak_bytes() -> int | None:
    """Return the most memory that this process ever held; None where the system does not count."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
