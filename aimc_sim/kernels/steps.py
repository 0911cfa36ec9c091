"""Devices that pulses move by steps: laws of one pulse, loops over lists and trains of pulses.

A device is an address; a draw is a function of (address, number of the pulse in the life of the
device, key). Its constants are a row of a table, drawn once:

=============  ================================================================================
column         content
=============  ================================================================================
UP, DOWN       scales of steps
SLOPE_UP/DOWN  change of the step per state; of the exponential form 2 a / range, in both
LOW, HIGH      bounds of the state
REFERENCE      the weight is the state less this
BIAS           mean state after a RESET
=============  ================================================================================

A table of one row is that of all devices. Pairs of devices that go up only are one array of 2 n
devices: device ``n + i`` is the one that lowers weight i.
"""

from __future__ import annotations

import math

import numpy as np

from . import loop, point, share
from .normal import pair64, wide_pair
from .philox import philox10

UP, DOWN, SLOPE_UP, SLOPE_DOWN, LOW, HIGH, REFERENCE, BIAS = range(8)

LINEAR, EXPONENTIAL = 0, 1
"""Forms of a law; a constant step is linear without a slope."""

LAW = 13
"""Numbers of a law, float64: form; b, c+, c-, A+, A- of the exponential form; noise relative to
change, scale, alike, relative to state; write noise; RESET's standard deviation; whether devices
go up only."""
_FORM, _B, _RATE_UP, _RATE_DOWN, _FACTOR_UP, _FACTOR_DOWN = range(6)
_N_CHANGE, _N_SCALE, _N_OFFSET, _N_STATE, _WRITE, _RESET_STD, _ONE_WAY = range(6, 13)

NOMINAL = 23
"""Numbers that constants are drawn from, float64, see :func:`constants`."""

LANES = 64
"""Pulses that are drawn together."""

_CHUNK = 256
"""Devices of a list that are pulsed together."""

_TOGETHER = 32
"""Rows whose coincidences are pulsed together."""

_DEVICE, _PULSE, _READ = np.uint32(1), np.uint32(2), np.uint32(3)
"""Streams: the last word of the counter."""

# --------------------------------------------------------------------------- laws


@point
def numbers(law):
    """Return the numbers of a law as a tuple: loops pass it on without counting references."""
    return (law[0], law[1], law[2], law[3], law[4], law[5], law[6], law[7], law[8], law[9],
            law[10], law[11], law[12])  # fmt: skip


@point
def change(p, up, scale, slope, law):
    """Return the mean change of a state by one pulse, >= 0 in the direction of the pulse.

    Parameters
    ----------
    p : float
        State before the pulse.
    up : bool
        Direction.
    scale, slope : float
        Of the device, in that direction.
    law : LAW floats
        Numbers of the law.
    """
    if law[_FORM] == EXPONENTIAL:
        z = slope * p + law[_B]
        power = law[_RATE_UP] * z if up else -law[_RATE_DOWN] * z
        factor = law[_FACTOR_UP] if up else law[_FACTOR_DOWN]
        mean = scale * max(0.0, 1.0 - factor * math.exp(power))
    else:
        mean = scale + slope * p
    return mean


@point
def after(p, up, xi, device, law):
    """Return the state after one pulse; xi is a fresh standard normal number.

    ``device`` holds the device's scale and slope in that direction, and its bounds.
    """
    scale, slope, low, high = device
    mean = change(p, up, scale, slope, law)
    std = (
        law[_N_CHANGE] * abs(mean) + law[_N_SCALE] * scale + law[_N_OFFSET] + law[_N_STATE] * abs(p)
    )
    moved = mean + std * xi
    return min(max(p + (moved if up else -moved), low), high)


@point
def device(k, up, table):
    """Return scale and slope of a device in a direction, and its bounds, as float64."""
    scale = table[k, UP] if up else table[k, DOWN]
    slope = table[k, SLOPE_UP] if up else table[k, SLOPE_DOWN]
    return (
        np.float64(scale), np.float64(slope), np.float64(table[k, LOW]), np.float64(table[k, HIGH])
    )  # fmt: skip


@point
def pulse_normals(address, event, key):
    """Return two fresh normals of one pulse; ``event`` numbers the pulses of the device."""
    zero = np.uint32(0)
    w0, w1, _, _ = philox10(np.uint32(address), np.uint32(event), zero, _PULSE, key[0], key[1])
    a, b = wide_pair(w0, w1)
    return np.float64(a), np.float64(b)


@point
def read_normal(address, number, key):
    """Return a fresh normal of a read; ``number`` tells the reads of a device apart."""
    low, high = np.uint32(number), np.uint32(np.uint64(number) >> np.uint64(32))
    w0, w1, _, _ = philox10(np.uint32(address), low, high, _READ, key[0], key[1])
    a, _ = wide_pair(w0, w1)
    return np.float64(a)


@point
def left(t, i, last, rates):
    """Return the share of a state that has not leaked away since its last pulse."""
    if rates.size == 1:
        return 1.0
    return math.exp(-np.float64(rates[i]) * max(t - last[i], 0.0))


@point
def strike(i, up, times, t, law, first, key, table, p, shown, events, last, rates):
    """Give a device a train of equal pulses, in place."""
    own = device(i if table.shape[0] > 1 else 0, up, table)
    state, event = np.float64(p[i]) * left(t, i, last, rates), events[i]
    noise = 0.0
    for _ in range(times):
        xi, noise = pulse_normals(first + i, event, key)
        state = np.float64(np.float32(after(state, up, xi, own, law)))
        event = np.uint32(event + np.uint32(1))
    _keep(i, state, noise, event, t, law, p, shown, events, last, rates)


@point
def room(size):
    """Return arrays for the work of :func:`burst` on up to ``size`` devices."""
    return (
        np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.bool_),
        np.empty(size, np.int64), np.empty(size, np.float64), np.empty(size, np.float64),
        np.zeros((2, LANES), np.uint32), np.empty((2, LANES), np.uint32),
        np.empty((2, LANES), np.float32),
    )  # fmt: skip


@point
def burst(n, work, t, law, first, key, table, p, shown, events, last, rates):
    """Give n devices trains of pulses, in place: those that ``work`` lists, each once.

    Its first three arrays hold devices, lengths and directions. The pulses that all trains have
    come first, then the next ones: normals of many devices are drawn together, as SIMD code, and
    always in full runs, so that a device gets the same bits whatever else is pulsed.
    """
    index, hits, ups, live, state, noise, places, words, normals = work
    # No calls with arrays in these loops: each would count references.
    leaks, noisy, each, most = rates.size > 1, shown.size > 1, table.shape[0] > 1, 0
    for k in range(n):
        state[k] = np.float64(p[index[k]])
        most = max(most, hits[k])
    if leaks:
        for k in range(n):
            i = index[k]
            state[k] *= math.exp(-np.float64(rates[i]) * max(t - last[i], 0.0))
    for h in range(most):
        m = 0
        for k in range(n):
            live[m] = k
            m += hits[k] > h
        for start in range(0, m, LANES):
            for lane in range(min(LANES, m - start)):
                i = index[live[start + lane]]
                places[0, lane] = np.uint32(first + i)
                places[1, lane] = np.uint32(events[i] + np.uint32(h))
            # Words first, then normals: two short loops keep their values in registers.
            for lane in range(LANES):
                w0, w1, _, _ = philox10(
                    places[0, lane], places[1, lane], np.uint32(0), _PULSE, key[0], key[1]
                )
                words[0, lane] = w0
                words[1, lane] = w1
            for lane in range(LANES):
                normals[0, lane], normals[1, lane] = wide_pair(words[0, lane], words[1, lane])
            for lane in range(min(LANES, m - start)):
                k = live[start + lane]
                row, up = index[k] if each else 0, ups[k]
                own = (
                    np.float64(table[row, UP] if up else table[row, DOWN]),
                    np.float64(table[row, SLOPE_UP] if up else table[row, SLOPE_DOWN]),
                    np.float64(table[row, LOW]), np.float64(table[row, HIGH]),
                )  # fmt: skip
                moved = after(state[k], up, np.float64(normals[0, lane]), own, law)
                state[k] = np.float64(np.float32(moved))
                noise[k] = np.float64(normals[1, lane])
    for k in range(n):
        i = index[k]
        p[i] = state[k]
        events[i] = np.uint32(events[i] + np.uint32(hits[k]))
    if noisy:
        for k in range(n):
            shown[index[k]] = state[k] + law[_WRITE] * noise[k]
    if leaks:
        for k in range(n):
            last[index[k]] = t


@point
def reset(i, t, law, first, key, table, p, shown, events, last, rates):
    """Give a device a RESET pulse, in place."""
    k = i if table.shape[0] > 1 else 0
    xi, noise = pulse_normals(first + i, events[i], key)
    state = np.float64(table[k, BIAS]) + law[_RESET_STD] * xi
    state = min(max(state, np.float64(table[k, LOW])), np.float64(table[k, HIGH]))
    event = np.uint32(events[i] + np.uint32(1))
    _keep(i, state, noise, event, t, law, p, shown, events, last, rates)


@point
def _keep(i, state, noise, event, t, law, p, shown, events, last, rates):
    p[i], events[i] = state, event
    if shown.size > 1:
        shown[i] = state + law[_WRITE] * noise
    if rates.size > 1:
        last[i] = t


@point
def visible(i, t, p, shown, last, rates):
    """Return the state that a read finds, without noise of the read."""
    state = np.float64(shown[i]) if shown.size > 1 else np.float64(p[i])
    return state * left(t, i, last, rates)


@point
def ones(word):
    """Return how many bits of a uint64 are set."""
    m1, m2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    m4 = np.uint64(0x0F0F0F0F0F0F0F0F)
    word = word - ((word >> np.uint64(1)) & m1)
    word = (word & m2) + ((word >> np.uint64(2)) & m2)
    word = (word + (word >> np.uint64(4))) & m4
    word = word + (word >> np.uint64(8))
    word = word + (word >> np.uint64(16))
    word = word + (word >> np.uint64(32))
    return np.int64(word & np.uint64(0x7F))


# --------------------------------------------------------------------------- many devices


@loop
def constants(nominal, first, key, table, part, parts):
    """Draw the constants of devices.

    Parameters
    ----------
    nominal : (NOMINAL,) float64
        Scales of steps up and down; bounds, lower first; relative standard deviations of step,
        up-down (in units of the next number), lower and upper bound; nominal step; whether the
        step's factor is lognormal; form; slopes up and down as shares lost at the bound and their
        standard deviations; 1 if the bound of a slope is the device's own, 2 a of the exponential
        form; mean and standard deviation of the reference; 1 if it holds the symmetry point; mean
        and standard deviation of the RESET bias; share and range of dead devices.
    first : int
        Address of the first device.
    key : (2,) uint32
    table : (n, 8) float32
        Written.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    zero, one, two = np.uint32(0), np.uint32(1), np.uint32(2)
    for i in share(table.shape[0], part, parts):
        address = np.uint32(first + i)
        w0, w1, w2, w3 = philox10(address, zero, zero, _DEVICE, key[0], key[1])
        z_high, z_low = pair64(w0, w1)
        z_gain, z_ud = pair64(w2, w3)
        w0, w1, w2, w3 = philox10(address, one, zero, _DEVICE, key[0], key[1])
        z_up, z_down = pair64(w0, w1)
        z_reference, z_bias = pair64(w2, w3)
        w0, w1, _, _ = philox10(address, two, zero, _DEVICE, key[0], key[1])
        high = nominal[3] * (1.0 + nominal[7] * z_high)
        low = nominal[2] * (1.0 + nominal[6] * z_low)
        if low > high:
            low, high = high, low
        low, high = -abs(low), abs(high)
        gain = math.exp(nominal[4] * z_gain) if nominal[9] > 0 else 1.0 + nominal[4] * z_gain
        up = abs(nominal[0] + nominal[8] * (gain - 1.0 + nominal[5] * z_ud))
        down = abs(nominal[1] + nominal[8] * (gain - 1.0 - nominal[5] * z_ud))
        slope_up, slope_down = 0.0, 0.0
        if nominal[10] == EXPONENTIAL:
            slope_up = nominal[15] / (high - low) if high > low else 0.0
            slope_down = slope_up
        elif nominal[15] > 0:  # bounds of the device
            slope_up = -nominal[11] * up / high if high > 0 else 0.0
            slope_down = -nominal[12] * down / low if low < 0 else 0.0
        else:
            lost_up = abs(nominal[11] + nominal[13] * z_up)
            lost_down = abs(nominal[12] + nominal[14] * z_down)
            slope_up = -lost_up * up / nominal[3]
            slope_down = -lost_down * down / nominal[2] if nominal[2] < 0 else 0.0
        reference = nominal[16] + nominal[17] * z_reference
        bias = nominal[19] + nominal[20] * z_bias
        if nominal[18] > 0 and high > 0 and low < 0:
            symmetry = (up - down) / (up / high - down / low)
            reference += symmetry
            bias += symmetry
        if (np.float64(w0) + 0.5) * 2.0**-32 < nominal[21]:
            u = (np.float64(w1) + 0.5) * 2.0**-32
            most, least = min(high, nominal[22]), max(low, -nominal[22])
            low = least + (most - least) * u
            high, up, down, slope_up, slope_down = low, 0.0, 0.0, 0.0, 0.0
        table[i, UP], table[i, DOWN] = up, down
        table[i, SLOPE_UP], table[i, SLOPE_DOWN] = slope_up, slope_down
        table[i, LOW], table[i, HIGH] = low, high
        table[i, REFERENCE], table[i, BIAS] = reference, bias


@loop
def leak_rates(seconds, std, first, key, rates, part, parts):
    """Draw rates of leakage, ``1 / (seconds |1 + std xi|)``.

    seconds : float, s; std : float, relative; first, key : as in :func:`constants`;
    rates : (n,) float32, 1/s, written.
    """
    for i in share(rates.size, part, parts):
        address, zero, three = np.uint32(first + i), np.uint32(0), np.uint32(3)
        w0, w1, _, _ = philox10(address, three, zero, _DEVICE, key[0], key[1])
        z, _ = pair64(w0, w1)
        rates[i] = 1.0 / max(seconds * abs(1.0 + std * z), 1e-30)


@loop
def pulse(index, counts, t, offset, law, first, key, table, p, shown, events, last, rates, part,
          parts):  # fmt: skip
    """Give trains of pulses to some devices, in place.

    Parameters
    ----------
    index : (N,) int64
        Weights, each once.
    counts : (N,) int32
        Pulses; the sign is the direction.
    t : float, seconds
        Time of the pulses.
    offset : int
        0 for devices of both directions; n for pairs: pulses down go up on device ``n + i``.
    law : (LAW,) float64
        Numbers of the law.
    first : int
        Address of the first device.
    key : (2,) uint32
    table : (n, 8) or (1, 8) float32
        Constants.
    p : (n,) float32, updated
        States.
    shown : (n,) or (1,) float32, updated
        States with write noise, where there is any.
    events : (n,) uint32, updated
        Pulses in the life of a device.
    last : (n,) or (1,) float64, seconds, updated
        Time of the last pulse, where charge leaks.
    rates : (n,) or (1,) float32, 1/s
        Rates of leakage; one element: none.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    law, work = numbers(law), room(_CHUNK)
    pairs, n = offset > 0, 0
    for m in share(index.size, part, parts):
        count = np.int64(counts[m])
        work[0][n] = index[m] + (offset if pairs and count < 0 else 0)
        work[1][n] = abs(count)
        work[2][n] = pairs or count > 0
        n += count != 0
        if n == _CHUNK:
            burst(n, work, t, law, first, key, table, p, shown, events, last, rates)
            n = 0
    burst(n, work, t, law, first, key, table, p, shown, events, last, rates)


@loop
def reset_some(index, t, law, first, key, table, p, shown, events, last, rates, part, parts):
    """Give a RESET pulse to some devices, in place; arguments as in :func:`pulse`."""
    law = numbers(law)
    for m in share(index.size, part, parts):
        reset(index[m], t, law, first, key, table, p, shown, events, last, rates)


@loop
def coincide(
    rows, columns, row_signs, column_signs, active, actives, t, offset, law, first, key, table, p,
    shown, events, last, rates, given, part, parts,
):  # fmt: skip
    """Give devices a pulse for each coincidence of the trains of their row and column, in place.

    Parameters
    ----------
    rows : (B, R) uint64
        Trains, a bit per slot, of vectors that follow each other.
    columns : (B, C) uint64
        Trains of the columns.
    row_signs, column_signs : (B, R) and (B, C) int8
        A pulse goes up where both are equal.
    active : (B, C) int32
        Columns whose train is not empty, ascending; of vector b the first ``actives[b]``.
    actives : (B,) int64
        Lengths of those lists.
    t, offset, law, first, key, table, p, shown, events, last, rates
        As in :func:`pulse`.
    given : (R,) int64
        Written: pulses of each row.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    vectors, width = columns.shape
    law, work = numbers(law), room(_CHUNK + width + 1)
    own = share(rows.shape[1], part, parts)
    for start in range(own.start, own.stop, _TOGETHER):
        stop = min(start + _TOGETHER, own.stop)
        for r in range(start, stop):
            given[r] = 0
        # Vector after vector, since a device takes its pulses in their order; rows of a vector
        # share no device, and together they fill the runs of a burst.
        for b in range(vectors):
            n = 0
            for r in range(start, stop):
                if rows[b, r] != np.uint64(0):
                    n, hits = meetings(
                        rows[b, r], row_signs[b, r], columns[b], column_signs[b], active[b],
                        actives[b], r * width, offset, work, n,
                    )  # fmt: skip
                    given[r] += hits
                if n >= _CHUNK or (r == stop - 1 and n > 0):
                    burst(n, work, t, law, first, key, table, p, shown, events, last, rates)
                    n = 0


@point
def meetings(word, sign, columns, column_signs, active, actives, start, offset, work, n):
    """List the devices of a row whose trains coincide, in ``work`` from n on; see :func:`burst`.

    Returns how many there are then, and the pulses of the row; ``start`` is its first device.
    """
    total = 0
    for m in range(actives):
        c = active[m]
        hits = ones(word & columns[c])
        up = sign == column_signs[c]
        work[0][n] = start + c + (offset if offset > 0 and not up else 0)
        work[1][n] = hits
        work[2][n] = up or offset > 0
        n += hits > 0
        total += hits
    return n, total


@loop
def states(t, std, number, first, key, p, shown, last, rates, out, part, parts):
    """Read all states.

    t : float, seconds; std : float, standard deviation of a read; number : int, tells reads apart;
    out : (n,) float32, written; other arguments as in :func:`pulse`.
    """
    for i in share(out.size, part, parts):
        found = visible(i, t, p, shown, last, rates)
        if std > 0.0:
            found += std * read_normal(first + i, number, key)
        out[i] = found


@loop
def write(
    target, where, t, margin, tries, most, std, nominal, law, first, key, read_key, table, p,
    shown, events, last, rates, iterations, reached, part, parts,
):  # fmt: skip
    """Write states by pulses in a closed loop, device by device, in place.

    Parameters
    ----------
    target : (n,) float32
        State that is asked for.
    where : (n,) bool
        Devices that are written.
    t : float, seconds
        Time of all pulses.
    margin : float
        The loop stops within this error.
    tries, most : int
        Reads of a device, and pulses between two reads, at most.
    std : float
        Standard deviation of a read.
    nominal : (1, 8) float32
        Constants of the nominal device, by which the circuit counts pulses.
    law, first, key, table, p, shown, events, last, rates
        As in :func:`pulse`.
    read_key : (2,) uint32
        Key words of the reads.
    iterations : (n,) int32
        Written: reads of each device.
    reached : (n,) bool
        Written: whether the last read was within the margin.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    law = numbers(law)
    one_way = law[_ONE_WAY] > 0
    for i in share(target.size, part, parts):
        iterations[i], reached[i] = 0, False
        if not where[i]:
            continue
        for number in range(tries):
            found = visible(i, t, p, shown, last, rates)
            if std > 0.0:
                found += std * read_normal(first + i, number, read_key)
            error = np.float64(target[i]) - found
            iterations[i] = number + 1
            if abs(error) <= margin:
                reached[i] = True
                break
            if number == tries - 1:
                break
            up = error > 0
            if one_way and not up:
                reset(i, t, law, first, key, table, p, shown, events, last, rates)
                continue
            scale, slope, _, _ = device(0, up, nominal)
            size = change(found, up, scale, slope, law)
            n = np.float64(most)
            if size > 0.0:
                n = min(max(np.rint(abs(error) / size), 1.0), n)
            strike(i, up, np.int64(n), t, law, first, key, table, p, shown, events, last, rates)
