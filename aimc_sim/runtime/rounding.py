"""The range of integers with the smallest error of rounding and clipping."""

from __future__ import annotations

import torch
from torch import Tensor

from ..digital.rounding import codes


def best_range(magnitudes: Tensor, largest: float, bits: int | None) -> float:
    """Return the range with the smallest mean squared error of rounding and clipping.

    Parameters
    ----------
    magnitudes : (n,) float tensor
        Absolute values of the numbers to be held, in their own unit.
    largest : float
        Largest magnitude there is; the range lies between a fifth of it and all of it.
    bits : int or None
        Sign and magnitude; None rounds nothing, so nothing is gained by clipping.
    """
    return smallest_error_range(magnitudes, largest, None if bits is None else 2 ** (bits - 1) - 1)


def smallest_error_range(magnitudes: Tensor, largest: float, limit: int | None) -> float:
    """Return :func:`best_range` for codes up to ``limit``."""
    if limit is None or largest == 0:
        return largest
    candidates = largest * torch.linspace(0.2, 1.0, 81, dtype=torch.float64)
    errors = [
        float((magnitudes - codes(magnitudes, 1 / step, limit) * step).square().mean())
        for step in (candidates / limit).tolist()
    ]
    return float(candidates[min(range(len(errors)), key=errors.__getitem__)])
