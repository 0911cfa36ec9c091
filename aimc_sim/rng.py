"""Addressed randomness: a draw is a function of its address, not of earlier draws.

A :class:`Key` is a seed and a path of integers. Its two words drive the Philox generator of
:mod:`aimc_sim.kernels.philox`, whose counter is the index of the element inside the thing the
path names. Nothing here has a state.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Kinds of draws. Append only, never renumber: old results must not move."""

    PROGRAM = 1  # programming error and drift exponent
    SLOW_NOISE = 2  # the part of the 1/f noise that is constant while the clock does not advance
    MVM_NOISE = 3
    COMPENSATION_VECTORS = 4
    COMPENSATION_READ = 5
    POLARITY = 6
    PULSE_DEVICE = 7  # what a pulsed device keeps: step factor, SET level, half current, drift
    PULSE_CYCLE = 8  # what is fresh in every pulse
    PULSE_READ = 9
    STUCK = 10  # faulty cells: the same in every programming
    REPROGRAM = 11  # below it, the number of the programming
    REPLAY = 12  # which measured trace a device follows
    GRADIENT = 13  # random inputs and read noise of gradient-descent programming
    ADC = 14  # what fabrication gave the converters of a core
    PLACEMENT = 15  # exchanges tried by the placement search
    TRAINING = 16  # noise on weights and outputs, age of the devices in training
    LEARNING_DEVICE = 17  # what a device that learns keeps: bounds, step, asymmetry
    LEARNING_CYCLE = 18  # what is fresh in every pulse and read of such a device
    LEARNING_UPDATE = 19  # pulse trains, choppers and roundings of an update
    PROCESS = 20  # events of generated processes
    ROTATION = 21  # signs and directions of rotations before mapping
    WRITTEN = 22  # matrices that are written at inference; below it, the name of the product


@dataclass(frozen=True)
class Key:
    """A node in the tree of random streams.

    Attributes
    ----------
    seed : int
        The root of the tree, >= 0.
    path : tuple of int
        The way from the root to this node, each step >= 0.

    Examples
    --------
    >>> key = Key(0).child(3, Purpose.PROGRAM)
    >>> key.path
    (3, 1)
    >>> bool(key.generator().integers(100) == key.generator().integers(100))
    True
    """

    seed: int
    path: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise ValueError(f"seed = {self.seed!r} must be an integer >= 0")

    def child(self, *parts: int) -> Key:
        """Return the key below this one, at the given path of integers >= 0."""
        return Key(self.seed, self.path + tuple(int(part) for part in parts))

    def at_time(self, t_seconds: float) -> Key:
        """Return the key of one time: equal times give equal draws, bit for bit."""
        low, high = struct.unpack("<II", struct.pack("<d", float(t_seconds) + 0.0))
        return self.child(low, high)

    def words(self) -> tuple[np.uint32, np.uint32]:
        """Return the two 32-bit key words for the kernels."""
        return _words(int(self.seed), self.path)

    def generator(self) -> np.random.Generator:
        """Return a numpy generator for host code."""
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=self.path))
        )


@functools.lru_cache(maxsize=4096)  # a step of learning asks for few keys, again and again
def _words(seed: int, path: tuple[int, ...]) -> tuple[np.uint32, np.uint32]:
    sequence = np.random.SeedSequence(seed, spawn_key=path)
    first, second = sequence.generate_state(2, np.uint32)
    return first, second
