"""The statistical laws of a device: programming error, drift, read noise, RESET, faults, heat."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from .base import Spec, quantity


class StateCurve(Spec):
    """A quantity that depends on the state x = G_target / G_reference of a device.

    Below ``knee`` (or everywhere, if ``knee`` is None) it is ``clip(f(x), low, high)`` with
    ``f = a ln x + b`` ("log"), ``f = a x^b`` ("power") or ``f = a / x + b`` ("inverse"); from
    the knee on it is the polynomial ``c0 + c1 x + c2 x^2 + c3 x^3``.
    """

    form: Literal["log", "power", "inverse"] = quantity("-", "shape below the knee")
    a: float = quantity("-", "slope (log) or factor (power, inverse)")
    b: float = quantity("-", "offset (log, inverse) or exponent (power)")
    low: float = quantity("-", "lower clip below the knee", ge=0)
    high: float = quantity("-", "upper clip below the knee", ge=0)
    knee: float | None = quantity("-", "state where the polynomial takes over", None, gt=0)
    polynomial: tuple[float, float, float, float] = quantity(
        "-", "c0..c3 from the knee on", (0.0, 0.0, 0.0, 0.0)
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class ProgrammingLaw(Spec):
    """The statistical scheme: G = max(0, G_target + sigma(x) xi), xi standard normal.

    Outside ``states`` sigma keeps the value that it has at their end.
    """

    scheme: Literal["statistical"] = quantity(
        "-", "programming error drawn from a fitted law", "statistical", later=True
    )
    polynomial_siemens: tuple[float, float, float, float] = quantity(
        "S", "sigma(x) = c0 + c1 x + c2 x^2 + c3 x^3, x = G / g_reference"
    )
    scale: float = quantity("-", "multiplies sigma (1 = the published law)", 1.0, ge=0)
    states: tuple[float, float] | None = quantity(
        "-", "lowest and highest x that sigma was measured at (None: all)", None, later=True
    )
    source: str = ""

    @model_validator(mode="after")
    def _nowhere_negative(self) -> Self:
        low, high = self.states or (0.0, 1.0)
        if not 0 <= low < high:
            raise ValueError(f"states = ({low:g}, {high:g}); wanted 0 <= lowest < highest")
        c = self.polynomial_siemens
        places = [low, high, *(x for x in _roots(c[1], 2 * c[2], 3 * c[3]) if low < x < high)]
        least = min(places, key=lambda x: _value(c, x))
        if _value(c, least) < -1e-12 * sum(abs(part) for part in c):
            raise ValueError(
                f"sigma is {_value(c, least):.3g} S at x = {least:.3g}; no standard deviation is "
                "negative: change polynomial_siemens, or end it at the measured states "
                "(field states)"
            )
        return self


def _value(c: tuple[float, ...], x: float) -> float:
    return c[0] + x * (c[1] + x * (c[2] + x * c[3]))


def _roots(a: float, b: float, c: float) -> list[float]:
    """Return the real roots of ``a + b x + c x^2``."""
    if c == 0:
        return [] if b == 0 else [-a / b]
    square = b * b - 4 * a * c
    if square < 0:
        return []
    return [(-b + sign * math.sqrt(square)) / (2 * c) for sign in (-1, 1)]


class DriftLaw(Spec):
    """Drift: G(t) = G_prog ((t + t0) / t0)^-nu, nu = |mu(x) + sigma(x) xi| per device."""

    exponent_mean: StateCurve = quantity("-", "mean of nu against state")
    exponent_std: StateCurve = quantity(
        "-", "standard deviation of nu between devices against state"
    )
    scale: float = quantity("-", "multiplies nu (1 = the published law)", 1.0, ge=0)
    source: str = ""


class ReadNoiseLaw(Spec):
    """1/f read noise: sigma = G(t) Q_s(x) sqrt(ln((t + t_read) / (2 t_read))), x of the target.

    The band above ``1 / inference_seconds`` is fresh in every MVM; the band below is
    constant at one time and changes with time, as the sum of components whose periods are evenly
    distributed over the logarithm of time ("split"). "frozen" and "per_mvm" put all of it in one
    part.
    """

    amplitude: StateCurve = quantity("-", "Q_s against state")
    t_read_seconds: float = quantity("s", "duration of the read behind the fit", gt=0)
    band: Literal["split", "frozen", "per_mvm"] = quantity("-", "which part is fresh", "split")
    inference_seconds: float = quantity(
        "s", "duration of one inference: the edge between the two bands", 1e-3, gt=0
    )
    scale: float = quantity("-", "multiplies sigma (1 = the published law)", 1.0, ge=0)
    source: str = ""


class ResetState(Spec):
    """The state of a device that is left in RESET: its own distribution, not a target."""

    mean_siemens: float = quantity("S", "mean conductance of one RESET device", ge=0)
    std_siemens: float = quantity(
        "S", "standard deviation of one RESET device (clipped at 0)", ge=0
    )
    source: str = ""


class FaultSpec(Spec):
    """Cells that no longer switch: a fixed draw per device, the same after every programming."""

    stuck_set_fraction: float = quantity("-", "devices that stay at stuck_set", 0.0, ge=0, le=1)
    stuck_reset_fraction: float = quantity("-", "devices that stay in RESET", 0.0, ge=0, le=1)
    stuck_set_siemens: float = quantity("S", "conductance of a stuck-SET device", gt=0)
    source: str = ""

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.stuck_set_fraction + self.stuck_reset_fraction > 1:
            raise ValueError("stuck_set_fraction + stuck_reset_fraction is above 1")
        return self


class TemperatureLaw(Spec):
    """Conductance and drift at another temperature: an uncalibrated knob, see ``source``.

    ``G(T) = G(T0) exp(-(Ea(x) / k_B) (1/T - 1/T0))`` with Ea falling linearly from
    ``activation_reset_ev`` at x = 0 to ``activation_set_ev`` at x = 1; structural relaxation
    runs faster by ``exp((E_relax / k_B) (1/T0 - 1/T))``, which stretches the drift clock.
    """

    kelvin: float = quantity("K", "temperature after programming", gt=0)
    reference_kelvin: float = quantity("K", "temperature of the published laws", 300.0, gt=0)
    activation_reset_ev: float = quantity("eV", "activation energy of conduction at x = 0", ge=0)
    activation_set_ev: float = quantity("eV", "the same at x = 1", ge=0)
    relaxation_ev: float = quantity("eV", "activation energy of the drift clock", ge=0)
    source: str = ""
