"""A phase-change memory device as a whole."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from .base import quantity
from .device import DriftLaw, FaultSpec, ProgrammingLaw, ReadNoiseLaw, ResetState, TemperatureLaw
from .family import READ_NOISE, DeviceSpec, Effect, declare
from .writing import (
    GradientProgramming,
    ProgrammingCurve,
    ProgramVerify,
    PulseSpec,
    Replay,
    SetState,
)

Scheme = Annotated[
    ProgrammingLaw | ProgramVerify | GradientProgramming | Replay, Field(discriminator="scheme")
]


class ClosedLoop(NamedTuple):
    """A program-and-verify loop and the pulses that it writes with.

    Attributes
    ----------
    scheme : ProgramVerify
        The loop.
    pulses : PulseSpec
        Laws of the pulses, of which the next two are parts.
    set : SetState
        Law of full SET pulses.
    curve : ProgrammingCurve
        Law of square pulses.
    """

    scheme: ProgramVerify
    pulses: PulseSpec
    set: SetState
    curve: ProgrammingCurve


@declare
class PcmSpec(DeviceSpec):
    """Phase-change memory: its conductance range and its statistical laws.

    A law describes one *element*: a single device, or a pair of devices of one polarity that
    the published fit treats as one (``devices_per_element = 2``). ``None`` for a law means
    that the effect is absent.
    """

    effects: ClassVar[tuple[Effect, ...]] = (
        Effect("programming error", "programming", None),
        Effect("drift", "drift", None),
        Effect(READ_NOISE, "read_noise", None),
        Effect("RESET state", "reset", {"mean_siemens": 0.0, "std_siemens": 0.0}),
        Effect("stuck devices", "faults", None, "faulty cells"),
        Effect("temperature", "temperature", None, "temperature"),
    )

    family: Literal["pcm"] = quantity("-", "device family: phase-change memory", "pcm", later=True)
    g_max_siemens: float = quantity(
        "S", "largest element conductance that is asked for: the same devices over a smaller range",
        gt=0,
    )  # fmt: skip
    g_reference_siemens: float = quantity(
        "S", "largest conductance of the published fit: state x = G / this", gt=0
    )
    material_scale: float = quantity(
        "-", "another material, an assumption: errors, RESET and range of the laws in siemens "
        "times this, relative errors as published", 1.0, later=True, gt=0,
    )  # fmt: skip
    devices_per_element: Literal[1, 2] = quantity("-", "devices that one fitted element stands for")
    t0_seconds: float = quantity(
        "s", "age of the devices when the clock starts: the law's reference read", gt=0
    )
    programming: Scheme | None = quantity("-", "how targets are written, with which error")
    drift: DriftLaw | None = quantity("-", "conductance drift")
    read_noise: ReadNoiseLaw | None = quantity("-", "1/f read noise")
    reset: ResetState = quantity("-", "devices left in RESET")
    zero_target: Literal["reset", "programmed"] = quantity(
        "-", "what happens to the elements of a cell whose weight is exactly zero", "reset"
    )
    pulses: PulseSpec | None = quantity(
        "-", "the pulse-level device behind closed-loop schemes", None, later=True
    )
    faults: FaultSpec | None = quantity("-", "stuck cells", None, later=True)
    temperature: TemperatureLaw | None = quantity(
        "-", "another temperature than that of the laws", None, later=True
    )
    source: str = ""

    @model_validator(mode="after")
    def _inside_the_fit(self) -> Self:
        laws = [self.programming, self.drift, self.read_noise]
        statistical = [law for law in laws if law is not None and hasattr(law, "scale")]
        if statistical and self.g_max_siemens > self.fitted_siemens * (1 + 1e-9):
            top = f"{self.fitted_siemens * 1e6:.4g} uS"
            raise ValueError(
                f"g_max_siemens = {self.g_max_siemens * 1e6:.4g} uS lies above the range of the "
                f"fit, 0 to {top} ({self.source or statistical[0].source or 'no source given'}); "
                f"ask for at most {top}, or describe another material with material_scale"
            )
        if self.material_scale != 1 and not (
            self.programming is None or self.programming.scheme == "statistical"
        ):
            raise ValueError(
                f"material_scale = {self.material_scale:g} stretches statistical laws; pulses and "
                f"measured devices ({self.programming.scheme}) have conductances of their own: "
                "leave it at 1"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Self:
        scheme = "none" if self.programming is None else self.programming.scheme
        if scheme in ("program-and-verify", "gradient"):
            if self.pulses is None or self.pulses.curve is None or self.pulses.set is None:
                raise ValueError(
                    f"programming by {scheme} writes with pulses; give pulses with a curve and a "
                    "set state, for example those of presets.pcm_hermes_closed_loop()"
                )
            if self.devices_per_element != 1:
                raise ValueError(
                    f"programming by {scheme} writes single devices; set devices_per_element to 1"
                )
        if scheme == "replay":
            laws = ("drift", "read_noise", "temperature")
            given = [name for name in laws if getattr(self, name) is not None]
            if given or self.reset.std_siemens > 0:
                raise ValueError(
                    "replayed traces hold drift, noise and heat already, and devices left in "
                    f"RESET stand still; set {', '.join(given or ['reset.std_siemens'])} to "
                    f"{'None' if given else 0}"
                )
        return self

    @classmethod
    def perfect(cls, g_max_siemens: float) -> Self:
        """Return a device that keeps every conductance exactly and is zero when in RESET.

        Parameters
        ----------
        g_max_siemens : float, siemens
            Largest conductance.
        """
        return cls(
            g_max_siemens=g_max_siemens,
            g_reference_siemens=g_max_siemens,
            devices_per_element=1,
            t0_seconds=1.0,
            programming=None,
            drift=None,
            read_noise=None,
            reset=ResetState(mean_siemens=0.0, std_siemens=0.0),
            source="no physical effect",
        )

    def ideal(self) -> Self:
        """Return :meth:`perfect` devices with the same largest conductance."""
        return self.perfect(self.g_max_siemens)

    @property
    def loop(self) -> ProgramVerify | None:
        """The program-and-verify loop of the scheme (or of its starting point), if it has one."""
        scheme = self.programming
        if isinstance(scheme, GradientProgramming):
            scheme = scheme.start
        return scheme if isinstance(scheme, ProgramVerify) else None

    def closed_loop(self) -> ClosedLoop:
        """Return the loop of the scheme with its pulses.

        Raises
        ------
        ValueError
            If the scheme has none.
        """
        loop, pulses = self.loop, self.pulses
        if loop is None or pulses is None or pulses.set is None or pulses.curve is None:
            raise ValueError(
                "core.device.programming is no closed loop; take a device that has one, for "
                "example presets.pcm_hermes_closed_loop()"
            )
        return ClosedLoop(loop, pulses, pulses.set, pulses.curve)

    @property
    def fitted_siemens(self) -> float:
        """Largest conductance that the statistical laws describe, S."""
        return self.g_reference_siemens * self.material_scale

    @property
    def filled_devices(self) -> int:
        """Elements of one polarity that share a weight: 2 for max-SET-fill, else 1."""
        return 2 if self.loop is not None and self.loop.fill == "max-set-fill" else 1
