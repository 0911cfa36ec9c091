"""Weights to target conductances and back.

A unit cell holds four devices, two per polarity. What the statistical law describes is an
element: one device, or the two devices of a polarity taken together. Elements are stored along
the first axis, the positive polarity first: (p1, p2, n1, n2), or (p, n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.pcm import reset_level
from ..spec import CoreSpec, PcmSpec

DEVICES_PER_CELL = 4


@dataclass(frozen=True)
class Targets:
    """What the programming circuit is asked for.

    Attributes
    ----------
    g : (E, R, C) float32, siemens
        Target of every element; the RESET level where nothing is programmed.
    programmed : (E, R, C) bool
        False for elements left in RESET.
    siemens_per_weight : (C,) float64
        Net conductance of a cell per unit of weight, per column.
    """

    g: np.ndarray
    programmed: np.ndarray
    siemens_per_weight: np.ndarray


def elements_per_polarity(spec: PcmSpec) -> int:
    """Return how many elements of one polarity a cell holds: 2, or 1 if they are pairs."""
    return DEVICES_PER_CELL // 2 // spec.devices_per_element


def to_targets(weight: np.ndarray, core: CoreSpec) -> Targets:
    """Map a block of weights to target conductances.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
    core : CoreSpec

    Returns
    -------
    Targets

    Notes
    -----
    ``G = W g_max / W_max`` with W_max per core (chip paper, eq. 1, arXiv:2212.02872) or per
    column. One element of the weight's polarity is programmed, the others stay in RESET. Since
    RESET devices conduct a little, the tuned element aims at ``|W| s`` plus the conductance by
    which the RESET elements of the other polarity outweigh those of its own, so that the
    difference is exact on average; ``s`` is chosen such that the largest target is g_max. The
    paper does not say how it treats that background.
    """
    pcm = core.pcm
    n = elements_per_polarity(pcm)
    level = reset_level(pcm)
    background = level  # n RESET elements against n - 1
    zeros_too = pcm.zero_target == "programmed"
    if zeros_too:
        background = 0.0  # both polarities hold one programmed and n - 1 RESET elements
    weight = np.asarray(weight, np.float64)
    magnitude = np.abs(weight)
    largest = magnitude.max(axis=0)
    if core.weight_scaling == "core":
        largest = np.full_like(largest, largest.max())
    span = pcm.g_max_siemens - background
    per_weight = np.divide(span, largest, out=np.ones_like(largest), where=largest > 0)

    g = np.full((2, n, *weight.shape), level, np.float64)
    programmed = np.zeros(g.shape, bool)
    for polarity, own in enumerate((weight > 0, weight < 0)):
        tuned = own | zeros_too
        g[polarity, 0][tuned] = (own * magnitude * per_weight + own * background)[tuned]
        programmed[polarity, 0] = tuned
    shape = (2 * n, *weight.shape)
    g32 = np.minimum(g.reshape(shape), pcm.g_max_siemens).astype(np.float32)
    return Targets(g32, programmed.reshape(shape), per_weight)


def net(elements: np.ndarray) -> np.ndarray:
    """Return the (R, C) net conductance of cells from their (E, R, C) elements, in siemens."""
    half = elements.shape[0] // 2
    return elements[:half].sum(axis=0) - elements[half:].sum(axis=0)


def devices(elements: np.ndarray, spec: PcmSpec) -> np.ndarray:
    """Return the (4, R, C) conductances of the devices, in siemens: (g1+, g2+, g1-, g2-).

    The law of a pair says nothing about its two devices; they are shown with half each.
    """
    if spec.devices_per_element == 1:
        return elements
    return np.repeat(elements / np.float32(2), 2, axis=0)
