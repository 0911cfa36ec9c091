"""Spikes in time: filters, integrate-and-fire neurons, matching of trains.

Time steps of one neuron or synapse follow each other in one turn of a loop, so that threads
change no bit.
"""

from __future__ import annotations

import numpy as np

from . import loop, serial, share
from .math32 import f32


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
