"""A resistive memory device (filamentary oxide) as a whole."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from .base import Spec, quantity
from .family import READ_NOISE, DeviceSpec, Effect, declare


class RramProgramming(Spec):
    """Program-and-verify to a relative acceptance: G = G_target + (a G_target + b) xi."""

    slope: float = quantity("-", "a: standard deviation per conductance", ge=0)
    offset_siemens: float = quantity("S", "b: standard deviation at zero conductance", ge=0)
    scale: float = quantity("-", "multiplies the standard deviation (1 = the published law)", 1.0,
                            ge=0)  # fmt: skip
    source: str = ""


class RelaxationLaw(Spec):
    """Relaxation after programming, alike at all conductances, linear in the logarithm of time.

    With s = ln(age / reference): the mean moves by ``mean s``, and devices differ with the standard
    deviation ``std + std_growth s``. A device keeps its place among the others (assumption: the
    source gives distributions at times, not traces).
    """

    reference_seconds: float = quantity("s", "age at which the mean has not moved", gt=0)
    mean_siemens: float = quantity("S", "shift of the mean per unit of ln(age)")
    std_siemens: float = quantity("S", "standard deviation at the reference age", ge=0)
    std_growth_siemens: float = quantity("S", "its growth per unit of ln(age)", ge=0)
    scale: float = quantity("-", "multiplies shift and standard deviation", 1.0, ge=0)
    source: str = ""


class RramNoiseLaw(Spec):
    """1/f read noise: sigma = K log10(G / 1 uS) sqrt(ln((t + t_read) / (2 t_read))).

    The bands are those of :class:`~aimc_sim.spec.ReadNoiseLaw`.
    """

    per_decade_siemens: float = quantity("S", "K: amplitude per decade of G above 1 uS", ge=0)
    t_read_seconds: float = quantity("s", "duration of the read behind the fit", gt=0)
    band: Literal["split", "frozen", "per_mvm"] = quantity("-", "which part is fresh", "split")
    inference_seconds: float = quantity(
        "s", "duration of one inference: the edge between the two bands", 1e-3, gt=0
    )
    scale: float = quantity("-", "multiplies sigma (1 = the published law)", 1.0, ge=0)
    source: str = ""


@declare
class RramSpec(DeviceSpec):
    """Resistive memory: one device per polarity, written between two ends of its range.

    Devices that carry no weight are written to the lower end, as any other level. ``None`` for a
    law means that the effect is absent.
    """

    effects: ClassVar[tuple[Effect, ...]] = (
        Effect("programming error", "programming", None),
        Effect("relaxation", "relaxation", None),
        Effect(READ_NOISE, "read_noise", None),
    )

    family: Literal["rram"] = quantity("-", "device family: resistive memory", "rram")
    low_siemens: float = quantity("S", "lower end of the characterised range", ge=0)
    high_siemens: float = quantity("S", "upper end of the characterised range", gt=0)
    programming: RramProgramming | None = quantity("-", "error of program-and-verify")
    relaxation: RelaxationLaw | None = quantity("-", "change of conductance after programming")
    read_noise: RramNoiseLaw | None = quantity("-", "1/f read noise")
    source: str = ""

    @model_validator(mode="after")
    def _range_in_order(self) -> Self:
        if not self.low_siemens < self.g_max_siemens <= self.high_siemens * (1 + 1e-9):
            raise ValueError(
                f"g_max_siemens = {self.g_max_siemens:g} must lie above low_siemens = "
                f"{self.low_siemens:g} and at most at high_siemens = {self.high_siemens:g}, the "
                f"characterised range ({self.source or 'no source given'})"
            )
        return self

    def not_modelled(self) -> tuple[str, ...]:
        """Return the effects of resistive memory that have no law here."""
        return (
            *super().not_modelled(),
            "faulty cells, temperature and nonlinear current of resistive memory (core.device)",
        )
