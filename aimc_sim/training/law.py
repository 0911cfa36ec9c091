"""Weights on the devices: mean and standard deviation against state and age, as tables.

States are ``|w| / w_max`` and all values are in units of w_max; cells around a reference column
have signed states, integer weights in slices one state each. Statistical laws have closed
forms (a product of independent factors: programmed conductance, drift, 1/f noise); every other
scheme (pulses, gradient, measured traces, stuck cells, heat) is measured once, by programming
whole crossbars with the simulator itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aimc_sim.core import encodings, programming, tile, weights
from aimc_sim.core.encodings.slices import Slices
from aimc_sim.device import family
from aimc_sim.device.request import net_of
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import (
    BitSlicesEncoding,
    CoreSpec,
    DifferentialEncoding,
    OffsetColumnEncoding,
)
from aimc_sim.spec.family import READ_NOISE

_NODES = 257
"""States of a table, evenly spaced from 0 to 1."""
_AGES = 33
"""Ages of a table with drift, evenly spaced over ln(t + t0)."""
_MEASURED_LEVELS = 33
"""States at which a table is measured, beside one close to zero."""
_MEASURED_BLOCKS = 4
"""Crossbars behind a measured table; about 2,000 cells per level each, if it is 256 x 256."""
_MOST_BITS = 16
"""Of integer weights with a table: 32,768 states."""
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
        Mean and standard deviation against the state, without compensation. States run evenly from
        0 to 1, or from -1 to 1 where the law is signed.
    zero_std : (T,) float32
        Standard deviation of a weight that is exactly zero.
    fresh : (K,) float32
        Mean right after programming, the reference of drift compensation.
    shared_std : (T,) float32 or None
        Standard deviation that all outputs of a crossbar have in common, row by row: that of its
        reference column. ``std`` is without it, and the law is signed.
    rounds : bool
        Whether weights become the nearest state: states are integers then.
    """

    clock: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    zero_std: np.ndarray
    fresh: np.ndarray
    shared_std: np.ndarray | None = None
    rounds: bool = False

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
        mean, std = self._between(clock, self.mean), self._between(clock, self.std)
        return mean, std, float(self._between(clock, self.zero_std))

    def shared(self, clock: float) -> float | None:
        """Return the deviation that outputs have in common at ln(t + t0), None if there is none."""
        return None if self.shared_std is None else float(self._between(clock, self.shared_std))

    def _between(self, clock: float, rows: np.ndarray) -> np.ndarray:
        """Return rows of a table, linear in ln(t + t0)."""
        found: np.ndarray = rows[0]
        if len(self.clock) == 1:
            return found
        place = np.interp(clock, self.clock, np.arange(len(self.clock)))
        low = min(int(place), len(self.clock) - 2)
        part = np.float32(place - low)
        found = rows[low] + part * (rows[low + 1] - rows[low])
        return found


@lru_cache(maxsize=32)
def weight_law(
    core: CoreSpec, drift_seconds: tuple[float, float] | None = None, read_noise: bool = True
) -> WeightLaw:
    """Return the law of a core's devices, right after programming or between two ages.

    Parameters
    ----------
    core : CoreSpec
        Devices, size of a crossbar, and encoding of weights.
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
    found = _of_encoding(core, np.concatenate([[0.0], times]))
    mean, std, zero = (rows.astype(np.float32) for rows in (found.mean, found.std, found.zero))
    shared = None if found.shared is None else found.shared.astype(np.float32)[1:]
    return WeightLaw(
        np.log(times + device.t0_seconds), mean[1:], std[1:], zero[1:], mean[0], shared,
        isinstance(core.encoding, BitSlicesEncoding),
    )  # fmt: skip


@dataclass(frozen=True)
class _Law:
    """Columns of :class:`WeightLaw` in float64: (T, K), (T, K), (T,), (T,) or None."""

    mean: np.ndarray
    std: np.ndarray
    zero: np.ndarray
    shared: np.ndarray | None = None


def _of_encoding(core: CoreSpec, times: np.ndarray) -> _Law:
    """Return the law of weights under a core's encoding."""
    if isinstance(core.encoding, BitSlicesEncoding):
        return _in_slices(core.encoding, core, times)
    offset = isinstance(core.encoding, OffsetColumnEncoding)
    grid = _grid(offset)
    found = _closed_form(core, times, grid) or _measured(core, times, grid)
    if not offset:
        return found
    # The reference is a cell of weight zero; each cell is known by itself.
    middle = (len(grid) - 1) // 2
    mean = found.mean - found.mean[:, middle : middle + 1]
    return _Law(mean, found.std, found.std[:, middle], found.std[:, middle])


def _in_slices(encoding: BitSlicesEncoding, core: CoreSpec, times: np.ndarray) -> _Law:
    """Return the law of integers, from that of the cells that hold their digits."""
    if encoding.weight_bits > _MOST_BITS:
        raise ValueError(
            f"core.encoding.weight_bits = {encoding.weight_bits}: training keeps a table of all "
            f"integer weights, of at most {_MOST_BITS} bits; use fewer bits, or weight_noise = "
            "'gaussian'"
        )
    cells = core.with_({"encoding": DifferentialEncoding()})
    top = 2**encoding.bits_per_cell - 1
    states = np.arange(top + 1) / top
    own = _closed_form(cells, times, states)
    if own is None:
        grid = _grid(False)
        table = _measured(cells, times, grid)
        at = [[np.interp(states, grid, row) for row in rows] for rows in (table.mean, table.std)]
        own = _Law(np.array(at[0]), np.array(at[1]), table.zero)
    mean, std = own.mean.copy(), own.std.copy()
    mean[:, 0], std[:, 0] = 0.0, own.zero  # a digit of zero is a cell without a weight
    slices = Slices(encoding)
    digits = slices.digits(np.arange(encoding.largest + 1))
    # Of a digit's cell in units of the largest weight: d / top stands for d of the slice's place.
    units = [
        top * 2.0 ** (encoding.bits_per_cell * s) / encoding.largest for s in range(len(digits))
    ]
    first = sum(unit * mean[:, digit] for unit, digit in zip(units, digits, strict=True))
    second = sum((unit * std[:, digit]) ** 2 for unit, digit in zip(units, digits, strict=True))
    spread = np.sqrt(second)
    return _Law(first, spread, spread[:, 0])


def _grid(signed: bool) -> np.ndarray:
    """Return the states of a table."""
    return np.linspace(-1, 1, 2 * _NODES - 1) if signed else np.linspace(0, 1, _NODES)


# ---------------------------------------------------------------------------- closed form


def _closed_form(core: CoreSpec, times: np.ndarray, grid: np.ndarray) -> _Law | None:
    """Return the law of cells at states, from the closed form of their elements.

    Of the cells of the outputs alone: a reference column is left out. None if the family has no
    closed form for these devices.
    """
    device, laws = core.device, family.of(core.device)
    encoding = encodings.of(core)
    states = grid.copy()
    if states[0] == 0:
        states[0] = SMALL
    block = np.append(states, 0.0)[:, None]
    targets = weights.to_targets(block, core)
    elements, programmed = laws.allocate(targets.request, device)
    unit = 1 / targets.siemens_per_weight[0]
    means, stds = [], []
    for t in times:
        found = laws.moments(elements[:, :, 0].astype(float), programmed[:, :, 0], device, float(t))
        if found is None:
            return None
        first, second = found
        means.append(net_of(first, encoding.polarities) * unit)
        stds.append(np.sqrt(np.maximum(0, second - first**2).sum(0)) * unit)
    mean, std = np.array(means), np.array(stds)
    return _Law(mean[:, :-1], std[:, :-1], std[:, -1])


# ------------------------------------------------------------------------------- measured


def levels() -> np.ndarray:
    """Return the states at which a table is measured: zero, one close to it, evenly spaced ones.

    Returns
    -------
    (levels,) float64
        States, rising from 0 to 1.
    """
    return np.concatenate([[0.0, 0.01], np.linspace(0, 1, _MEASURED_LEVELS)[1:]])


def _measured(core: CoreSpec, times: np.ndarray, grid: np.ndarray) -> _Law:
    """Return the same from crossbars that the simulator programs and reads out at every time."""
    signed, encoding = grid[0] < 0, encodings.of(core)
    states = np.linspace(-1, 1, 2 * _MEASURED_LEVELS - 1) if signed else levels()
    columns = encoding.capacity(core.cols)
    sums = np.zeros((3, len(times), len(states)))
    counts = np.zeros(len(states))
    for block in range(_MEASURED_BLOCKS):
        key = Key(block).child(Purpose.TRAINING)
        draw = key.generator()
        level = draw.integers(0, len(states), (core.rows, columns))
        level[draw.integers(0, core.rows, columns), np.arange(columns)] = len(states) - 1
        sign = np.where(draw.random(level.shape) < 0.5, -1.0, 1.0)
        if signed:
            sign = np.ones_like(sign)
        state = programming.program(states[level] * sign, core, key)
        counts += np.bincount(level.ravel(), minlength=len(states))
        for i, t in enumerate(times):
            now = tile.elements_at(state, core, t, key)
            net = net_of(now.g.astype(float), encoding.polarities)[:, :columns]
            net = sign * net / state.siemens_per_weight
            fresh = np.zeros_like(net)
            if now.fresh is not None:
                fresh = (now.fresh[..., :columns].astype(float) ** 2).sum(0)
                fresh = fresh / state.siemens_per_weight**2
            for k, value in enumerate((net, net**2, fresh)):
                sums[k, i] += np.bincount(level.ravel(), value.ravel(), len(states))
    mean, square, fresh = sums / counts
    std = np.sqrt(np.maximum(0, square - mean**2) + fresh)
    first = 0 if signed else 1
    means, stds = (
        np.array([np.interp(grid, states[first:], row[first:]) for row in rows])
        for rows in (mean, std)
    )
    if signed:
        return _Law(means, stds, std[:, (len(states) - 1) // 2])
    # Below the first level the mean goes to zero with the state, the deviation stays.
    below = grid < states[1]
    means[:, below] = mean[:, 1:2] * grid[below] / states[1]
    return _Law(means, stds, std[:, 0])
