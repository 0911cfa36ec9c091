"""Half-precision (float16) arithmetic on float32 carriers, written so that loops become SIMD.

A float32 that holds a float16 value exactly is called *a half* here. numba has no float16 of its
own on the CPU; a float32 holds every half, and the product of two halves (22 bits) is exact in
it. It is rounded once, to nearest, ties to even, subnormals and infinities included.

Sums are the trap: rounding ``a b + c`` first to float32 and then to float16 rounds twice, and a
value just beside a tie of float16 may become that tie. :func:`fma_half` therefore rounds the
float32 sum *to odd*: an inexact sum goes to whichever of its two neighbours has an odd last bit.
An odd float32 is never a tie of float16 and lies on the same side of every tie as the exact
sum, so the second rounding is the only one that counts (Boldo and Melquiond, IEEE Transactions
on Computers 57, 462 (2008), doi:10.1109/TC.2007.70819; needs two spare bits, here there are 13).

The sign of a zero is not kept by sums (see ``CONTRACT``).
"""

from __future__ import annotations

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import point, serial
from .math32 import bits_float, f32, float_bits


@intrinsic
def _round_instruction(_, x):
    """Round through the CPU's own conversions (F16C: two instructions per 8 or 16 lanes)."""

    def codegen(context, builder, signature, args):
        return builder.fpext(builder.fptrunc(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.float32), codegen


@point
def _round_portable(x):
    """Round with float32 operations only.

    Adding 2^13 times the power of two below abs(x) pushes all but 11 bits out of the sum,
    which rounds to nearest even; subnormals share the power 2^-14. From 65520 on: 65536.
    """
    bits = float_bits(x)
    sign = bits & np.uint32(0x80000000)
    power = min(max(bits & np.uint32(0x7F800000), np.uint32(0x38800000)), np.uint32(0x47800000))
    magic = bits_float(np.uint32(power + np.uint32(13 << 23)) | sign)
    rounded = abs((x + magic) - magic)
    rounded = f32(np.inf) if rounded >= f32(65536.0) else rounded
    return bits_float(float_bits(rounded) | sign)


def _converts() -> bool:
    """Return whether compiled code may use the CPU's half conversions."""
    if numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None:
        return "+f16c" in (numba.config.CPU_FEATURES or "")  # someone chose another target
    return bool(llvmlite.binding.get_host_cpu_features().get("f16c"))


@point
def _round_fast(x):
    return _round_instruction(x)


round_half = _round_fast if _converts() else _round_portable
"""Round a float32 to the nearest half, ties to even; 65520 and more become infinite."""


@point
def fma_half(a, b, c):
    """Return ``a b + c`` of three halves, rounded once to a half."""
    product = a * b  # exact
    total = product + c
    # The part that the sum lost, exactly (Knuth's two-sum); NaN where something is infinite.
    part = total - product
    lost = (product - (total - part)) + (c - part)
    # One step away from zero if the exact sum is larger in magnitude, one towards zero if it is
    # smaller, none if the last bit is odd already.
    bits = np.int32(float_bits(total))
    sign = bits >> np.int32(31)
    step = np.int32(lost > f32(0.0)) - np.int32(lost < f32(0.0))
    step = ((step ^ sign) - sign) & ((bits & np.int32(1)) - np.int32(1))
    return round_half(bits_float(np.uint32(bits + step)))


@serial
def round_arrays(x, out):
    """Round (n,) float32 to halves; ``out`` is written."""
    for j in range(x.size):
        out[j] = round_half(x[j])


@serial
def fma_arrays(a, b, c, out):
    """Write ``a b + c`` of (n,) halves to ``out``, each rounded once to a half."""
    for j in range(a.size):
        out[j] = fma_half(a[j], b[j], c[j])


@serial
def multiply_arrays(a, b, out):
    """Write ``a b`` of (n,) halves to ``out``, each rounded to a half."""
    for j in range(a.size):
        out[j] = round_half(a[j] * b[j])
