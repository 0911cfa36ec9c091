"""Slow twin of recurrent layers on the chip without noise: one number after the other.

Cores: inputs in codes, four sums of one sign each, the ADC, gain, offset and link, an integer.
Digital unit: the tables, step by step, in float16 (exact fractions) or in double precision.
"""

import math

import naive_digital
import numpy as np


def rounded(value, step, limit):
    """Nearest code (ties to even) of a value, cut at the limit."""
    return min(max(round(float(value) / step), -limit), limit)


def core(codes, weight, input_step, adc_step, adc_limit, offset, link, link_step, out_step):
    """One MVM: input codes (R,), weights (R, C) -> output codes (C,); link (C,) codes or None."""
    largest = np.abs(weight).max()
    made = []
    for c in range(weight.shape[1]):
        y = 0
        for x_sign, w_sign in ((1, 1), (1, -1), (-1, 1), (-1, -1)):  # four conversions
            charge = sum(
                max(x_sign * float(x), 0) * max(w_sign * float(w), 0) / largest
                for x, w in zip(codes, weight[:, c], strict=True)
            )
            y += x_sign * w_sign * rounded(charge, adc_step, adc_limit)
        y = y * adc_step * largest * input_step
        y += 0.0 if offset is None else float(offset[c])
        y += 0.0 if link is None else float(link[c]) * link_step
        made.append(rounded(y, out_step, 127))
    return made


def chain(codes, weight, cuts, input_step, adc, offset, link, link_step, steps):
    """Cores one after the other: rows ``cuts[i]:cuts[i + 1]``, partial sums in ``steps[i]``."""
    for i, step in enumerate(steps):
        rows = slice(cuts[i], cuts[i + 1])
        last = i == len(steps) - 1
        link = core(
            codes[rows], weight[rows], input_step, *adc, offset if last else None, link, link_step,
            step,
        )  # fmt: skip
        link_step = step
    return link


def tanh(x, table):
    """The table in double precision."""
    b = sum(x >= edge for edge in table.edges)
    return float(table.slopes[b]) * x + float(table.offsets[b])


def lstm_unit(codes, cell, scale, table, limit=127):
    """One hidden unit in double precision: gates I, A, F, O -> code and cell state."""
    i, a, f, o = (c * scale for c in codes)
    gate = [0.5 + 0.5 * tanh(x / 2, table) for x in (i, f, o)]
    cell = gate[1] * cell + gate[0] * tanh(a, table)
    return rounded(gate[2] * tanh(cell, table), 1 / limit, limit), cell


def lstm(x, products, hidden, gate_step, table, bit_true):
    """A layer over time for one sequence.

    Parameters: x (T, I) input codes; products: functions ``input(codes)`` and
    ``hidden(codes, link)`` of the cores; hidden units; value per gate code; table of tanh.
    Returns (T, H) codes and the last cell state.
    """
    from_input, from_hidden = products
    h, c = [0] * hidden, [np.float16(0) if bit_true else 0.0] * hidden
    outputs = []
    for codes in x:
        gates = from_hidden(h, from_input(codes))
        for k in range(hidden):
            own = [gates[part * hidden + k] for part in (0, 2, 1, 3)]  # i, g, f, o of torch
            if bit_true:
                h[k], c[k], _ = naive_digital.lstm_unit(
                    own, c[k], [gate_step] * 4, [0.0] * 4, 127.0, 0.0, table
                )
            else:
                h[k], c[k] = lstm_unit(own, c[k], gate_step, table)
        outputs.append([int(code) for code in h])
    return np.array(outputs), np.array(c, float)


def logistic(x):
    """The true sigmoid."""
    return 1 / (1 + math.exp(-x))
