"""First and second moments of clipped and folded normals: parts of a law's closed form."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr


def rectified(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two moments of ``max(0, N(mean, std^2))``.

    Parameters
    ----------
    mean, std : float64 arrays of one shape, any unit
        Of the normal variable; std >= 0.

    Returns
    -------
    first, second : float64 arrays of that shape
        In the unit and in its square.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(std > 0, mean / std, np.where(mean > 0, np.inf, -np.inf))
    inside, density = ndtr(z), np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    first = mean * inside + std * density
    return first, (mean**2 + std**2) * inside + mean * std * density


def decay(mean: np.ndarray, std: np.ndarray, length: float) -> np.ndarray:
    """Return ``E exp(-length |N(mean, std^2)|)``, the mean factor of drift with a folded exponent.

    Parameters
    ----------
    mean, std : float64 arrays of one shape, dimensionless
        Of the exponent before it is folded.
    length : float, dimensionless
        Logarithm of the time, in units of that at which the clock started.

    Returns
    -------
    float64 array of that shape, dimensionless
    """
    if length == 0:
        return np.ones_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(std > 0, mean / std, np.inf)
    shift = length * std
    found: np.ndarray = np.exp(-length * mean + shift**2 / 2) * ndtr(z - shift)
    found += np.exp(length * mean + shift**2 / 2) * ndtr(-z - shift)
    return found


def clipped(
    mean: np.ndarray, std: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two moments of a normal that is set to the ends of a range beyond them.

    Parameters
    ----------
    mean, std : float64 arrays of one shape, any unit
        Of the normal variable; std >= 0.
    low, high : float
        Ends of the range, in the same unit.

    Returns
    -------
    first, second : float64 arrays of that shape
        In the unit and in its square.
    """
    safe = np.where(std > 0, std, 1.0)
    a, b = (low - mean) / safe, (high - mean) / safe
    below, above = ndtr(a), ndtr(-b)
    inside = 1 - below - above
    at_a, at_b = (np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) for z in (a, b))
    first = mean * inside + std * (at_a - at_b) + low * below + high * above
    second = (mean**2 + std**2) * inside + std * (at_a * (mean + low) - at_b * (mean + high))
    second = second + low**2 * below + high**2 * above
    exact = np.clip(mean, low, high)
    return np.where(std > 0, first, exact), np.where(std > 0, second, exact**2)
