"""PCM elements under a statistical law: program them once, evaluate them at any time.

``program`` draws what stays with an element (programmed conductance, drift exponent);
``evaluate`` is a pure function of that state, the time and the key: going forward, back, or
twice to the same time gives the same conductances.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..kernels import learning
from ..kernels import pcm as kernels
from ..rng import Key, Purpose
from ..spec import PcmSpec, ProgrammingLaw, Replay, StateCurve, TemperatureLaw
from .draws import noise_bands, slow_components
from .family import Address, DeviceState, ElementsNow
from .measured import replay

_BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann constant in eV/K (CODATA 2018)."""

Curve = tuple[float, float, float, float, float, float, float, float, float, float]

_FORMS = {"log": kernels.LOG, "power": kernels.POWER, "inverse": kernels.INVERSE}
_NO_CURVE: Curve = (kernels.LOG, *9 * (0.0,))


def curve_table(curve: StateCurve | None) -> Curve:
    """Return a curve as the ten numbers that the kernels interpret; None is zero everywhere."""
    if curve is None:
        return _NO_CURVE
    knee = math.inf if curve.knee is None else curve.knee
    form = _FORMS[curve.form]
    return form, curve.a, curve.b, curve.low, curve.high, knee, *curve.polynomial


@dataclass(frozen=True)
class PcmState(DeviceState):
    """Programmed elements of one block.

    Attributes
    ----------
    target : (E, R, C) float32, siemens
        Conductance that was asked for; the RESET level for elements left in RESET, the SET
        conductance, which may exceed g_max, for devices left in SET.
    programmed : (E, R, C) bool
        False for elements left in RESET.
    g : (E, R, C) float32, siemens
        Conductance read ``t0`` after programming.
    nu : (E, R, C) float32, dimensionless
        Drift exponent.
    trace : (E, R, C) int32 or None
        Measured trace that an element follows, where devices are replayed; -1 for none.
    age : (E, R, C) float64, seconds, or None
        Time from the last pulse of an element to the start of the clock, where elements got pulses
        one by one, as in training; None: ``t0`` for all.
    """

    nu: np.ndarray
    trace: np.ndarray | None = None
    age: np.ndarray | None = None


def reset_level(spec: PcmSpec) -> float:
    """Return the mean conductance of one element left in RESET, in siemens."""
    return spec.reset.mean_siemens * spec.devices_per_element * spec.material_scale


def reset_std(spec: PcmSpec) -> float:
    """Return the standard deviation of the conductance of an element left in RESET, in siemens."""
    return math.sqrt(spec.devices_per_element) * spec.reset.std_siemens * spec.material_scale


def statistical_law(spec: PcmSpec) -> ProgrammingLaw | None:
    """Return the law of the programming error, None for none.

    Raises
    ------
    ValueError
        If the specification has another scheme than a statistical law.
    """
    law = spec.programming
    if law is None or isinstance(law, ProgrammingLaw):
        return law
    raise ValueError(
        f"core.device.programming is the scheme '{law.scheme}', which has no statistical law; use "
        "aimc_sim.device.programming.write"
    )


def program(
    target: np.ndarray, programmed: np.ndarray, spec: PcmSpec, address: Address, key: Key
) -> PcmState:
    """Program elements.

    Parameters
    ----------
    target : (E, R, C) float32, siemens
        0 <= target <= spec.g_max_siemens.
    programmed : (E, R, C) bool
        False leaves the element in RESET.
    spec : PcmSpec
    address : (int, int)
        Columns and cells of the core.
    key : Key
        Of this core.

    Returns
    -------
    PcmState

    Raises
    ------
    ValueError
        If a target is outside the characterised range.

    Notes
    -----
    Source: the laws of ``spec`` (see :mod:`aimc_sim.presets`). Differs from the published
    code in that elements left in RESET follow the RESET distribution instead of the law at
    target zero, and that Q_s is taken at the target instead of the programmed value (as the
    toolkit's documentation, not its code, says).
    """
    target = np.ascontiguousarray(target, np.float32)
    if not ((target >= 0) & (target <= spec.g_max_siemens * (1 + 1e-6))).all():
        low, high = float(np.min(target)), float(np.max(target))
        raise ValueError(
            f"target conductances from {low:.3g} S to {high:.3g} S are outside the characterised "
            f"range of the device, 0 to {spec.g_max_siemens:.3g} S; rescale the weights"
        )
    error, drift = statistical_law(spec), spec.drift
    g = np.empty_like(target)
    nu = np.empty_like(target)
    kernels.program(
        target,
        np.ascontiguousarray(programmed),
        spec.fitted_siemens,
        4 * (0.0,) if error is None else error.polynomial_siemens,
        0.0 if error is None else error.scale * spec.material_scale,
        (0.0, math.inf) if error is None or error.states is None else error.states,
        (reset_level(spec), reset_std(spec)),
        curve_table(None if drift is None else drift.exponent_mean),
        curve_table(None if drift is None else drift.exponent_std),
        0.0 if drift is None else drift.scale,
        *address,
        np.array(key.child(Purpose.PROGRAM).words()),
        g,
        nu,
    )
    return PcmState(target, programmed, g, nu)


def _thermal(law: TemperatureLaw | None) -> tuple[tuple[float, float], float]:
    """Return the exponents of conduction, (at x = 0, per x), and the factor on the drift clock."""
    if law is None:
        return (0.0, 0.0), 1.0
    beta = (1 / law.kelvin - 1 / law.reference_kelvin) / _BOLTZMANN_EV
    slope = law.activation_set_ev - law.activation_reset_ev
    return (law.activation_reset_ev * beta, slope * beta), math.exp(-law.relaxation_ev * beta)


def evaluate(
    state: PcmState, spec: PcmSpec, t_seconds: float, address: Address, key: Key
) -> ElementsNow:
    """Return the elements at a time after programming.

    Parameters
    ----------
    state : PcmState
        Programmed elements, from :func:`program`.
    spec : PcmSpec
    t_seconds : float
        Time since the end of programming, >= 0; the law's clock is ``t + t0``.
    address, key
        As in :func:`program`.

    Returns
    -------
    ElementsNow

    Notes
    -----
    The slow noise is correlated between two times as a 1/f spectrum demands, and has the
    published variance at each; it is a pure function of the time, so nothing is stored.
    """
    age = t_seconds + spec.t0_seconds
    if state.trace is not None:
        return _replayed(state, spec, t_seconds)
    if state.age is not None:
        return _aged(state, spec, t_seconds, state.age)
    heat, haste = _thermal(spec.temperature)
    log_age = 0.0 if spec.drift is None else math.log1p(t_seconds * haste / spec.t0_seconds)
    law = spec.read_noise
    fresh = 0.0 if law is None else noise_bands(law, age)[1]
    weights, rates = slow_components(law, age)
    now = np.empty_like(state.g)
    amplitude = np.empty_like(state.g) if fresh > 0 else np.empty((0, 0, 0), np.float32)
    kernels.evaluate(
        state.target, state.g, state.nu, spec.fitted_siemens, log_age, heat,
        curve_table(None if law is None else law.amplitude), weights, rates, age,
        *address, np.array(key.child(Purpose.SLOW_NOISE).words()), now, amplitude,
    )  # fmt: skip
    if fresh <= 0:
        return ElementsNow(now, None)
    amplitude *= np.float32(math.sqrt(fresh))
    return ElementsNow(now, amplitude)


def _aged(state: PcmState, spec: PcmSpec, t_seconds: float, age: np.ndarray) -> ElementsNow:
    """Return elements that drift since pulses of their own; the bits are those in training."""
    now, variance = np.empty_like(state.g), np.empty_like(state.g)
    law = PulsedClock.of(spec)
    learning.devices_now(
        state.g.reshape(-1), -age.reshape(-1), state.nu.reshape(-1), float(t_seconds), *law,
        now.reshape(-1), variance.reshape(-1),
    )  # fmt: skip
    return ElementsNow(now, None if law.noise_scale == 0 else np.sqrt(variance))


class PulsedClock(NamedTuple):
    """The laws of drift and fresh noise since a device's own last pulse, as the kernels take them.

    Attributes
    ----------
    clock : (3,) float32
        1 / t0, shortest age and duration of a read, seconds.
    per_siemens : float32, 1 / S
        State per conductance.
    amplitude : 10 floats
        Curve of the noise against state.
    noise_scale : float32
        Factor on it; 0 for none.
    """

    clock: tuple[np.float32, np.float32, np.float32]
    per_siemens: np.float32
    amplitude: Curve
    noise_scale: np.float32

    @classmethod
    def of(cls, spec: PcmSpec) -> PulsedClock:
        """Return the laws of a device.

        Parameters
        ----------
        spec : PcmSpec
            Its read noise, if any, is all fresh (``band = 'per_mvm'``), and it has no heat.

        Raises
        ------
        ValueError
            If it is not, or has.
        """
        law = spec.read_noise
        if law is not None and law.band != "per_mvm":
            raise ValueError(
                f"read_noise.band = '{law.band}' of devices that drift from pulses of their own: "
                "their noise is all drawn anew in every product; set it to 'per_mvm'"
            )
        if spec.temperature is not None:
            raise ValueError(
                "a temperature of devices that drift from pulses of their own has no law; set "
                "core.device.temperature to None"
            )
        # Without a law of noise the shortest age is that of device.pulses, a microsecond.
        reading = 1e-6 if law is None else law.t_read_seconds
        clock = np.float32(1 / spec.t0_seconds), np.float32(reading), np.float32(reading)
        return cls(
            clock, np.float32(1 / spec.fitted_siemens),
            curve_table(None if law is None else law.amplitude),
            np.float32(0.0 if law is None else law.scale),
        )  # fmt: skip


def _replayed(state: PcmState, spec: PcmSpec, t_seconds: float) -> ElementsNow:
    """Return elements that follow measured traces, at a time after the end of programming."""
    scheme, trace = spec.programming, state.trace
    assert isinstance(scheme, Replay)  # no other scheme has traces
    assert trace is not None
    library = replay.load(scheme.path, scheme.sha256)
    age_seconds = t_seconds + spec.t0_seconds
    # The start of the clock lies an instant after a read at time 0: no trace has ended there.
    late = library.clamped_fraction(age_seconds) if t_seconds > 0 else 0.0
    if late > 0:
        warnings.warn(
            f"{100 * late:.0f} % of the measured traces in {scheme.path} end before "
            f"{age_seconds:.4g} s (half of them at {library.t_last_seconds:.4g} s): from their "
            "last read on, conductances stand still",
            stacklevel=3,
        )
    return ElementsNow(replay.conductance(library, state.target, trace, age_seconds), None)


def curve_values(curve: StateCurve, x: np.ndarray) -> np.ndarray:
    """Return a curve at states x, (N,) float64."""
    x = np.maximum(x, 1e-7)
    raw: np.ndarray
    if curve.form == "log":
        raw = curve.a * np.log(x) + curve.b
    elif curve.form == "power":
        raw = curve.a * x**curve.b
    else:
        raw = curve.a / x + curve.b
    low: np.ndarray = np.clip(raw, curve.low, curve.high)
    if curve.knee is None:
        return low
    return np.where(x >= curve.knee, np.polynomial.polynomial.polyval(x, curve.polynomial), low)
