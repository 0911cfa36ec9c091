"""Outer products from random bits, slot by slot: the slow twin of ``kernels.outer``."""

import math

import numpy as np

from aimc_sim.kernels.philox import philox10


def numbers(key, number, vector, slot, bits):
    """Return the random numbers of the rows and of the columns in one slot, in [0, 1)."""
    low, high = np.uint32(number & 0xFFFFFFFF), np.uint32(number >> 32)
    with np.errstate(over="ignore"):
        words = philox10(np.uint32(vector), np.uint32(slot // 4), low, high, *key.words())
    word = int(words[slot % 4])
    return (word >> 16 >> (16 - bits)) / 2**bits, ((word & 0xFFFF) >> (16 - bits)) / 2**bits


def probabilities(values, bits):
    """Return magnitudes below a common power of two, cut to some bits, and that power."""
    largest = float(np.abs(values).max(initial=0))
    unit = 2.0 ** math.ceil(math.log2(largest)) if largest > 0 else 1.0
    return np.floor(np.abs(values.astype(float)) / unit * 2**bits) / 2**bits, unit


def estimate(x, d, bits, length, key, number=0, vector=0, shared=False):
    """Return the estimate of one outer product; ``shared``: one number serves both sides."""
    (p, x_unit), (q, d_unit) = probabilities(x, bits), probabilities(d, bits)
    total = np.zeros((len(x), len(d)))
    for slot in range(length):
        u, v = numbers(key, number, vector, slot, bits)
        v = u if shared else v
        total += np.outer((u < p) * np.sign(x), (v < q) * np.sign(d))
    return total * x_unit * d_unit / length
