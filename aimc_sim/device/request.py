"""Targets that a programming circuit is given, and their division among elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Request:
    """Target conductances of the cells of one block, per polarity.

    Attributes
    ----------
    g : (2, R, C) float64, siemens
        Conductance that all devices of a polarity together shall have, positive polarity first;
        with every device idle this is the idle level of the polarity.
    programmed : (2, R, C) bool
        False where all devices of the polarity stay idle.
    """

    g: np.ndarray
    programmed: np.ndarray

    def net(self) -> np.ndarray:
        """Return the (R, C) float64 net conductance that is asked for, in siemens."""
        return self.g[0] - self.g[1]


def allocate(
    request: Request, elements: int, idle_siemens: float, low_siemens: float, top_siemens: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give the first element of a polarity the target and leave the others idle.

    Parameters
    ----------
    request : Request
        Targets of the polarities.
    elements : int
        Elements of a polarity.
    idle_siemens : float, siemens
        Conductance of an element that is not written.
    low_siemens, top_siemens : float, siemens
        Ends of the range that an element can be asked for.

    Returns
    -------
    target : (E, R, C) float32, siemens
        The idle level where nothing is written.
    programmed : (E, R, C) bool
        Whether an element is written.
    """
    shape = (len(request.g), elements, *request.g.shape[1:])
    target, programmed = np.full(shape, idle_siemens), np.zeros(shape, bool)
    tuned = np.clip(request.g - (elements - 1) * idle_siemens, low_siemens, top_siemens)
    target[:, 0] = np.where(request.programmed, tuned, idle_siemens)
    programmed[:, 0] = request.programmed
    flat = (shape[0] * elements, *shape[2:])
    return target.reshape(flat).astype(np.float32), programmed.reshape(flat)
