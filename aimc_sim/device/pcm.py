"""PCM elements under a statistical law: program them once, look at them at any time.

``program`` draws what stays with an element (programmed conductance, drift exponent);
``evaluate`` is a pure function of that state, the time and the key: going forward, back, or
twice to the same time gives the same conductances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..kernels import pcm as kernels
from ..rng import Key, Purpose
from ..spec import PcmSpec, PolaritySpec, ReadNoiseLaw, StateCurve

Address = tuple[int, int]
"""(columns, cells) of the core: turns (element, row, column) into the index of a draw."""

_NO_CURVE = np.zeros(10)


def curve_table(curve: StateCurve) -> np.ndarray:
    """Return a curve as the (10,) float64 vector that the kernels interpret."""
    form = kernels.LOG if curve.form == "log" else kernels.POWER
    knee = math.inf if curve.knee is None else curve.knee
    return np.array([form, curve.a, curve.b, curve.low, curve.high, knee, *curve.polynomial])


@dataclass(frozen=True)
class PcmState:
    """Programmed elements of one block.

    Attributes
    ----------
    target : (E, R, C) float32, siemens
        Conductance that was asked for; the RESET level for elements left in RESET.
    programmed : (E, R, C) bool
        False for elements left in RESET.
    g : (E, R, C) float32, siemens
        Conductance read ``t0`` after programming.
    nu : (E, R, C) float32, dimensionless
        Drift exponent.
    """

    target: np.ndarray
    programmed: np.ndarray
    g: np.ndarray
    nu: np.ndarray


@dataclass(frozen=True)
class PcmNow:
    """Elements at one moment.

    Attributes
    ----------
    g : (E, R, C) float32, siemens
        Conductance while the clock stands still (drift and frozen noise).
    fresh : (E, R, C) float32, siemens, or None
        Standard deviation of the noise that is drawn anew in every MVM.
    """

    g: np.ndarray
    fresh: np.ndarray | None


def reset_level(spec: PcmSpec) -> float:
    """Return the mean conductance of one element left in RESET, in siemens."""
    return spec.reset.mean_siemens * spec.devices_per_element


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
    error, drift, size = spec.programming, spec.drift, spec.devices_per_element
    g = np.empty_like(target)
    nu = np.empty_like(target)
    kernels.program(
        target,
        np.ascontiguousarray(programmed),
        spec.g_max_siemens,
        np.zeros(4) if error is None else np.array(error.polynomial_siemens),
        0.0 if error is None else error.scale * spec.g_max_siemens / spec.g_reference_siemens,
        np.array([size, math.sqrt(size)])
        * np.array([spec.reset.mean_siemens, spec.reset.std_siemens]),
        _NO_CURVE if drift is None else curve_table(drift.exponent_mean),
        _NO_CURVE if drift is None else curve_table(drift.exponent_std),
        0.0 if drift is None else drift.scale,
        *address,
        np.array(key.child(Purpose.PROGRAM).words()),
        g,
        nu,
    )
    return PcmState(target, programmed, g, nu)


def noise_bands(law: ReadNoiseLaw, age_seconds: float) -> tuple[float, float]:
    """Split the published variance factor into its frozen and its fresh part.

    Parameters
    ----------
    law : ReadNoiseLaw
    age_seconds : float
        Time since the law's clock started (t + t0).

    Returns
    -------
    frozen, fresh : float
        Their sum is ``ln((age + t_read) / (2 t_read))``, the integral of 1/f from
        ``1 / (age + t_read)`` to ``1 / (2 t_read)``; the edge is ``1 / inference_seconds``.
    """
    total = math.log((age_seconds + law.t_read_seconds) / (2 * law.t_read_seconds))
    total = max(0.0, total)  # younger than one read: no band
    if law.band == "frozen":
        fresh = 0.0
    elif law.band == "per_mvm":
        fresh = total
    else:
        fresh = math.log(law.inference_seconds / (2 * law.t_read_seconds))
        fresh = min(max(0.0, fresh), total)
    scale = law.scale**2
    return scale * (total - fresh), scale * fresh


def evaluate(
    state: PcmState, spec: PcmSpec, t_seconds: float, address: Address, key: Key
) -> PcmNow:
    """Return the elements at a time after programming.

    Parameters
    ----------
    state : PcmState
    spec : PcmSpec
    t_seconds : float
        Time since the end of programming, >= 0; the law's clock is ``t + t0``.
    address, key
        As in :func:`program`.

    Returns
    -------
    PcmNow
    """
    age = t_seconds + spec.t0_seconds
    log_age = 0.0 if spec.drift is None else math.log(age / spec.t0_seconds)
    frozen = fresh = 0.0
    if spec.read_noise is not None:
        frozen, fresh = noise_bands(spec.read_noise, age)
    now = np.empty_like(state.g)
    amplitude = np.empty_like(state.g) if fresh > 0 else np.empty((0, 0, 0), np.float32)
    kernels.evaluate(
        state.target, state.g, state.nu, spec.g_max_siemens, log_age,
        _NO_CURVE if spec.read_noise is None else curve_table(spec.read_noise.amplitude),
        math.sqrt(frozen),
        *address,
        np.array(key.child(Purpose.FROZEN_NOISE).at_time(t_seconds).words()),
        now, amplitude,
    )  # fmt: skip
    if fresh <= 0:
        return PcmNow(now, None)
    amplitude *= np.float32(math.sqrt(fresh))
    return PcmNow(now, amplitude)


def polarity_delta(
    shape: tuple[int, int, int], spec: PolaritySpec, address: Address, key: Key
) -> np.ndarray:
    """Return the (E, R, C) float32 relative difference of conduction between polarities."""
    out = np.empty(shape, np.float32)
    words = np.array(key.child(Purpose.POLARITY).words())
    kernels.polarity_delta(spec.mean_fraction, spec.std_fraction, *address, words, out)
    return out
