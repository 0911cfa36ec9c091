"""Random words to standard normals.

``pair64`` is the obvious float64 Box-Muller transform for draws that stay with a device.
``fill`` is its single-precision form for the noise of MVMs, written so that the compiler turns
it into SIMD code: one 32-bit word gives two normals, 20 bits for the radius (largest value
5.4 sigma) and 12 bits for the angle; logarithm, sine and cosine are polynomials.
"""

from __future__ import annotations

import math

import numpy as np

from . import point, serial
from .math32 import f32, log_negated, turn
from .philox import philox7

LANES = 64
"""Counters per tile of :func:`fill`; a tile holds ``8 * LANES`` normals."""


@point
def pair64(w0, w1):
    """Return two independent standard normals (float64) from two random words."""
    u = (np.float64(w0) + 0.5) * 2.0**-32
    angle = (np.float64(w1) + 0.5) * (2.0**-32 * 2.0 * math.pi)
    radius = math.sqrt(-2.0 * math.log(u))
    return radius * math.cos(angle), radius * math.sin(angle)


@point
def wide_pair(w0, w1):
    """Return two normals (float32) from two words: for draws that stay with a device, in SIMD.

    All 32 bits of the radius count: the largest value is 6.7 sigma.
    """
    u = (f32(w0) + f32(0.5)) * f32(2.0**-32)
    radius = np.sqrt(f32(2.0) * log_negated(u))
    cosine, sine = turn(f32(np.int32(w1)) * f32(math.pi * 2.0**-32))
    return radius * cosine, radius * sine


@point
def _pair32(word):
    """Return two normals (float32) from one word, see the module's docstring."""
    u = (f32(np.int32(word >> np.uint32(12))) + f32(0.5)) * f32(2.0**-20)
    radius = np.sqrt(f32(2.0) * log_negated(u))
    # Half the angle, in (-pi/2, pi/2).
    cosine, sine = turn((f32(np.int32(word & np.uint32(4095))) - f32(2047.5)) * f32(math.pi / 4096))
    return radius * cosine, radius * sine


@serial
def fill(out, event, k0, k1):
    """Fill a float32 vector with normals.

    Element ``tile * 8 * LANES + j * LANES + lane`` is normal ``j`` of the block with counter
    (``tile * LANES + lane``, low and high word of ``event``, 0) and key (k0, k1). Its length is
    that of :func:`padded`: of the last tile only rows are made that it has room for.
    """
    low, high = np.uint32(event), np.uint32(np.uint64(event) >> np.uint64(32))
    # Words first, then normals: two short loops keep their values in registers, one does not.
    words = np.empty((4, LANES), np.uint32)
    for tile in range((out.size + 8 * LANES - 1) // (8 * LANES)):
        for lane in range(LANES):
            w0, w1, w2, w3 = philox7(
                np.uint32(tile * LANES + lane), low, high, np.uint32(0), k0, k1
            )
            words[0, lane] = w0
            words[1, lane] = w1
            words[2, lane] = w2
            words[3, lane] = w3
        first = tile * 8 * LANES
        for word in range(min(4, (out.size - first) // (2 * LANES))):
            row = out[first + word * 2 * LANES : first + (word + 1) * 2 * LANES]
            for lane in range(LANES):
                a, b = _pair32(words[word, lane])
                row[lane] = a
                row[LANES + lane] = b


@point
def padded(n):
    """Return the length that :func:`fill` needs to give n normals: whole pairs of rows."""
    return (n + 2 * LANES - 1) // (2 * LANES) * (2 * LANES)
