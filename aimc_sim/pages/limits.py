"""What is not modelled, for readers of the page; the README has the same sentences."""

from __future__ import annotations

from ..analysis.performance import NOT_COUNTED
from ..spec import ChipSpec
from ..studies import attribute

NOT_MODELLED = (
    "Leakage of the array; the control logic of programming, and drift between the first and the "
    "last device written; energy of line buffers and of the host; time and energy of digital "
    "steps between layers (pooling, shortcuts); how much of a phase's energy converters and how "
    "much modulators take (assumed); currents that are beyond the ADC for a part of the window "
    "only; multicast in the pipeline simulation.",
    "IR drop, oscillator ADCs, half-precision digital units, stuck cells and "
    "temperature are options that the presets leave off: the chip paper gives no numbers for "
    "most of them.",
    "The two-device drift law is pessimistic against the chip's own scheme, as its source says.",
    "The temperature knob is uncalibrated.",
    "In 1-phase mode the size of the polarity effect is an assumption.",
    "5PP is a reconstruction: 90 of the 418 links of the data sheet are not located.",
)
"""Sentences of the README's section that matter for a study."""

ALWAYS = (
    "Every accuracy here was simulated from statistical laws of devices; nothing was measured on "
    "a chip.",
    "Intervals hold what programmings and images differ by, not errors of the laws themselves.",
    "Time and energy are a model; what of it is anchored at measurements stands with the sources "
    "of 'cost' and 'core.read'.",
)
"""What holds for every page."""


def off(spec: ChipSpec) -> list[str]:
    """Return the effects that are known to the simulator and switched off in a machine."""
    present = attribute.effects(spec)
    return [name for name in attribute.EFFECTS if name not in present]


def sentences(spec: ChipSpec) -> list[str]:
    """Return everything that a reader should know is missing from a machine's numbers.

    Parameters
    ----------
    spec : ChipSpec
    """
    absent = off(spec)
    here = [f"Switched off in this machine: {', '.join(absent)}."] if absent else []
    counted = f"Not counted in time and energy: {'; '.join(NOT_COUNTED)}."
    return [*ALWAYS, *here, *NOT_MODELLED, counted]
