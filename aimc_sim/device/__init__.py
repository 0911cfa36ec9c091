"""Devices: how they are written, what they conduct at any time, and measured ones.

===============  ============================================================================
file             content
===============  ============================================================================
``family``       the interface of all families of devices, and their registry
``families``     the families that there are, one file each
``request``      targets of a block; ``programming_report``: cost and error of writing it
``pcm``          phase-change elements under statistical laws: program once, read at any time
``faults``       stuck cells; ``polarity``: conduction under the other read voltage
``draws``        addressed normals and 1/f noise, for laws written with numpy
``moments``      moments of clipped and folded normal variables
``pulses``       single devices pulse by pulse: SET steps, RESET, square pulses, drift, noise
``steps``        single devices step by step: linear, soft-bounds, exponential laws
``synapse``      several pulsed devices per weight with a global selection counter
``programming``  schemes that turn targets into conductances, each with a report of its cost
``measured``     measured data: file format, import from tables, replay of whole traces
``synthetic``    measured data made with a statistical law
===============  ============================================================================
"""

from . import families
from .family import DeviceState, ElementsNow, Family, register

__all__ = [
    "DeviceState", "ElementsNow", "Family", "draws", "families", "family", "faults", "measured",
    "moments", "pcm", "polarity", "programming", "programming_report", "pulses", "register",
    "request", "steps", "synapse", "synthetic",
]  # fmt: skip
