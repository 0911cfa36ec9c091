"""Limits of the results, for readers of the page."""

from __future__ import annotations

from ..spec import ChipSpec, omissions
from ..studies import attribute

ALWAYS = (
    "Every accuracy here was simulated from statistical laws of devices; nothing was measured on "
    "a chip.",
    "Intervals hold what programmings and images differ by, not errors of the laws themselves.",
    "Time and energy are a model; what of it is anchored at measurements stands with the sources "
    "of 'cost' and 'core.read'.",
)
"""Limits of every page."""


def off(spec: ChipSpec) -> list[str]:
    """Return the effects that are known to the simulator and switched off in a machine."""
    present = attribute.effects(spec)
    return [name for name in attribute.switches(spec) if name not in present]


def sentences(spec: ChipSpec) -> list[str]:
    """Return the limits of a machine's numbers, one sentence each.

    Parameters
    ----------
    spec : ChipSpec
    """
    absent = off(spec)
    here = [f"Switched off in this machine: {', '.join(absent)}."] if absent else []
    outputs = f"Not modelled in outputs: {'; '.join(omissions.OUTPUTS)}."
    costs = f"Not modelled in time and energy: {'; '.join(omissions.COSTS)}."
    return [*ALWAYS, *here, outputs, costs, *omissions.ASSUMPTIONS]
