"""Units that spike, as torch modules: the state of a neuron runs over time steps.

================  ==========================================================================
file              contents
================  ==========================================================================
``units``         SNU and soft SNU, with and without recurrence
================  ==========================================================================

Rules that train them online are in :mod:`aimc_sim.learning`.
"""

from aimc_sim.spiking.units import SNU, SoftSNU, Unit

__all__ = ["SNU", "SoftSNU", "Unit"]
