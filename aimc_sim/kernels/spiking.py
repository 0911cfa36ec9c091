"""Spikes in time: filters, integrate-and-fire neurons, matching, and many sparse processes.

Time steps of one neuron or synapse follow each other in one turn of a loop, so that threads
change no bit.
"""

from __future__ import annotations

import math

import numpy as np

from . import loop, point, serial, share
from .math32 import f32
from .philox import philox10

_GAP = np.uint32(7)
"""Stream of the gaps between active processes: the last word of the counter."""

RUN = 4096
"""Processes of a run, in which gaps are counted from its start: splits change no draw."""


@loop
def filtered(signal, decay, out, part, parts):
    """Write ``out_t = decay out_{t-1} + signal_t`` for every column.

    signal : (T, N) float32; decay : float, share that is left after a step; out : (T, N) float32.
    """
    for n in share(signal.shape[1], part, parts):
        value = 0.0
        for t in range(signal.shape[0]):
            value = decay * value + np.float64(signal[t, n])
            out[t, n] = f32(value)


@loop
def fire(drive, decay, silent, spikes, part, parts):
    """Run leaky integrate-and-fire neurons with a threshold of 1 and a reset to 0.

    ``v <- decay v + (1 - decay) drive``; at v >= 1 the neuron spikes, v is set to 0 and held
    there for the ``silent`` following steps.

    drive : (T, N) float32, dimensionless; decay : float; silent : int >= 0; spikes : (T, N) bool,
    written.
    """
    for n in share(drive.shape[1], part, parts):
        v, rest = 0.0, 0
        for t in range(drive.shape[0]):
            spikes[t, n] = False
            if rest > 0:
                rest -= 1
                continue
            v = decay * v + (1.0 - decay) * np.float64(drive[t, n])
            if v >= 1.0:
                spikes[t, n] = True
                v, rest = 0.0, silent


@serial
def matches(wanted, found, reach):
    """Return the largest number of pairs of spikes of two trains that lie within a reach.

    The earliest spikes that reach each other are a pair of some largest matching, so that one
    pass over both trains finds it.

    wanted, found : (T,) bool; reach : int >= 0, steps.
    """
    steps, pairs, a, b = wanted.size, 0, 0, 0
    while True:
        while a < steps and not wanted[a]:
            a += 1
        while b < steps and not found[b]:
            b += 1
        if a == steps or b == steps:
            return pairs
        if abs(a - b) <= reach:
            pairs, a, b = pairs + 1, a + 1, b + 1
        elif a < b:
            a += 1
        else:
            b += 1


@point
def _gap(run, number, step, log_rest, key):
    """Return how many processes stay silent before the next active one."""
    w0, _, _, _ = philox10(np.uint32(run), np.uint32(number), np.uint32(step), _GAP, key[0], key[1])
    u = (np.float64(w0) + 0.5) * 2.0**-32
    return np.int64(math.log(u) / log_rest)


@serial
def active(p, step, key, index):
    """Write the active ones of independent Bernoulli processes at one step; return their number.

    Gaps between active ones are geometric, so that the work is in proportion to the active ones.
    Probabilities below 1e-9 are cut off by the 32 bits of a draw.

    p : float, 0 <= p <= 1; step : int; key : (2,) uint32; index : (N,) int64 for N processes, its
    beginning is written, in ascending order.
    """
    n = 0
    if p <= 0.0:
        return n
    log_rest = math.log1p(-p) if p < 1.0 else -math.inf
    for start in range(0, index.size, RUN):
        end, at, number = min(start + RUN, index.size), start, 0
        while True:
            at += _gap(start // RUN, number, step, log_rest, key)
            number += 1
            if at >= end:
                break
            index[n] = at
            n += 1
            at += 1
    return n
