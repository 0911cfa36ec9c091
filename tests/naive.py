"""Slow twins: plain Python and numpy, no numba, nothing clever. Obviously right, or bust."""

from __future__ import annotations

import math

import numpy as np

MASK = 0xFFFFFFFF


def philox(counter, key, rounds=10):
    """Philox4x32 on Python integers (Salmon et al. 2011)."""
    c, (k0, k1) = list(counter), key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def pair(w0, w1):
    """Box-Muller from two 32-bit words."""
    r = math.sqrt(-2 * math.log((w0 + 0.5) / 2**32))
    angle = 2 * math.pi * (w1 + 0.5) / 2**32
    return r * math.cos(angle), r * math.sin(angle)


def mvm_normals(n, event, key, lanes=64):
    """The normals of one image at one core, in address order."""
    out = np.zeros(-(-n // (8 * lanes)) * 8 * lanes)
    for block in range(len(out) // 8):
        tile, lane = divmod(block, lanes)
        words = philox((block, event & MASK, event >> 32, 0), key, rounds=7)
        for j, word in enumerate(words):
            r = math.sqrt(-2 * math.log(((word >> 12) + 0.5) / 2**20))
            angle = 2 * math.pi * ((word & 4095) - 2047.5) / 4096
            out[tile * 8 * lanes + 2 * j * lanes + lane] = r * math.cos(angle)
            out[tile * 8 * lanes + (2 * j + 1) * lanes + lane] = r * math.sin(angle)
    return out[:n]


def curve(x, spec):
    """A StateCurve, straight from its definition."""
    x = max(x, 1e-7)
    if spec.knee is not None and x >= spec.knee:
        return sum(c * x**i for i, c in enumerate(spec.polynomial))
    raw = {
        "log": lambda: spec.a * math.log(x) + spec.b,
        "power": lambda: spec.a * x**spec.b,
        "inverse": lambda: spec.a / x + spec.b,
    }[spec.form]()
    return min(max(raw, spec.low), spec.high)


def flicker(address, age, weights, rates, key, life=0):
    """The slow 1/f noise of one device at an age: the value each component holds just then."""
    total = 0.0
    for k, (weight, rate) in enumerate(zip(weights, rates, strict=True)):
        fixed = philox((address, 0, 0, 0x80000000 | k // 4), key, rounds=7)[k % 4]
        u, phase = ((fixed & 0xFF) + 0.5) / 256, (fixed >> 8) / 2**24
        n = math.floor(age * rate / 10**u + phase)
        w0, w1, _, _ = philox((address, n & MASK, n >> 32, k | life << 5), key, rounds=7)
        total += float(weight) * pair(w0, w1)[0]
    return total


def sigma_programming(x, pcm):
    """Spread of the programmed conductance in siemens."""
    c = pcm.programming.polynomial_siemens
    if pcm.programming.states is not None:
        x = min(max(x, pcm.programming.states[0]), pcm.programming.states[1])
    return sum(ci * x**i for i, ci in enumerate(c)) * pcm.material_scale


def read_one_tile(conductance, spread, codes, rng, adc_step, adc_limit, g_max, polarities=2):
    """One 4-phase MVM per input vector, device by device: fresh noise on each, then the ADC.

    conductance, spread : (E, R, C) siemens, first half positive (all, if cells have one polarity);
    codes : (N, R).
    Returns the sums of the ADC codes of the four phases, (N, C).
    """
    n, rows = codes.shape
    elements, _, cols = conductance.shape
    out = np.zeros((n, cols))
    for i in range(n):
        for c in range(cols):
            charge = {}
            for r in range(rows):
                for e in range(elements):
                    g = conductance[e, r, c] + spread[e, r, c] * rng.standard_normal()
                    phase = codes[i, r] > 0, e < elements // polarities
                    charge[phase] = charge.get(phase, 0.0) + abs(codes[i, r]) * g / g_max
            for (positive_input, positive_weight), z in charge.items():
                code = min(max(round(z / adc_step), -adc_limit), adc_limit)
                out[i, c] += code if positive_input == positive_weight else -code
    return out


def quantised_weights(weight, bits):
    """Integers of a block of weights with one scale, and what a unit is worth."""
    unit = np.abs(weight).max() / (2 ** (bits - 1) - 1)
    return np.rint(weight / unit), unit


def digits(integer, bits_per_cell, slices):
    """Digits of a magnitude, least significant first, under its sign."""
    size, sign, found = abs(int(integer)), 1 if integer > 0 else -1, []
    for _ in range(slices):
        found.append(sign * (size % 2**bits_per_cell))
        size //= 2**bits_per_cell
    assert size == 0
    return found


def epilogue(charge, gain, offset, link, link_gain, relu, adc, out):
    """One output of a core, scalar by scalar; adc and out are (step, limit, rounds)."""
    result = np.zeros_like(charge)
    for index in np.ndindex(charge.shape):
        z = charge[index] / adc[0]
        z = np.rint(z) if adc[2] else z
        z = min(max(z, -adc[1]), adc[1])
        y = z * gain[index[-1]] + offset[index[-1]] + link_gain * link[index]
        y = max(y, 0.0) if relu else y
        y = y / out[0]
        y = np.rint(y) if out[2] else y
        result[index] = min(max(y, -out[1]), out[1])
    return result


def written_product(x, matrix, spec, adc, four_phases, cuts, full, key, event):
    """A product with a matrix that is written into devices, device by device.

    x (H, T, R) and matrix (H, R, C) float64; adc (step, limit) or None; full the ranges of both;
    returns the product and its conductances as shares of the largest, (H, S, 2, R, C).
    """
    (heads, vectors, rows), cols = x.shape, matrix.shape[2]
    floor = spec.g_min_siemens / spec.g_max_siemens
    base = 2 if spec.bits_per_cell is None else 2**spec.bits_per_cell
    g = np.zeros((heads, spec.slices, 2, rows, cols))
    for h, r, c in np.ndindex(heads, rows, cols):
        share = floor + min(abs(matrix[h, r, c]) / full[1], 1) * (1 - floor)
        if spec.clip_low is not None:
            share = max(share - spec.clip_low * floor, floor)
        if spec.clip_high is not None:
            share = min(share, spec.clip_high)
        size = (share - floor) / (1 - floor)
        left = round(size * spec.largest) if spec.largest else size
        for s in range(spec.slices):
            digit = left % base / (base - 1) if spec.largest else left
            left = left // base if spec.largest else 0
            for device in (0, 1):
                mine = (matrix[h, r, c] >= 0) == (device == 0)
                g[h, s, device, r, c] = floor + digit * mine * (1 - floor)
    if spec.law is not None:
        for h, s, d, r, c in np.ndindex(g.shape):
            counter = (65536 * r + c, event & MASK, event >> 32, 65536 * (s // 2) + h)
            words = philox(counter, key)
            xi = pair(*words[2 * (s % 2) : 2 * (s % 2) + 2])[d]
            aim = g[h, s, d, r, c]
            if spec.law.kind == "rram":
                std = spec.law.gamma * spec.law.sigma * math.sqrt(max(0, (aim - floor) * (1 - aim)))
            else:
                std = sum(p * aim**i for i, p in enumerate(spec.law.polynomial_siemens))
                std *= spec.law.scale / spec.law.fitted_siemens
            g[h, s, d, r, c] = max(0.0, aim + std * xi)
    y = np.zeros((heads, vectors, cols))
    top = None if spec.input_bits is None else 2 ** (spec.input_bits - 1) - 1

    def convert(charge):
        return charge if adc is None else adc[0] * min(max(round(charge / adc[0]), -adc[1]), adc[1])

    for h, t, c in np.ndindex(y.shape):
        drive = x[h, t] / full[0]
        if top is not None:
            drive = np.clip(np.rint(drive * top), -top, top) / top
        for s in range(spec.slices):
            for start, stop in cuts:
                v = drive[start:stop]
                up, down = (g[h, s, device, start:stop, c] for device in (0, 1))
                if four_phases:
                    part = sum(
                        a * b * convert(float(np.maximum(a * v, 0) @ w))
                        for a in (1, -1) for b, w in ((1, up), (-1, down))
                    )  # fmt: skip
                else:
                    part = convert(float(v @ (up - down)))
                y[h, t, c] += base**s * part
    unit = (base - 1) / spec.largest if spec.largest else 1.0
    return y * (unit / (1 - floor) * full[0] * full[1]), g
