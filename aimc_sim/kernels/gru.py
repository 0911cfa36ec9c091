"""The tail of a gated recurrent unit in half precision, one pass over the gates.

Names and rounding points are those of :mod:`aimc_sim.chip.gdpu_cells`, bit for bit.
"""

from __future__ import annotations

import numpy as np

from . import serial
from .half import fma_half, round_half
from .lstm import lines
from .math32 import f32
from .rounding import sent


@serial
def gru_half(
    inputs, codes, state, input_scale, hidden_scale, out_scale, edges, slopes, offsets, limit,
    rounds, new_state, out,
):  # fmt: skip
    """Write the state that is kept and the codes that leave; return how many were beyond.

    Parameters
    ----------
    inputs, codes : (N, 3H) float32
        Blocks r, z, n of the products of the input and of the hidden matrix.
    state : (N, H) float32
        Hidden state that the unit keeps, dimensionless.
    input_scale, hidden_scale, out_scale : halves
        Value per code of the two products, and codes per value of the state that leaves.
    edges, slopes, offsets : halves
        The table of tanh.
    limit : float32
        Largest code.
    rounds : bool
        Codes that leave are rounded.
    new_state, out : (N, H) float32, written
        State after the step, and codes that leave.
    """
    hidden = state.shape[1]
    x, h = np.empty(3 * hidden, np.float32), np.empty(3 * hidden, np.float32)
    gates, new = np.empty(2 * hidden, np.float32), np.empty(hidden, np.float32)
    fired = np.empty(2 * hidden, np.int32)
    one, half = f32(1.0), f32(0.5)
    saturated = np.int64(0)
    for n in range(state.shape[0]):
        for j in range(3 * hidden):
            x[j] = round_half(round_half(inputs[n, j]) * input_scale)
            h[j] = round_half(round_half(codes[n, j]) * hidden_scale)
        for j in range(2 * hidden):
            gates[j] = round_half(half * fma_half(one, x[j], h[j]))
        lines(gates, edges, slopes, offsets, fired, gates)
        for j in range(2 * hidden):
            gates[j] = fma_half(half, gates[j], half)
        for k in range(hidden):
            new[k] = fma_half(gates[k], h[2 * hidden + k], x[2 * hidden + k])
        lines(new, edges, slopes, offsets, fired[:hidden], new)
        kept, leaving = new_state[n], out[n]
        for k in range(hidden):
            changed = fma_half(-one, new[k], round_half(state[n, k]))
            kept[k] = fma_half(gates[hidden + k], changed, new[k])
        for k in range(hidden):
            leaving[k] = round_half(kept[k] * out_scale)
        saturated += sent(leaving, limit, rounds)
    return saturated
