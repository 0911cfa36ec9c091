"""The unit cell of the chip: four phase-change devices, two per polarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...spec import PcmSpec

DEVICES_PER_CELL = 4


@dataclass(frozen=True)
class Written:
    """Devices right after their last verify read.

    Attributes
    ----------
    g, aim, amperes : (4, R, C) float32; siemens, siemens, amperes
        Conductance, the target it was tuned to, amplitude of the last square pulse.
    iterations : (4, R, C) uint16
        Pulses of the loop; 0 for devices that were only SET or RESET.
    reached : (4, R, C) bool
        Inside the margin at the last read; False for devices that were not tuned.
    """

    g: np.ndarray
    aim: np.ndarray
    amperes: np.ndarray
    iterations: np.ndarray
    reached: np.ndarray


def elements_per_polarity(spec: PcmSpec) -> int:
    """Return how many elements of one polarity a cell holds: 2, or 1 if they are pairs."""
    return DEVICES_PER_CELL // 2 // spec.devices_per_element
