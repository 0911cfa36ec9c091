"""Resistive memory: program-and-verify error, relaxation, 1/f read noise.

Form of the laws: D. F. Falcone et al., arXiv:2502.04524 (abstract read), as in AIHWKit's
``inference/noise/reram.py`` at commit 4545f11. Differences from that code: the noise of the last
verify read is not drawn a second time at later times; relaxation is one draw per device and
programming, so that evaluation times of one device belong together; the 1/f noise is split into
a slow and a fresh part as for phase-change memory; weights are differential pairs of devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...rng import Key, Purpose
from ...spec import RramSpec
from .. import draws
from ..family import Address, DeviceState, ElementsNow, Family, cycle_key

_UNIT_SIEMENS = 1e-6
"""Conductance whose logarithm is zero in the law of read noise."""


@dataclass(frozen=True)
class RramState(DeviceState):
    """Programmed elements of one block.

    Attributes
    ----------
    target : (E, R, C) float32, siemens
        Conductance that was asked for.
    programmed : (E, R, C) bool
        False for elements that carry nothing and were not written.
    g : (E, R, C) float32, siemens
        Conductance at the last verify read, before relaxation.
    place : (E, R, C) float32, dimensionless
        Standard normal: the place of a device in the distribution of relaxation.
    """

    place: np.ndarray


class Rram(Family[RramSpec, RramState]):
    """Devices of resistive memory under the laws of :class:`~aimc_sim.spec.RramSpec`."""

    name = "rram"
    spec_class = RramSpec
    state_class = RramState

    def program(
        self, target: np.ndarray, programmed: np.ndarray, spec: RramSpec, address: Address,
        key: Key, cycle: int = 0,
    ) -> RramState:  # fmt: skip
        """Draw the error that program-and-verify leaves, and every device's place in relaxation."""
        target = np.ascontiguousarray(target, np.float32)
        own = cycle_key(key, cycle).child(Purpose.PROGRAM)
        error, place = draws.normals(target.shape, address, own)
        law = spec.programming
        if law is None:
            return RramState(target, programmed, target, place)
        std = np.float32(law.scale) * (
            np.float32(law.slope) * target + np.float32(law.offset_siemens)
        )
        return RramState(target, programmed, target + std * error, place)

    def at(
        self, state: RramState, spec: RramSpec, t_seconds: float, address: Address, key: Key
    ) -> ElementsNow:
        """Return relaxed conductances inside the range, and the fresh part of read noise."""
        shift, std = _relaxed(spec, t_seconds)
        g = state.g + (np.float32(shift) + np.float32(std) * state.place)
        law, fresh = spec.read_noise, None
        if law is not None:
            age = t_seconds + spec.t0_seconds
            amplitude = _noise_amplitude(spec, g)
            bands = draws.noise_bands(law, age)
            if bands[1] > 0:
                fresh = amplitude * np.float32(math.sqrt(bands[1]))
            g = g + amplitude * draws.slow_noise(g.shape, law, age, address, key)
        low, high = np.float32(spec.low_siemens), np.float32(spec.high_siemens)
        return ElementsNow(np.clip(g, low, high), fresh)

    def moments(
        self, target: np.ndarray, programmed: np.ndarray, spec: RramSpec, t_seconds: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the first two moments: a normal of the summed variances, cut at the range.

        The amplitude of read noise is that of the mean conductance: it follows a logarithm, which
        hardly changes over the standard deviation of the conductances.
        """
        from ..moments import clipped  # scipy.special, which only training needs

        shift, std = _relaxed(spec, t_seconds)
        mean, variance = target + shift, np.full_like(target, std**2)
        error, law, fresh = spec.programming, spec.read_noise, 0.0
        if error is not None:
            variance += (error.scale * (error.slope * target + error.offset_siemens)) ** 2
        amplitude = np.zeros_like(target)
        if law is not None:
            slow, fresh = draws.noise_bands(law, t_seconds + spec.t0_seconds)
            amplitude = _noise_amplitude(spec, mean)
            variance += amplitude**2 * slow
        first, second = clipped(mean, np.sqrt(variance), spec.low_siemens, spec.high_siemens)
        return first, second + amplitude**2 * fresh

    def has_fresh_noise(self, spec: RramSpec) -> bool:
        """Return whether there is read noise and some of it is fresh."""
        return spec.read_noise is not None and spec.read_noise.band != "frozen"

    def idle_siemens(self, spec: RramSpec) -> float:
        """Return the lower end of the range, in siemens."""
        return spec.low_siemens

    def lowest_siemens(self, spec: RramSpec) -> float:
        """Return the lower end of the range, in siemens."""
        return spec.low_siemens

    def writes_zeros(self, spec: RramSpec) -> bool:
        """Return True: the lower end is a level like any other."""
        return True

    def summary(self, spec: RramSpec) -> str:
        """Return the range of the devices, or that they are ideal."""
        if spec.ideal() == spec:
            return "RRAM, ideal"
        return f"RRAM, 1, {spec.low_siemens * 1e6:g} to {spec.g_max_siemens * 1e6:g} µS"


def _relaxed(spec: RramSpec, t_seconds: float) -> tuple[float, float]:
    """Return shift and standard deviation of relaxation at a time, in siemens."""
    law = spec.relaxation
    if law is None:
        return 0.0, 0.0
    length = math.log((t_seconds + spec.t0_seconds) / law.reference_seconds)
    std = max(0.0, law.std_siemens + law.std_growth_siemens * length)
    return law.scale * law.mean_siemens * length, law.scale * std


def _noise_amplitude(spec: RramSpec, g: np.ndarray) -> np.ndarray:
    """Return the standard deviation of read noise per root of its band, in siemens."""
    law = spec.read_noise
    assert law is not None  # callers ask only then
    decades = np.log10(np.maximum(g, g.dtype.type(_UNIT_SIEMENS)) / g.dtype.type(_UNIT_SIEMENS))
    found: np.ndarray = g.dtype.type(law.scale * law.per_decade_siemens) * decades
    return found
