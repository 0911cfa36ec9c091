"""Output converters: the plain one, the sense amplifier, and the list of all kinds.

Their laws are in :mod:`aimc_sim.core.converters`; the circuit of the chip's ADC has a file of its
own, ``cco``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import Spec, quantity
from .cco import CcoAdcSpec

ALIKE = ("nonlinearity and gain mismatch of the ADCs (core.adc)",)
"""Effects that are left out where all converters are alike."""


COMPARED = (
    "circuits that set the thresholds of sense amplifiers (core.adc)",
    "area of sense amplifiers: that of ADCs is charged (core.adc)",
)
"""Effects that are left out where columns are compared."""


class AdcSpec(Spec):
    """Output: one converter per column, symmetric about zero."""

    kind: Literal["symmetric"] = quantity(
        "-", "rounds and clips, alike for both polarities", "symmetric", later=True
    )
    bits: int | None = quantity("bit", "sign + magnitude; None = ideal", 10, ge=2, le=24)
    full_scale_amperes: float | None = quantity(
        "A", "largest mean column current; above it the code saturates; None = no limit", gt=0
    )
    range: Literal["fixed", "calibrated"] = quantity(
        "-", "full scale of every core: full_scale_amperes, or what the calibration images need "
        "(calibration.range_method) up to full_scale_amperes", "fixed", later=True,
    )  # fmt: skip
    source: str = ""

    @model_validator(mode="after")
    def _has_range(self) -> Self:
        open_ended = self.full_scale_amperes is None and self.range == "fixed"
        if self.bits is not None and open_ended:
            raise ValueError(
                "an ADC with finite bits needs full_scale_amperes, or range = 'calibrated'"
            )
        return self

    @property
    def max_code(self) -> int | None:
        """Largest magnitude of the output code, or None for an ideal converter."""
        return None if self.bits is None else int(2 ** (self.bits - 1) - 1)

    @property
    def perfect(self) -> bool:
        """Whether every charge passes unchanged."""
        return self.bits is None and self.full_scale_amperes is None and not self.calibrates

    @property
    def calibrates(self) -> bool:
        """Whether the full scale of every core is chosen from calibration images."""
        return self.range == "calibrated"

    @property
    def calibrates_columns(self) -> bool:
        """Whether calibration finds numbers of every column, see :attr:`calibrates`."""
        return False

    @property
    def graded(self) -> bool:
        """Whether codes grow with currents, as reads of a drift compensation need it."""
        return True

    @property
    def leaves_out(self) -> tuple[str, ...]:
        """Properties of a real converter that this description does not hold."""
        return ALIKE


_OF_ADCS = {
    "bits": "a comparison makes one bit",
    "full_scale_amperes": "a comparison has no full scale",
    "range": "thresholds and scales always come from calibration images",
}
"""Settings of ADCs that a sense amplifier does not have, and why."""


class SenseAmplifierSpec(Spec):
    """One comparison per column: a sense amplifier in the place of an ADC.

    The current of column c, ``i``, is compared with a threshold, and the digital unit gets one bit,
    which it turns into one of two numbers, ``threshold + scale`` or ``threshold - scale``. Partial
    sums of a layer that is split over cores are then signs times scales, added digitally. The
    abstract of arXiv:2211.02167 puts sense amplifiers in the place of high-precision ADCs and
    trains networks for them; the form ``sum_k alpha_k sign(p_k - tau_k)`` with digital scales is
    this project's.

    Currents are means over the longest pulse of an input, so that pulses of full amplitude count
    with their static current.
    """

    kind: Literal["sense-amplifier"] = quantity(
        "-", "compares once: one bit per column", "sense-amplifier"
    )
    threshold: Literal["zero", "mean"] = quantity(
        "-", "threshold of every column: no current, or the mean of its currents over the "
        "calibration images", "zero",
    )  # fmt: skip
    scale: Literal["column", "core"] = quantity(
        "-", "digital scale: of every column, or one per core; the mean distance of the currents "
        "of the calibration images from their thresholds", "column",
    )  # fmt: skip
    offset_std_amperes: float = quantity(
        "A", "standard deviation of the offset of a comparator, one per column, which nobody "
        "corrects. ASSUMED: 8 mV (the circuit of source) of 200 mV read voltage are 4 % of a sum "
        "of about 5 uA", 0.2e-6, ge=0,
    )  # fmt: skip
    noise_amperes: float = quantity(
        "A", "standard deviation of the noise of one comparison. ASSUMED", 0.05e-6, ge=0
    )
    comparison_seconds: float = quantity(
        "s", "a comparison, behind the pulses. READ: up to 1 GHz (source)", 1e-9, ge=0
    )
    joules_per_comparison: float = quantity(
        "J", "a comparison. READ: 67 fJ at worst (source), of a comparator of voltages; that "
        "nothing is spent on the voltage of a current is ASSUMED", 67e-15, ge=0,
    )  # fmt: skip
    source: str = (
        "comparator in 65 nm, simulated after layout: B. Satapathy and A. Kaur, Circuits Syst. "
        "Signal Process. 42, 5108 (2023), doi:10.1007/s00034-023-02375-6 (abstract)"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_no_adc(cls, data: Any) -> Any:
        """Refuse settings of ADCs by name."""
        for name, reason in _OF_ADCS.items():
            if isinstance(data, Mapping) and name in data:
                raise ValueError(
                    f"a sense amplifier has no '{name}': {reason}; leave it out, or set core.adc "
                    "to {'kind': 'symmetric', ...} for an ADC"
                )
        return data

    @property
    def bits(self) -> int:
        """Width of a code: one bit."""
        return 1

    @property
    def max_code(self) -> None:
        """No largest code: the two numbers of a column are its own."""
        return None

    @property
    def full_scale_amperes(self) -> None:
        """No full scale: every current is on one side of the threshold."""
        return None

    @property
    def perfect(self) -> bool:
        """Whether every charge passes unchanged: never."""
        return False

    @property
    def calibrates(self) -> bool:
        """Whether thresholds and scales are chosen from calibration images: always."""
        return True

    @property
    def calibrates_columns(self) -> bool:
        """Whether calibration finds numbers of every column, see :attr:`calibrates`."""
        return True

    @property
    def graded(self) -> bool:
        """Whether codes grow with currents: one bit does not."""
        return False

    @property
    def leaves_out(self) -> tuple[str, ...]:
        """Properties of a real converter that this description does not hold."""
        return COMPARED


Converter = Annotated[AdcSpec | CcoAdcSpec | SenseAmplifierSpec, Field(discriminator="kind")]
"""A field that holds an output converter of any kind."""
