"""Spiking neurons in half precision, all time steps of a neuron in one turn of a loop.

The same operations and roundings as :func:`aimc_sim.chip.membranes.step`, which is the slow twin.
"""

from __future__ import annotations

from . import point, serial
from .half import fma_half, round_half
from .math32 import f32

ZERO, SUBTRACT, NONE = 0, 1, 2
"""Effects of a spike on the state."""

IDENTITY, RECTIFIED = 0, 1
"""Transfers: the identity, or a slope below zero."""


@serial
def run(inputs, state, sent, threshold, registers, reset, delayed, transfer, outputs):
    """Run neurons over time; ``state`` and ``sent`` end as those after the last step.

    Parameters
    ----------
    inputs : (A, T, M) float32
        Codes of the sums of the inputs; A M neurons.
    state : (A, M) float32
        s, dimensionless.
    sent : (A, M) float32
        Spikes of the step before, 0 or 1.
    threshold : (M,) float32, halves
        theta.
    registers : (3,) float32, halves
        Value per input code, decay, slope below zero.
    reset : int64
        :data:`ZERO`, :data:`SUBTRACT` or :data:`NONE`.
    delayed : bool
        Whether the reset acts in the next step.
    transfer : int64
        :data:`IDENTITY` or :data:`RECTIFIED`.
    outputs : (A, T, M) float32, written
        Spikes, 0 or 1.
    """
    for a in range(inputs.shape[0]):
        for t in range(inputs.shape[1]):
            _step(
                inputs[a, t], state[a], sent[a], threshold, registers[0], registers[1],
                registers[2], reset, delayed, transfer,
            )  # fmt: skip
            out = outputs[a, t]
            for j in range(out.size):
                out[j] = sent[a, j]


@point
def _step(x, s, y, theta, scale, decay, slope, reset, delayed, transfer):
    one = f32(1.0)
    for j in range(x.size):
        left = round_half(decay * round_half(s[j]))
        if reset == ZERO and delayed:
            left = round_half(left * fma_half(-one, y[j], one))
        total = fma_half(round_half(x[j]), scale, left)
        if reset == SUBTRACT and delayed:
            total = fma_half(-y[j], theta[j], total)
        if transfer == RECTIFIED:
            total = total if total > f32(0.0) else round_half(total * slope)
        spike = f32(fma_half(-one, theta[j], total) > f32(0.0))
        if not delayed and reset != NONE:
            total = fma_half(-spike, total if reset == ZERO else theta[j], total)
        s[j], y[j] = total, spike
