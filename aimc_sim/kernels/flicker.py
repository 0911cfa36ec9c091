"""1/f noise as a process: components that each hold a value for a period and then take a new one.

The periods of a device are spread evenly over the logarithm of time, one per decade: component
k has the period ``10^(k + u)`` times the shortest, with u uniform (256 steps) and fixed for the
device, and a fixed random phase. Its value in the n-th period is a normal that is addressed by
(device, k, n): the noise at a time is a pure function of the time, nothing is stored, and two
times share exactly the components whose period has not ended between them.

A component of unit variance and period P has the covariance ``max(0, 1 - |dt| / P)``. Its
spectrum ``2 P sinc^2(f P)``, integrated over ln P, is exactly 1/f: the population of devices has
the spectrum 1/f between the shortest and the longest period, while a single device shows the few
steps per decade that measured traces have.
"""

from __future__ import annotations

import math

import numpy as np

from . import point
from .math32 import f32
from .normal import wide_pair
from .philox import philox7

_FIXED = np.uint32(0x80000000)
"""Marks the counters of draws that stay with a device (period, phase)."""

_DECADE = math.log(10.0)
_SLOWER = 10.0 ** -((np.arange(256) + 0.5) / 256)
"""Rates of the 256 periods inside a decade, relative to the shortest. In double precision: after
many periods the smallest error of a rate would pick another draw."""


@point
def add(noise, words, period, first, lanes, weights, rates, age, k0, k1):
    """Add the noise of a run of devices to ``noise``.

    Parameters
    ----------
    noise : (lanes,) float32, added to
        Noise of unit variance per unit of squared weight.
    words, period : (4, lanes) and (2, lanes) uint32
        Scratch.
    first : uint32
        Address of the first device; the others follow.
    lanes : int
        Number of devices.
    weights : (K,) float32
        Weights of the components, dimensionless; those of weight 0 are skipped.
    rates : (K,) float64, 1/s
        Inverse of the shortest period of a component.
    age : float64, seconds
        Time on the clock of the noise.
    k0, k1 : uint32
        Key words of the process.
    """
    for k in range(weights.size):
        if k % 4 == 0:
            for lane in range(lanes):
                w0, w1, w2, w3 = philox7(
                    np.uint32(first + np.uint32(lane)), np.uint32(0), np.uint32(0),
                    _FIXED | np.uint32(k // 4), k0, k1,
                )  # fmt: skip
                words[0, lane] = w0
                words[1, lane] = w1
                words[2, lane] = w2
                words[3, lane] = w3
        weight = weights[k]
        if weight == f32(0.0):
            continue
        cycles = age * rates[k]
        own = words[k % 4]
        # Three short loops: one long one does not keep its values in registers.
        for lane in range(lanes):
            phase = np.float64(np.int32(own[lane] >> np.uint32(8))) * 2.0**-24
            n = np.int64(cycles * _SLOWER[own[lane] & np.uint32(0xFF)] + phase)
            period[0, lane] = np.uint32(n)
            period[1, lane] = np.uint32(n >> np.int64(32))
        for lane in range(lanes):
            w0, w1, _, _ = philox7(
                np.uint32(first + np.uint32(lane)), period[0, lane], period[1, lane],
                np.uint32(k), k0, k1,
            )  # fmt: skip
            period[0, lane] = w0
            period[1, lane] = w1
        for lane in range(lanes):
            xi, _ = wide_pair(period[0, lane], period[1, lane])
            noise[lane] += weight * xi


@point
def value(address, life, age, shortest, length, k0, k1):
    """Return the noise of one device, per unit of Q: the same process, device by device.

    Parameters
    ----------
    address : uint32
        Address of the device.
    life : int < 2^26
        Number of lives before this one: a pulse ends one process and starts another. Life 0 is
        that of :func:`add`.
    age : float, seconds
        Time since the process began.
    shortest : float, seconds
        Shortest period.
    length : float
        Variance at this age: the logarithm of the longest over the shortest period.
    k0, k1 : uint32
        Key words of the process.
    """
    total, k, rest = 0.0, 0, length
    own = (np.uint32(0), np.uint32(0), np.uint32(0), np.uint32(0))
    rate = 1.0 / shortest
    while rest > 0.0:
        if k % 4 == 0:
            own = philox7(
                np.uint32(address), np.uint32(0), np.uint32(0), _FIXED | np.uint32(k // 4), k0, k1
            )
        word = own[0] if k % 4 == 0 else own[1] if k % 4 == 1 else own[2] if k % 4 == 2 else own[3]
        phase = np.float64(np.int64(word >> np.uint32(8))) * 2.0**-24
        n = np.int64(age * rate * _SLOWER[word & np.uint32(0xFF)] + phase)
        w0, w1, _, _ = philox7(
            np.uint32(address), np.uint32(n), np.uint32(n >> np.int64(32)),
            np.uint32(k) | np.uint32(np.uint32(life) << np.uint32(5)), k0, k1,
        )  # fmt: skip
        xi, _ = wide_pair(w0, w1)
        total += math.sqrt(min(rest, _DECADE)) * np.float64(xi)
        rest -= _DECADE
        rate *= 0.1
        k += 1
    return total
