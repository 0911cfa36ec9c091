"""The 1/f process by itself: its traces, and the covariance it must have."""

import math

import numba
import numpy as np

from aimc_sim.kernels import flicker


@numba.njit
def traces(times, lanes, weights, rates, k0, k1):
    """The noise of ``lanes`` devices at many times, (T, lanes)."""
    out = np.zeros((times.size, lanes), np.float32)
    words, period = np.empty((4, lanes), np.uint32), np.empty((2, lanes), np.uint32)
    for i in range(times.size):
        flicker.add(out[i], words, period, np.uint32(0), lanes, weights, rates, times[i], k0, k1)
    return out


def decade_covariance(dt, shortest):
    """Mean of max(0, 1 - dt / P) over P log-uniform between ``shortest`` and ten times that."""
    a = np.clip(np.asarray(dt, float) / shortest, 1e-300, None)
    low = np.clip(a, 1.0, 10.0)  # periods shorter than dt are over
    return (np.log(10 / low) - a * (1 / low - 0.1)) / math.log(10)


def covariance(dt, weights, rates, later=None):
    """Covariance of the process over a lag, for one set of weights, or two."""
    later = weights if later is None else later
    pairs = zip(weights, later, rates, strict=False)
    return sum(float(a) * float(b) * decade_covariance(dt, 1 / r) for a, b, r in pairs)
