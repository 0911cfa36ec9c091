"""Stuck cells: a fixed draw per device, the same after every programming.

The chip paper counts more than 99 % good cells on 63 of 64 cores and 98.4 % on the worst one
(M. Le Gallo et al., Nature Electronics 6, 680 (2023), doi:10.1038/s41928-023-01010-1); how the
faulty ones divide into SET and RESET is not reported.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..kernels import pcm as kernels
from ..rng import Key, Purpose
from ..spec import PcmSpec
from .family import Address
from .pcm import PcmState, reset_level

GOOD, STUCK_SET, STUCK_RESET = 0, 1, 2


def stuck(shape: tuple[int, int, int], spec: PcmSpec, address: Address, key: Key) -> np.ndarray:
    """Return the (E, R, C) uint8 state of every device: good, stuck in SET or stuck in RESET."""
    kind = np.zeros(shape, np.uint8)
    if spec.faults is not None:
        fractions = spec.faults.stuck_set_fraction, spec.faults.stuck_reset_fraction
        words = np.array(key.child(Purpose.STUCK).words())
        kernels.stuck(*fractions, *address, words, kind)
    return kind


def stick(state: PcmState, spec: PcmSpec, address: Address, key: Key) -> PcmState:
    """Return the state with the conductance of stuck devices replaced."""
    if spec.faults is None:
        return state
    kind = stuck(state.g.shape, spec, address, key)
    g = np.where(kind == STUCK_SET, np.float32(spec.faults.stuck_set_siemens), state.g)
    g = np.where(kind == STUCK_RESET, np.float32(reset_level(spec)), g)
    return dataclasses.replace(state, g=g)
