"""The slow part of the 1/f noise as a process: twin, covariance, spectrum over five decades.

Closed forms: a component of period P has the covariance max(0, 1 - dt / P); averaged over the
log-uniform periods of its decade this gives ``tail`` below. The components are decades above the
shortest period P0 of the process; their sum over all of them is the 1/f band integral.
"""

import itertools
import math

import naive
import numpy as np
import pytest
from checks import assert_law, assert_mean
from flicker_process import covariance, traces
from scipy import stats

from aimc_sim import presets
from aimc_sim.device import draws, pcm

US = 1e-6
DAY = 86400.0


def test_equals_the_slow_twin(key):
    law = presets.pcm_hermes_one_device().read_noise
    weights, rates = draws.slow_components(law, 3.7 * DAY)
    k0, k1 = key.words()
    found = traces(np.array([3.7 * DAY]), 70, weights, rates, k0, k1)[0]
    expected = [naive.flicker(d, 3.7 * DAY, weights, rates, (int(k0), int(k1))) for d in range(70)]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("band", ["split", "frozen"])
@pytest.mark.parametrize("age", [1e-2, 200.0, DAY, 1e9])
def test_weights_add_up_to_the_published_variance(band, age):
    for law in (presets.pcm_hermes_one_device(), presets.pcm_25_microsiemens()):
        law = law.read_noise.with_(band=band, scale=1.5)
        weights, _ = draws.slow_components(law, age)
        slow, _ = draws.noise_bands(law, age)
        assert (weights.astype(float) ** 2).sum() == pytest.approx(slow, rel=1e-6)


def test_no_slow_noise():
    law = presets.pcm_hermes_one_device().read_noise
    for none in (None, law.with_(band="per_mvm"), law.with_(scale=0.0)):
        assert draws.slow_components(none, DAY)[0].size == 0
    assert draws.slow_components(law, 1e-4)[0].size == 0  # younger than one inference


SHAPE, ADDRESS = (1, 200, 1000), (1000, 200_000)
N = 200_000


def noise_at(spec, t, key):
    """The slow noise of 200,000 devices in units of Q_s G."""
    target = np.full(SHAPE, 5 * US, np.float32)
    state = pcm.program(target, np.ones(SHAPE, bool), spec, ADDRESS, key)
    now = pcm.evaluate(state, spec, t, ADDRESS, key)
    q = naive.curve(5 * US / spec.g_max_siemens, spec.read_noise.amplitude)
    return (now.g.astype(float).ravel() / (5 * US) - 1) / q


LAGS = [1e-3, 1e-2, 0.3, 1.0, 60.0, 3600.0, DAY, 30 * DAY]


def lagged(key, dt):
    spec = presets.pcm_hermes_one_device().with_({"programming": None, "drift": None})
    first, second = noise_at(spec, DAY, key), noise_at(spec, DAY + dt, key)
    law, t0 = spec.read_noise, spec.t0_seconds
    (w1, rates), (w2, more) = (draws.slow_components(law, t + t0) for t in (DAY, DAY + dt))
    return first, second, w1, w2, max(rates, more, key=len)


@pytest.mark.parametrize("dt", LAGS)
def test_covariance_between_two_times(dt, key):
    """From 1 ms to a month apart: n = 200,000, to 5 standard errors of a covariance.

    That is 1.6 % of the variance; a process whose periods are twice as long is rejected at lags
    from 0.3 s to 1 h: there it moves the covariance by ln 2 = 0.69, in units of Q^2 G^2.
    """
    first, second, w1, w2, rates = lagged(key, dt)
    bound = 5 * math.sqrt(2 * first.var() * second.var() / N)
    found = (first * second).mean()
    expected = covariance(dt, w1, rates, w2)
    assert abs(found - expected) < bound, (found, expected, bound)
    if 0.3 <= dt <= 3600:
        assert abs(found - covariance(dt, w1, rates / 2, w2)) > bound


@pytest.mark.parametrize("t", [0.0, 1.0, DAY, 365 * DAY])
def test_every_moment_is_normal(t, key):
    spec = presets.pcm_hermes_one_device().with_({"programming": None, "drift": None})
    noise = noise_at(spec, t, key)
    sd = math.sqrt(draws.noise_bands(spec.read_noise, t + spec.t0_seconds)[0])
    assert_mean(noise, 0.0)
    assert_law(noise / sd, stats.norm.cdf)


def test_devices_are_independent(key):
    spec = presets.pcm_hermes_one_device().with_({"programming": None, "drift": None})
    noise = noise_at(spec, DAY, key).reshape(200, 1000)
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])):
        r = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(r) < 5 / math.sqrt(a.size)


@pytest.fixture(scope="module")
def spectrum():
    """Per log-spaced bin: frequency, power of 32 devices, exact mean, mean of 1/f.

    2^21 samples, 2 ms apart; the shortest period of the process is 1 ms.
    """
    samples, step, devices = 2**21, 2e-3, 32
    law = presets.pcm_hermes_one_device().read_noise
    weights, rates = draws.slow_components(law, 1e6)
    times = 1e6 + step * np.arange(samples)
    noise = traces(times, devices, weights, rates, np.uint32(5), np.uint32(7))
    # Mean periodogram of a stationary process: transform of (1 - m / N) R(m), m lags.
    lags = np.arange(samples)
    tapered = (1 - lags / samples) * covariance(lags * step, weights, rates)
    expected = 2 * step * (2 * np.fft.rfft(tapered).real - tapered[0])
    frequency = np.fft.rfftfreq(samples, step)
    edges = np.searchsorted(frequency, np.geomspace(1e-3, 100, 16))

    def binned(values):
        return np.array([values[a:b].mean() for a, b in itertools.pairwise(edges)])

    power = [
        binned(2 * step / samples * np.abs(np.fft.rfft(device.astype(float))) ** 2)
        for device in noise.T
    ]
    inverse = binned(1 / np.maximum(frequency, 1e-9))
    return binned(frequency), np.array(power), binned(expected), inverse


def test_spectrum_over_five_decades(spectrum):
    """1 mHz to 100 Hz, three bins per decade, against the exact mean periodogram.

    The error is the spread over 32 independent devices; five of them are 10 to 50 % of a bin. In
    each decade the mean of three bins would notice 30 % (shown with a spectrum tilted to f^-1.2).
    """
    frequency, power, expected, _ = spectrum
    found, error = power.mean(axis=0), power.std(axis=0, ddof=1) / math.sqrt(len(power))
    assert (np.abs(found - expected) < 5 * error).all(), (found / expected, error / expected)
    assert (error / expected).max() < 0.2
    tilted = expected * (frequency / 0.3) ** -0.2
    assert not (np.abs(found - tilted) < 5 * error).all()


def test_spectrum_is_one_over_f(spectrum):
    """The exact mean periodogram is 1/f within 7 % over the five decades; 1/f^1.05 is not."""
    frequency, power, expected, inverse = spectrum
    assert np.abs(expected / inverse - 1).max() < 0.07
    assert np.abs(expected / inverse * (frequency / 0.3) ** 0.05 - 1).max() > 0.2
    fits = [stats.linregress(np.log(frequency), np.log(device)).slope for device in power]
    error = np.std(fits, ddof=1) / math.sqrt(len(fits))
    assert abs(np.mean(fits) + 1) < 5 * error + 0.01  # bins are averaged before the logarithm
    assert error < 0.02
