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
