"""Random pulse trains: words whose bits are 1 with a given probability, one bit per slot.

A bit is 1 where a uniform number of 32 binary digits lies below the probability, of 32 digits too.
The digits of 32 slots are words, compared digit by digit from the first until all slots are
decided: seven words or so instead of 32. Probabilities are resolved to 2^-32.
"""

from __future__ import annotations

import math

import numpy as np

from . import loop, point, share
from .philox import philox10

SLOTS = 64
"""Slots of a word."""

_ALL = 2.0**32


@point
def bits(probability, slots, address, vector, low, high, stream, k0, k1):
    """Return up to 32 slots of a train.

    Parameters
    ----------
    probability : float
        Of a 1, in 0 ... 1.
    slots : int
        1 to 32; the others are 0.
    address, vector, low, high, stream : uint32
        Row or column; number of the half word in its train; number of the vector, in two words;
        which side, below 256.
    k0, k1 : uint32
        Key.
    """
    everyone = np.uint32(0xFFFFFFFF) >> np.uint32(32 - slots)
    if probability >= 1.0:
        return everyone
    level = np.uint64(probability * _ALL)
    if level == np.uint64(0):
        return np.uint32(0)
    undecided, found = everyone, np.uint32(0)
    for block in range(8):
        words = philox10(
            address, low, np.uint32(high ^ (vector << np.uint32(24))),
            np.uint32(stream | (np.uint32(block) << np.uint32(8))), k0, k1,
        )  # fmt: skip
        for k in range(4):
            digit = (level >> np.uint64(31 - 4 * block - k)) & np.uint64(1)
            word = words[k]
            if digit == np.uint64(1):  # a 0 there is below, a 1 goes on
                found |= undecided & ~word
                undecided &= word
            else:
                undecided &= ~word
        if undecided == np.uint32(0):
            break
    return found


@loop
def draw(values, factor, length, first, stream, key, trains, signs, part, parts):
    """Draw the trains of one side of a crossbar.

    Parameters
    ----------
    values : (B, N) float32
        Numbers of B vectors.
    factor : (B,) float64
        A slot is 1 with probability ``min(1, factor |value|)``.
    length : (B,) int64
        Slots of a vector.
    first : int
        Number of the first vector.
    stream : uint32
        Below 256: which side.
    key : (2,) uint32
        Key words.
    trains : (B W, N) uint64
        Written: words of 64 slots, W to a vector, those of a vector one after the other.
    signs : (B W, N) int8
        Written: sign of the value, 1 for zero.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    vectors, width = values.shape
    words = trains.shape[0] // vectors
    for n in share(width, part, parts):
        for b in range(vectors):
            value = values[b, n]
            number = np.uint64(first + b)
            low, high = np.uint32(number), np.uint32(number >> np.uint64(32))
            for w in range(words):
                row = b * words + w
                signs[row, n] = np.int8(-1) if value < np.float32(0.0) else np.int8(1)
                left = length[b] - w * SLOTS
                word = np.uint64(0)
                if value != np.float32(0.0) and left > 0:
                    p = factor[b] * abs(np.float64(value))
                    for half in range(2):
                        slots = min(left - 32 * half, 32)
                        if slots > 0:
                            found = bits(
                                p, slots, np.uint32(n), np.uint32(2 * w + half), low, high,
                                stream, key[0], key[1],
                            )  # fmt: skip
                            word |= np.uint64(found) << np.uint64(32 * half)
                trains[row, n] = word


@point
def uniform(address, number, low, high, stream, k0, k1):
    """Return a uniform number in 0 ... 1; all words of the address are uint32."""
    w0, _, _, _ = philox10(address, low, high, np.uint32(stream | (number << np.uint32(8))), k0, k1)
    return (np.float64(w0) + 0.5) / _ALL


@point
def stopped(value, step, bound):
    """Return a reading in whole steps of a converter, within its range; step 0: as it is."""
    if bound > 0.0:
        value = min(max(value, -bound), bound)
    if step > 0.0:
        value = step * np.rint(value / step)
    return value


@point
def whole(value, most):
    """Return the number without its fraction, not beyond +-most."""
    return min(max(math.trunc(value), -most), most)
