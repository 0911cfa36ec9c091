"""Noise of matrices that are written into devices at inference: a draw per device and image."""

from __future__ import annotations

import numpy as np

from . import serial
from .normal import wide_pair
from .philox import philox10


@serial
def normals(out, event, k0, k1):
    """Fill an array with the standard normals of all devices of one image.

    Parameters
    ----------
    out : (H, S, 2, R, C) float32, written
        Matrices, slices, devices of a pair, rows, columns.
    event : int
        Number of the image.
    k0, k1 : uint32
        Key of the product.

    Notes
    -----
    Slices 2 k and 2 k + 1 of row r and column c of matrix h have the counter
    (65536 r + c, low and high word of the event, 2^16 k + h), whose four words make their four
    normals: no size of an array is part of an address.
    """
    heads, slices, _, rows, cols = out.shape
    low, high = np.uint32(event), np.uint32(np.uint64(event) >> np.uint64(32))
    for head in range(heads):
        for pair in range((slices + 1) // 2):
            last = np.uint32(pair * 65536 + head)
            for r in range(rows):
                for c in range(cols):
                    w0, w1, w2, w3 = philox10(np.uint32(r * 65536 + c), low, high, last, k0, k1)
                    out[head, 2 * pair, 0, r, c], out[head, 2 * pair, 1, r, c] = wide_pair(w0, w1)
                    if 2 * pair + 1 < slices:
                        a, b = wide_pair(w2, w3)
                        out[head, 2 * pair + 1, 0, r, c] = a
                        out[head, 2 * pair + 1, 1, r, c] = b
