"""Devices that a pulse moves by a step in either direction: bounds, step laws, variation, noise.

Numbers of the laws are weights of a synapse: dimensionless, zero in the middle or at the lower end
of the range. ``low_siemens`` to ``g_max_siemens`` are the conductances of the nominal bounds.

Form of the laws: the pulsed devices of IBM's AIHWKit at commit 4545f11 (``rpucuda``), which go back
to T. Gokmen and Y. Vlasov, Front. Neurosci. 10, 333 (2016), doi:10.3389/fnins.2016.00333.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from .base import Spec, quantity
from .family import READ_NOISE, DeviceSpec, Effect, declare

# ------------------------------------------------------------------------- forms of a step


class ConstantStep(Spec):
    """Every pulse moves a device by the same step, up to its bound."""

    form: Literal["constant"] = quantity("-", "the step does not depend on the state", "constant")
    source: str = ""


class LinearStep(Spec):
    """The step falls linearly with the state: ``s+ (1 - g+ w / w_max)``, ``s- (1 - g- w / w_min)``.

    ``w_max`` and ``w_min`` are here the nominal bounds: the slope does not depend on a device's
    own.
    """

    form: Literal["linear"] = quantity("-", "the step is linear in the state", "linear")
    decrease_up: float = quantity(
        "-", "g+: share of the step up that is lost at the upper bound", ge=0
    )
    decrease_down: float = quantity(
        "-", "g-: share of the step down that is lost at the lower bound", ge=0
    )
    device_std_up: float = quantity("-", "standard deviation of g+ between devices", 0.0, ge=0)
    device_std_down: float = quantity("-", "standard deviation of g- between devices", 0.0, ge=0)
    source: str = ""


class SoftBounds(Spec):
    """The step vanishes at the device's own bound: ``s+ (1 - p / w_max)``, ``s- (1 - p / w_min)``.

    The weight is ``w = p - r`` with the state p of the device and a fixed reference r.
    """

    form: Literal["soft-bounds"] = quantity("-", "the step vanishes at the bound", "soft-bounds")
    reference_mean: float = quantity("-", "mean of the reference r", 0.0)
    reference_std: float = quantity("-", "standard deviation of r between devices", 0.0, ge=0)
    subtract_symmetry_point: bool = quantity(
        "-", "whether the state where both steps are equal is part of the reference", False
    )
    source: str = ""


class ExponentialStep(Spec):
    """``s+ max(0, 1 - A+ exp(c+ z))``, ``s- max(0, 1 - A- exp(-c- z))``, ``z = 2 a w / range + b``.

    The range is that of the device: its upper less its lower bound.
    """

    form: Literal["exponential"] = quantity(
        "-", "the step is exponential in the state", "exponential"
    )
    a: float = quantity("-", "a: scale of the state")
    b: float = quantity("-", "b: shift of the state")
    rate_up: float = quantity("-", "c+")
    rate_down: float = quantity("-", "c-")
    factor_up: float = quantity("-", "A+")
    factor_down: float = quantity("-", "A-")
    source: str = ""


StepForm = Annotated[
    ConstantStep | LinearStep | SoftBounds | ExponentialStep, Field(discriminator="form")
]

# ------------------------------------------------------------------------- variation, noise


class StepVariation(Spec):
    """Differences between devices, normal unless said; they stay with a device for good."""

    step_std: float = quantity("-", "standard deviation of the step, relative", 0.0, ge=0)
    step_law: Literal["normal", "lognormal"] = quantity(
        "-", "normal: 1 + std xi; lognormal: exp(std xi)", "normal"
    )
    up_down_std: float = quantity(
        "-", "standard deviation of the difference of step up and step down from their mean, in "
        "nominal steps", 0.0, ge=0,
    )  # fmt: skip
    upper_std: float = quantity(
        "-", "standard deviation of the upper bound, relative to it", 0.0, ge=0
    )
    lower_std: float = quantity(
        "-", "standard deviation of the lower bound, relative to it", 0.0, ge=0
    )
    dead_fraction: float = quantity("-", "share of devices that no pulse moves", 0.0, ge=0, le=1)
    dead_range: float = quantity("-", "they are uniformly within +-this, and within their bounds",
                                 0.01, ge=0)  # fmt: skip
    source: str = ""


class CycleNoise(Spec):
    """Noise of single pulses: ``std (step |dw| + scale s + offset + state |p|) xi``.

    ``dw`` is the mean change by the pulse, ``s`` the device's own scale of steps in that direction,
    p its state before.
    """

    std: float = quantity("-", "factor on all parts", ge=0)
    step: float = quantity("-", "part that is relative to the mean change", 0.0, ge=0)
    scale: float = quantity("-", "part that is relative to the device's scale of steps", 0.0, ge=0)
    offset: float = quantity("-", "part that is alike everywhere, in weight", 0.0, ge=0)
    state: float = quantity("-", "part that is relative to the state", 0.0, ge=0)
    source: str = ""


class StepReset(Spec):
    """A RESET pulse: the state is ``bias + cycle_std xi`` with the device's own bias."""

    mean: float = quantity("-", "mean of the bias, a weight")
    device_std: float = quantity("-", "standard deviation of the bias", 0.0, ge=0)
    cycle_std: float = quantity("-", "standard deviation from RESET to RESET", 0.0, ge=0)
    source: str = ""


class StepLeak(Spec):
    """Charge that leaks away: states fall to zero with a time constant of the device."""

    seconds: float = quantity("s", "time constant", gt=0)
    device_std: float = quantity("-", "standard deviation of it, relative", 0.0, ge=0)
    source: str = ""


class StepWriting(Spec):
    """Closed loop that writes a target: read, give as many pulses as the error asks for, read.

    The number of pulses is the error divided by the step of the nominal device at the state that
    was read. Devices that go up only are RESET where they overshoot, and start again.
    """

    margin: float = quantity("-", "the loop stops within this error, a weight", gt=0)
    most_iterations: int = quantity("-", "reads of a device at most", ge=1, le=10_000)
    most_pulses: int = quantity("-", "pulses between two reads at most", 31, ge=1, le=10_000)
    source: str = ""


# ------------------------------------------------------------------------- the device


@declare
class StepSpec(DeviceSpec):
    """A device that pulses move step by step, for arrays that learn and for chips.

    Up increases the weight. With ``step`` d and ``up_down`` b the nominal scales of steps are
    ``d (1 + min(b, 0))`` upward and ``d (1 - max(b, 0))`` downward: an asymmetry makes one
    direction smaller and none larger.
    """

    effects: ClassVar[tuple[Effect, ...]] = (
        Effect("programming error", "programming", None, "pulses of the writing loop"),
        Effect("device-to-device variation", "variation", None),
        Effect("noise of pulses", "cycle", None),
        Effect("write noise", "write_noise", 0.0),
        Effect("leakage", "leak", None),
        Effect(READ_NOISE, "read_noise", 0.0),
    )

    family: Literal["steps"] = quantity("-", "device family: step by step", "steps")
    low_siemens: float = quantity("S", "conductance at the nominal lower bound", ge=0)
    lower: float = quantity("-", "nominal lower bound, a weight", le=0)
    upper: float = quantity("-", "nominal upper bound, a weight", gt=0)
    step: float = quantity("-", "d: nominal scale of a step, a weight", gt=0)
    up_down: float = quantity("-", "b: asymmetry of the two directions", 0.0, gt=-1, lt=1)
    directions: Literal["both", "up"] = quantity("-", "directions of pulses", "both")
    shape: StepForm = quantity("-", "how the step depends on the state")
    variation: StepVariation | None = quantity("-", "differences between devices", None)
    cycle: CycleNoise | None = quantity("-", "noise of single pulses", None)
    write_noise: float = quantity(
        "-", "standard deviation of the weight that is there about the state that steps count on, "
        "in nominal steps, drawn anew by every pulse", 0.0, ge=0,
    )  # fmt: skip
    reset: StepReset | None = quantity("-", "RESET pulse", None)
    leak: StepLeak | None = quantity("-", "leakage of charge", None)
    read_noise: float = quantity(
        "-", "standard deviation of a read, a weight, fresh every time", 0.0, ge=0
    )
    programming: StepWriting | None = quantity(
        "-", "closed loop that writes a target; None: targets are written without error", None
    )
    pulse_seconds: float = quantity("s", "duration of a pulse", gt=0)
    pulse_volts: float = quantity("V", "voltage of a pulse, for its heat", gt=0)
    source: str = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.low_siemens >= self.g_max_siemens:
            raise ValueError(
                f"low_siemens = {self.low_siemens:g} must be below g_max_siemens = "
                f"{self.g_max_siemens:g}"
            )
        if self.directions == "both" and self.lower == 0:
            raise ValueError(
                "directions = 'both' with lower = 0: a device of both directions has its weight "
                "zero inside the range; give a lower bound below 0"
            )
        if self.directions == "up" and self.reset is None:
            raise ValueError(
                "directions = 'up' without reset: a device that no pulse moves down needs a RESET"
            )
        return self

    @property
    def scales(self) -> tuple[float, float]:
        """Nominal scales of steps up and down, in weight."""
        up = self.step * (1 + min(self.up_down, 0.0))
        return up, self.step * (1 - max(self.up_down, 0.0))

    @property
    def states(self) -> float:
        """Nominal number of steps in the range."""
        return (self.upper - self.lower) / self.step

    def not_modelled(self) -> tuple[str, ...]:
        """Return the effects of such devices that have no law here."""
        return (
            *super().not_modelled(),
            "half-selected pulses, temperature and nonlinear current of stepped devices "
            "(core.device)",
            "time and energy of the reads in the writing loop of stepped devices (core.device)",
        )
