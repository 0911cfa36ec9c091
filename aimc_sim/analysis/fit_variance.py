"""Pulses: the programming curve, and the variance between devices and between cycles."""

from __future__ import annotations

import math

import numpy as np

from ..device.measured.traces import Traces
from ..rng import Key
from .fit_estimates import FEWEST_DEVICES, FEWEST_TRACES, Estimate, Law

_RESAMPLES = 200
_GROUPS = 50  # of devices that the jackknife leaves out, one after the other
_UNITS = {"pulse_amperes": "A", "pulse_volts": "V", "pulse_count": "pulses"}
_SEED = 0  # of the resampling: the same data give the same errors


def programming_curve(found: Traces) -> Law:
    """Return the median of log10 R after every pulse amplitude.

    The standard error is a bootstrap: over devices where there are several (whole devices are
    drawn, as the reads of one are alike), over traces of a single one.
    """
    name = "programming curve"
    if found.pulse is None:
        return Law(name, "no pulses; needs the amplitude or number of the programming pulse")
    assert found.pulse_column is not None  # pulses were read from it
    amplitudes = np.unique(found.pulse)
    if len(amplitudes) < 2:
        return Law(name, "one pulse amplitude; needs at least 2")
    positive = found.first_siemens > 0
    rows = []
    for i, amplitude in enumerate(amplitudes):
        here = (found.pulse == amplitude) & positive
        sample, device = -np.log10(found.first_siemens[here]), found.device[here]
        if len(sample) < FEWEST_TRACES:
            continue
        median, error = float(np.median(sample)), _median_error(sample, device, Key(_SEED, (i,)))
        unit, n = _UNITS[found.pulse_column], len(sample)
        rows.append(Estimate("median log10 R", float(amplitude), unit, median, error, "decades", n))
    if not rows:
        return Law(name, f"needs at least {FEWEST_TRACES} traces at an amplitude")
    several = len(np.unique(found.device)) >= FEWEST_DEVICES
    note = f"R in ohm; standard error: bootstrap over {'devices' if several else 'traces'}"
    return Law(name, "", tuple(rows), (note,))


def _median_error(sample: np.ndarray, device: np.ndarray, key: Key) -> float:
    rng = key.generator()
    ids, number = np.unique(device, return_inverse=True)
    if len(ids) < FEWEST_DEVICES:
        return float(np.median(rng.choice(sample, (_RESAMPLES, len(sample))), axis=1).std(ddof=1))
    order = np.argsort(sample)
    sample, number = sample[order], number[order]
    drawn = rng.integers(len(ids), size=(_RESAMPLES, len(ids)))
    times = np.stack([np.bincount(row, minlength=len(ids)) for row in drawn])
    cumulated = np.cumsum(times[:, number], axis=1)  # weighted medians, one per resampling
    middle = (cumulated >= cumulated[:, -1:] / 2).argmax(axis=1)
    return float(sample[middle].std(ddof=1))


def variance_split(found: Traces) -> Law:
    """Split the variance of log10 R at fixed condition between devices and cycles.

    Per condition (target and pulse) the cycles' part is the mean variance within a device, the
    devices' part the variance of the devices' means less the part of the cycles in a mean; both
    are averaged over conditions. Standard errors: jackknife over devices.
    """
    name = "variance split"
    positive = found.first_siemens > 0
    device, condition = found.device[positive], found.condition[positive]
    log_r = -np.log10(found.first_siemens[positive])
    cells = np.unique(np.stack([condition, device]), axis=1, return_inverse=True)
    (cell_condition, cell_device), cell = cells[0], cells[1].ravel()
    n = np.bincount(cell)
    mean = np.bincount(cell, log_r) / n
    squares = np.bincount(cell, (log_r - mean[cell]) ** 2)
    use = n >= 2
    devices, number = np.unique(cell_device[use], return_inverse=True)
    if not use.any():
        return Law(name, "no repeats; needs 2 or more cycles of a device at the same condition")
    table = (n[use], mean[use], squares[use], cell_condition[use], number)
    if len(devices) < FEWEST_DEVICES:
        return Law(
            name, f"{len(devices)} device(s) with repeats; needs at least {FEWEST_DEVICES}",
            _cycle_estimate(table),
        )  # fmt: skip
    full = _split(table, np.ones(len(devices), bool))
    if full is None:
        return Law(
            name, f"no condition was repeated on {FEWEST_DEVICES} or more devices; needs one",
            _cycle_estimate(table),
        )  # fmt: skip
    groups = min(len(devices), _GROUPS)
    leave = [_split(table, np.arange(len(devices)) % groups != i) for i in range(groups)]
    left = np.array([value for value in leave if value is not None])
    m = len(left)
    error = np.sqrt((m - 1) / m * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    traces = int(n[use].sum())
    rows = [
        Estimate(quantity, math.nan, "", float(full[i]), float(error[i]), unit, traces)
        for i, (quantity, unit) in enumerate(
            (
                ("sd between devices", "decades"),
                ("sd between cycles", "decades"),
                ("share between devices", "1"),
            )
        )
    ]
    note = f"log10 R of the first read; {len(devices)} devices; standard error: jackknife over them"
    return Law(name, "", tuple(rows), (note,))


def _split(table: tuple[np.ndarray, ...], keep: np.ndarray) -> tuple[float, float, float] | None:
    """Return sd between devices, sd between cycles and the share of the former."""
    n, mean, squares, condition, number = table
    use = keep[number]
    between, within = [], []
    for value in np.unique(condition[use]):
        here = use & (condition == value)
        if here.sum() < 2:
            continue
        variances = squares[here] / (n[here] - 1)
        within.append(variances.mean())
        between.append(mean[here].var(ddof=1) - (variances / n[here]).mean())
    if not between:
        return None
    b, w = max(0.0, float(np.mean(between))), float(np.mean(within))
    return math.sqrt(b), math.sqrt(w), b / (b + w) if b + w > 0 else math.nan


def _cycle_estimate(table: tuple[np.ndarray, ...]) -> tuple[Estimate, ...]:
    """Return the standard deviation between cycles, which needs one device only."""
    n, _, squares, _, _ = table
    freedom = int((n - 1).sum())
    std = math.sqrt(float(squares.sum()) / freedom)
    error = std / math.sqrt(2 * freedom)
    traces_used = int(n.sum())
    return (Estimate("sd between cycles", math.nan, "", std, error, "decades", traces_used),)
