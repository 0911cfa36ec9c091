"""Weights on the devices: mean and standard deviation against state and age, as tables.

States are ``|w| / w_max`` and all values are in units of w_max. Statistical laws have closed
forms (a product of independent factors: programmed conductance, drift, 1/f noise); every other
scheme (pulses, gradient, measured traces, stuck cells, heat) is measured once, by programming
whole crossbars with the simulator itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aimc_sim.core import programming, tile, weights
from aimc_sim.device import family
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import CoreSpec
from aimc_sim.spec.family import READ_NOISE

_NODES = 257
"""States of a table, evenly spaced from 0 to 1."""
_AGES = 33
"""Ages of a table with drift, evenly spaced over ln(t + t0)."""
_MEASURED_LEVELS = 33
"""States at which a table is measured, beside one close to zero."""
_MEASURED_BLOCKS = 4
"""Crossbars behind a measured table; about 2,000 cells per level each, if it is 256 x 256."""
SMALL = 1e-5
"""State of the table's first node: exactly zero is another case, nothing is programmed there."""


@dataclass(frozen=True)
class WeightLaw:
    """The law of effective weights, in units of the weight that is mapped to g_max.

    Attributes
    ----------
    clock : (T,) float64
        ln(t + t0) of each row, t in seconds.
    mean, std : (T, K) float32
        Mean and standard deviation against the state, without compensation.
    zero_std : (T,) float32
        Standard deviation of a weight that is exactly zero.
    fresh : (K,) float32
        Mean right after programming, the reference of drift compensation.
    """

    clock: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    zero_std: np.ndarray
    fresh: np.ndarray

    def __deepcopy__(self, memo: dict[int, object]) -> WeightLaw:
        """Share: nothing changes a law."""
        return self

    def at(self, clock: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the law at one age.

        Parameters
        ----------
        clock : float
            ln(t + t0), t in seconds.

        Returns
        -------
        mean, std : (K,) float32
            Mean and standard deviation against the state.
        zero_std : float
            Standard deviation of a weight that is exactly zero.
        """
        if len(self.clock) == 1:
            return self.mean[0], self.std[0], float(self.zero_std[0])
        place = np.interp(clock, self.clock, np.arange(len(self.clock)))
        low = min(int(place), len(self.clock) - 2)
        part = np.float32(place - low)
        mean, std, zero = (
            row[low] + part * (row[low + 1] - row[low])
            for row in (self.mean, self.std, self.zero_std)
        )
        return mean, std, float(zero)


@lru_cache(maxsize=32)
def weight_law(
    core: CoreSpec, drift_seconds: tuple[float, float] | None = None, read_noise: bool = True
) -> WeightLaw:
    """Return the law of a core's devices, right after programming or between two ages.

    Parameters
    ----------
    core : CoreSpec
        Devices and size of a crossbar.
    drift_seconds : (float, float), seconds, optional
        Smallest and largest time since programming; None: right after it.
    read_noise : bool
        Whether the standard deviation includes the 1/f noise (its slow and its fresh part
        together).

    Returns
    -------
    WeightLaw
        Tables against state and age.

    Notes
    -----
    The clip at zero conductance is part of the closed form. Not in any table: IR drop,
    polarity-dependent conduction and the variation of converters, which are no property of a
    device.
    """
    if core.encoding.kind in ("offset-column", "bit-slices"):
        raise ValueError(
            f"core.encoding.kind = '{core.encoding.kind}': training has the law of differential "
            "cells only; train with weight_noise = 'gaussian' or 'none', or with another encoding"
        )
    device = core.device
    if not read_noise:
        device = device.without(READ_NOISE)
    core = core.with_(device=device)
    times = np.zeros(1)
    if drift_seconds is not None:
        low, high = np.log(np.asarray(drift_seconds) + device.t0_seconds)
        times = np.exp(np.linspace(low, high, _AGES)) - device.t0_seconds
        if low == high:
            times = times[:1]
    ages = np.concatenate([[0.0], times])
    found = _closed_form(core, ages)
    if found is None:
        found = _measured(core, ages)
    mean, std, zero = (rows.astype(np.float32) for rows in found)
    return WeightLaw(np.log(times + device.t0_seconds), mean[1:], std[1:], zero[1:], mean[0])


# ---------------------------------------------------------------------------- closed form


def _closed_form(core: CoreSpec, times: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """Return mean (T, K), standard deviation (T, K) and that of a zero weight (T,) of elements.

    None if the family has no closed form for these devices.
    """
    device, laws = core.device, family.of(core.device)
    states = np.linspace(0, 1, _NODES)
    states[0] = SMALL
    block = np.append(states, 0.0)[:, None]
    targets = weights.to_targets(block, core)
    elements, programmed = laws.allocate(targets.request, device)
    half, unit = len(elements) // 2, 1 / targets.siemens_per_weight[0]
    means, stds = [], []
    for t in times:
        found = laws.moments(elements[:, :, 0].astype(float), programmed[:, :, 0], device, float(t))
        if found is None:
            return None
        first, second = found
        means.append((first[:half].sum(0) - first[half:].sum(0)) * unit)
        stds.append(np.sqrt(np.maximum(0, second - first**2).sum(0)) * unit)
    mean, std = np.array(means), np.array(stds)
    return mean[:, :-1], std[:, :-1], std[:, -1]


# ------------------------------------------------------------------------------- measured


def levels() -> np.ndarray:
    """Return the states at which a table is measured: zero, one close to it, evenly spaced ones.

    Returns
    -------
    (levels,) float64
        States, rising from 0 to 1.
    """
    return np.concatenate([[0.0, 0.01], np.linspace(0, 1, _MEASURED_LEVELS)[1:]])


def _measured(core: CoreSpec, times: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the results of :func:`_closed_form` from crossbars that the simulator programs."""
    states = levels()
    sums = np.zeros((3, len(times), len(states)))
    counts = np.zeros(len(states))
    for block in range(_MEASURED_BLOCKS):
        key = Key(block).child(Purpose.TRAINING)
        draw = key.generator()
        level = draw.integers(0, len(states), (core.rows, core.cols))
        level[draw.integers(0, core.rows, core.cols), np.arange(core.cols)] = len(states) - 1
        sign = np.where(draw.random(level.shape) < 0.5, -1.0, 1.0)
        state = programming.program(states[level] * sign, core, key)
        counts += np.bincount(level.ravel(), minlength=len(states))
        for i, t in enumerate(times):
            now = tile.elements_at(state, core, t, key)
            net = sign * weights.net(now.g.astype(float), core) / state.siemens_per_weight
            fresh = np.zeros_like(net)
            if now.fresh is not None:
                fresh = (now.fresh.astype(float) ** 2).sum(0) / state.siemens_per_weight**2
            for k, value in enumerate((net, net**2, fresh)):
                sums[k, i] += np.bincount(level.ravel(), value.ravel(), len(states))
    mean, square, fresh = sums / counts
    std = np.sqrt(np.maximum(0, square - mean**2) + fresh)
    grid = np.linspace(0, 1, _NODES)
    table = [
        np.array([np.interp(grid, states[1:], row[1:]) for row in rows]) for rows in (mean, std)
    ]
    # Below the first level the mean goes to zero with the state, the standard deviation stays.
    below = grid < states[1]
    table[0][:, below] = mean[:, 1:2] * grid[below] / states[1]
    return *table, std[:, 0]
