"""What the programming circuit is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...spec import PcmSpec

DEVICES_PER_CELL = 4


@dataclass(frozen=True)
class Request:
    """Target conductances of the cells of one block, per polarity.

    Attributes
    ----------
    g : (2, R, C) float64, siemens
        What all devices of a polarity together shall conduct, positive polarity first; with
        every device in RESET this is the RESET level of the polarity.
    programmed : (2, R, C) bool
        False where all devices of the polarity stay in RESET.
    """

    g: np.ndarray
    programmed: np.ndarray

    def net(self) -> np.ndarray:
        """Return the (R, C) float64 net conductance that is asked for, in siemens."""
        return self.g[0] - self.g[1]


def elements_per_polarity(spec: PcmSpec) -> int:
    """Return how many elements of one polarity a cell holds: 2, or 1 if they are pairs."""
    return DEVICES_PER_CELL // 2 // spec.devices_per_element
