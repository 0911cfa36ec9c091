"""Devices that pulses move step by step: states, pulses, trains of pulses, writing in a loop.

The counterpart of :mod:`.pulses` for the specification :class:`~aimc_sim.spec.StepSpec`. A state
holds arrays only and the constants of its devices, which follow from specification and key; all
randomness is addressed by (key, device, number of the pulse in the life of the device), so that
order, splits and threads change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..kernels import steps as kernels
from ..rng import Key, Purpose
from ..spec import ExponentialStep, LinearStep, SoftBounds, StepSpec


@dataclass(frozen=True)
class StepState:
    """Devices after some pulses. Arrays are flat; one that no law needs has one element.

    Attributes
    ----------
    spec : StepSpec
        Kind of the devices.
    key : Key
        Of their draws.
    first : int
        Address of the first device; the others follow.
    p : (n,) float32, dimensionless
        State, as steps count on it: a weight without its reference.
    shown : (n,) or (1,) float32, dimensionless
        State with write noise, which reads find.
    events : (n,) uint32
        Pulses in the life of a device, RESET included.
    last : (n,) or (1,) float64, seconds
        Time of the last pulse, where charge leaks.
    table : (n, 8) or (1, 8) float32
        Constants, see :mod:`aimc_sim.kernels.steps`; one row if all devices are alike.
    rates : (n,) or (1,) float32, 1/s
        Rates of leakage.
    """

    spec: StepSpec
    key: Key
    first: int
    p: np.ndarray
    shown: np.ndarray
    events: np.ndarray
    last: np.ndarray
    table: np.ndarray
    rates: np.ndarray

    def arguments(self) -> tuple[np.ndarray | int, ...]:
        """Return what the kernels take: law, first, key words, table and arrays."""
        return (law_of(self.spec), self.first, self.words(Purpose.LEARNING_CYCLE), self.table,
                self.p, self.shown, self.events, self.last, self.rates)  # fmt: skip

    def words(self, purpose: Purpose) -> np.ndarray:
        """Return the key words of a purpose."""
        return np.array(self.key.child(purpose).words())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays that pulses change, by name."""
        return {name: getattr(self, name).copy() for name in ("p", "shown", "events", "last")}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the arrays of :meth:`arrays` over, bit for bit.

        Raises
        ------
        ValueError
            If an array has another shape: it belongs to other devices.
        """
        for name in ("p", "shown", "events", "last"):
            own, new = getattr(self, name), np.asarray(arrays[name])
            if new.shape != own.shape or new.dtype != own.dtype:
                raise ValueError(
                    f"'{name}' has shape {new.shape} and type {new.dtype}; wanted {own.shape} and "
                    f"{own.dtype}: the state was kept with other devices"
                )
            own[...] = new


def law_of(spec: StepSpec) -> np.ndarray:
    """Return the law of single pulses as the kernels take it."""
    law, shape, noise = np.zeros(kernels.LAW), spec.shape, spec.cycle
    if isinstance(shape, ExponentialStep):
        law[:6] = (
            kernels.EXPONENTIAL, shape.b, shape.rate_up, shape.rate_down, shape.factor_up,
            shape.factor_down,
        )  # fmt: skip
    if noise is not None:
        law[6:10] = np.array([noise.step, noise.scale, noise.offset, noise.state]) * noise.std
    law[10] = spec.write_noise * spec.step
    law[11] = 0.0 if spec.reset is None else spec.reset.cycle_std
    law[12] = spec.directions == "up"
    return law


def _nominal(spec: StepSpec) -> np.ndarray:
    """Return the numbers that constants are drawn from, see the kernel ``constants``."""
    varied, shape, found = spec.variation, spec.shape, np.zeros(kernels.NOMINAL)
    found[:4] = (*spec.scales, spec.lower, spec.upper)
    found[8] = spec.step
    if varied is not None:
        found[4:8] = varied.step_std, varied.up_down_std, varied.lower_std, varied.upper_std
        found[9] = varied.step_law == "lognormal"
        found[21:23] = varied.dead_fraction, varied.dead_range
    if isinstance(shape, ExponentialStep):
        found[10], found[15] = kernels.EXPONENTIAL, 2 * shape.a
    elif isinstance(shape, LinearStep):
        found[11:15] = (
            shape.decrease_up, shape.decrease_down, shape.device_std_up, shape.device_std_down
        )  # fmt: skip
    elif isinstance(shape, SoftBounds):
        found[11:13], found[15] = 1.0, 1.0
        found[16:19] = shape.reference_mean, shape.reference_std, shape.subtract_symmetry_point
    if spec.reset is not None:
        found[19:21] = spec.reset.mean, spec.reset.device_std
    return found


def _alike(spec: StepSpec) -> bool:
    """Return whether all devices have the same constants."""
    shape, spread = spec.shape, 0.0
    if isinstance(shape, LinearStep):
        spread = shape.device_std_up + shape.device_std_down
    elif isinstance(shape, SoftBounds):
        spread = shape.reference_std
    if spec.reset is not None:
        spread += spec.reset.device_std
    return spec.variation is None and spread == 0


def nominal_device(spec: StepSpec) -> StepSpec:
    """Return the device that all of a kind are on average: no variation and no noise of pulses."""
    changes: dict[str, object] = {
        "variation": None, "cycle": None, "write_noise": 0.0, "read_noise": 0.0, "leak": None,
    }  # fmt: skip
    if isinstance(spec.shape, LinearStep):
        changes |= {"shape.device_std_up": 0.0, "shape.device_std_down": 0.0}
    elif isinstance(spec.shape, SoftBounds):
        changes["shape.reference_std"] = 0.0
    if spec.reset is not None:
        changes |= {"reset.device_std": 0.0, "reset.cycle_std": 0.0}
    return spec.with_(changes)


def mean_steps(spec: StepSpec, states: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean steps of the nominal device, both as positive numbers.

    Parameters
    ----------
    spec : StepSpec
    states : float, or float array of any shape, dimensionless
        States before the pulse.

    Returns
    -------
    up, down : float64 arrays of the states' shape, dimensionless
        ``down`` is zero for devices that go up only.
    """
    states = np.asarray(states, float)
    table = fresh(1, nominal_device(spec), Key(0)).table
    law = law_of(spec)
    up, down = (
        np.array([kernels.change(p, way, *kernels.device(0, way, table)[:2], law)
                  for p in states.ravel()])
        for way in (True, False)
    )  # fmt: skip
    if spec.directions == "up":
        down[:] = 0.0
    return up.reshape(states.shape), down.reshape(states.shape)


def fresh(
    n: int, spec: StepSpec, key: Key, first: int = 0, t_seconds: float = 0.0
) -> StepState:  # fmt: skip
    """Return devices before their first pulse, all at the weight zero or at their RESET bias.

    Parameters
    ----------
    n : int
        Devices.
    spec : StepSpec
    key : Key
        One key is one array of devices.
    first : int
        Address of the first device, for parts of a larger array.
    t_seconds : float, seconds
        Start of the clock of leakage.

    Returns
    -------
    StepState
        Devices of both directions at their reference, the others at the bias of their RESET,
        both inside the bounds.
    """
    words = np.array(key.child(Purpose.LEARNING_DEVICE).words())
    table = np.empty((1 if _alike(spec) else n, 8), np.float32)
    kernels.constants(_nominal(spec), first, words, table)
    one, leaks, noisy = np.zeros(1, np.float32), spec.leak, spec.write_noise > 0
    rates = np.zeros(1, np.float32)
    if leaks is not None:
        # Never one element, which stands for no leakage.
        rates = np.empty(max(n, 2), np.float32)
        kernels.leak_rates(leaks.seconds, leaks.device_std, first, words, rates)
    start = kernels.REFERENCE if spec.directions == "both" else kernels.BIAS
    p = np.clip(table[:, start], table[:, kernels.LOW], table[:, kernels.HIGH])
    p = np.broadcast_to(p, n).copy()
    last = np.full(1 if leaks is None else len(rates), t_seconds)
    shown = np.resize(p, max(n, 2)) if noisy else one
    return StepState(spec, key, first, p, shown, np.zeros(n, np.uint32), last, table, rates)


def pulse(state: StepState, index: np.ndarray, counts: np.ndarray, t_seconds: float,
          pairs: int = 0) -> int:  # fmt: skip
    """Give trains of pulses to some devices, in place.

    Parameters
    ----------
    state : StepState
        Changed in place.
    index : (N,) int64
        Weights, ascending, each once.
    counts : (N,) int32
        Pulses; the sign is the direction.
    t_seconds : float, seconds
        Not before the last pulse of any of them.
    pairs : int
        0: a weight is a device. n: n weights of two devices that go up only, the second of weight
        i being device ``n + i``.

    Returns
    -------
    int
        Pulses that were given.
    """
    check_time(state, t_seconds)
    index, counts = _listed(index, counts, pairs or len(state.p))
    if pairs == 0 and state.spec.directions == "up" and (counts < 0).any():
        raise ValueError(
            "pulses down on devices that go up only (directions = 'up'); use pairs of them"
        )
    kernels.pulse(index, counts, float(t_seconds), pairs, *state.arguments())
    return int(np.abs(counts.astype(np.int64)).sum())


def reset(state: StepState, index: np.ndarray, t_seconds: float) -> int:
    """Give a RESET pulse to some devices, in place, and return how many.

    Parameters
    ----------
    state : StepState
        Of devices that have a RESET.
    index : (N,) int64
        Devices, ascending, each once.
    t_seconds : float, seconds
        Time of the pulses.
    """
    if state.spec.reset is None:
        raise ValueError("these devices have no RESET pulse (reset = None)")
    check_time(state, t_seconds)
    index, _ = _listed(index, np.zeros(len(index), np.int32), len(state.p))
    kernels.reset_some(index, float(t_seconds), *state.arguments())
    return len(index)


def coincide(
    state: StepState, rows: np.ndarray, columns: np.ndarray,
    signs: tuple[np.ndarray, np.ndarray], t_seconds: float, pairs: int = 0,
) -> int:  # fmt: skip
    """Give devices of a crossbar a pulse for each coincidence of two trains, in place.

    Parameters
    ----------
    state : StepState
        Of R x C weights, in C order.
    rows : (B, R) uint64
        Trains of the rows, a bit per slot, of B vectors that follow each other.
    columns : (B, C) uint64
        Trains of the columns.
    signs : (B, R) int8 and (B, C) int8
        The pulse goes up where their product is positive.
    t_seconds : float, seconds
        Time of all pulses.
    pairs : int
        As in :func:`pulse`.

    Returns
    -------
    int
        Pulses that were given.
    """
    check_time(state, t_seconds)
    active, actives = listed_columns(columns)
    given = np.zeros(rows.shape[1], np.int64)
    kernels.coincide(
        rows, columns, *signs, active, actives, float(t_seconds), pairs, *state.arguments(), given
    )
    return int(given.sum())


def listed_columns(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns whose train is not empty: (B, C) int32 lists and their (B,) lengths."""
    busy = columns != 0
    actives = busy.sum(axis=1)
    # A stable sort puts the busy columns first, in their order.
    order = np.argsort(~busy, axis=1, kind="stable").astype(np.int32)
    return order, actives.astype(np.int64)


def states(state: StepState, t_seconds: float, number: int | None = None) -> np.ndarray:
    """Return the states that a read finds, (n,) float32.

    Parameters
    ----------
    state : StepState
        Devices after some pulses.
    t_seconds : float, seconds
        Evaluation time, not before the last pulse.
    number : int, optional
        Adds the noise of the read with this number; default none.
    """
    check_time(state, t_seconds)
    std = 0.0 if number is None else state.spec.read_noise
    if std == 0 and len(state.rates) == 1:  # a copy, without a loop over laws
        kept = state.shown[: len(state.p)] if len(state.shown) > 1 else state.p
        return kept.copy()
    out = np.empty_like(state.p)
    key = np.array(state.key.child(Purpose.LEARNING_CYCLE).at_time(t_seconds).words())
    kernels.states(float(t_seconds), std, number or 0, state.first, key, state.p, state.shown,
                   state.last, state.rates, out)  # fmt: skip
    return out


def references(state: StepState) -> np.ndarray:
    """Return the references, which states less them are weights, (n,) float32."""
    return np.broadcast_to(state.table[:, kernels.REFERENCE], state.p.shape)


def put(state: StepState, target: np.ndarray, where: np.ndarray, t_seconds: float) -> None:
    """Set states without error, within the bounds of each device, in place.

    Parameters
    ----------
    state : StepState
        Changed in place.
    target : (n,) float32, dimensionless
        States that are asked for.
    where : (n,) bool
        Devices that are set.
    t_seconds : float, seconds
        Time at which they are.
    """
    low, high = state.table[:, kernels.LOW], state.table[:, kernels.HIGH]
    state.p[where] = np.clip(target, low, high).astype(np.float32)[where]
    if len(state.shown) > 1:
        state.shown[: len(state.p)][where] = state.p[where]
    if len(state.last) > 1:
        state.last[: len(state.p)][where] = t_seconds


def write(
    state: StepState, target: np.ndarray, where: np.ndarray, t_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Write states by pulses in the closed loop of the specification, in place.

    Parameters
    ----------
    state : StepState
        Whose specification has ``programming``.
    target : (n,) float32, dimensionless
        States that are asked for.
    where : (n,) bool
        Devices that are written.
    t_seconds : float, seconds
        Time of all pulses.

    Returns
    -------
    iterations : (n,) int32
        Reads of each device.
    reached : (n,) bool
        Whether the last read was within the margin.
    """
    loop = state.spec.programming
    if loop is None:
        raise ValueError("these devices have no writing loop (programming = None)")
    n = len(state.p)
    iterations, reached = np.empty(n, np.int32), np.empty(n, bool)
    law, first, key, *arrays = state.arguments()
    kernels.write(
        np.ascontiguousarray(target, np.float32), np.ascontiguousarray(where, bool),
        float(t_seconds), loop.margin, loop.most_iterations, loop.most_pulses,
        state.spec.read_noise, fresh(1, nominal_device(state.spec), Key(0)).table, law, first, key,
        state.words(Purpose.PULSE_READ), *arrays, iterations, reached,
    )  # fmt: skip
    return iterations, reached


def cost(spec: StepSpec) -> tuple[float, float]:
    """Return duration (seconds) and heat (joules) of a pulse.

    The heat is that of the pulse voltage over the middle of the conductance range; drivers and
    half-selected devices are not counted.
    """
    middle = (spec.low_siemens + spec.g_max_siemens) / 2
    return spec.pulse_seconds, spec.pulse_volts**2 * middle * spec.pulse_seconds


def check_time(state: StepState, t_seconds: float) -> None:
    """Refuse a time that is not finite or lies before a pulse that was given."""
    latest = float(state.last.max(initial=-math.inf)) if len(state.last) > 1 else -math.inf
    if not latest <= t_seconds < math.inf:
        raise ValueError(
            f"t_seconds = {t_seconds!r} must be finite and not before the latest pulse, at "
            f"{latest!r} s: time does not go backwards"
        )


def _listed(index: np.ndarray, counts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.ascontiguousarray(index, np.int64)
    counts = np.ascontiguousarray(counts, np.int32)
    if index.ndim != 1 or index.shape != counts.shape:
        raise ValueError(
            f"index has shape {index.shape} and counts {counts.shape}; wanted two lists of one "
            "length"
        )
    if len(index) and (index[0] < 0 or index[-1] >= n or (np.diff(index) <= 0).any()):
        raise ValueError(f"index must be ascending, each once, within 0 ... {n - 1}")
    return index, counts
