"""What floating input lines add to the charges of a crossbar, from a few sums per output."""

from __future__ import annotations

import math

import numpy as np

from . import point, serial
from .math32 import bits_float, f32


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
    share_sum : (n,) float32
    max_code, sign : float32
    charge : (B, P, n C) float32, added to
    """
    n, columns = reach_sum.shape
    for i in range(charge.shape[0]):
        for p in range(charge.shape[1]):
            sums = narrow[i, p]
            total, driven, square = sums[0], sums[3 * n + 1], sums[3 * n + 2]
            relative = driven * square / max(total * total, f32(1e-12))
            spread = np.sqrt(max(relative - f32(1.0), f32(0.0)))
            late = max(f32(1.0) - spread * f32(1 / math.sqrt(3)), f32(0.0))
            for k in range(n):
                coupled = f32(1.0) - share_sum[k] + sums[1 + k] / max_code
                start = sign * sums[1 + n + k] / coupled
                falls = sign * late * sums[1 + 2 * n + k] / coupled
                first = 1 + 2 * n + k * columns
                if lengths.itemsize == 2:
                    _combine16(charge[i, p], k * columns, start, reach_sum[k], falls,
                               lengths[i, p], first)  # fmt: skip
                else:
                    _combine(charge[i, p], k * columns, start, reach_sum[k], falls,
                             lengths[i, p], first)  # fmt: skip


@point
def _combine(charge, place, start, reach_sum, falls, lengths, first):
    """Add to some columns; four at a time, because rows are short and might overlap."""
    columns = reach_sum.size
    fours = columns - columns % 4
    for c in range(0, fours, 4):
        j, k = place + c, first + c
        a = charge[j] + start * reach_sum[c] - falls * lengths[k]
        b = charge[j + 1] + start * reach_sum[c + 1] - falls * lengths[k + 1]
        d = charge[j + 2] + start * reach_sum[c + 2] - falls * lengths[k + 2]
        e = charge[j + 3] + start * reach_sum[c + 3] - falls * lengths[k + 3]
        charge[j], charge[j + 1], charge[j + 2], charge[j + 3] = a, b, d, e
    for c in range(fours, columns):
        charge[place + c] += start * reach_sum[c] - falls * lengths[first + c]


@point
def _wide(bits):
    return bits_float(np.uint32(bits) << np.uint32(16))


@point
def _combine16(charge, place, start, reach_sum, falls, lengths, first):
    columns = reach_sum.size
    fours = columns - columns % 4
    for c in range(0, fours, 4):
        j, k = place + c, first + c
        a = charge[j] + start * reach_sum[c] - falls * _wide(lengths[k])
        b = charge[j + 1] + start * reach_sum[c + 1] - falls * _wide(lengths[k + 1])
        d = charge[j + 2] + start * reach_sum[c + 2] - falls * _wide(lengths[k + 2])
        e = charge[j + 3] + start * reach_sum[c + 3] - falls * _wide(lengths[k + 3])
        charge[j], charge[j + 1], charge[j + 2], charge[j + 3] = a, b, d, e
    for c in range(fours, columns):
        charge[place + c] += start * reach_sum[c] - falls * _wide(lengths[first + c])
