"""Slow twin of the pulse emulator: one device at a time, plain Python, straight from the laws."""

from __future__ import annotations

import math

import naive
import numpy as np

from aimc_sim.rng import Purpose

NONE, ACCUMULATE, RESET, SQUARE, SET = range(5)
DEVICE, CYCLE, CORE, READ = 1, 2, 3, 4  # last word of the counter


def words(key, purpose):
    return [int(w) for w in key.child(purpose).words()]


class Device:
    """One device: its address, its fixed normals and its life so far."""

    def __init__(self, spec, key, address):
        self.spec, self.key, self.address = spec, key, address
        kept = naive.philox((address, 0, 0, DEVICE), words(key, Purpose.PULSE_DEVICE))
        self.z_step, self.z_set = naive.pair(kept[0], kept[1])
        self.z_half, self.z_nu = naive.pair(kept[2], kept[3])
        core = naive.philox((0, 0, 0, CORE), words(key, Purpose.PULSE_DEVICE))
        self.z_core = naive.pair(core[0], core[1])[0]
        self.g, self.p, self.events, self.last = 0.0, 0, 0, 0.0
        self.pulse(RESET, 0.0)

    def fresh_normal(self):
        counter = (self.address, self.events, 0, CYCLE)
        w = naive.philox(counter, words(self.key, Purpose.PULSE_CYCLE))
        return naive.pair(w[0], w[1])[0]

    def set_level(self):
        law = self.spec.pulses.set
        core, device = law.core_std * self.z_core, law.device_std * self.z_set
        return law.median_siemens * math.exp(core + device)

    def pulse(self, kind, t, amperes=None):
        """One pulse of a kind at a time."""
        if kind == NONE:
            return
        law, reset, xi = self.spec.pulses, self.spec.reset, self.fresh_normal()
        low = law.low_siemens
        if kind == ACCUMULATE:
            a = law.accumulation
            self.p += 1
            early = math.exp(-self.p / a.decay_pulses)
            mean = a.mean_slope * self.g + a.mean_offset_siemens + a.mean_first_siemens * early
            std = a.std_slope * self.g + a.std_offset_siemens + a.std_first_siemens * early
            factor = max(0.0, 1 + a.device_std_fraction * self.z_step)
            g = self.g + factor * mean + a.cycle_scale * std * xi
        elif kind == RESET:
            self.p, low = 0, law.reset.low_siemens
            g = reset.mean_siemens + reset.std_siemens * xi
        elif kind == SQUARE:
            c = law.curve
            self.p = 0
            half = c.half_amperes + c.device_std_amperes * self.z_half
            s = 1 / (1 + math.exp(-(amperes - half) / c.width_amperes))
            top = self.set_level()
            log10 = math.log10(top) - math.log10(top / reset.mean_siemens) * s
            g = 10 ** (log10 + c.cycle_std_decades * xi)
        else:
            self.p += 1
            g = self.set_level() * math.exp(law.set.cycle_std * xi)
        self.g = float(np.float32(min(max(g, low), law.high_siemens)))
        self.events, self.last = self.events + 1, t

    def age(self, t):
        return max(t - self.last, self.spec.read_noise.t_read_seconds)

    def conductance(self, t):
        """Drifted since its last pulse."""
        drift, x = self.spec.drift, self.g / self.spec.g_max_siemens
        spread = naive.curve(x, drift.exponent_std) * self.z_nu
        nu = drift.scale * abs(naive.curve(x, drift.exponent_mean) + spread)
        return self.g * (self.age(t) / self.spec.t0_seconds) ** -nu

    def read(self, t, number):
        """The same with read noise: a slow process of this life, and what is fresh per read."""
        law, g = self.spec.read_noise, self.conductance(t)
        late = self.age(t) + law.t_read_seconds
        edge = {
            "frozen": 2 * law.t_read_seconds,
            "split": max(law.inference_seconds, 2 * law.t_read_seconds),
            "per_mvm": math.inf,
        }[law.band]
        band = max(0.0, math.log(late / (2 * law.t_read_seconds)))
        slow = min(band, max(0.0, math.log(late / edge)) if edge < math.inf else 0.0)
        k = [int(w) for w in self.key.child(Purpose.PULSE_READ).at_time(t).words()]
        w = naive.philox((self.address, number, 0, READ), k)
        noise = math.sqrt(band - slow) * naive.pair(w[0], w[1])[0]
        decades = math.ceil(slow / math.log(10))
        weights = [math.sqrt(min(slow - i * math.log(10), math.log(10))) for i in range(decades)]
        rates = [10.0**-i / edge for i in range(decades)]
        k = [int(w) for w in self.key.child(Purpose.SLOW_NOISE).words()]
        noise += naive.flicker(self.address, self.age(t), weights, rates, k, self.events)
        x = g / self.spec.g_max_siemens
        return max(0.0, g * (1 + law.scale * naive.curve(x, law.amplitude) * noise))


def unclipped_moments(law, pulses, mean, variance):
    """Mean and variance after each pulse without clips, exactly.

    Given G, the next value has mean (1 + m1) G + b and spread m2 G + s: expectation and
    variance follow from the first two moments of G alone.
    """
    found = []
    for p in range(1, pulses + 1):
        early = math.exp(-p / law.decay_pulses)
        b = law.mean_offset_siemens + law.mean_first_siemens * early
        s = law.std_offset_siemens + law.std_first_siemens * early
        k, m2 = 1 + law.mean_slope, law.std_slope
        fresh = m2**2 * (variance + mean**2) + 2 * m2 * s * mean + s**2
        mean, variance = k * mean + b, k**2 * variance + fresh
        found.append((mean, variance))
    return found
