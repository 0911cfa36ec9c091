"""The one list of effects that are not modelled: reports and pages are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .chip import ChipSpec

OUTPUTS = (
    "drift between the first and the last device written",
    "currents that are beyond the ADC for a part of the window only",
    "read noise, drift and wires of devices that are written at inference (written)",
)
"""Effects on outputs that no option switches on."""

COSTS = (
    "leakage of the array",
    "control logic of programming",
    "energy of activation memories (line buffers)",
    "energy of the host and of the links to it",
    "digital steps that select, order or add integers (pooling, shortcuts): counted, free of time "
    "and energy; arithmetic in floating point (attention, softmax, norms) and steps of spiking "
    "neurons behind a layer are charged",
    "links to cores that are written at inference: keys and values travel free",
    "cores without weights: taken to be switched off",
    "multicast in the pipeline simulation",
)
"""Omissions from time and energy."""

ASSUMPTIONS = (
    "How much of a phase's energy converters take and how much modulators is an assumption.",
    "The two-device drift law is pessimistic against the chip's own scheme, as its source says.",
    "The law of temperature is uncalibrated.",
    "In 1-phase mode the size of the polarity effect is an assumption.",
    "Gated recurrent units and simple recurrent layers on the global digital unit are an "
    "assumption; for more than 512 hidden units it works in passes.",
    "Spiking neurons in a digital unit are an assumption, so are their energy and the length of "
    "the pulse of a spike.",
    "Time, energy, endurance and the strength of the error of devices that are written at "
    "inference are assumptions, so are time and energy of operations in floating point.",
    "Bit-serial inputs have a time of their own, and the energy of pulse widths.",
    "5PP is a reconstruction: 90 of the 418 links of the data sheet are not located.",
)
"""Whole sentences about numbers that no source gives."""


@dataclass(frozen=True)
class Option:
    """An effect that a specification may leave off.

    Attributes
    ----------
    text : str
        The effect.
    field : str
        Dotted path of the field that switches it on.
    off : callable
        Whether a specification leaves it off.
    """

    text: str
    field: str
    off: Callable[[ChipSpec], bool]

    def __str__(self) -> str:
        return f"{self.text} ({self.field})"


OPTIONS = (
    Option("IR drop along wires", "core.wires", lambda spec: spec.core.wires is None),
    Option(
        "g_max lowered per core to keep currents in range", "core.g_max_rule",
        lambda spec: spec.core.g_max_rule == "device",
    ),
    Option(
        "half-precision rounding in the digital units", "core.ldpu.bit_true",
        lambda spec: not spec.core.ldpu.bit_true,
    ),
)  # fmt: skip
"""Effects that a specification may leave off; devices and converters name those of their own."""


def of(spec: ChipSpec) -> tuple[str, ...]:
    """Return what a machine leaves out.

    Parameters
    ----------
    spec : ChipSpec
        The machine.

    Returns
    -------
    tuple of str
        Options that are off, then omissions of every machine.
    """
    options = (str(option) for option in OPTIONS if option.off(spec))
    devices = spec.core.device.not_modelled()
    return (*options, *devices, *spec.core.adc.leaves_out, *OUTPUTS, *COSTS)
