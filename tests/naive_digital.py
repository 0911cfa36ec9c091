"""Slow twins of the digital units: numpy float16 scalars, every FMA in exact fractions."""

import math
from fractions import Fraction

import numpy as np


def half_of(q):
    """The float16 nearest to a fraction, ties to even: by definition, in integers."""
    if q == 0:
        return np.float16(0)
    exponent = abs(q.numerator).bit_length() - q.denominator.bit_length()
    if abs(q) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, -14) - 10)
    value = round(q / quantum) * quantum  # Python rounds halves to even
    if abs(value) >= 65536:
        return np.float16(math.copysign(math.inf, value))
    return np.float16(float(value))


def fma(a, b, c):
    """a b + c of three finite float16, rounded once."""
    return half_of(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


def integer(y, limit):
    """Nearest integer, ties to even, and whether it had to be cut."""
    if math.isinf(y):
        return math.copysign(limit, y), True
    code = round(float(y))
    return (code, False) if abs(code) <= limit else (math.copysign(limit, code), True)


def ldpu(positive, negative, link, r):
    """One output of the local digital unit in float16; r is a dict of numbers.

    All scalars; link is None if there is none. Returns the code and whether it saturated.
    """
    h = {name: np.float16(np.float32(value)) for name, value in r.items() if name != "limit"}
    v = fma(np.float16(positive), h["gain_positive"], h["adc_offset"])
    v = fma(np.float16(negative), -h["gain_negative"], v)
    y = fma(v, h["scale"], h["offset"])
    if r["relu_before"] and y < 0:
        y = np.float16(0)
    if link is not None:
        y = fma(np.float16(link), h["link_scale"], y)
    if r["relu_after"] and y < 0:
        y = np.float16(0)
    with np.errstate(over="ignore"):
        y = y * h["per_step"]  # numpy's float16 product, rounded once
    return integer(y, r["limit"])


def ldpu_single(positive, negative, link, r):
    """The same in float32, product and sum rounded one after the other."""
    h = {name: np.float32(value) for name, value in r.items()}
    v = np.float32(positive) * h["gain_positive"] + h["adc_offset"]
    v = np.float32(negative) * -h["gain_negative"] + v
    y = v * h["scale"] + h["offset"]
    y = max(y, np.float32(0)) if r["relu_before"] else y
    y = np.float32(link) * h["link_scale"] + y if link is not None else y
    y = max(y, np.float32(0)) if r["relu_after"] else y
    return integer(y * h["per_step"], r["limit"])


def table_tanh(x, table):
    """tanh of a float16 by walking along the comparators."""
    b = 0
    while b < len(table.edges) and x >= table.edges[b]:
        b += 1
    return fma(np.float16(table.slopes[b]), x, np.float16(table.offsets[b]))


def lstm_unit(codes, cell, scale, offset, out_scale, out_offset, table, limit=127):
    """One hidden unit of the LSTM in float16: code, cell state, whether it saturated.

    codes, scale, offset : of the gates I, A, F, O.
    """
    gates = []
    for g, name in enumerate("IAFO"):
        factor = 1.0 if name == "A" else 0.5
        s, o = (np.float16(np.float32(x[g] * factor)) for x in (scale, offset))
        t = table_tanh(fma(np.float16(codes[g]), s, o), table)
        shift = 0.0 if name == "A" else 0.5
        gates.append(fma(np.float16(factor), t, np.float16(shift)))
    i, a, f, o = gates
    cell = fma(f, cell, i * a)
    hidden = o * table_tanh(cell, table)
    code, cut = integer(fma(hidden, np.float16(out_scale), np.float16(out_offset)), limit)
    return code, cell, cut
