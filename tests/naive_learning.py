"""Slow twin of devices that learn: one device, one pulse at a time, plain Python, from the laws."""

from __future__ import annotations

import math

import naive
import numpy as np

from aimc_sim.rng import Purpose
from aimc_sim.spec import ExponentialStep, LinearStep, SoftBounds

DEVICE, PULSE = 1, 2  # last word of the counter


def words(key, purpose):
    return [int(w) for w in key.child(purpose).words()]


def single(value):
    return float(np.float32(value))


class Device:
    """One stepped device: its constants, its state and its life so far."""

    def __init__(self, spec, key, address, t=0.0):
        self.spec, self.key, self.address = spec, key, address
        kept = words(key, Purpose.LEARNING_DEVICE)
        z = []
        for block in range(2):
            w = naive.philox((address, block, 0, DEVICE), kept)
            z += [*naive.pair(w[0], w[1]), *naive.pair(w[2], w[3])]
        dead = naive.philox((address, 2, 0, DEVICE), kept)
        leak = naive.philox((address, 3, 0, DEVICE), kept)
        v, shape = spec.variation, spec.shape
        std = dict.fromkeys(("step_std", "up_down_std", "upper_std", "lower_std"), 0.0)
        if v is not None:
            std = {name: getattr(v, name) for name in std}
        high = spec.upper * (1 + std["upper_std"] * z[0])
        low = spec.lower * (1 + std["lower_std"] * z[1])
        low, high = min(low, high), max(low, high)
        low, high = -abs(low), abs(high)
        gain = 1 + std["step_std"] * z[2]
        if v is not None and v.step_law == "lognormal":
            gain = math.exp(std["step_std"] * z[2])
        r, b = std["up_down_std"] * z[3], spec.up_down
        self.up = abs(spec.step * (gain + r + min(b, 0)))
        self.down = abs(spec.step * (gain - r - max(b, 0)))
        self.lost = [0.0, 0.0]
        if isinstance(shape, LinearStep):
            self.lost = [
                abs(shape.decrease_up + shape.device_std_up * z[4]) / spec.upper,
                abs(shape.decrease_down + shape.device_std_down * z[5]) / spec.lower,
            ]
        self.reference = 0.0
        self.bias = 0.0 if spec.reset is None else (
            spec.reset.mean + spec.reset.device_std * z[7]
        )  # fmt: skip
        if isinstance(shape, SoftBounds):
            self.lost = [1 / high, 1 / low]
            self.reference = shape.reference_mean + shape.reference_std * z[6]
            if shape.subtract_symmetry_point:
                self.reference += (self.up - self.down) / (self.up / high - self.down / low)
        if v is not None and (dead[0] + 0.5) / 2**32 < v.dead_fraction:
            least, most = max(low, -v.dead_range), min(high, v.dead_range)
            low = high = least + (most - least) * (dead[1] + 0.5) / 2**32
            self.up = self.down = 0.0
        self.low, self.high = single(low), single(high)
        self.rate = 0.0
        if spec.leak is not None:
            spread = abs(1 + spec.leak.device_std * naive.pair(leak[0], leak[1])[0])
            self.rate = single(1 / (spec.leak.seconds * spread))
        start = self.reference if spec.directions == "both" else self.bias
        self.p = single(min(max(single(start), self.low), self.high))
        self.shown, self.events, self.last = self.p, 0, t

    def mean(self, p, up):
        """Mean change by a pulse."""
        shape = self.spec.shape
        scale = self.up if up else self.down
        if isinstance(shape, ExponentialStep):
            z = 2 * shape.a * p / (self.high - self.low) + shape.b
            if up:
                return scale * max(0, 1 - shape.factor_up * math.exp(shape.rate_up * z))
            return scale * max(0, 1 - shape.factor_down * math.exp(-shape.rate_down * z))
        return scale * (1 - self.lost[0 if up else 1] * p)

    def normals(self):
        w = naive.philox(
            (self.address, self.events, 0, PULSE), words(self.key, Purpose.LEARNING_CYCLE)
        )
        return naive.pair(w[0], w[1])

    def leaked(self, value, t):
        return value * math.exp(-self.rate * (t - self.last))

    def pulse(self, up, t=0.0):
        """One pulse up or down."""
        xi, eta = self.normals()
        p, n = self.leaked(self.p, t), self.spec.cycle
        mean, std = self.mean(p, up), 0.0
        if n is not None:
            scale = self.up if up else self.down
            std = n.std * (n.step * abs(mean) + n.scale * scale + n.offset + n.state * abs(p))
        p += (1 if up else -1) * (mean + std * xi)
        self._keep(p, eta, t)

    def reset(self, t=0.0):
        """One RESET pulse."""
        xi, eta = self.normals()
        self._keep(self.bias + self.spec.reset.cycle_std * xi, eta, t)

    def _keep(self, p, eta, t):
        self.p = single(min(max(p, self.low), self.high))
        self.shown = single(self.p + self.spec.write_noise * self.spec.step * eta)
        self.events, self.last = self.events + 1, t

    def weight(self, t=0.0):
        return self.leaked(self.shown, t) - self.reference


# --------------------------------------------------------------------------- pulse trains

ROWS, COLUMNS, CHOPPER = 1, 2, 3
READ = 3  # last word of the counter of reads
MASK = 0xFFFFFFFF


def train(probability, slots, address, number, stream, key_words):
    """The bits of a train: 1 where a uniform number of 32 digits lies below the probability."""
    if probability >= 1:
        return [1] * slots
    level, found = int(probability * 2**32), []
    for slot in range(slots):
        word, lane = divmod(slot, 32)
        u = 0
        for block in range(8):
            counter = (address, number & MASK, (number >> 32) ^ (word << 24), stream | block << 8)
            for digits in naive.philox(counter, key_words):
                u = 2 * u + (digits >> lane & 1)
        found.append(int(u < level))
    return found


def scales(x, d, lr, step, length, managed=True):
    """Length and factors of the trains of one vector, straight from the description."""
    x_most, d_most = max(abs(v) for v in x), max(abs(v) for v in d)
    k = lr * x_most * d_most / step
    if k <= 0:
        return 0, 0.0, 0.0
    slots = min(math.ceil(k), length) if managed else length
    a = b = math.sqrt(lr / (step * slots))
    if managed:
        d_most = d_most * length / k if k > length else d_most
        a, b = a * math.sqrt(x_most / d_most), b * math.sqrt(d_most / x_most)
    return slots, b, a


def trains(x, d, scale, key, number):
    """Rows and columns of bits of one vector."""
    slots, b, a = scale
    own = words(key, Purpose.LEARNING_UPDATE)
    return [
        [train(factor * abs(v), slots, i, number, stream, own) if v else [0] * slots
         for i, v in enumerate(values)]
        for values, factor, stream in ((x, b, ROWS), (d, a, COLUMNS))
    ]  # fmt: skip


def coincide(devices, rows, columns, signs, t=0.0):
    """Pulse devices, a list of rows, at every coincidence, slot by slot."""
    given = 0
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            for one, other in zip(row, column, strict=True):
                if one and other:
                    devices[r][c].pulse(signs[0][r] * signs[1][c] > 0, t)
                    given += 1
    return given


# --------------------------------------------------------------------------- Tiki-Taka


class Transfer:
    """Version 2, chopped or with dynamic reference: A, buffers and choppers; C's pulses come out.

    Devices have scale 1. Vectors come one at a time.
    """

    def __init__(self, rule, spec, key, shape, slow_step):
        rows, columns = shape
        self.rule, self.key, self.shape = rule, key, shape
        own = key.child(Purpose.LEARNING_DEVICE)
        self.fast = [
            [Device(spec, own, r * columns + c) for c in range(columns)] for r in range(rows)
        ]
        self.step_size, self.slow_step = spec.step, slow_step
        self.h, self.mean, self.past = (
            [[0.0] * columns for _ in range(rows)] for _ in range(3)
        )  # fmt: skip
        self.chopper, self.flipped, self.reads = [1] * rows, [False] * rows, [0] * rows
        self.m, self.vectors, self.transfers = [0.0, 0.0], 0, 0

    def step(self, x, d, lr, batch=1):
        """One vector: pulses on A, and the row that is due; its number and C's pulses, or None."""
        rule = self.rule
        share = (1 - rule.auto_momentum) / batch
        for side, values in enumerate((x, d)):
            new = max(abs(v) for v in values)
            if self.m[side] > 0 and new > 0:
                self.m[side] = (1 - share) * self.m[side] + share * new
            elif new > 0:
                self.m[side] = new
        fast_lr = rule.own_lr * rule.length * self.step_size / (self.m[0] * self.m[1])
        rows, columns = trains(
            x, d, scales(x, d, fast_lr, self.step_size, rule.length), self.key, self.vectors
        )
        signs = (
            [self.chopper[r] * (1 if v >= 0 else -1) for r, v in enumerate(x)],
            [1 if -v >= 0 else -1 for v in d],
        )
        coincide(self.fast, rows, columns, signs)
        number, self.vectors = self.vectors, self.vectors + 1
        if self.vectors % rule.transfer_every:
            return None
        r, self.transfers = self.transfers % self.shape[0], self.transfers + 1
        return r, self.transfer(r, lr, fast_lr, number)

    def transfer(self, r, lr, fast_lr, number):
        """Read a row into its buffers; return the pulses that C gets."""
        rule, pulses = self.rule, []
        size = rule.granularity * self.step_size * rule.pulses_at_once
        if rule.auto_granularity:
            size *= rule.auto_granularity / (self.shape[0] * rule.transfer_every)
        scale = rule.transfer_lr * lr / size
        if rule.correct_gradient:
            scale *= self.step_size / self.slow_step / fast_lr
        dynamic = rule.tail_share > 0
        read_words = words(self.key, Purpose.LEARNING_CYCLE)
        for c, device in enumerate(self.fast[r]):
            value = device.weight()
            if rule.reading.noise:
                w = naive.philox((device.address, number, 0, READ), read_words)
                value += rule.reading.noise * naive.pair(w[0], w[1])[0]
            if rule.reading.bound:
                value = min(max(value, -rule.reading.bound), rule.reading.bound)
            if rule.reading.step:
                value = round(value / rule.reading.step) * rule.reading.step
            change = value
            if dynamic:
                if self.flipped[r]:
                    self.past[r][c] = self.mean[r][c]
                change -= self.past[r][c]
                b = rule.tail_share
                self.mean[r][c] = single((1 - b) * self.mean[r][c] + b * value)
            h, n = self.h[r][c] + self.chopper[r] * change * scale, 0
            if abs(h) >= 1:
                n = min(max(math.trunc(h), -rule.most_pulses), rule.most_pulses)
                h = rule.momentum * h if rule.forget else h - (1 - rule.momentum) * n
            self.h[r][c] = single(h)
            early = dynamic and self.reads[r] <= rule.period
            pulses.append(0 if early else n * rule.pulses_at_once)
        self.flipped[r] = False
        flip = rule.period > 0 and self.reads[r] % rule.period + 1 == rule.period
        if rule.chopped and rule.chopper == "random":
            own = words(self.key, Purpose.LEARNING_UPDATE)
            u = naive.philox((r, self.reads[r], 0, CHOPPER), own)[0]
            flip = (u + 0.5) / 2**32 < rule.chopped
        if flip:
            self.chopper[r], self.flipped[r] = -self.chopper[r], True
        self.reads[r] += 1
        return pulses
