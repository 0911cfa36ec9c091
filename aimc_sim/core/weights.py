"""Weights to target conductances and back.

What a device law describes is an element: one device, or several taken together. Elements are
stored along the first axis, the positive polarity first: (p1, p2, n1, n2), or (p, n). Here a target
belongs to a polarity; which of its elements carry it is the business of the device's family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device import family
from ..device.request import Request
from ..spec import CoreSpec


@dataclass(frozen=True)
class Targets:
    """What the programming circuit is asked for.

    Attributes
    ----------
    request : Request
        Target of each polarity of every cell.
    siemens_per_weight : (C,) float64
        Net conductance of a cell per unit of weight, per column.
    """

    request: Request
    siemens_per_weight: np.ndarray


def to_targets(weight: np.ndarray, core: CoreSpec, g_max_siemens: float | None = None) -> Targets:
    """Map a block of weights to target conductances.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
    core : CoreSpec
    g_max_siemens : float, siemens, optional
        Lower than the device's, to keep bit-line currents in range.

    Returns
    -------
    Targets

    Notes
    -----
    ``G = W g_max / W_max`` with W_max per core (chip paper, eq. 1, arXiv:2212.02872) or per
    column. The weight's polarity is programmed, the other one stays idle (phase-change memory: in
    RESET). Since idle devices conduct a little, the programmed polarity aims at ``|W| s`` plus the
    conductance of the other one, so that the difference is exact on average; ``s`` is chosen such
    that the largest weight needs as much as the devices can give. The paper does not say how it
    treats that background.
    """
    device, laws = core.device, family.of(core.device)
    n, level = laws.elements_per_polarity(device), laws.idle_siemens(device)
    idle = n * level
    zeros_too = laws.writes_zeros(device)
    if zeros_too:  # the first element of a polarity is written, to the lowest level
        idle = (n - 1) * level + laws.lowest_siemens(device)
    weight = np.asarray(weight, np.float64)
    magnitude = np.abs(weight)
    largest = magnitude.max(axis=0)
    if core.weight_scaling == "core":
        largest = np.full_like(largest, largest.max())
    filled = laws.filled(device)
    top = min(g_max_siemens or device.g_max_siemens, device.g_max_siemens)
    span = max(0.0, filled * top + (n - filled) * level - idle)
    per_weight = np.divide(span, largest, out=np.ones_like(largest), where=largest > 0)

    own = np.stack([weight > 0, weight < 0])
    g = np.where(own, magnitude * per_weight, 0.0) + idle
    return Targets(Request(g, own | zeros_too), per_weight)


def net(elements: np.ndarray) -> np.ndarray:
    """Return the (R, C) net conductance of cells from their (E, R, C) elements, in siemens."""
    half = elements.shape[0] // 2
    return elements[:half].sum(axis=0) - elements[half:].sum(axis=0)
