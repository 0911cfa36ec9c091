"""Addressed randomness for laws of devices, and the two parts of 1/f noise.

Normals that stay with an element, and noise that goes on in time: enough to write a law of a
family with numpy. Every draw is a function of the element's place in its core and of a key.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ..kernels import elements as kernels
from ..rng import Key, Purpose
from .family import Address


class NoiseBand(Protocol):
    """The band of a law of 1/f noise.

    Attributes
    ----------
    t_read_seconds : float, seconds
        Duration of the read behind the law.
    band : "split", "frozen" or "per_mvm"
        Part of the noise that is fresh in every matrix-vector product.
    inference_seconds : float, seconds
        Edge between the slow and the fresh part, if split.
    scale : float, dimensionless
        Factor on the standard deviation.
    """

    @property
    def t_read_seconds(self) -> float:
        """Duration of the read behind the law, in seconds."""

    @property
    def band(self) -> str:
        """Part of the noise that is fresh: "split", "frozen" (none) or "per_mvm" (all)."""

    @property
    def inference_seconds(self) -> float:
        """Edge between the slow and the fresh part, in seconds."""

    @property
    def scale(self) -> float:
        """Factor on the standard deviation, dimensionless."""


def noise_bands(law: NoiseBand, age_seconds: float) -> tuple[float, float]:
    """Split the published variance factor into its slow and its fresh part.

    Parameters
    ----------
    law : NoiseBand
        Band and scale of the noise.
    age_seconds : float
        Time since the law's clock started (t + t0).

    Returns
    -------
    slow, fresh : float
        Their sum is ``ln((age + t_read) / (2 t_read))``, the integral of 1/f from
        ``1 / (age + t_read)`` to ``1 / (2 t_read)``; the edge is ``1 / inference_seconds``.
    """
    total = math.log((age_seconds + law.t_read_seconds) / (2 * law.t_read_seconds))
    total = max(0.0, total)  # younger than one read: no band
    if law.band == "frozen":
        fresh = 0.0
    elif law.band == "per_mvm":
        fresh = total
    else:
        fresh = math.log(law.inference_seconds / (2 * law.t_read_seconds))
        fresh = min(max(0.0, fresh), total)
    scale = law.scale**2
    return scale * (total - fresh), scale * fresh


def slow_components(law: NoiseBand | None, age_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the components of the slow noise at an age, see :mod:`aimc_sim.kernels.flicker`.

    Parameters
    ----------
    law : NoiseBand or None
        None: no noise.
    age_seconds : float
        Time since the law's clock started (t + t0).

    Returns
    -------
    weights : (K,) float32, dimensionless
        Component k stands for the periods of the k-th decade, as far as it lies below the age
        of the device: the squares add up to the slow part of :func:`noise_bands`.
    rates : (K,) float64, 1/s
        Inverse of the shortest period of each component. Periods do not depend on the age, so a
        component goes on from one time to another.
    """
    slow = 0.0 if law is None else noise_bands(law, age_seconds)[0]
    if law is None or slow <= 0:
        return np.empty(0, np.float32), np.empty(0)
    shortest = 2 * law.t_read_seconds
    if law.band == "split":
        shortest = max(shortest, law.inference_seconds)
    decade, length = math.log(10), slow / law.scale**2
    starts = decade * np.arange(math.ceil(length / decade))
    weights = law.scale * np.sqrt(np.minimum(length - starts, decade))
    return weights.astype(np.float32), np.exp(-starts) / shortest


def normals(
    shape: tuple[int, ...], address: Address, key: Key
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return two standard normals per element, which stay with it as long as the key is the same.

    Parameters
    ----------
    shape : (int, int, int)
        (E, R, C) of the block.
    address : (int, int)
        Columns and cells of the core.
    key : Key
        Of the thing that is drawn: ``key.child(Purpose.PROGRAM)`` for a programming.

    Returns
    -------
    first, second : (E, R, C) float32, dimensionless
        Independent of each other, of other elements and of other keys.
    """
    first, second = np.empty(shape, np.float32), np.empty(shape, np.float32)
    kernels.normals(*address, np.array(key.words()), first, second)
    return first, second


def slow_noise(
    shape: tuple[int, ...], law: NoiseBand | None, age_seconds: float, address: Address, key: Key
) -> np.ndarray:
    """Return the slow part of 1/f noise at an age: a process that goes on from time to time.

    Parameters
    ----------
    shape : (int, int, int)
        (E, R, C) of the block.
    law : NoiseBand or None
        None: no noise.
    age_seconds : float, seconds
        Time since the law's clock started (t + t0).
    address : (int, int)
        Columns and cells of the core.
    key : Key
        Of the programming.

    Returns
    -------
    (E, R, C) float32, dimensionless
        Zero mean; the variance is the slow part of :func:`noise_bands`.
    """
    noise = np.zeros(shape, np.float32)
    weights, rates = slow_components(law, age_seconds)
    if len(weights):
        words = np.array(key.child(Purpose.SLOW_NOISE).words())
        kernels.slow_noise(weights, rates, age_seconds, *address, words, noise)
    return noise
