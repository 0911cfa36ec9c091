"""The choice of layers stands in :mod:`aimc_sim.mapping.where`, where training reads it too."""

from aimc_sim.mapping.where import Chosen, Side, Where, check_pattern

__all__ = ["Chosen", "Side", "Where", "check_pattern"]
