"""Phase-change memory behind the interface of all families.

The laws themselves: :mod:`aimc_sim.device.pcm`, :mod:`~aimc_sim.device.faults`; how targets are
reached: :mod:`aimc_sim.device.programming`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ...rng import Key
from ...spec import PcmSpec, ProgrammingLaw, StateCurve
from .. import draws, faults, pcm, programming
from ..family import Address, ElementsNow, Family, cycle_key
from ..pcm import PcmState
from ..programming_report import ProgrammingReport
from ..request import Request


class Pcm(Family[PcmSpec, PcmState]):
    """Devices of phase-change memory: by law, by pulses, or replayed from measurements."""

    name = "pcm"
    spec_class = PcmSpec
    state_class = PcmState
    array_units: ClassVar[Mapping[str, str]] = {**Family.array_units, "age": "s"}

    def program(
        self, target: np.ndarray, programmed: np.ndarray, spec: PcmSpec, address: Address, key: Key,
        cycle: int = 0,
    ) -> PcmState:  # fmt: skip
        """Draw programmed elements from the statistical law; see :func:`.pcm.program`."""
        drawn = pcm.program(target, programmed, spec, address, cycle_key(key, cycle))
        return faults.stick(drawn, spec, address, key)

    def write(
        self, request: Request, spec: PcmSpec, address: Address, key: Key, cycle: int = 0
    ) -> tuple[PcmState, ProgrammingReport]:
        """Write the polarities of a block with the scheme of the specification."""
        return programming.write(request, spec, address, key, cycle)

    def at(
        self, state: PcmState, spec: PcmSpec, t_seconds: float, address: Address, key: Key
    ) -> ElementsNow:
        """Return drift, slow noise and the standard deviation of fresh noise at a time."""
        return pcm.evaluate(state, spec, t_seconds, address, key)

    def moments(
        self, target: np.ndarray, programmed: np.ndarray, spec: PcmSpec, t_seconds: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the first two moments under statistical laws; None for every other scheme.

        A product of independent factors: programmed conductance, drift, 1/f noise. The clip at
        zero conductance is part of it.
        """
        error = spec.programming
        plain = error is None or isinstance(error, ProgrammingLaw)
        if not plain or spec.faults is not None or spec.temperature is not None:
            return None
        return _moments(target, programmed, spec, t_seconds)

    def has_fresh_noise(self, spec: PcmSpec) -> bool:
        """Return whether there is read noise and some of it is fresh."""
        return spec.read_noise is not None and spec.read_noise.band != "frozen"

    def idle_siemens(self, spec: PcmSpec) -> float:
        """Return the mean conductance of an element left in RESET, in siemens."""
        return pcm.reset_level(spec)

    def elements_per_polarity(self, spec: PcmSpec) -> int:
        """Return 2 for single devices, 1 for laws of pairs."""
        return programming.elements_per_polarity(spec)

    def filled(self, spec: PcmSpec) -> int:
        """Return 2 for max-SET-fill, else 1."""
        return spec.filled_devices

    def writes_zeros(self, spec: PcmSpec) -> bool:
        """Return whether cells of weight zero are programmed to it rather than left in RESET."""
        return spec.zero_target == "programmed"

    def devices(self, elements: np.ndarray, spec: PcmSpec) -> np.ndarray:
        """Return the (4, R, C) conductances of the devices, in siemens: (g1+, g2+, g1-, g2-).

        The law of a pair says nothing about its two devices; they are shown with half each.
        """
        if spec.devices_per_element == 1:
            return elements
        return np.repeat(elements / np.float32(2), 2, axis=0)

    def summary(self, spec: PcmSpec) -> str:
        """Return devices per element and the largest conductance, or that they are ideal."""
        laws = (spec.programming, spec.drift, spec.read_noise)
        if all(law is None for law in laws):
            return "ideal"
        return f"{spec.devices_per_element}, to {spec.g_max_siemens * 1e6:g} µS"


def _moments(
    target: np.ndarray, programmed: np.ndarray, spec: PcmSpec, t: float
) -> tuple[np.ndarray, np.ndarray]:
    from ..moments import decay, rectified  # scipy.special, which only training needs

    error, drift, noise = pcm.statistical_law(spec), spec.drift, spec.read_noise
    x = np.maximum(target / spec.fitted_siemens, 1e-7)
    sigma = np.zeros_like(x)
    if error is not None:
        scale = error.scale * spec.material_scale
        inside = x if error.states is None else np.clip(x, *error.states)
        sigma = scale * np.polynomial.polynomial.polyval(inside, error.polynomial_siemens)
    spread = pcm.reset_std(spec)
    level = np.where(programmed, target, pcm.reset_level(spec))
    first, second = rectified(level, np.where(programmed, np.abs(sigma), spread))
    if drift is not None:
        length = drift.scale * math.log1p(t / spec.t0_seconds)
        exponent = _curve(drift.exponent_mean, x), _curve(drift.exponent_std, x)
        first = first * decay(*exponent, length)
        second = second * decay(*exponent, 2 * length)
    if noise is not None:
        slow, fresh = draws.noise_bands(noise, t + spec.t0_seconds)
        q = _curve(noise.amplitude, np.minimum(x, 1.0))
        held, squared = rectified(np.ones_like(q), q * math.sqrt(slow))
        first, second = first * held, second * (squared + q**2 * fresh)
    return first, second


def _curve(curve: StateCurve | None, x: np.ndarray) -> np.ndarray:
    if curve is None:
        return np.zeros_like(x)
    return pcm.curve_values(curve, x)
