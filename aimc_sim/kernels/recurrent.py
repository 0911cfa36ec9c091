"""A whole recurrent layer, time step by time step: products, conversions, gates.

For networks so small that an operation costs less than calling it. The pieces are the same as
those of layers that go step by step: :func:`.epilogue.epilogue`, :func:`.lstm.lstm_half` and
:func:`.gru.gru_half`. Sums run over rows in order, whatever the batch.
"""

from __future__ import annotations

import numpy as np

from . import point, serial
from .epilogue import epilogue
from .gru import gru_half
from .lstm import lstm_half
from .math32 import f32

LSTM, GRU = 0, 1


@serial
def run(
    kind, inputs, steps, codes, cell, weights, variances, columns, gain, offset, adc, link_gain,
    requantise, noise_keys, rounding, bit_true, first_event, time_step, start, registers, order,
    table, limit, rounds, outputs, magnitudes, counts,
):  # fmt: skip
    """Run all time steps; ``codes`` and ``cell`` end as the state after the last one.

    Parameters
    ----------
    kind : int64
        :data:`LSTM` or :data:`GRU`.
    inputs : (B, T, G) float32
        Codes of the input gates.
    steps : (T,) int64
        Time steps in the order in which they run.
    codes, cell : (B, H) float32
        Hidden state in codes; cell state (of a GRU: the hidden state that the unit keeps).
    weights, variances : (H, G) float32
        Conductance / g_max, and variance of fresh read noise; (0, 0) if there is none.
    columns : (n + 1,) int64
        First column of each of n cores, and G.
    gain, offset : (G,) float32
        Value per ADC code, and value at code 0.
    adc, requantise : (n, 3) float32
        1 / step, largest code, and 1 if codes are rounded: of every core's ADCs and outputs.
    link_gain : (n,) float32
        Value per code of the input gates; 0 if they do not arrive on the link.
    noise_keys : (n, 2) uint32
        Key words of every core's read noise.
    rounding : (n,) float32
        Variance of one rounding, where a core converts in phases; else -1.
    bit_true : bool
        The digital units compute in half precision.
    first_event, time_step, start : int64
        Image i at step t has the event ``first_event + i + (start + t) time_step``.
    registers : (r, G) or (r,) float32
        See the two kernels of gates.
    order : (4 H,) int64
        Columns of the gates of an LSTM, those of a hidden unit side by side.
    table : (3, bins) float32
        Edges (the last one unused), slopes, offsets of tanh.
    limit : float32
        Largest code of the hidden state.
    rounds : bool
        Codes of the hidden state are rounded.
    outputs : (B, T, H) float32, written
        Codes of the hidden state after every time step.
    magnitudes : (B,) float64
        Sums of magnitudes of codes, added to.
    counts : (n, B, 3) int64
        ADC saturations, output clippings, conversions, added to.
    """
    batch, hidden = codes.shape
    gates, cores = weights.shape[1], len(columns) - 1
    noisy = variances.size > 0
    charge, variance = np.zeros((batch, gates), np.float32), np.zeros((batch, gates), np.float32)
    made, sent = np.empty((batch, 1, gates), np.float32), np.empty_like(codes)
    kept, sorted_gates = np.empty_like(cell), np.empty((batch, gates), np.float32)
    both, misses = np.zeros(batch, np.bool_), np.zeros((batch, 2), np.int64)
    extra, none = np.zeros(batch, np.float32), np.zeros(0, np.float32)
    no_squares = np.zeros((0, 0, 0), np.float32)
    blank, no_bounds = np.zeros((1, 1, 1), np.float32), np.zeros(2, np.float32)
    edges, slopes, offsets = table[0, : table.shape[1] - 1], table[1], table[2]
    events = np.empty(batch, np.int64)
    for t in steps:
        for b in range(batch):
            events[b] = first_event + b + (start + t) * time_step
            both[b] = False
            for k in range(hidden):
                magnitudes[b] += abs(codes[b, k])
                both[b] |= codes[b, k] < f32(0.0)
        for b in range(0, batch, 4):
            few = min(b + 4, batch)
            _products(codes[b:few], weights, charge[b:few], False)
            if noisy:
                _products(codes[b:few], variances, variance[b:few], True)
        for n in range(cores):
            first, last = columns[n], columns[n + 1]
            own = np.empty((batch, 1, last - first), np.float32)
            own_variance = np.empty((batch, 1, last - first) if noisy else (0, 0, 0), np.float32)
            link = np.empty((batch, 1, last - first), np.float32)
            _part(charge, first, own)
            if noisy:
                _part(variance, first, own_variance)
            linked = link_gain[n] != f32(0.0)
            if linked:
                _part(inputs[:, t], first, link)
            for b in range(batch):
                phases = 2 + 2 * np.int64(both[b]) if rounding[n] >= f32(0.0) else 1
                counts[n, b, 2] += phases * (last - first)
                extra[b] = rounding[n] * f32(phases - 1)
            misses[:] = 0
            epilogue(
                own, own_variance, extra if noisy and rounding[n] >= f32(0.0) else none, none,
                link if linked else blank, gain[first:last], offset[first:last], adc[n], blank,
                no_bounds, link_gain[n], False, requantise[n], noise_keys[n],
                events, 0, first, bit_true, made, no_squares, misses,
            )  # fmt: skip
            for b in range(batch):
                counts[n, b, 0] += misses[b, 0]
                counts[n, b, 1] += misses[b, 1]
        if kind == LSTM:
            for b in range(batch):
                for k in range(gates):
                    sorted_gates[b, k] = made[b, 0, order[k]]
            lstm_half(
                sorted_gates, cell, registers[0], registers[1], registers[2], registers[3], edges,
                slopes, offsets, registers[4, 0], registers[5, 0], limit, rounds, kept, sent,
            )  # fmt: skip
        else:
            gru_half(
                inputs[:, t], made[:, 0], cell, registers[0, 0], registers[1, 0], registers[2, 0],
                edges, slopes, offsets, limit, rounds, kept, sent,
            )  # fmt: skip
        for b in range(batch):
            for k in range(hidden):
                codes[b, k], cell[b, k] = sent[b, k], kept[b, k]
                outputs[b, t, k] = sent[b, k]


@point
def _products(codes, weights, sums, squared):
    """Write the sums over rows for four sequences, which share every read of the weights.

    Each sum goes over the rows in order, so that its bits do not depend on its neighbours.
    """
    for k in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[k, c] = f32(0.0)
    four = codes.shape[0] == 4
    for r in range(codes.shape[1]):
        if four:
            a, b, c, d = codes[0, r], codes[1, r], codes[2, r], codes[3, r]
            if squared:
                a, b, c, d = a * a, b * b, c * c, d * d
            _add_rows(sums[0], sums[1], sums[2], sums[3], weights[r], a, b, c, d)
        else:
            for k in range(codes.shape[0]):
                code = codes[k, r]
                _add_row(sums[k], weights[r], code * code if squared else code)


@point
def _add_rows(first, second, third, fourth, row, a, b, c, d):
    for j in range(row.size):
        weight = row[j]
        first[j] += a * weight
        second[j] += b * weight
        third[j] += c * weight
        fourth[j] += d * weight


@point
def _add_row(total, row, factor):
    for c in range(total.size):
        total[c] += factor * row[c]


@point
def _part(rows, first, part):
    for b in range(part.shape[0]):
        for c in range(part.shape[2]):
            part[b, 0, c] = rows[b, first + c]
