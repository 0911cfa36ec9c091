"""How a device is written: single pulses, and the schemes that choose them.

Variability has two knobs wherever it occurs: fields that start with ``device_`` stay with a
device for good, fields that start with ``cycle_`` are drawn anew in every pulse.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from .base import Spec, quantity

# --------------------------------------------------------------------------- pulses


class AccumulationLaw(Spec):
    """A crystallising (partial-SET) pulse: ``G <- clip(G + mean + std xi)``.

    With p the pulses since the last RESET, this one included:
    ``mean = m1 G + c1 + A1 exp(-p / alpha)``, ``std = m2 G + c2 + A2 exp(-p / alpha)``.
    """

    mean_slope: float = quantity("-", "m1")
    mean_offset_siemens: float = quantity("S", "c1")
    mean_first_siemens: float = quantity("S", "A1: extra of the first pulses", ge=0)
    std_slope: float = quantity("-", "m2", ge=0)
    std_offset_siemens: float = quantity("S", "c2", ge=0)
    std_first_siemens: float = quantity("S", "A2: extra of the first pulses", ge=0)
    decay_pulses: float = quantity("-", "alpha", gt=0)
    cycle_scale: float = quantity("-", "multiplies std, fresh in every pulse", 1.0, ge=0)
    device_std_fraction: float = quantity(
        "-",
        "standard deviation between devices, of a factor on the mean step (0 = published)",
        0.0,
        ge=0,
    )
    amperes: float = quantity("A", "pulse amplitude", gt=0)
    seconds: float = quantity("s", "pulse duration", gt=0)
    source: str = ""


class SetState(Spec):
    """A full SET pulse: G = median exp(core + device + cycle), each of them normal."""

    median_siemens: float = quantity("S", "median over cores and devices", gt=0)
    core_std: float = quantity("-", "standard deviation of ln G between cores", 0.0, ge=0)
    device_std: float = quantity(
        "-", "standard deviation of ln G between devices of a core", 0.0, ge=0
    )
    cycle_std: float = quantity("-", "standard deviation of ln G from pulse to pulse", 0.0, ge=0)
    amperes: float = quantity("A", "pulse amplitude", gt=0)
    seconds: float = quantity("s", "pulse duration with its trailing edge", gt=0)
    source: str = ""


class ProgrammingCurve(Spec):
    """Partial RESET: where a square pulse of amplitude I leaves a mushroom cell.

    The cap of amorphous material grows with the current and log G falls from the SET level of
    the device to RESET: ``log10 G = log10 G_set - log10(G_set / G_reset) s``, with
    ``s = 1 / (1 + exp(-(I - half) / width))`` and the device's own ``half``. The pulse melts and
    quenches the cap, so the state depends on the pulse alone, not on the state before.
    """

    half_amperes: float = quantity("A", "current at the middle of the curve", gt=0)
    width_amperes: float = quantity("A", "width of the transition", gt=0)
    device_std_amperes: float = quantity(
        "A", "standard deviation of half between devices", 0.0, ge=0
    )
    cycle_std_decades: float = quantity(
        "-", "standard deviation of log10 G from pulse to pulse", 0.0, ge=0
    )
    seconds: float = quantity("s", "pulse duration", gt=0)
    source: str = ""


class ResetPulse(Spec):
    """A full RESET pulse; the state it leaves is the device's ``reset``."""

    low_siemens: float = quantity("S", "lower clip of the state it leaves", 0.0, ge=0)
    amperes: float = quantity("A", "pulse amplitude", gt=0)
    seconds: float = quantity("s", "pulse duration", gt=0)
    source: str = ""


class PulseSpec(Spec):
    """Effects of single pulses on a device; ``None`` for a pulse that it has no law for."""

    low_siemens: float = quantity("S", "lower end of the conductance range of pulses", ge=0)
    high_siemens: float = quantity("S", "upper end of the conductance range of pulses", gt=0)
    accumulation: AccumulationLaw | None = quantity("-", "crystallising pulses", None)
    set: SetState | None = quantity("-", "full SET pulse", None)
    curve: ProgrammingCurve | None = quantity("-", "square pulses: partial RESET", None)
    reset: ResetPulse = quantity("-", "full RESET pulse")
    write_volts: float = quantity("V", "voltage behind the write current, for energies", gt=0)
    source: str = ""

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.low_siemens >= self.high_siemens:
            raise ValueError(
                f"low_siemens = {self.low_siemens:g} must be below high_siemens = "
                f"{self.high_siemens:g}"
            )
        return self


# --------------------------------------------------------------------------- schemes


class VerifyRead(Spec):
    """The read between two pulses: one device, in ADC counts."""

    count_siemens: float = quantity("S", "conductance of one ADC count", gt=0)
    volts: float = quantity("V", "read voltage", gt=0)
    precharge_seconds: float = quantity("s", "settling before the read", ge=0)
    seconds: float = quantity("s", "duration of the read", gt=0)
    source: str = ""


class ProgramVerify(Spec):
    """Closed loop per device: pulse, read, change the current by the error, until it fits.

    A diagonal of the crossbar (one device per row and column) is written and read at a time.
    """

    scheme: Literal["program-and-verify"] = quantity("-", "closed loop", "program-and-verify")
    fill: Literal["one-device", "max-set-fill"] = quantity(
        "-", "devices that share a weight: one tuned, or one tuned and one in SET or RESET"
    )
    verify: VerifyRead = quantity("-", "read between pulses")
    margin_counts: float = quantity("count", "the loop stops below this error", gt=0)
    max_iterations: int = quantity("-", "pulses per device at most", ge=1, le=1000)
    start_amperes: float = quantity("A", "first amplitude", gt=0)
    step_amperes_per_count: float = quantity("A", "change of amplitude per count of error", gt=0)
    low_amperes: float = quantity("A", "lower end of the amplitude", gt=0)
    high_amperes: float = quantity("A", "upper end of the amplitude", gt=0)
    write_channels: int = quantity("-", "current sources that write at the same time", ge=1)
    settled_seconds: float = quantity(
        "s", "age at which the verify read holds: devices drift apart from then to t0", gt=0,
    )  # fmt: skip
    source: str = ""

    @model_validator(mode="after")
    def _start_inside(self) -> Self:
        if not self.low_amperes <= self.start_amperes <= self.high_amperes:
            raise ValueError(
                f"start_amperes = {self.start_amperes:g} must lie between low_amperes = "
                f"{self.low_amperes:g} and high_amperes = {self.high_amperes:g}"
            )
        return self


class GradientProgramming(Spec):
    """Closed loop on the matrix-vector product itself: stochastic gradient steps with pulses.

    Starts from ``start``; then random inputs are read through the whole crossbar, the gradient
    of the squared error says which devices to pulse, and by how much to change their current.
    """

    scheme: Literal["gradient"] = quantity("-", "closed loop on MVMs", "gradient")
    start: ProgramVerify = quantity("-", "scheme that makes the starting point")
    steps: int = quantity("-", "gradient steps", ge=1, le=10_000)
    inputs: int = quantity("-", "random input vectors per step", ge=1, le=65_536)
    threshold_counts: float = quantity("count", "cells with a smaller error are left alone", ge=0)
    threshold_fraction: float = quantity(
        "-", "the same, relative to the conductance of the device", ge=0
    )
    measured_seconds: float = quantity("s", "age of the devices during the products", gt=0)
    step_amperes_per_count: float = quantity("A", "change of amplitude per count of error", gt=0)
    source: str = ""


class Replay(Spec):
    """Conductances and their change in time come from a measured file, whole traces at a time."""

    scheme: Literal["replay"] = quantity("-", "measured traces", "replay")
    path: str = quantity("-", "the file; the identity holds its content, not its place")
    sha256: str = quantity("-", "checksum of the file", min_length=64, max_length=64)
    source: str = ""
