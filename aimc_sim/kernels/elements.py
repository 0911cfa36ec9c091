"""Addressed draws for elements of any kind of device, for laws that are written with numpy.

An element's address is ``e core_cells + r core_cols + c``: it gets the same bits wherever its block
begins and whatever else is drawn.
"""

from __future__ import annotations

import numpy as np

from . import flicker, loop, share
from .math32 import f32
from .normal import wide_pair
from .philox import philox10

LANES = 64
"""Elements of a run of slow noise."""


@loop
def normals(core_cols, core_cells, key, first, second, part, parts):
    """Draw the two standard normals that belong to every element.

    core_cols, core_cells : int, address of an element, see above; key : (2,) uint32.
    first, second : (E, R, C) float32, written.
    """
    elements, rows, cols = first.shape
    zero = np.uint32(0)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            address = np.uint32(e * core_cells + r * core_cols + c)
            w0, w1, _, _ = philox10(address, zero, zero, zero, key[0], key[1])
            first[e, r, c], second[e, r, c] = wide_pair(w0, w1)


@loop
def slow_noise(weights, rates, age, core_cols, core_cells, key, noise, part, parts):
    """Draw the 1/f noise of every element at a time, see :func:`flicker.add`.

    weights, rates : (K,) float32 and float64; age : float, s, on the clock of the noise.
    noise : (E, R, C) float32, dimensionless, written; other arguments as in :func:`normals`.
    """
    elements, rows, cols = noise.shape
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        words, period = np.empty((4, LANES), np.uint32), np.empty((2, LANES), np.uint32)
        run = np.empty(LANES, np.float32)
        for start in range(0, cols, LANES):
            for lane in range(LANES):
                run[lane] = f32(0.0)
            first = np.uint32(e * core_cells + r * core_cols + start)
            flicker.add(run, words, period, first, LANES, weights, rates, age, key[0], key[1])
            for lane in range(min(LANES, cols - start)):
                noise[e, r, start + lane] = run[lane]
