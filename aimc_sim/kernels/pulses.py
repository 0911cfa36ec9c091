"""Laws of single pulses on phase-change devices, and loops over many devices.

The point functions are the laws, on bare float64 numbers; the loops apply them to flat arrays.
A device is an address; a draw is a function of (address, number of the pulse in the life of the
device, key): devices may be split, reordered and spread over threads at will.
"""

from __future__ import annotations

import math

import numpy as np

from . import flicker, loop, point, share
from .normal import pair64, wide_pair
from .pcm import curve
from .philox import philox10

NONE, ACCUMULATE, RESET, SQUARE, SET = 0, 1, 2, 3, 4
"""Kinds of pulses: none, partial SET, full RESET, square (partial RESET), full SET."""

_DEVICE, _CYCLE, _CORE, _READ = np.uint32(1), np.uint32(2), np.uint32(3), np.uint32(4)
"""Streams: the last word of the counter. Keys differ too; this is a second safeguard."""

LANES = 64
"""Devices of a run: drawn together, so that the draws become SIMD code, and always in full, so
that a device gets the same bits wherever it stands."""

_EARLY = 256
"""Length of the table of early parts; beyond, they are computed."""

# --------------------------------------------------------------------------- laws


@point
def set_step(g, p, xi, factor, c):
    """Return the unclipped conductance after one accumulating (partial-SET) pulse.

    ``g + factor (m1 g + c1 + A1 e) + (m2 g + c2 + A2 e) xi`` with ``e = exp(-p / alpha)``.

    Parameters
    ----------
    g : float, siemens
        Conductance before the pulse.
    p : int
        Number of pulses since RESET, this one included.
    xi : float
        Standard normal number, fresh.
    factor : float >= 0
        The device's own factor on the mean step.
    c : (7,) float64
        (m1, c1, A1, m2, c2, A2, alpha); c1, A1, c2, A2 in siemens, m2, c2, A2 already scaled.
    """
    return _step(g, early_part(p, c), xi, factor, c)


@point
def early_part(p, c):
    """Return exp(-p / alpha), the weight of the extra of the first pulses."""
    return math.exp(-np.float64(p) / c[6])


@point
def _step(g, early, xi, factor, c):
    mean = c[0] * g + c[1] + c[2] * early
    std = c[3] * g + c[4] + c[5] * early
    return g + factor * mean + std * xi


@point
def full_set(median, ln_core, ln_device, ln_cycle):
    """Return the unclipped conductance after a full SET: median exp(core + device + cycle)."""
    return median * math.exp(ln_core + ln_device + ln_cycle)


@point
def square(amperes, g_set, g_reset, half, width, decades):
    """Return the unclipped conductance after a square (partial-RESET) pulse.

    ``log10 G = log10 g_set - log10(g_set / g_reset) s + decades`` with
    ``s = 1 / (1 + exp(-(amperes - half) / width))``; ``decades`` is fresh in every pulse.
    """
    s = 1.0 / (1.0 + math.exp((half - amperes) / width))
    # exp(y ln 10) rather than 10**y: the power function takes three times as long.
    return math.exp(math.log(g_set) - math.log(g_set / g_reset) * s + math.log(10.0) * decades)


@point
def drift_exponent(x, z, mean, std, scale):
    """Return ``nu = scale |mean(x) + std(x) z|``; z is the device's own normal."""
    return scale * abs(curve(x, mean) + curve(x, std) * z)


# --------------------------------------------------------------------------- addressed normals


@point
def device_normals(address, key):
    """Return the four normals a device keeps: step factor, ln G of SET, half current, drift."""
    zero = np.uint32(0)
    w0, w1, w2, w3 = philox10(np.uint32(address), zero, zero, _DEVICE, key[0], key[1])
    a, b = pair64(w0, w1)
    c, d = pair64(w2, w3)
    return a, b, c, d


@point
def drift_normal(address, key):
    """Return the last of the four :func:`device_normals` alone."""
    zero = np.uint32(0)
    _, _, w2, w3 = philox10(np.uint32(address), zero, zero, _DEVICE, key[0], key[1])
    _, d = pair64(w2, w3)
    return d


@point
def cycle_normals(address, event, key):
    """Return two fresh normals for one pulse; ``event`` numbers the pulses of the device."""
    zero = np.uint32(0)
    w0, w1, _, _ = philox10(np.uint32(address), np.uint32(event), zero, _CYCLE, key[0], key[1])
    a, b = wide_pair(w0, w1)
    return np.float64(a), np.float64(b)


@point
def core_normal(key):
    """Return the one normal of a core, from the key of its devices."""
    zero = np.uint32(0)
    w0, w1, _, _ = philox10(zero, zero, zero, _CORE, key[0], key[1])
    z, _ = pair64(w0, w1)
    return z


@point
def step_factor(std_fraction, z):
    """Return a device's factor on its mean step, ``max(0, 1 + std_fraction z)``."""
    return max(0.0, 1.0 + std_fraction * z)


@point
def clip(value, low, high):
    """Return value, not below low and not above high."""
    return min(max(value, low), high)


# --------------------------------------------------------------------------- many devices


@point
def _fresh(first, events, times, stream, key, words, xi):
    """Write the fresh normals of a run of devices, (LANES,): of event ``events + times`` each."""
    zero = np.uint32(0)
    # Words first, then normals: two short loops keep their values in registers, one does not.
    for lane in range(LANES):
        address, event = np.uint32(first + np.uint32(lane)), np.uint32(events[lane] + times)
        w0, w1, _, _ = philox10(address, event, zero, stream, key[0], key[1])
        words[0, lane] = w0
        words[1, lane] = w1
    for lane in range(LANES):
        xi[lane], _ = wide_pair(words[0, lane], words[1, lane])


@point
def _factors(first, std_fraction, device_key, factors):
    """Write the step factors of a run of devices, (LANES,)."""
    for lane in range(LANES):
        factors[lane] = 1.0
        if std_fraction > 0.0:
            z, _, _, _ = device_normals(first + np.uint32(lane), device_key)
            factors[lane] = step_factor(std_fraction, z)


@point
def _made_anew(kind, amperes, xi, address, laws, low, high, ln_core, device_key):
    """Return g after a pulse whose result does not depend on the state before it."""
    set_law, curve_law, reset = laws
    if kind == RESET:
        return clip(reset[0] + reset[1] * xi, reset[2], high)
    ln_device, half = 0.0, curve_law[0]
    if set_law[2] > 0.0 or curve_law[2] > 0.0:
        _, z_set, z_half, _ = device_normals(address, device_key)
        ln_device = set_law[2] * z_set
        half += curve_law[2] * z_half
    if kind == SET:
        return clip(full_set(set_law[0], ln_core, ln_device, set_law[3] * xi), low, high)
    level = full_set(set_law[0], ln_core, ln_device, 0.0)
    value = square(amperes, level, reset[0], half, curve_law[1], curve_law[3] * xi)
    return clip(value, low, high)


@loop
def apply(
    kind, amperes, times, t, low, high, step, set_law, curve_law, reset, first,
    device_key, cycle_key, g, pulses, events, last, part, parts,
):  # fmt: skip
    """Apply a train of equal pulses to every device, in place.

    Parameters
    ----------
    kind : (n,) or (1,) uint8
        Kind of pulse, see :data:`NONE` to :data:`SET`.
    amperes : (n,) or (1,) float64, amperes
        Amplitude of square pulses.
    times : int >= 1
        Pulses in the train.
    t : float, seconds
        Time of the train.
    low, high : float, siemens
        Range of all pulses but RESET.
    step : (8,) float64
        Coefficients of :func:`set_step` and the standard deviation of its factor.
    set_law : (4,) float64
        Median (siemens) and standard deviations of ln G: between cores, devices, cycles.
    curve_law : (4,) float64
        Half, width, standard deviation between devices (all amperes) and between cycles (decades).
    reset : (3,) float64, siemens
        Mean, standard deviation and lower clip of a RESET device.
    first : int
        Address of the first device.
    device_key, cycle_key : (2,) uint32
        Key words of draws that belong to a device, and to a pulse.
    g : (n,) float32, siemens, updated
        Conductance after the last pulse.
    pulses : (n,) uint16, updated
        Crystallising pulses since the last melting one, saturating.
    events : (n,) uint32, updated
        Pulses in the life of the device.
    last : (n,) float64, seconds, updated
        Time of the last pulse.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    ln_core = set_law[1] * core_normal(device_key)
    per_device = 1 if kind.size == g.size else 0
    per_amperes = 1 if amperes.size == g.size else 0
    early = np.empty(_EARLY)
    for k in range(_EARLY):
        early[k] = early_part(k, step)
    for run in share((g.size + LANES - 1) // LANES, part, parts):
        start = run * LANES
        lanes, address = min(LANES, g.size - start), np.uint32(first + start)
        life, factors = np.zeros(LANES, np.uint32), np.empty(LANES)
        words, xi = np.empty((2, LANES), np.uint32), np.empty(LANES, np.float32)
        for lane in range(lanes):
            life[lane] = events[start + lane]
        _factors(address, step[7], device_key, factors)
        for k in range(times):
            _fresh(address, life, np.uint32(k), _CYCLE, cycle_key, words, xi)
            for lane in range(lanes):
                i = start + lane
                what = kind[i * per_device]
                if what == ACCUMULATE:
                    pulses[i] += np.uint16(pulses[i] < 65535)
                    p = np.int64(pulses[i])
                    e = early[p] if p < _EARLY else early_part(p, step)
                    value = _step(np.float64(g[i]), e, np.float64(xi[lane]), factors[lane], step)
                    g[i] = clip(value, low, high)
                elif what != NONE and k == times - 1:  # only the last of a train leaves a trace
                    g[i] = _made_anew(
                        what, amperes[i * per_amperes], np.float64(xi[lane]),
                        address + np.uint32(lane), (set_law, curve_law, reset),
                        low, high, ln_core, device_key,
                    )  # fmt: skip
                    more = min(np.int64(pulses[i]) + times, 65535) if what == SET else 0
                    pulses[i] = np.uint16(more)
        for lane in range(lanes):
            i = start + lane
            if kind[i * per_device] != NONE:
                events[i] = np.uint32(life[lane] + np.uint32(times))
                last[i] = t


@loop
def conductance(
    g, last, t, t0, shortest, g_max, mean, std, scale, first, device_key, now, part, parts
):
    """Let every device drift from its own last pulse.

    ``now = g (max(t - last, shortest) / t0)^-nu``.

    Parameters
    ----------
    g : (n,) float32, siemens
        Conductance after the last pulse.
    last : (n,) float64, seconds
        Time of the last pulse.
    t, t0, shortest : float, seconds
        Present time, age to which the exponents belong, and shortest age.
    g_max : float, siemens
        Conductance of state 1; ``nu`` belongs to the state ``g / g_max``.
    mean, std : (10,) float64
        Curves of the drift exponent's mean and standard deviation against state.
    scale : float
        Factor on the exponent.
    first, device_key : int, (2,) uint32
        As of :func:`apply`.
    now : (n,) float32, siemens, written
        Drifted conductance.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    varies = std[4] > 0.0 or std[5] < math.inf  # upper clip, knee: else the curve is zero
    for i in share(g.size, part, parts):
        z = 0.0
        if varies:
            z = drift_normal(first + i, device_key)
        nu = drift_exponent(np.float64(g[i]) / g_max, z, mean, std, scale)
        age = max(t - last[i], shortest)
        now[i] = np.float64(g[i]) * math.exp(-nu * math.log(age / t0))


@loop
def add_noise(
    now, last, events, t, shortest, t_read, edge, g_max, amplitude, scale, first, number,
    fresh_key, slow_key, part, parts,
):  # fmt: skip
    """Add 1/f read noise to conductances, in place; never below zero.

    ``sigma = scale G Q(G / g_max) sqrt(ln((age + t_read) / (2 t_read)))``; components of
    periods above ``edge`` go on from read to read, the others are drawn anew in each.

    Parameters
    ----------
    now : (n,) float32, siemens, updated
        Conductances.
    last : (n,) float64, seconds
        Time of every device's last pulse.
    events : (n,) uint32
        Pulses in the life of the device.
    t, shortest, t_read : float, seconds
        Present time, shortest age, and duration of a read.
    edge : float, seconds
        Longest period of fresh noise, at least 2 t_read; infinite if all noise is fresh.
    g_max : float, siemens
        Conductance of state 1.
    amplitude : (10,) float64
        Curve of Q against state.
    scale : float
        Factor on the noise.
    first : int
        Address of the first device.
    number : int
        Number of the read at this time.
    fresh_key, slow_key : (2,) uint32
        Key words of this purpose and time, and of the slow process.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    for run in share((now.size + LANES - 1) // LANES, part, parts):
        start = run * LANES
        words, xi = np.empty((2, LANES), np.uint32), np.empty(LANES, np.float32)
        numbers = np.full(LANES, np.uint32(number))
        _fresh(np.uint32(first + start), numbers, np.uint32(0), _READ, fresh_key, words, xi)
        for lane in range(min(LANES, now.size - start)):
            i = start + lane
            g = np.float64(now[i])
            age = max(t - last[i], shortest)
            band = max(0.0, math.log((age + t_read) / (2.0 * t_read)))
            slow = min(band, max(0.0, math.log((age + t_read) / edge)))
            noise = math.sqrt(band - slow) * np.float64(xi[lane])
            if slow > 0.0:
                noise += flicker.value(
                    first + i, events[i], age, edge, slow, slow_key[0], slow_key[1]
                )
            now[i] = max(0.0, g * (1.0 + scale * curve(g / g_max, amplitude) * noise))
