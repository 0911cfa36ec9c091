"""Devices: how they are written, what they conduct at any time, and measured ones.

===============  ============================================================================
file             what is in it
===============  ============================================================================
``pcm``          elements under the statistical laws: program once, look at any time
``faults``       stuck cells
``pulses``       single devices pulse by pulse: SET steps, RESET, square pulses, drift, noise
``synapse``      several pulsed devices per weight with a global selection counter
``programming``  schemes that turn targets into conductances, each with a report of its cost
``measured``     measured data: file format, import from tables, replay of whole traces
``synthetic``    measured data made with a statistical law
===============  ============================================================================
"""

__all__ = [
    "faults", "measured", "pcm", "programming", "pulses", "synapse", "synthetic",
]  # fmt: skip
