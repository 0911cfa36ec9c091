"""Devices pulse by pulse: every pulse leaves a new state and starts the drift clock again.

``fresh`` makes devices in RESET, ``apply`` gives pulses, ``conductance`` and ``read`` return their
conductances at a time, without noise and with it. A state is arrays only; all randomness is
addressed by (key, device, number of the pulse in the life of the device), so that masks, splits,
order and threads change nothing. One key is one core: devices under the same key share the core's
part of the SET state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..kernels import learning, sized
from ..kernels import pulses as kernels
from ..rng import Key, Purpose
from ..spec import PcmSpec, PulseSpec, ReadNoiseLaw
from .pcm import curve_table


class Pulse(IntEnum):
    """Kinds of pulses."""

    NONE = 0
    ACCUMULATE = 1  # partial SET
    RESET = 2
    SQUARE = 3  # partial RESET, of a given amplitude
    SET = 4


@dataclass(frozen=True)
class PulseState:
    """Devices after some pulses; 18 bytes each.

    Attributes
    ----------
    g : float32, any shape, siemens
        Conductance ``t0`` after the last pulse of the device.
    pulses : uint16
        Crystallising pulses since the last one that melted the device (RESET, square);
        stays at 65,535.
    events : uint32
        Pulses in the life of the device: the address of its next draw.
    last_seconds : float64, seconds
        Time of the last pulse.
    first : int
        Address of the first device; the others follow in C order.
    """

    g: np.ndarray
    pulses: np.ndarray
    events: np.ndarray
    last_seconds: np.ndarray
    first: int = 0


def fresh(
    shape: int | tuple[int, ...], spec: PcmSpec, key: Key, t_seconds: float = 0.0, first: int = 0
) -> PulseState:
    """Return devices in RESET: their first pulse is a RESET at ``t_seconds``.

    Parameters
    ----------
    shape : int or tuple of int
        Of the arrays of the state.
    spec : PcmSpec
        With ``pulses``.
    key : Key
        Of the core.
    t_seconds : float, seconds
        Time of that RESET.
    first : int
        Address of the first device, for parts of a larger set of devices.

    Returns
    -------
    PulseState
    """
    state = PulseState(
        np.zeros(shape, np.float32),
        np.zeros(shape, np.uint16),
        np.zeros(shape, np.uint32),
        np.full(shape, t_seconds, np.float64),
        first,
    )
    return apply_(state, spec, Pulse.RESET, t_seconds, key)


def apply(
    state: PulseState,
    spec: PcmSpec,
    kind: int | np.ndarray,
    t_seconds: float,
    key: Key,
    amperes: float | np.ndarray | None = None,
    where: np.ndarray | None = None,
    repeats: int = 1,
) -> PulseState:
    """Give pulses at one time and return the new state.

    Parameters
    ----------
    state : PulseState
        Untouched; :func:`apply_` is the same in place.
    spec : PcmSpec
        With ``pulses``.
    kind : Pulse, or integer array of the state's shape
        Kind of the pulse, for all devices or for each.
    t_seconds : float, seconds
        Not before the last pulse of any device.
    key : Key
        The one of :func:`fresh`.
    amperes : float or array of the state's shape, amperes, optional
        Amplitude; for square pulses only.
    where : bool array of the state's shape, optional
        Devices that get the pulse; default all.
    repeats : int
        Length of a train of equal pulses; same bits as one call after the other.

    Returns
    -------
    PulseState

    Raises
    ------
    ValueError
        If time goes backwards, a shape is wrong, the kind is unknown, the device has no law for
        it, or a square pulse has no amplitude.
    """
    copy = PulseState(
        state.g.copy(),
        state.pulses.copy(),
        state.events.copy(),
        state.last_seconds.copy(),
        state.first,
    )
    return apply_(copy, spec, kind, t_seconds, key, amperes, where, repeats)


def apply_(
    state: PulseState,
    spec: PcmSpec,
    kind: int | np.ndarray,
    t_seconds: float,
    key: Key,
    amperes: float | np.ndarray | None = None,
    where: np.ndarray | None = None,
    repeats: int = 1,
) -> PulseState:
    """Give pulses as :func:`apply` does, but change the arrays of ``state``; return it."""
    _check_time(state, t_seconds)
    if repeats < 1 or repeats != int(repeats):
        raise ValueError(f"repeats = {repeats!r} must be an integer >= 1")
    law = _pulses(spec)
    kinds = _kinds(kind, state)
    _check_laws(law, kinds)
    current = _amplitudes(amperes, state, bool((kinds == Pulse.SQUARE).any()))
    if where is not None:
        where = np.asarray(where)
        if where.shape != state.g.shape or where.dtype != bool:
            raise ValueError(
                f"where has shape {where.shape} and type {where.dtype}; wanted bool of the "
                f"state's shape {state.g.shape}"
            )
        kinds = np.where(where.ravel(), kinds, np.uint8(Pulse.NONE))
    kernels.apply(
        kinds,
        current,
        int(repeats),
        float(t_seconds),
        law.low_siemens,
        law.high_siemens,
        *_law_vectors(spec, law),
        state.first,
        np.array(key.child(Purpose.PULSE_DEVICE).words()),
        np.array(key.child(Purpose.PULSE_CYCLE).words()),
        _flat(state.g),
        _flat(state.pulses),
        _flat(state.events),
        _flat(state.last_seconds),
    )
    return state


class PulseTrains:
    """Pulses to a few devices of many, in place; bits are those of :func:`apply_`.

    Parameters
    ----------
    spec : PcmSpec
        With ``pulses``.
    key : Key
        The one of :func:`fresh`.
    """

    def __init__(self, spec: PcmSpec, key: Key) -> None:
        self._law = _pulses(spec)
        self._step, _, _, self._reset = _law_vectors(spec, self._law)
        self._device = np.array(key.child(Purpose.PULSE_DEVICE).words())
        self._cycle = np.array(key.child(Purpose.PULSE_CYCLE).words())

    def accumulate(
        self, state: PulseState, index: np.ndarray, counts: np.ndarray, t_seconds: float
    ) -> None:
        """Give trains of accumulating pulses.

        Parameters
        ----------
        state : PulseState
            Its arrays are changed where a device gets a pulse, and read nowhere else.
        index : (N,) int64
            Devices, in C order of the state, each once.
        counts : (N,) int32
            Pulses to each, >= 0.
        t_seconds : float, seconds
            Not before the last pulse of these devices.

        Raises
        ------
        ValueError
            If time goes backwards, or the device has no law of such pulses.
        """
        law = self._law
        if law.accumulation is None:
            _check_laws(law, np.array([Pulse.ACCUMULATE], np.uint8))
        last = _flat(state.last_seconds)
        _check_latest(float(last[index].max(initial=-math.inf)), t_seconds)
        train = sized(learning.train, 100 * index.size)
        train(
            index, counts, float(t_seconds), law.low_siemens, law.high_siemens, self._step,
            state.first, self._device, self._cycle,
            _flat(state.g), _flat(state.pulses), _flat(state.events), last,
        )  # fmt: skip

    def reset(self, state: PulseState, index: np.ndarray, t_seconds: float) -> None:
        """RESET devices; arguments and refusals as of :meth:`accumulate`."""
        last = _flat(state.last_seconds)
        _check_latest(float(last[index].max(initial=-math.inf)), t_seconds)
        reset = sized(learning.reset, 100 * index.size)
        reset(
            index, float(t_seconds), self._law.high_siemens, self._reset, state.first, self._cycle,
            _flat(state.g), _flat(state.pulses), _flat(state.events), last,
        )  # fmt: skip


def cost(spec: PcmSpec, kind: int, amperes: float | None = None) -> tuple[float, float]:
    """Return the duration (seconds) and the heat (joules) of one pulse to one device.

    ``amperes`` is the amplitude of a square pulse; other pulses have their own. The heat is
    amplitude x write voltage x duration; drivers are not counted.
    """
    law = _pulses(spec)
    _check_laws(law, np.array([kind], np.uint8))
    shapes = {Pulse.ACCUMULATE: law.accumulation, Pulse.RESET: law.reset, Pulse.SET: law.set}
    if kind == Pulse.NONE:
        return 0.0, 0.0
    if kind == Pulse.SQUARE:
        if amperes is None:
            raise ValueError("a square pulse needs an amplitude; give amperes")
        assert law.curve is not None  # checked with the laws
        seconds, current = law.curve.seconds, float(amperes)
    else:
        shape = shapes[Pulse(kind)]
        assert shape is not None  # checked with the laws
        seconds, current = shape.seconds, shape.amperes
    return seconds, current * law.write_volts * seconds


def shortest_age_seconds(spec: PcmSpec) -> float:
    """Return the shortest age of a device at a read: one read, or 1 us if there is no noise law.

    The power law of drift has no value at age zero; a pulse and a read at the same time mean
    a read that ends this long after the pulse. Below seconds the law is an extrapolation.
    """
    return 1e-6 if spec.read_noise is None else spec.read_noise.t_read_seconds


def conductance(state: PulseState, spec: PcmSpec, t_seconds: float, key: Key) -> np.ndarray:
    """Return the conductances at a time, each drifted since its own last pulse, noiseless.

    ``G ((t - t_last) / t0)^-nu`` with ``nu = scale |mean(x) + std(x) z|``, ``x = G / g_max``
    and z fixed for the device; the age is not below :func:`shortest_age_seconds`.

    Parameters
    ----------
    state : PulseState
        Devices after their last pulses.
    spec : PcmSpec
    t_seconds : float, seconds
        Evaluation time, not before the last pulse of any device.
    key : Key
        The one of :func:`fresh`.

    Returns
    -------
    array of the state's shape, float32, siemens
    """
    _check_time(state, t_seconds)
    if spec.drift is None:
        return state.g.copy()
    now = np.empty_like(state.g)
    kernels.conductance(
        _flat(state.g),
        _flat(state.last_seconds),
        float(t_seconds),
        spec.t0_seconds,
        shortest_age_seconds(spec),
        spec.fitted_siemens,
        np.array(curve_table(spec.drift.exponent_mean)),
        np.array(curve_table(spec.drift.exponent_std)),
        spec.drift.scale,
        state.first,
        np.array(key.child(Purpose.PULSE_DEVICE).words()),
        _flat(now),
    )
    return now


def read(
    state: PulseState, spec: PcmSpec, t_seconds: float, key: Key, read_number: int = 0
) -> np.ndarray:
    """Return the result of a read: :func:`conductance` with read noise, never below 0.

    Parameters
    ----------
    state, spec, t_seconds, key
        As in :func:`conductance`.
    read_number : int
        Tells reads at the same time apart: it addresses the part of the noise that is fresh
        in every read. The law's ``band`` says which part that is; the rest is one process, which
        starts again with every pulse.

    Returns
    -------
    array of the state's shape, float32, siemens
    """
    now = conductance(state, spec, t_seconds, key)
    if spec.read_noise is not None:
        _add_noise(now, state, spec, spec.read_noise, t_seconds, key, read_number)
    return now


def _add_noise(
    now: np.ndarray, state: PulseState, spec: PcmSpec, law: ReadNoiseLaw, t_seconds: float,
    key: Key, read_number: int,
) -> None:  # fmt: skip
    """Add 1/f noise; its slow part is one process from pulse to pulse, the rest fresh per read."""
    edges = {"frozen": 0.0, "split": law.inference_seconds, "per_mvm": math.inf}
    kernels.add_noise(
        _flat(now),
        _flat(state.last_seconds),
        _flat(state.events),
        float(t_seconds),
        shortest_age_seconds(spec),
        law.t_read_seconds,
        max(2 * law.t_read_seconds, edges[law.band]),
        spec.fitted_siemens,
        np.asarray(curve_table(law.amplitude), np.float64),
        law.scale,
        state.first,
        int(read_number),
        np.array(key.child(Purpose.PULSE_READ).at_time(t_seconds).words()),
        np.array(key.child(Purpose.SLOW_NOISE).words()),
    )


def _flat(array: np.ndarray) -> np.ndarray:
    """Return a flat view; a copy would lose what the kernel writes."""
    if not array.flags.c_contiguous:
        raise ValueError("the arrays of a PulseState must be C-contiguous; copy the state first")
    return array.reshape(-1)


def _pulses(spec: PcmSpec) -> PulseSpec:
    if spec.pulses is None:
        raise ValueError(
            "this device has no pulse laws (pulses = None); take one that has, for example "
            "presets.pcm_nandakumar_2018()"
        )
    return spec.pulses


def _check_time(state: PulseState, t_seconds: float) -> None:
    _check_latest(float(state.last_seconds.max(initial=-math.inf)), t_seconds)


def _check_latest(latest: float, t_seconds: float) -> None:
    if not latest <= t_seconds < math.inf:
        raise ValueError(
            f"t_seconds = {t_seconds!r} must be finite and not before the latest pulse, at "
            f"{latest!r} s: time does not go backwards"
        )


def _kinds(kind: int | np.ndarray, state: PulseState) -> np.ndarray:
    kinds = np.asarray(kind)
    if kinds.ndim > 0 and kinds.shape != state.g.shape:
        raise ValueError(f"kind has shape {kinds.shape}; wanted that of the state, {state.g.shape}")
    known = np.issubdtype(kinds.dtype, np.integer)
    if not (known and ((kinds >= Pulse.NONE) & (kinds <= Pulse.SET)).all()):
        names = ", ".join(f"{p.value} {p.name.lower()}" for p in Pulse)
        raise ValueError(f"kind = {kind!r} holds an unknown pulse; there are: {names}")
    return np.ascontiguousarray(kinds, np.uint8).reshape(-1)


def _check_laws(law: PulseSpec, kinds: np.ndarray) -> None:
    needs = (
        (Pulse.ACCUMULATE, law.accumulation, "accumulation"),
        (Pulse.SET, law.set, "set"),
        (Pulse.SQUARE, law.curve, "curve"),
        (Pulse.SQUARE, law.set, "set"),
    )
    for pulse, part, field in needs:
        if part is None and (kinds == pulse).any():
            raise ValueError(
                f"a pulse of kind {pulse.name.lower()} needs a law that this device lacks "
                f"(pulses.{field} = None)"
            )


def _amplitudes(amperes: float | np.ndarray | None, state: PulseState, square: bool) -> np.ndarray:
    if amperes is None:
        if square:
            raise ValueError("square pulses need an amplitude; give amperes")
        return np.zeros(1)
    current = np.asarray(amperes, np.float64)
    if current.ndim > 0 and current.shape != state.g.shape:
        raise ValueError(
            f"amperes has shape {current.shape}; wanted a number or the state's {state.g.shape}"
        )
    if not ((current >= 0) & (current < math.inf)).all():
        raise ValueError("amperes must be finite and >= 0")
    return np.ascontiguousarray(current).reshape(-1)


def _law_vectors(spec: PcmSpec, law: PulseSpec) -> tuple[np.ndarray, ...]:
    """Return the laws as the kernels' vectors: step, set, curve, reset; zeros where missing."""
    step, set_law, curve = np.zeros(8), np.zeros(4), np.zeros(4)
    if (a := law.accumulation) is not None:
        std = np.array([a.std_slope, a.std_offset_siemens, a.std_first_siemens]) * a.cycle_scale
        step[:] = (
            a.mean_slope, a.mean_offset_siemens, a.mean_first_siemens, *std,
            a.decay_pulses, a.device_std_fraction,
        )  # fmt: skip
    if (s := law.set) is not None:
        set_law[:] = s.median_siemens, s.core_std, s.device_std, s.cycle_std
    if (c := law.curve) is not None:
        curve[:] = (
            c.half_amperes, c.width_amperes, c.device_std_amperes, c.cycle_std_decades
        )  # fmt: skip
    reset = np.array([spec.reset.mean_siemens, spec.reset.std_siemens, law.reset.low_siemens])
    return step, set_law, curve, reset
