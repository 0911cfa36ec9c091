"""Properties of a layer's inputs in one pass: bounds for the reads of a core, and counters."""

from __future__ import annotations

import numpy as np

from . import point, serial
from .math32 import f32

FLUSH = 2**16
"""Pixels whose magnitudes are summed in float32: sums of 8-bit codes are exact there."""

LANES = 16
"""Sums that are kept side by side, so that the compiler may use SIMD without reordering one."""

ROUNDING = f32(1.00001)
"""Factor on a bound, because its sums are rounded."""


@serial
def survey(x, rows, columns, span, part, magnitudes, lowest, above, below):
    """Write sums of magnitudes, lowest codes, and the extreme codes of parts of the maps.

    Parameters
    ----------
    x : (B, P, C) float32
        Maps of ``rows x columns = P`` pixels.
    rows, columns : int64
        Pixels of a map along its two dimensions.
    span : (2,) int64
        Rows and columns of a part.
    part : int64
        Distance between parts; the last ones are cut off at the map's end.
    magnitudes : (B,) float64, written
        Sum of the magnitudes of an image's codes.
    lowest : (B, C) float32, written
        min(0, code) over a map.
    above, below : (B, N, C) float32, written
        Largest code, and largest negated code, of every part, >= 0; (0, 0, 0) if not wanted.
        ``below`` is written only for images with negative codes.
    """
    images, pixels, channels = x.shape
    sums = np.zeros(channels, np.float32)
    for i in range(images):
        maps, low = x[i], lowest[i]
        total = np.float64(0.0)
        _fill(low)
        for first in range(0, pixels, FLUSH):
            _fill(sums)
            _accumulate(maps, first, min(first + FLUSH, pixels), sums, low)
            for c in range(channels):
                total += np.float64(sums[c])
        magnitudes[i] = total
        if above.size > 0:
            _extremes(maps, rows, columns, span, part, f32(1.0), above[i])
            negative = False
            for c in range(channels):
                negative |= low[c] < f32(0.0)
            if negative:
                _extremes(maps, rows, columns, span, part, f32(-1.0), below[i])


@point
def _fill(row):
    for c in range(row.size):
        row[c] = f32(0.0)


@point
def _accumulate(maps, first, last, sums, low):
    for p in range(first, last):
        row = maps[p]
        for c in range(row.size):
            sums[c] += abs(row[c])
            low[c] = min(low[c], row[c])


@point
def _extremes(maps, rows, columns, span, part, sign, found):
    across = (columns - span[1] + part - 1) // part + 1
    for n in range(found.shape[0]):
        best = found[n]
        _fill(best)
        top, left = n // across * part, n % across * part
        for r in range(top, min(top + span[0], rows)):
            for p in range(r * columns + left, r * columns + min(left + span[1], columns)):
                row = maps[p]
                for c in range(row.size):
                    best[c] = max(best[c], sign * row[c])


@serial
def beyond(codes, reach, noise, peak, noise_peak, norm, sigmas, limit, columns, found):
    """Mark the images of which some part may charge a column beyond a limit.

    Parameters
    ----------
    codes : (B, N, R) float32, >= 0
        Largest code of every part of an image, by row.
    reach : (R, C) float32
        Charge per code.
    noise : (R, C) float32
        Variance per squared code; (1, 1) if there is none.
    peak, noise_peak : (R,) float32
        Largest of every row of both; ``noise_peak`` zero if there is no noise.
    norm : float32
        Largest root of a column's summed squares of ``reach``.
    sigmas, limit : float32
        Standard deviations of noise that are kept free, and charge that may be reached.
    columns : bool
        False: sums over rows alone decide, so that more images are marked.
    found : (B,) bool, written
        Set where ``codes reach + sigmas sqrt(codes^2 noise) > limit`` for some part and column.

    Notes
    -----
    Most parts are settled by sums over rows alone: no column is charged with more than
    ``codes peak``, nor with more than ``|codes| norm`` (Cauchy and Schwarz).
    """
    channels = reach.shape[1]
    noisy = noise.size > 1
    charge, variance = np.empty(channels, np.float32), np.empty(channels, np.float32)
    sums = np.empty((3, LANES), np.float32)
    for i in range(codes.shape[0]):
        for n in range(codes.shape[1]):
            part = codes[i, n]
            first, second, third = _sums(part, peak, noise_peak, sums)
            bound = min(first, norm * np.sqrt(second)) + sigmas * np.sqrt(third)
            if bound * ROUNDING <= limit:
                continue
            if not columns:
                found[i] = True
                break
            _fill(charge)
            _fill(variance)
            for r in range(reach.shape[0]):
                code = part[r]
                if code > f32(0.0):
                    _add_row(charge, reach[r], code)
                    if noisy:
                        _add_row(variance, noise[r], code * code)
            over = np.int32(0)
            for c in range(channels):
                over += np.int32(charge[c] + sigmas * np.sqrt(variance[c]) > limit)
            if over > 0:
                found[i] = True
                break


@serial
def charged_beyond(first, net, variance, sigmas, limit, found):
    """Mark the images of which some phase may charge a column beyond a limit, from its charges.

    Parameters
    ----------
    first : (B, N) float32
        Charges of the first polarity, all pixels and columns of an image.
    net : (B, N) float32
        Charges of the first less those of the second polarity; (0, 0) if there is no second one.
    variance : (B, N) float32
        Variance of the noise of both together; (0, 0) if there is none.
    sigmas, limit : float32
        As in :func:`beyond`.
    found : (B,) bool, written
        Set where ``charge + sigmas sqrt(variance) > limit`` for some charge of a phase.
    """
    second, noisy = net.size > 0, variance.size > 0
    for i in range(first.shape[0]):
        over = np.int32(0)
        for k in range(first.shape[1]):
            most = first[i, k]
            if second:
                most = max(most, most - net[i, k])
            if noisy:
                most += sigmas * np.sqrt(variance[i, k])
            over += np.int32(most * ROUNDING > limit)
        found[i] = over > 0


@point
def _sums(codes, peak, noise_peak, sums):
    """Return ``codes peak``, ``codes codes`` and ``codes^2 noise_peak``: lane by lane, in SIMD."""
    rows = codes.size
    whole = rows - rows % LANES
    for k in range(3):
        for lane in range(LANES):
            sums[k, lane] = f32(0.0)
    for r in range(0, whole, LANES):
        for lane in range(LANES):
            code = codes[r + lane]
            sums[0, lane] += code * peak[r + lane]
            sums[1, lane] += code * code
            sums[2, lane] += code * code * noise_peak[r + lane]
    first, second, third = f32(0.0), f32(0.0), f32(0.0)
    for lane in range(LANES):
        first += sums[0, lane]
        second += sums[1, lane]
        third += sums[2, lane]
    for r in range(whole, rows):
        first += codes[r] * peak[r]
        second += codes[r] * codes[r]
        third += codes[r] * codes[r] * noise_peak[r]
    return first, second, third


@point
def _add_row(total, row, factor):
    for c in range(total.size):
        total[c] += factor * row[c]


@serial
def bit_plane(codes, bit, plane, square):
    """Write a bit of every magnitude with the code's sign, and its square.

    Parameters
    ----------
    codes : (N,) float32, integers
        Input codes.
    bit : int64
        Number of the bit, 0 for the lowest.
    plane : (N,) float32, written
        -1, 0 or 1: the bit with the sign of its code.
    square : (N,) float32, or uint16 (bits of bfloat16), written
        Square of ``plane``; (0,) if not wanted.
    """
    for j in range(codes.size):
        size = (np.int32(abs(codes[j])) >> np.int32(bit)) & np.int32(1)
        plane[j] = f32(size) if codes[j] >= f32(0.0) else -f32(size)
    if square.size > 0:
        one = np.uint32(0x3F80 if square.itemsize == 2 else 1)  # 1.0 in bfloat16
        for j in range(codes.size):
            square[j] = one if plane[j] != f32(0.0) else np.uint32(0)
