"""The ADC of the chip as a circuit: a current-controlled oscillator and two counters."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from .base import Spec, quantity


class CcoAdcSpec(Spec):
    """One ADC per column: mirrors, oscillator, a counter for each direction of the current.

    A polarity's mirror hands ``alpha i`` to the oscillator, which runs at
    ``f = A x / (1 + B x) + C`` with ``x = alpha i`` (JSSC 2022, eq. 6 to 8); a feed-forward
    ``beta`` works against B. Defaults are the 64-core chip. Their origin: READ = stands in
    JSSC 57, 1027 (2022) or arXiv:2212.02872; DERIVED = follows from such numbers;
    ASSUMED = not found in any publication.
    """

    kind: Literal["cco"] = quantity("-", "current-controlled oscillator and counters", "cco")
    gain_hertz_per_ampere: float = quantity("Hz/A", "A. READ: 35 MHz/uA", 35e12, gt=0)
    nonlinearity_per_ampere: float = quantity(
        "1/A", "B. DERIVED: 3.5 GHz at 100 uA become the 3.3 GHz that are READ, 300 ps a period",
        606.0, ge=0,
    )  # fmt: skip
    offset_hertz: float = quantity("Hz", "C, the same in every ADC. ASSUMED", 0.0)
    full_scale_amperes: float = quantity(
        "A", "the mirrors pass no more. READ: saturation near 100 uA", 100e-6, gt=0
    )
    max_hertz: float | None = quantity(
        "Hz", "hard ceiling of the oscillator; None = full_scale_amperes alone limits. READ is "
        "'3.3 GHz at most', but a ceiling there would stop every ADC with more than 94 % of the "
        "mean gain below 100 uA, against the +-1 LSB that is READ too: taken as the frequency of "
        "the mean oscillator at full scale, see B", None, gt=0,
    )  # fmt: skip
    edges_per_period: float = quantity(
        "count", "counts per period. DERIVED: 80 counts for 10.35 uS at 0.2 V in 512 ns are READ "
        "(chip), 37.1 periods follow from A; 966 counts at 100 uA in 128 ns. Both edges counted "
        "would give 2; the last 8 % are unexplained", 80 / (10.35e-6 * 0.2 * 512e-9 * 35e12), gt=0,
    )  # fmt: skip
    counter_bits: int | None = quantity(
        "bit", "of each counter; None = unlimited. READ: 12", 12, ge=1, le=32
    )
    overflow: Literal["wrap", "saturate"] = quantity(
        "-", "a ripple counter starts again at 0. ASSUMED; 100 uA in 512 ns are 3,865 of 4,095",
        "wrap",
    )  # fmt: skip
    jitter_counts: float = quantity(
        "count", "standard deviation of a count before rounding: phase at the start, jitter. "
        "ASSUMED",
        0.3, ge=0,
    )  # fmt: skip
    gain_std_fraction: float = quantity(
        "-",
        "standard deviation of ln A before trim. ASSUMED; what trim leaves hardly depends on it",
        0.2,
        ge=0,
    )
    mirror_std_fraction: float = quantity(
        "-",
        "standard deviation of ln of a mirror's ratio, one mirror per polarity. ASSUMED",
        0.15,
        ge=0,
    )
    shared_oscillator: bool = quantity(
        "-", "both polarities use one oscillator, whose edges a Schmitt trigger steers. READ", True
    )
    nonlinearity_std_fraction: float = quantity(
        "-", "relative standard deviation of B between oscillators. ASSUMED", 0.1, ge=0, lt=0.2
    )
    offset_std_amperes: float = quantity(
        "A", "standard deviation of C, as a current at mean gain. ASSUMED", 0.5e-6, ge=0
    )
    trim_bits: int = quantity("bit", "settings of a mirror's ratio alpha. READ: 4", 4, ge=1, le=8)
    trim_step_fraction: float = quantity(
        "-", "step of ln alpha. ASSUMED: 16 steps reach 3.8 times the standard deviation before "
        "trim",
        0.12, gt=0,
    )  # fmt: skip
    trim_std_fraction: float = quantity(
        "-", "error of ln alpha of each setting. DERIVED: with half a step of resolution it "
        "leaves the standard deviation of 7.09 % that is READ", 0.0715, ge=0,
    )  # fmt: skip
    trim_accept_fraction: float = quantity(
        "-", "an ADC whose gain is further off tries all settings. READ: all within +-21 %",
        0.21, gt=0, lt=1,
    )  # fmt: skip
    offset_bits: int = quantity("bit", "settings of the offset trim. ASSUMED", 5, ge=1, le=12)
    offset_step_amperes: float = quantity("A", "its step. ASSUMED", 0.15e-6, gt=0)
    feed_forward_bits: int = quantity("bit", "settings of beta. ASSUMED", 6, ge=1, le=12)
    feed_forward_step_per_ampere: float = quantity("1/A", "its step. ASSUMED", 24.0, gt=0)
    calibration_fractions: tuple[float, float, float] = quantity(
        "-", "known currents / full scale: low, mid, max. READ: three, the last one 100 uA; the "
        "others ASSUMED", (0.1, 0.5, 1.0),
    )  # fmt: skip
    calibration_reads: int = quantity(
        "-", "reads averaged per current. READ: several; the number ASSUMED", 32, ge=1, le=65_536
    )
    calibrated: bool = quantity("-", "False: trims in the middle, mean gain assumed", True)
    wrong_sign_amperes: float = quantity(
        "A", "below it the Schmitt trigger keeps its last state (1-phase). That it errs at low "
        "current is READ (npj Unconv. Comput. 1, 11, 2024); the size ASSUMED", 0.0, ge=0,
    )  # fmt: skip
    source: str = "JSSC 57, 1027 (2022), doi:10.1109/JSSC.2022.3140414; arXiv:2212.02872"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, mid, top = self.calibration_fractions
        if not 0 < low < mid < top <= 1:
            raise ValueError(
                f"calibration_fractions = {self.calibration_fractions} must rise, above 0 and "
                "up to 1: low, mid and max"
            )
        if self.wrong_sign_amperes >= self.full_scale_amperes:
            raise ValueError("wrong_sign_amperes must be below full_scale_amperes")
        return self

    @property
    def bits(self) -> int | None:
        """Width of a counter, as other converters call it."""
        return self.counter_bits

    @property
    def max_code(self) -> None:
        """No largest code of its own: the current of full scale limits, not the counter."""
        return None

    @property
    def perfect(self) -> bool:
        """Whether every charge passes unchanged: never."""
        return False

    @property
    def calibrates(self) -> bool:
        """Whether the full scale of every core is chosen from calibration images: never."""
        return False

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
        return ()

    @property
    def counts_per_coulomb(self) -> float:
        """Counts per charge of the mean ADC, linearised."""
        return self.edges_per_period * self.gain_hertz_per_ampere
