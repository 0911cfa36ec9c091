"""The tail of an LSTM in half precision, one pass over the gates.

Blocks, names and rounding points are those of :mod:`aimc_sim.chip.gdpu`, bit for bit.
"""

from __future__ import annotations

import numpy as np

from . import serial
from .half import fma_half, round_half
from .rounding import sent


@serial
def lines(x, edges, slopes, offsets, fired, out):
    """Write the table's values: as many comparators fire as edges lie at or below x."""
    for j in range(x.size):
        fired[j] = 0
    for edge in edges:
        for j in range(x.size):
            fired[j] += x[j] >= edge
    for j in range(x.size):
        out[j] = fma_half(slopes[fired[j]], x[j], offsets[fired[j]])


@serial
def lstm_half(
    codes, cell, scale, offset, gate_scale, gate_offset, edges, slopes, offsets,
    out_scale, out_offset, limit, rounds, new_cell, out,
):  # fmt: skip
    """Write the cell state and the codes that leave; return how many were beyond the limit.

    Parameters
    ----------
    codes : (N, 4H) float32
        Gates I, A, F, O of a hidden unit side by side.
    cell : (N, H) float32
        Cell state before the step, dimensionless.
    scale, offset, gate_scale, gate_offset : (4H,) halves
        Value per code and value at code 0 of every gate; factor and offset around its tanh.
    edges, slopes, offsets : halves
        The table of tanh.
    out_scale, out_offset : halves
        Codes per value of the hidden state that leaves, and its offset.
    limit : float32
        Largest code.
    rounds : bool
        Codes that leave are rounded.
    new_cell, out : (N, H) float32, written
        Cell state after the step, and codes that leave.

    Notes
    -----
    A row at a time, in simple loops over it, which become SIMD; a row fits the nearest cache.
    """
    hidden = cell.shape[1]
    x, gates = np.empty(4 * hidden, np.float32), np.empty(4 * hidden, np.float32)
    curve, fired = np.empty(hidden, np.float32), np.empty(4 * hidden, np.int32)
    saturated = np.int64(0)
    for n in range(cell.shape[0]):
        for j in range(4 * hidden):
            x[j] = fma_half(round_half(codes[n, j]), scale[j], offset[j])
        lines(x, edges, slopes, offsets, fired, gates)
        for j in range(4 * hidden):
            gates[j] = fma_half(gate_scale[j], gates[j], gate_offset[j])
        state, leaving = new_cell[n], out[n]
        for k in range(hidden):
            written = round_half(gates[4 * k] * gates[4 * k + 1])
            state[k] = fma_half(gates[4 * k + 2], round_half(cell[n, k]), written)
        lines(state, edges, slopes, offsets, fired[:hidden], curve)
        for k in range(hidden):
            h = round_half(gates[4 * k + 3] * curve[k])
            leaving[k] = fma_half(h, out_scale, out_offset)
        saturated += sent(leaving, limit, rounds)
    return saturated
