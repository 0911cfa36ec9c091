"""Charge that floating input lines add to the columns of a crossbar, from sums per output."""

from __future__ import annotations

import math

import numpy as np

from . import point, serial
from .math32 import f32, u64, widened


@serial
def add_floating(narrow, lengths, reach_sum, share_sum, max_code, sign, charge):
    """Add the correction of :func:`aimc_sim.core.idle.high_impedance_correction`, in place.

    Parameters
    ----------
    narrow : (B, P, 3 n + 3) float32
        Of n crossbars: sum of pulse lengths; n sums with shares, n with weights; n sums of signs
        with weights; driven lines; sum of squares.
    lengths : (B, P, 1 + 2 n + n C) float32, or uint16 (bits of bfloat16)
        Sums of lengths; the last n C with the reaches.
    reach_sum : (n, C) float32
        Sums of the reaches of a column, dimensionless.
    share_sum : (n,) float32
        Sum of the shares of all lines, dimensionless.
    max_code, sign : float32
        Largest input code, and the sign of the inputs that are read, 1 or -1.
    charge : (B, P, n C) float32, added to
        Charges of the columns, input codes x conductance / g_max.
    """
    n, columns = reach_sum.shape
    for i in range(charge.shape[0]):
        for p in range(charge.shape[1]):
            sums = narrow[i, p]
            total, driven, square = sums[0], sums[3 * n + 1], sums[3 * n + 2]
            relative = driven * square / max(total * total, f32(1e-12))
            std = np.sqrt(max(relative - f32(1.0), f32(0.0)))
            late = max(f32(1.0) - std * f32(1 / math.sqrt(3)), f32(0.0))
            for k in range(n):
                coupled = f32(1.0) - share_sum[k] + sums[1 + k] / max_code
                start = sign * sums[1 + n + k] / coupled
                falls = sign * late * sums[1 + 2 * n + k] / coupled
                first = 1 + 2 * n + k * columns
                _combine(charge[i, p], k * columns, start, reach_sum[k], falls,
                         lengths[i, p], first)  # fmt: skip


@point
def _combine(charge, place, start, reach_sum, falls, lengths, first):
    """Add to some columns; eight at a time by unsigned indices, see :func:`.conversion.take`."""
    columns, j0, k0, eight = u64(reach_sum.size), u64(place), u64(first), u64(8)
    eights, c = columns - columns % eight, u64(0)
    while c < eights:
        j, k = j0 + c, k0 + c
        r0 = _one(charge, j, start, reach_sum, c, falls, lengths, k)
        r1 = _one(charge, j + u64(1), start, reach_sum, c + u64(1), falls, lengths, k + u64(1))
        r2 = _one(charge, j + u64(2), start, reach_sum, c + u64(2), falls, lengths, k + u64(2))
        r3 = _one(charge, j + u64(3), start, reach_sum, c + u64(3), falls, lengths, k + u64(3))
        r4 = _one(charge, j + u64(4), start, reach_sum, c + u64(4), falls, lengths, k + u64(4))
        r5 = _one(charge, j + u64(5), start, reach_sum, c + u64(5), falls, lengths, k + u64(5))
        r6 = _one(charge, j + u64(6), start, reach_sum, c + u64(6), falls, lengths, k + u64(6))
        r7 = _one(charge, j + u64(7), start, reach_sum, c + u64(7), falls, lengths, k + u64(7))
        charge[j], charge[j + u64(1)], charge[j + u64(2)], charge[j + u64(3)] = r0, r1, r2, r3
        j += u64(4)
        charge[j], charge[j + u64(1)], charge[j + u64(2)], charge[j + u64(3)] = r4, r5, r6, r7
        c += eight
    while c < columns:
        charge[j0 + c] = _one(charge, j0 + c, start, reach_sum, c, falls, lengths, k0 + c)
        c += u64(1)


@point
def _one(charge, j, start, reach_sum, c, falls, lengths, k):
    return charge[j] + start * reach_sum[c] - falls * widened(lengths[k])
