"""The device as a whole."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Spec, quantity
from .device import DriftLaw, FaultSpec, ProgrammingLaw, ReadNoiseLaw, ResetState, TemperatureLaw
from .writing import GradientProgramming, ProgramVerify, PulseSpec, Replay

Scheme = Annotated[
    ProgrammingLaw | ProgramVerify | GradientProgramming | Replay, Field(discriminator="scheme")
]


class PcmSpec(Spec):
    """The device of one chip: its conductance range and its statistical laws.

    A law describes one *element*: a single device, or a pair of devices of one polarity that
    the published fit treats as one (``devices_per_element = 2``). ``None`` for a law means
    that the effect is absent.
    """

    g_max_siemens: float = quantity("S", "largest element conductance that is asked for", gt=0)
    g_reference_siemens: float = quantity("S", "g_max of the published fit", gt=0)
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

    @property
    def loop(self) -> ProgramVerify | None:
        """The program-and-verify loop of the scheme (or of its starting point), if it has one."""
        scheme = self.programming
        if isinstance(scheme, GradientProgramming):
            scheme = scheme.start
        return scheme if isinstance(scheme, ProgramVerify) else None

    @property
    def filled_devices(self) -> int:
        """Elements of one polarity that share a weight: 2 for max-SET-fill, else 1."""
        return 2 if self.loop is not None and self.loop.fill == "max-set-fill" else 1
