"""Conduction that depends on the polarity of the read voltage: a fixed draw per element."""

from __future__ import annotations

import numpy as np

from ..kernels import pcm as kernels
from ..rng import Key, Purpose
from ..spec import PolaritySpec
from .family import Address


def polarity_delta(
    shape: tuple[int, int, int], spec: PolaritySpec, address: Address, key: Key
) -> np.ndarray:
    """Return the (E, R, C) float32 relative difference of conduction between polarities."""
    out = np.empty(shape, np.float32)
    words = np.array(key.child(Purpose.POLARITY).words())
    kernels.polarity_delta(spec.mean_fraction, spec.std_fraction, *address, words, out)
    return out
