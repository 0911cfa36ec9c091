"""Program-and-verify of whole crossbars: a loop of square pulses and reads for every device.

Cells are independent of each other: the diagonal order of the circuit costs time, which the
caller counts, and changes no conductance.
"""

from __future__ import annotations

import math

import numpy as np

from . import loop, point, share
from .pcm import curve
from .pulses import (
    clip,
    core_normal,
    cycle_normals,
    device_normals,
    drift_normal,
    full_set,
    square,
)  # fmt: skip

STUCK_SET, STUCK_RESET = 1, 2

# Laws of the pulses, (13,) float64: median, standard deviations between cores, devices and cycles
# of SET; half, width, standard deviations between devices and cycles of the square pulse; mean,
# standard deviation, lower clip of RESET; range.
_SET_MEDIAN, _SET_CORE, _SET_DEVICE, _SET_CYCLE = 0, 1, 2, 3
_HALF, _WIDTH, _HALF_DEVICE, _DECADES_CYCLE = 4, 5, 6, 7
_RESET_MEAN, _RESET_STD, _RESET_LOW = 8, 9, 10
_LOW, _HIGH = 11, 12

# Control of the loop, (9,) float64.
_START, _STEP, _LEAST, _MOST, _MARGIN, _TRIES, _COUNT, _BAND, _G_MAX = 0, 1, 2, 3, 4, 5, 6, 7, 8


@point
def _state(stuck, faults, value):
    """Return the conductance of a device after a pulse that would leave ``value``."""
    return faults[0] if stuck == STUCK_SET else faults[1] if stuck == STUCK_RESET else value


@point
def read_counts(g, xi, count, band, g_max, q_table):
    """Return the ADC counts of one verify read: read noise, then rounding.

    ``band`` is the square root of the band integral of the 1/f noise at the age of the read.
    """
    noise = min(g, g_max) * curve(min(g / g_max, 1.0), q_table) * band * xi
    return np.rint(max(0.0, g + noise) / count)


@point
def square_pulse(amperes, xi, normals, ln_core, laws):
    """Return the conductance that a square pulse leaves in a working device."""
    level = full_set(laws[_SET_MEDIAN], ln_core, laws[_SET_DEVICE] * normals[1], 0.0)
    half = laws[_HALF] + laws[_HALF_DEVICE] * normals[2]
    decades = laws[_DECADES_CYCLE] * xi
    value = square(amperes, level, laws[_RESET_MEAN], half, laws[_WIDTH], decades)
    return clip(value, laws[_LOW], laws[_HIGH])


@point
def _tune(aim, stuck, address, normals, ln_core, laws, control, reading, faults, cycle_key):
    """Tune one device; return conductance, last amplitude, iterations, whether it was reached."""
    amperes = used = control[_START]
    g, reached, tries = 0.0, False, 0
    while tries < control[_TRIES] and not reached:
        tries += 1
        used = amperes
        # Event 0 was the full SET or RESET before.
        xi, xi_read = cycle_normals(address, tries, cycle_key)
        g = _state(stuck, faults, square_pulse(used, xi, normals, ln_core, laws))
        counts = read_counts(g, xi_read, control[_COUNT], control[_BAND], control[_G_MAX], reading)
        error = counts - aim / control[_COUNT]
        reached = abs(error) < control[_MARGIN]
        amperes = clip(used + control[_STEP] * error, control[_LEAST], control[_MOST])
    return g, used, tries, reached


@point
def _after_set(stuck, address, normals, ln_core, laws, faults, cycle_key):
    """Return the conductance after a full SET pulse and the normal of the read that follows."""
    xi, xi_read = cycle_normals(address, 0, cycle_key)
    ln_device, ln_cycle = laws[_SET_DEVICE] * normals[1], laws[_SET_CYCLE] * xi
    g = clip(full_set(laws[_SET_MEDIAN], ln_core, ln_device, ln_cycle), laws[_LOW], laws[_HIGH])
    return _state(stuck, faults, g), xi_read


@point
def _after_reset(stuck, address, laws, faults, cycle_key):
    """Return the conductance after a full RESET pulse."""
    xi, _ = cycle_normals(address, 0, cycle_key)
    g = clip(laws[_RESET_MEAN] + laws[_RESET_STD] * xi, laws[_RESET_LOW], laws[_HIGH])
    return _state(stuck, faults, g)


@loop
def program(
    target, programmed, fill_both, stuck, laws, control, reading, faults,
    core_cols, core_cells, device_key, cycle_key, g, aim, amperes, iterations, reached,
    part, parts,
):  # fmt: skip
    """Write every cell of a block; devices (p1, p2, n1, n2) lie along the first axis.

    Parameters
    ----------
    target : (2, R, C) float64, siemens
        Conductance that each polarity shall have.
    programmed : (2, R, C) bool
        False for polarities left in RESET.
    fill_both : bool
        Max-SET-fill (two devices share a target), or one tuned device.
    stuck : (4, R, C) uint8
        Faulty devices: 0 good, 1 stuck in SET, 2 stuck in RESET.
    laws : (13,) float64
        Laws of the pulses, in the order at the top of this file.
    control : (9,) float64
        First amplitude, step per count, lower and upper end of it; margin in counts, most
        iterations; siemens per count, square root of the band integral of a read, g_max.
    reading : (10,) float64
        Curve of Q_s against state.
    faults : (2,) float64, siemens
        Conductances of stuck-SET and stuck-RESET devices.
    core_cols, core_cells : int
        Columns and cells of a core: device (e, r, c) has the address
        ``e core_cells + r core_cols + c``.
    device_key, cycle_key : (2,) uint32
        Key words of draws that belong to a device, and to this programming.
    g : (4, R, C) float32, siemens, written
        Conductance at the last verify read.
    aim : (4, R, C) float32, siemens, written
        Target of each device; for a device in SET the conductance as which it was read, for one in
        RESET the RESET level.
    amperes : (4, R, C) float32, amperes, written
        Last amplitude of a tuned device, 0 for others.
    iterations : (4, R, C) uint16, written
        Pulses with a read; 0 for devices that were not tuned.
    reached : (4, R, C) bool, written
        Whether a tuned device ended inside the margin.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    rows, cols = target.shape[1:]
    ln_core = laws[_SET_CORE] * core_normal(device_key)
    level, count = laws[_RESET_MEAN], control[_COUNT]
    band, g_max = control[_BAND], control[_G_MAX]
    for pr in share(2 * rows, part, parts):
        pol, r = pr // rows, pr % rows
        for c in range(cols):
            one, two = 2 * pol, 2 * pol + 1
            for e in range(one, two + 1):
                address = e * core_cells + r * core_cols + c
                g[e, r, c] = _after_reset(stuck[e, r, c], address, laws, faults, cycle_key)
                aim[e, r, c] = level
                amperes[e, r, c] = 0.0
                iterations[e, r, c] = 0
                reached[e, r, c] = False
            if not programmed[pol, r, c]:
                continue
            tuned, rest = one, level
            if fill_both:
                counts_one, counts_two = 0.0, 0.0
                g_one, g_two = 0.0, 0.0
                for e in range(one, two + 1):
                    address = e * core_cells + r * core_cols + c
                    own = device_normals(address, device_key)
                    value, xi = _after_set(
                        stuck[e, r, c], address, own, ln_core, laws, faults, cycle_key
                    )
                    counts = read_counts(value, xi, count, band, g_max, reading)
                    if e == one:
                        counts_one, g_one = counts, value
                    else:
                        counts_two, g_two = counts, value
                larger = one if counts_one >= counts_two else two
                most = max(counts_one, counts_two)
                if target[pol, r, c] > most * count:
                    # One device cannot do it: the better one stays in SET, the other is tuned.
                    tuned, rest = one + two - larger, most * count
                    g[larger, r, c] = g_one if larger == one else g_two
                    aim[larger, r, c] = rest
                else:
                    tuned = larger
            wanted = max(0.0, target[pol, r, c] - rest)
            address = tuned * core_cells + r * core_cols + c
            own = device_normals(address, device_key)
            value, used, tries, hit = _tune(
                wanted, stuck[tuned, r, c], address, own, ln_core, laws, control, reading,
                faults, cycle_key,
            )  # fmt: skip
            g[tuned, r, c] = value
            aim[tuned, r, c] = wanted
            amperes[tuned, r, c] = used
            iterations[tuned, r, c] = tries
            reached[tuned, r, c] = hit


@loop
def pulse(
    chosen, amperes, event, stuck, laws, faults, core_cols, core_cells, device_key, cycle_key, g,
    part, parts,
):  # fmt: skip
    """Give one square pulse to chosen devices, in place.

    chosen : (4, R, C) bool; amperes : (4, R, C) float32; event : int, number of the pulse in the
    life of the devices; other arguments as in :func:`program`.
    """
    elements, rows, cols = g.shape
    ln_core = laws[_SET_CORE] * core_normal(device_key)
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            if chosen[e, r, c]:
                address = e * core_cells + r * core_cols + c
                own = device_normals(address, device_key)
                xi, _ = cycle_normals(address, event, cycle_key)
                value = square_pulse(np.float64(amperes[e, r, c]), xi, own, ln_core, laws)
                g[e, r, c] = _state(stuck[e, r, c], faults, value)


@loop
def settle(
    g, aim, g_max, elapsed, nu_mean, nu_std, nu_scale, core_cols, core_cells, device_key, nu,
    part, parts,
):  # fmt: skip
    """Draw the drift exponents and let every device drift apart from its state's mean, in place.

    ``g <- g exp(-(nu - mean nu of the state) elapsed)``: ``elapsed`` is the logarithm of the
    ratio of ages. The mean itself is part of the definition of the conductance at t0.

    Parameters
    ----------
    g : (4, R, C) float32, siemens, updated
        Conductance at the last verify read; drifted to t0.
    aim : (4, R, C) float32, siemens
        Target of each device.
    g_max : float, siemens
        Conductance of state 1.
    elapsed : float
        Logarithm of the ratio of ages.
    nu_mean, nu_std : 10 floats
        Curves of the drift exponent against state; beyond g_max they fall as g_max / aim.
    nu_scale : float
        Factor on the exponent.
    core_cols, core_cells, device_key : int, int, (2,) uint32
        As of :func:`program`.
    nu : (4, R, C) float32, written
        Drift exponent.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    elements, rows, cols = g.shape
    for er in share(elements * rows, part, parts):
        e, r = er // rows, er % rows
        for c in range(cols):
            state = np.float64(aim[e, r, c]) / g_max
            x, scale = min(state, 1.0), nu_scale / max(state, 1.0)
            z = drift_normal(e * core_cells + r * core_cols + c, device_key)
            mean = curve(x, nu_mean)
            exponent = scale * abs(mean + curve(x, nu_std) * z)
            nu[e, r, c] = exponent
            g[e, r, c] = g[e, r, c] * math.exp((scale * mean - exponent) * elapsed)
