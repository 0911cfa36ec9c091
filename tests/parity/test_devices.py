"""The SIMD loops over devices against plain float64 Python, element by element."""

import math

import naive
import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.device import draws, pcm, programming
from aimc_sim.device.programming import verify
from aimc_sim.rng import Purpose
from aimc_sim.spec import TemperatureLaw

US = 1e-6
ADDRESS = (256, 65536)
SPECS = {
    "one device": presets.pcm_hermes_one_device(),
    "two devices": presets.pcm_hermes_two_devices(),
    "25 uS": presets.pcm_25_microsiemens(),
    "hot": presets.pcm_25_microsiemens().with_(
        temperature=TemperatureLaw(
            kelvin=330.0, activation_reset_ev=0.2, activation_set_ev=0.05, relaxation_ev=0.1
        )
    ),
}


def address_of(e, r, c):
    return e * ADDRESS[1] + r * ADDRESS[0] + c


def normals(purpose, address, key):
    words = [int(w) for w in key.child(purpose).words()]
    return naive.pair(*naive.philox((address, 0, 0, 0), words)[:2])


def programmed_element(aim, tuned, spec, address, key):
    """Conductance and drift exponent, straight from the laws."""
    a, b = normals(Purpose.PROGRAM, address, key)
    n, x = spec.devices_per_element, aim / spec.g_max_siemens
    if tuned:
        g = aim + spec.programming.scale * naive.sigma_programming(x, spec) * a
    else:
        g = n * spec.reset.mean_siemens + math.sqrt(n) * spec.reset.std_siemens * a
    mean, std = (naive.curve(x, c) for c in (spec.drift.exponent_mean, spec.drift.exponent_std))
    return max(0.0, g), spec.drift.scale * abs(mean + std * b)


def element_at(aim, g, nu, spec, t, address, key):
    """Conductance with slow noise, and the spread of the fresh noise, at a time."""
    x, law = min(aim / spec.g_max_siemens, 1.0), spec.read_noise
    stretched, factor = t, 1.0
    if spec.temperature is not None:
        heat = spec.temperature
        beta = (1 / heat.kelvin - 1 / heat.reference_kelvin) / 8.617333262e-5
        activation = heat.activation_reset_ev * (1 - x) + heat.activation_set_ev * x
        factor, stretched = math.exp(-activation * beta), t * math.exp(-heat.relaxation_ev * beta)
    g = g * ((stretched + spec.t0_seconds) / spec.t0_seconds) ** -nu * factor
    age = t + spec.t0_seconds
    q = naive.curve(x, law.amplitude) * min(1.0, spec.g_max_siemens / aim)
    weights, rates = draws.slow_components(law, age)
    words = [int(w) for w in key.child(Purpose.SLOW_NOISE).words()]
    noise = naive.flicker(address, age, weights, rates, words)
    return max(0.0, g * (1 + q * noise)), g * q * math.sqrt(draws.noise_bands(law, age)[1])


@pytest.mark.parametrize("name", SPECS)
def test_statistical_law(name, key, rng):
    """To 2e-5: single-precision logarithms against double; 70 columns make an odd last run."""
    spec, shape = SPECS[name], (2, 3, 70)
    target = rng.uniform(0.05, 1.0, shape).astype(np.float32) * np.float32(spec.g_max_siemens)
    target[0, 0, :5] = np.float32(pcm.reset_level(spec))
    tuned = rng.random(shape) < 0.7
    state = pcm.program(target, tuned, spec, ADDRESS, key)
    scale = spec.g_max_siemens
    for index in np.ndindex(shape):
        g, nu = programmed_element(
            float(target[index]), tuned[index], spec, address_of(*index), key
        )
        assert state.g[index] == pytest.approx(g, rel=2e-5, abs=1e-6 * scale)
        assert state.nu[index] == pytest.approx(nu, rel=2e-5, abs=1e-6)
    for t in (0.0, 12.0, 3e6):
        now = pcm.evaluate(state, spec, t, ADDRESS, key)
        for index in np.ndindex(shape):
            g, fresh = element_at(
                float(target[index]), float(state.g[index]), float(state.nu[index]), spec, t,
                address_of(*index), key,
            )  # fmt: skip
            assert now.g[index] == pytest.approx(g, rel=5e-5, abs=2e-6 * scale)
            assert now.fresh[index] == pytest.approx(fresh, rel=5e-5, abs=1e-7 * scale)


class Device:
    """One chip device under pulses, from the words of its address."""

    def __init__(self, spec, address, key):
        self.spec, self.address = spec, address
        keys = [[int(w) for w in key.child(p).words()] for p in (7, 8)]
        device = naive.philox((address, 0, 0, 1), keys[0])
        core = naive.pair(*naive.philox((0, 0, 0, 3), keys[0])[:2])[0]
        self.cycle_key = keys[1]
        _, z_set = naive.pair(*device[:2])
        z_half, self.z_nu = naive.pair(*device[2:])
        full, curve = spec.pulses.set, spec.pulses.curve
        self.ln_set = full.core_std * core + full.device_std * z_set
        self.half = curve.half_amperes + curve.device_std_amperes * z_half

    def normals(self, event):
        return naive.pair(*naive.philox((self.address, event, 0, 2), self.cycle_key)[:2])

    def after_set(self):
        """Conductance after a full SET, and the normal of the read that follows."""
        full, (xi, read) = self.spec.pulses.set, self.normals(0)
        return full.median_siemens * math.exp(self.ln_set + full.cycle_std * xi), read

    def counts(self, g, xi):
        loop, noise = self.spec.programming.verify, self.spec.read_noise
        age = loop.precharge_seconds + loop.seconds
        band = math.sqrt(math.log((age + noise.t_read_seconds) / (2 * noise.t_read_seconds)))
        q = naive.curve(min(g / self.spec.g_max_siemens, 1), noise.amplitude)
        g += min(g, self.spec.g_max_siemens) * q * band * xi
        return round(max(0.0, g) / loop.count_siemens)

    def tune(self, aim):
        """The loop: conductance, last amplitude, iterations, whether it was reached."""
        loop, curve = self.spec.programming, self.spec.pulses.curve
        top = self.spec.pulses.set.median_siemens * math.exp(self.ln_set)
        bottom, amperes = self.spec.reset.mean_siemens, loop.start_amperes
        for event in range(1, loop.max_iterations + 1):
            xi, read = self.normals(event)
            s = 1 / (1 + math.exp((self.half - amperes) / curve.width_amperes))
            log = math.log10(top) - math.log10(top / bottom) * s + curve.cycle_std_decades * xi
            g = min(max(10**log, self.spec.pulses.low_siemens), self.spec.pulses.high_siemens)
            error = self.counts(g, read) - aim / loop.verify.count_siemens
            used = amperes
            if abs(error) < loop.margin_counts:
                return g, used, event, True
            amperes += loop.step_amperes_per_count * error
            amperes = min(max(amperes, loop.low_amperes), loop.high_amperes)
        return g, used, loop.max_iterations, False


@pytest.mark.parametrize("fill", ["one-device", "max-set-fill"])
def test_program_and_verify(fill, key, rng):
    """Every decision of the loop, on 120 cells.

    A read that lies within rounding of a half count may decide otherwise: at most 2 % of cells.
    """
    spec = presets.pcm_hermes_closed_loop(fill)
    wanted = rng.uniform(0.5, 20 if fill == "max-set-fill" else 10, (6, 20)) * US
    positive = rng.random(wanted.shape) < 0.5
    idle = 2 * spec.reset.mean_siemens
    g = np.stack([np.where(positive, wanted, idle), np.where(positive, idle, wanted)])
    request = programming.Request(g, np.stack([positive, ~positive]))
    found = verify.pulse_all(request, spec, ADDRESS, key, 0)
    count, level, wrong = spec.programming.verify.count_siemens, spec.reset.mean_siemens, 0
    for r, c in np.ndindex(wanted.shape):
        first = 0 if positive[r, c] else 2
        pair = [Device(spec, address_of(first + d, r, c), key) for d in (0, 1)]
        tuned, rest, left = 0, level, level
        if fill == "max-set-fill":
            states = [device.after_set() for device in pair]
            counts = [d.counts(*s) for d, s in zip(pair, states, strict=True)]
            larger = 0 if counts[0] >= counts[1] else 1
            if wanted[r, c] > counts[larger] * count:
                tuned, rest, left = 1 - larger, counts[larger] * count, states[larger][0]
            else:
                tuned = larger
        result = pair[tuned].tune(max(0.0, wanted[r, c] - rest))
        e = first + tuned
        same = (
            found.iterations[e, r, c] == result[2]
            and bool(found.reached[e, r, c]) == result[3]
            and found.g[e, r, c] == pytest.approx(result[0], rel=1e-4)
            and found.amperes[e, r, c] == pytest.approx(result[1], rel=1e-4)
            and found.g[first + 1 - tuned, r, c] == pytest.approx(left, rel=1e-4)
        )
        wrong += not same
    assert wrong <= 0.02 * wanted.size
