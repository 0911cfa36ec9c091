"""Random words to standard normals.

``pair64`` is the obvious float64 Box-Muller transform for draws that stay with a device.
``fill`` is its single-precision form for the noise of MVMs, written so that the compiler turns
it into SIMD code: one 32-bit word gives two normals, 20 bits for the radius (largest value
5.4 sigma) and 12 bits for the angle; logarithm, sine and cosine are polynomials.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import point, serial
from .philox import philox7

f32 = np.float32
LANES = 64
"""Counters per tile of :func:`fill`; a tile holds ``8 * LANES`` normals."""


@intrinsic
def float_bits(_, x):
    """Return the 32 bits of a float32 as uint32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@intrinsic
def bits_float(_, x):
    """Return the float32 with the 32 bits of a uint32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


@point
def pair64(w0, w1):
    """Return two independent standard normals (float64) from two random words."""
    u = (np.float64(w0) + 0.5) * 2.0**-32
    angle = (np.float64(w1) + 0.5) * (2.0**-32 * 2.0 * math.pi)
    radius = math.sqrt(-2.0 * math.log(u))
    return radius * math.cos(angle), radius * math.sin(angle)


@point
def _log_negated(u):
    """Return -ln(u) for u in (0, 1): exponent from the bits, mantissa in [0.707, 1.414).

    The series of ln(1 + t) is carried by s = t / (2 + t): ln(1 + t) = 2 (s + s^3/3 + s^5/5 ...),
    |s| < 0.172, so the first term left out is below 2e-8.
    """
    bits = float_bits(u)
    exponent = np.int32(bits - np.uint32(0x3F3504F3)) >> np.int32(23)
    mantissa = bits_float(np.uint32(bits - np.uint32(np.int32(exponent << np.int32(23)))))
    s = (mantissa - f32(1.0)) / (mantissa + f32(1.0))
    s2 = s * s
    series = f32(2.0) + s2 * (f32(2 / 3) + s2 * (f32(2 / 5) + s2 * f32(2 / 7)))
    return -(f32(exponent) * f32(math.log(2.0)) + s * series)


@point
def _pair32(word):
    """Return two normals (float32) from one word, see the module's docstring."""
    u = (f32(np.int32(word >> np.uint32(12))) + f32(0.5)) * f32(2.0**-20)
    radius = np.sqrt(f32(2.0) * _log_negated(u))
    # Half the angle, in (-pi/2, pi/2), where short Taylor series suffice; then doubling.
    h = (f32(np.int32(word & np.uint32(4095))) - f32(2047.5)) * f32(math.pi / 4096)
    h2 = h * h
    sine = h * (
        f32(1.0)
        + h2 * (f32(-1 / 6) + h2 * (f32(1 / 120) + h2 * (f32(-1 / 5040) + h2 * f32(1 / 362880))))
    )
    cosine = f32(1.0) + h2 * (
        f32(-1 / 2)
        + h2 * (f32(1 / 24) + h2 * (f32(-1 / 720) + h2 * (f32(1 / 40320) - h2 * f32(1 / 3628800))))
    )
    return radius * (f32(1.0) - f32(2.0) * sine * sine), radius * (f32(2.0) * sine * cosine)


@serial
def fill(out, event, k0, k1):
    """Fill a float32 vector, whose length is a multiple of ``8 * LANES``, with normals.

    Element ``tile * 8 * LANES + j * LANES + lane`` is normal ``j`` of the block with counter
    (``tile * LANES + lane``, low and high word of ``event``, 0) and key (k0, k1).
    """
    low, high = np.uint32(event), np.uint32(np.uint64(event) >> np.uint64(32))
    tiles = out.size // (8 * LANES)
    normals = out[: tiles * 8 * LANES].reshape(tiles, 4, 2, LANES)
    # Words first, then normals: two short loops keep their values in registers, one does not.
    words = np.empty((4, LANES), np.uint32)
    for tile in range(tiles):
        for lane in range(LANES):
            w0, w1, w2, w3 = philox7(
                np.uint32(tile * LANES + lane), low, high, np.uint32(0), k0, k1
            )
            words[0, lane] = w0
            words[1, lane] = w1
            words[2, lane] = w2
            words[3, lane] = w3
        for word in range(4):
            for lane in range(LANES):
                a, b = _pair32(words[word, lane])
                normals[tile, word, 0, lane] = a
                normals[tile, word, 1, lane] = b


@point
def padded(n):
    """Return the length that :func:`fill` needs to give n normals."""
    return (n + 8 * LANES - 1) // (8 * LANES) * (8 * LANES)
