"""Gradients on a fast array, read row by row into buffers that decide about pulses on a slow one.

The rows of a crossbar are independent: the read of row r needs its own devices, buffers and
chopper only. So a turn is a row, which goes through all vectors of a batch, and threads share rows.
Algorithms and sources: :mod:`aimc_sim.learning.transfer`.
"""

from __future__ import annotations

import numpy as np

from . import loop, share
from .steps import REFERENCE, burst, left, meetings, numbers, read_normal, room
from .trains import stopped, uniform, whole

READ, BUFFER, DYNAMIC = 0, 1, 2
"""Kinds of reads: alone; added to the buffer; added as the distance to the mean of the past."""

_CHOPPER = np.uint32(3)
"""Stream of choppers, see :func:`aimc_sim.kernels.trains.uniform`."""


@loop
def rows(
    trains, columns, row_signs, column_signs, active, actives, words, due, slot, scale, kind,
    chop, control, number, t, law, first, key, table, p, shown, events, last, rates, read_key,
    chop_key, buffer, mean, past, chopper, switched, reads, given, found, steps, part, parts,
):  # fmt: skip
    """Pulse the fast array by a batch, and read the rows that are due, in place.

    Parameters
    ----------
    trains, columns, row_signs, column_signs, active, actives
        As in :func:`aimc_sim.kernels.steps.coincide`, ``words`` rows of them to a vector.
    words : int
        Words of a train.
    due : (B,) int64
        Row that is read after a vector, or -1.
    slot : (B,) int64
        Row of ``found`` and ``steps`` that the read is written to.
    scale : (B,) float64
        Factor of a reading on its way into the buffer.
    kind : int
        :data:`READ`, :data:`BUFFER` or :data:`DYNAMIC`.
    chop : (3,) float64
        Probability of a flip of the random chopper, period of the regular one in reads of a row
        (0: none), share of a reading in the running mean.
    control : (7,) float64
        Most pulses of a transfer; share of the buffer that stays after one; whether that is all
        that stays (1), or pulses take their part (0); noise, step and range of the reading
        converter; standard deviation of a read of the devices.
    number : int
        Number of the first vector.
    t, law, first, key, table, p, shown, events, last, rates
        As in :func:`aimc_sim.kernels.steps.pulse`: the fast array.
    read_key, chop_key : (2,) uint32
        Key words of reads and choppers.
    buffer, mean, past : (R, C) float32, updated
        Buffer in units of a pulse, running mean of readings, mean of the last chopper period.
    chopper : (R,) int8, updated
        Signs.
    switched : (R,) bool, updated
        Whether the chopper of a row flipped after its last read.
    reads : (R,) int64, updated
        Reads of a row in its life.
    given : (R,) int64
        Written: pulses on the fast array.
    found : (T, C) float32
        Written: readings of T reads.
    steps : (T, C) int32
        Written: pulses that the slow array shall get.
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    width, alike = columns.shape[1], table.shape[0] == 1
    most, rest, forget = control[0], control[1], control[2] > 0
    noise, step, bound, std = control[3], control[4], control[5], control[6]
    period, law, work = np.int64(chop[1]), numbers(law), room(width + 1)
    for r in share(trains.shape[1], part, parts):
        total = 0
        for b in range(due.size):
            for v in range(b * words, (b + 1) * words):
                if trains[v, r] == np.uint64(0):
                    continue
                n, hits = meetings(
                    trains[v, r], row_signs[v, r] * chopper[r], columns[v], column_signs[v],
                    active[v], actives[v], r * width, 0, work, 0,
                )  # fmt: skip
                burst(n, work, t, law, first, key, table, p, shown, events, last, rates)
                total += hits
            if due[b] != r:
                continue
            at, sign = slot[b], np.float64(chopper[r])
            fresh = kind == DYNAMIC and switched[r]
            switched[r] = False
            for c in range(width):
                i = r * width + c
                state = np.float64(shown[i]) if shown.size > 1 else np.float64(p[i])
                value = state * left(t, i, last, rates)
                value -= np.float64(table[0 if alike else i, REFERENCE])
                if noise > 0.0 or std > 0.0:
                    xi = read_normal(first + i, np.uint64(number + b), read_key)
                    value += np.sqrt(noise * noise + std * std) * xi
                value = stopped(value, step, bound)
                found[at, c] = value
                if kind == READ:
                    continue
                change = value
                if kind == DYNAMIC:
                    if fresh:
                        past[r, c] = mean[r, c]
                    change = value - np.float64(past[r, c])
                    mean[r, c] = np.float64(mean[r, c]) * (1.0 - chop[2]) + value * chop[2]
                h, push = np.float64(buffer[r, c]) + sign * change * scale[b], 0.0
                if abs(h) >= 1.0:
                    push = whole(h, most)
                    h = h * rest if forget else h - (1.0 - rest) * push
                buffer[r, c] = h
                # Means of the first period are not those of a chopper period yet.
                if kind == DYNAMIC and reads[r] <= period:
                    push = 0.0
                steps[at, c] = np.int32(push)
            flip = period > 0 and reads[r] % period + 1 == period
            if chop[0] > 0.0:
                count = np.uint64(reads[r])
                u = uniform(
                    np.uint32(r), np.uint32(0), np.uint32(count),
                    np.uint32(count >> np.uint64(32)), _CHOPPER, chop_key[0], chop_key[1],
                )  # fmt: skip
                flip = flip or u < chop[0]
            if flip:
                chopper[r] = -chopper[r]
                switched[r] = True
            reads[r] += 1
        given[r] = total
