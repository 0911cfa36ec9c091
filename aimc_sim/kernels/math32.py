"""Single-precision logarithm, exponential and turn, written so that loops over them become SIMD.

No branches, no calls: the compiler can keep 8 or 16 lanes in step. Errors are below 1e-6
(exponential relative, turn absolute, logarithm relative to max(1, |ln|)).
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import point

f32, u64 = np.float32, np.uint64


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


@intrinsic
def widened(_, x):
    """Return a float32 as it is, and the bits of a bfloat16 (uint16) as float32."""

    def same(context, builder, signature, args):
        return args[0]

    def codegen(context, builder, signature, args):
        bits = builder.zext(args[0], ir.IntType(32))
        return builder.bitcast(builder.shl(bits, ir.IntType(32)(16)), ir.FloatType())

    return types.float32(x), same if x == types.float32 else codegen


@point
def narrowed(x):
    """Return the bits of the bfloat16 nearest to a float32, ties to even, as torch rounds."""
    bits = float_bits(x)
    bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(bits >> np.uint32(16))


@point
def log_negated(u):
    """Return -ln(u) for normal u > 0: exponent from the bits, mantissa in [0.707, 1.414).

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
def exp32(y):
    """Return exp(y), for y clipped to -87 ... 88: power of two from the bits, rest by a series.

    ``y = n ln 2 + r`` with |r| < 0.35; the first term left out of the series is below 1e-7.
    """
    y = min(max(y, f32(-87.0)), f32(88.0))
    n = np.rint(y * f32(1 / math.log(2)))
    # ln 2 in two parts, the first with few digits, so that n times it is exact.
    r = (y - n * f32(0.693359375)) + n * f32(2.12194440e-4)
    series = f32(1.0) + r * (
        f32(1.0)
        + r
        * (
            f32(1 / 2)
            + r * (f32(1 / 6) + r * (f32(1 / 24) + r * (f32(1 / 120) + r * f32(1 / 720))))
        )
    )
    return series * bits_float(np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23))


@point
def turn(h):
    """Return cos(2 h) and sin(2 h) for h in [-pi/2, pi/2], where short Taylor series suffice.

    The first terms left out are below 1e-7.
    """
    h2 = h * h
    s = f32(1 / 362880) - h2 * f32(1 / 39916800)
    s = f32(1.0) + h2 * (f32(-1 / 6) + h2 * (f32(1 / 120) + h2 * (f32(-1 / 5040) + h2 * s)))
    c = f32(1 / 40320) - h2 * f32(1 / 3628800) + h2 * h2 * f32(1 / 479001600)
    c = f32(1.0) + h2 * (f32(-1 / 2) + h2 * (f32(1 / 24) + h2 * (f32(-1 / 720) + h2 * c)))
    sine = h * s
    return f32(1.0) - f32(2.0) * sine * sine, f32(2.0) * sine * c
