"""Units that spike, as torch modules: the state of a neuron runs over time steps.

================  ==========================================================================
file              contents
================  ==========================================================================
``units``         SNU and soft SNU with their variants, integrate-and-fire neurons
``libraries``     networks of snntorch and norse as networks over sequences
================  ==========================================================================

Their recursion is :mod:`aimc_sim.digital.spiking`, which the chip's front end and runtime use too;
rules that train them online are in :mod:`aimc_sim.learning`.
"""

from aimc_sim.spiking.libraries import over_time
from aimc_sim.spiking.units import LIF, SNU, SoftSNU, Unit

__all__ = ["LIF", "SNU", "SoftSNU", "Unit", "over_time"]
