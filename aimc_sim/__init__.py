"""Simulation of trained torch networks on a 64-core phase-change-memory computing chip.

Start with :class:`Chip` and :mod:`presets`; the rooms below are, from the device upward,
``device``, ``core``, ``chip``, ``mapping``, ``frontend`` and ``runtime`` (torch), ``analysis`` and
``cli``, with the networks and data in ``zoo``. Importing the package loads neither torch nor
matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time, __getattr__ loads what is used
    from . import analysis, presets, results, spec, studies, transforms, units, zoo
    from .errors import (
        CapacityError,
        MappingError,
        NotProgrammedError,
        UnsupportedLayerError,
    )
    from .presets.citations import cite
    from .runtime.chip import Chip
    from .spec import ChipSpec

__version__ = "0.1.0"

_HOMES = {
    "Chip": "aimc_sim.runtime.chip",
    "ChipSpec": "aimc_sim.spec",
    "cite": "aimc_sim.presets.citations",
    "CapacityError": "aimc_sim.errors",
    "MappingError": "aimc_sim.errors",
    "NotProgrammedError": "aimc_sim.errors",
    "UnsupportedLayerError": "aimc_sim.errors",
}
_ROOMS = ("presets", "zoo", "units", "spec", "analysis", "studies", "results", "transforms")

__all__ = [
    "CapacityError", "Chip", "ChipSpec", "MappingError", "NotProgrammedError",
    "UnsupportedLayerError", "__version__", "analysis", "cite", "presets", "results", "spec",
    "studies", "transforms", "units", "zoo",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"aimc_sim.{name}")
    raise AttributeError(f"module 'aimc_sim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
