"""The pulse emulator against moments known in advance: exact recursion, table, 1/sqrt(N).

Two kinds of reference. Without clips, mean and variance follow exactly from a recursion. With the
clips, an independent Monte Carlo of 1,000,000 devices (standard error below 0.003 uS, taken as
0.0025 here) gave mean, spread and median. Ours: n = 400,000 devices; every check is also shown
to reject coefficients that are 2 to 5 % off.
"""

import math
from pathlib import Path

import naive
import naive_pulses
import numba
import numpy as np
import pytest
from flicker_process import covariance, traces
from scipy import stats

from aimc_sim import presets
from aimc_sim.device import draws, pulses, synapse
from aimc_sim.device.pulses import Pulse, _law_vectors
from aimc_sim.kernels import flicker
from aimc_sim.kernels import pulses as kernels

US = 1e-6
N = 400_000
THEIRS = 0.0025  # standard error of the table, uS
SIGMAS = 5

# pulse: mean, spread, median in uS
TABLE = {
    12: {
        1: (2.058, 1.519, 1.927), 2: (3.435, 1.972, 3.267), 5: (5.897, 2.313, 5.671),
        10: (7.696, 2.168, 7.518), 16: (8.613, 2.019, 8.552), 20: (8.914, 1.970, 8.908),
    },
    20: {
        1: (2.057, 1.518, 1.929), 2: (3.434, 1.972, 3.267), 5: (5.919, 2.380, 5.670),
        10: (7.831, 2.466, 7.520), 16: (8.955, 2.575, 8.622), 20: (9.403, 2.667, 9.060),
    },
}  # fmt: skip
RECURSION = {
    1: (1.9246, 1.7327), 2: (3.2916, 2.1430), 3: (4.3367, 2.3288), 4: (5.1530, 2.4169),
    5: (5.8048, 2.4572), 8: (7.1541, 2.4828), 10: (7.7590, 2.4920), 15: (8.7671, 2.5711),
    20: (9.3803, 2.6938),
}  # fmt: skip


def trajectory(spec, key, numbers, n=N):
    """Conductances in uS after some numbers of pulses, in float64."""
    state, done, found = pulses.fresh(n, spec, key), 0, {}
    for p in sorted(numbers):
        state = pulses.apply_(state, spec, Pulse.ACCUMULATE, 0.0, key, repeats=p - done)
        done, found[p] = p, state.g.astype(float) / US
    return found


def deviations(g, mean, sd, median=None, theirs=0.0):
    """How many standard errors mean, spread and median are off."""
    kurtosis = stats.kurtosis(g, fisher=False)
    errors = [
        g.std() / math.sqrt(g.size),
        g.std() * math.sqrt((kurtosis - 1) / (4 * g.size)),
    ]
    off = [(g.mean() - mean) / math.hypot(errors[0], theirs)]
    off += [(g.std() - sd) / math.hypot(errors[1], theirs)]
    if median is not None:
        # spread of a median: half the inverse square root of n over the density, counted locally
        width = 0.05 * g.std()
        density = (np.abs(g - np.median(g)) < width).mean() / (2 * width)
        error = 0.5 / density / math.sqrt(g.size)
        off += [(np.median(g) - median) / math.hypot(error, theirs)]
    return np.abs(off)


def train_without_clip(law, key, numbers, n=N):
    """Kernel on bare arrays: the lower clip of a Spec cannot be negative."""
    spec = presets.pcm_nandakumar_2018(20 * US).with_({"pulses.accumulation": law})
    words = np.array(key.words())
    step, set_law, curve, reset = _law_vectors(spec, spec.pulses)
    g = np.full(n, 0.1 * US) + 0.01 * US * key.child(1).generator().standard_normal(n)
    g, count = g.astype(np.float32), np.zeros(n, np.uint16)
    events, last = np.zeros(n, np.uint32), np.zeros(n)
    found, done = {}, 0
    for p in sorted(numbers):
        kernels.apply(
            np.array([1], np.uint8), np.zeros(1), p - done, 0.0, -1.0, 1.0,
            step, set_law, curve, reset, 0, words, words, g, count, events, last,
        )  # fmt: skip
        done, found[p] = p, g.astype(float) / US
    return found


LAW = presets.pcm_nandakumar_2018().pulses.accumulation
COEFFICIENTS = (
    "mean_slope", "mean_offset_siemens", "mean_first_siemens", "decay_pulses",
    "std_slope", "std_offset_siemens", "std_first_siemens", "cycle_scale",
)  # fmt: skip


def test_recursion_gives_the_derived_numbers():
    found = naive_pulses.unclipped_moments(LAW, 2000, 0.1 * US, (0.01 * US) ** 2)
    for p, (mean, sd) in RECURSION.items():
        got = found[p - 1][0] / US, math.sqrt(found[p - 1][1]) / US
        np.testing.assert_allclose(got, (mean, sd), atol=6e-5)
    assert found[-1][0] / US == pytest.approx(10.4762, abs=5e-5)
    assert math.sqrt(found[-1][1]) / US == pytest.approx(3.1054, abs=5e-5)


def test_unclipped_moments(key):
    """Without clips mean and spread follow the recursion, at every pulse of the list."""
    for p, g in train_without_clip(LAW, key, RECURSION).items():
        assert (deviations(g, *RECURSION[p], theirs=3e-5) < SIGMAS).all(), p


@pytest.mark.parametrize("field", COEFFICIENTS)
def test_unclipped_moments_notice_wrong_coefficients(field, key):
    """5 % on any coefficient is rejected at some pulse."""
    law = LAW.with_({field: 1.05 * getattr(LAW, field)})
    found = train_without_clip(law, key, RECURSION)
    worst = max(deviations(g, *RECURSION[p], theirs=3e-5).max() for p, g in found.items())
    assert worst > SIGMAS


@pytest.mark.parametrize("high", [12, 20])
def test_clipped_table(high, key):
    """Mean, spread and median after 1 to 20 pulses, with the published clips."""
    spec = presets.pcm_nandakumar_2018(high * US)
    for p, g in trajectory(spec, key, TABLE[high]).items():
        assert (deviations(g, *TABLE[high][p], theirs=THEIRS) < SIGMAS).all(), p


@pytest.mark.parametrize("high", [12, 20])
@pytest.mark.parametrize(
    ("field", "factor"),
    [
        ("mean_slope", 1.02), ("mean_offset_siemens", 1.02), ("mean_first_siemens", 1.02),
        ("decay_pulses", 1.03), ("std_slope", 1.03), ("std_offset_siemens", 1.05),
        ("std_first_siemens", 1.02), ("cycle_scale", 1.02),
    ],
)  # fmt: skip
def test_clipped_table_notices_wrong_coefficients(field, factor, high, key):
    spec = presets.pcm_nandakumar_2018(high * US)
    spec = spec.with_({f"pulses.accumulation.{field}": factor * getattr(LAW, field)})
    found = trajectory(spec, key, TABLE[high])
    worst = max(deviations(g, *TABLE[high][p], theirs=THEIRS).max() for p, g in found.items())
    assert worst > SIGMAS


def test_the_clip_is_seen(key):
    """The two columns of the table differ: 12 uS devices fail the 20 uS column."""
    g = trajectory(presets.pcm_nandakumar_2018(12 * US), key, [20])[20]
    assert deviations(g, *TABLE[20][20], theirs=THEIRS).max() > SIGMAS


def test_reset_state(key):
    """RESET: normal (0.1, 0.01) uS, whatever was there before."""
    spec = presets.pcm_nandakumar_2018()
    state = pulses.apply(pulses.fresh(N, spec, key), spec, Pulse.ACCUMULATE, 0.0, key, repeats=9)
    state = pulses.apply(state, spec, Pulse.RESET, 1.0, key)
    assert (deviations(state.g / US, 0.1, 0.01, 0.1) < SIGMAS).all()
    assert deviations(state.g / US, 0.1, 0.0103).max() > SIGMAS
    assert stats.kstest((state.g / US - 0.1) / 0.01, stats.norm.cdf).pvalue > 1e-6


def test_read_noise_at_the_reference_age(key):
    """0.03 G + 0.13 uS at the age t0, fresh in every read."""
    spec = presets.pcm_nandakumar_2018(20 * US)
    state = pulses.fresh(N, spec, key)
    state = pulses.apply(state, spec, Pulse.ACCUMULATE, 0.0, key, repeats=20)
    t = spec.t0_seconds
    still = pulses.conductance(state, spec, t, key).astype(float) / US
    np.testing.assert_array_equal(still, state.g.astype(float) / US)
    first, second = (pulses.read(state, spec, t, key, k).astype(float) / US for k in (0, 1))
    high = still > 3  # where the clip at zero is more than ten spreads away
    for number in (first, second):
        xi = ((number - still) / (0.03 * still + 0.13))[high]
        assert (deviations(xi, 0.0, 1.0) < SIGMAS).all()
        assert deviations(1.02 * xi, 0.0, 1.0).max() > SIGMAS
    assert abs(np.corrcoef((first - still)[high], (second - still)[high])[0, 1]) < 5 / math.sqrt(
        high.sum()
    )


def test_full_set_spreads(key):
    """ln G after a full SET: device and core spread repeat, the cycle spread does not."""
    spec = chip_like()
    law = spec.pulses.set
    state = pulses.fresh(N, spec, key)
    one = np.log(pulses.apply(state, spec, Pulse.SET, 0.0, key).g.astype(float))
    state = pulses.apply(pulses.apply(state, spec, Pulse.SET, 0.0, key), spec, Pulse.SET, 0.0, key)
    two = np.log(state.g.astype(float))
    assert abs((one - two).std() / (math.sqrt(2) * law.cycle_std) - 1) < 5 / math.sqrt(2 * N)
    total = math.hypot(law.device_std, law.cycle_std)
    assert abs(one.std() / total - 1) < 5 / math.sqrt(2 * N)
    share = np.corrcoef(one, two)[0, 1]
    expected = (law.device_std / total) ** 2
    assert abs(share - expected) < 5 * (1 - expected**2) / math.sqrt(N)
    levels = []
    for core in range(400):
        g = pulses.apply(pulses.fresh(400, spec, key.child(core)), spec, 4, 0.0, key.child(core)).g
        levels.append(np.log(g.astype(float)).mean())
    of_cores = math.hypot(law.core_std, total / math.sqrt(400))
    assert abs(np.std(levels, ddof=1) / of_cores - 1) < 5 / math.sqrt(2 * 400)
    assert abs(np.mean(levels) - math.log(law.median_siemens)) < 5 * of_cores / math.sqrt(400)


def chip_like():
    """The chip's devices with its pulses."""
    return presets.pcm_hermes_one_device().with_({"pulses": presets.pulses_hermes()})


def test_the_chip_s_set_distribution(key):
    """What the presets were derived from: 10th percentile of the worst of 64 cores, 80 counts."""
    spec, lowest = chip_like(), []
    for trial in range(12):
        cores = [key.child(trial, core) for core in range(64)]
        states = (pulses.apply(pulses.fresh(2000, spec, k), spec, Pulse.SET, 0.0, k) for k in cores)
        lowest.append(min(np.quantile(s.g, 0.1) for s in states))
    assert np.mean(lowest) / US == pytest.approx(10.35, rel=0.03)


@pytest.mark.parametrize("current", [150e-6, 300e-6, 350e-6, 400e-6])
def test_square_pulse_follows_its_curve(current, key):
    """Spread from pulse to pulse alone: log10 G is normal around the curve; 5 % is noticed."""
    quiet = {"pulses.set.core_std": 0.0, "pulses.set.device_std": 0.0}
    spec = chip_like().with_(quiet)
    law = spec.pulses.curve
    s = 1 / (1 + math.exp(-(current - law.half_amperes) / law.width_amperes))
    top, bottom = math.log10(16.2 * US), math.log10(0.1 * US)
    expected = top - (top - bottom) * s

    cycles = spec.with_({"pulses.curve.device_std_amperes": 0.0})
    state = pulses.apply(pulses.fresh(N, spec, key), cycles, Pulse.SQUARE, 0.0, key, current)
    decades = np.log10(state.g.astype(float))
    assert (deviations(decades, expected, law.cycle_std_decades) < SIGMAS).all()
    assert deviations(decades, expected, 1.05 * law.cycle_std_decades).max() > SIGMAS
    assert deviations(decades, expected + 0.001, law.cycle_std_decades).max() > SIGMAS

    # Spread between devices alone: the curve, inverted, gives each device's own half current.
    devices = spec.with_({"pulses.curve.cycle_std_decades": 0.0})
    state = pulses.apply(pulses.fresh(N, spec, key), devices, Pulse.SQUARE, 0.0, key, current)
    s = (top - np.log10(state.g.astype(float))) / (top - bottom)
    half = current - law.width_amperes * np.log(s / (1 - s))
    ends = law.half_amperes, law.device_std_amperes
    assert (deviations(half / US, ends[0] / US, ends[1] / US, theirs=0.005) < SIGMAS).all()
    assert deviations(half / US, ends[0] / US, 1.05 * ends[1] / US).max() > SIGMAS


# devices per synapse: mean conductance of a device, spread of the mean over devices (uS)
SYNAPSES = {1: (7.236, 2.443), 4: (7.240, 1.219), 8: (7.247, 0.863), 16: (7.231, 0.610)}


def mean_device(n, key, synapses=50_000, std_fraction=0.0):
    spec = presets.pcm_nandakumar_2018(20 * US)
    spec = spec.with_({"pulses.accumulation.device_std_fraction": std_fraction})
    state = synapse.fresh(synapses, n, spec, key)
    for event in range(8 * n):
        state = synapse.potentiate(state, spec, float(event), key)
    assert state.counter == 0
    return np.mean([d.g.astype(float) for d in state.devices], axis=0) / US


def test_synapses_average(key):
    """8 pulses per device: the mean stays, the spread falls as 1/sqrt(N); constant 2.44."""
    theirs = 0.01  # three decimals of a Monte Carlo of unstated size
    for n, (mean, sd) in SYNAPSES.items():
        g = mean_device(n, key.child(n))
        assert (deviations(g, mean, sd, theirs=theirs) < SIGMAS).all(), n
        assert abs(g.std() * math.sqrt(n) / 2.44 - 1) < 0.02
        assert deviations(g, mean, 1.05 * sd, theirs=0.0).max() > SIGMAS


def test_synapses_average_device_spread_too(key):
    """Devices of a synapse differ from each other: their own factors average out as well."""
    single, many = (mean_device(n, key.child(n), std_fraction=0.3).std() for n in (1, 16))
    assert single > 1.05 * 2.44
    assert abs(many * 4 / single - 1) < 0.02


def test_validation_script_runs(tmp_path, run_script):
    """Small samples, same rows, all within their (wider) tolerances; table and figure written."""
    script = Path(__file__).resolve().parents[2] / "validation" / "nandakumar_2018.py"
    code, text = run_script(script, "--quick", "--folder", tmp_path)
    assert code == 0, text
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"rows.csv", "stamp.json", "table.md", "pulses.png"}


def test_slow_read_noise_goes_on_from_read_to_read(key):
    """Band "split": two reads a second apart share the slow part; a pulse starts a new process.

    n = 100,000; the variance is the law's to 5 standard errors, the covariance of two reads the
    closed form of the process to the same, and zero across a pulse.
    """
    n, t = 100_000, 1000.0
    spec = presets.pcm_nandakumar_2018()
    spec = spec.with_({"read_noise.band": "split", "drift": None})
    state = pulses.fresh(n, spec, key)
    state = pulses.apply(state, spec, Pulse.ACCUMULATE, 0.0, key, repeats=10)
    q = np.array([naive.curve(x, spec.read_noise.amplitude) for x in state.g[:1] / 12e-6])
    same = pulses.PulseState(np.full(n, state.g[0]), state.pulses, state.events, state.last_seconds)

    def noise(devices, at, number=0):
        return (pulses.read(devices, spec, at, key, number) / devices.g[0] - 1.0) / q[0]

    first, second, third = noise(same, t), noise(same, t + 1.0), noise(same, t, 1)
    slow, fresh = draws.noise_bands(spec.read_noise, t)
    for sample in (first, second, third):
        assert abs(sample.var() / (slow + fresh) - 1) < 5 * math.sqrt(2 / n)
    weights, rates = draws.slow_components(spec.read_noise, t)
    bound = 5 * (slow + fresh) * math.sqrt(2 / n)
    assert abs((first * third).mean() - slow) < bound
    assert abs((first * second).mean() - covariance(1.0, weights, rates)) < bound
    assert abs((first * second).mean() - 0.9 * covariance(1.0, weights, rates)) > bound
    pulsed = pulses.PulseState(same.g, same.pulses, same.events + np.uint32(1), same.last_seconds)
    assert abs((first * noise(pulsed, t, 2)).mean()) < bound


def test_one_device_at_a_time_equals_the_run(key):
    """The process device by device is the process of the SIMD loop."""
    from aimc_sim.device import draws

    value = numba.njit(lambda *a: flicker.value(*a))
    law = presets.pcm_hermes_one_device().read_noise
    weights, rates = draws.slow_components(law, 1234.5)
    k0, k1 = key.words()
    run = traces(np.array([1234.5]), 16, weights, rates, k0, k1)[0]
    length = draws.noise_bands(law, 1234.5)[0]
    one = [value(np.uint32(d), 0, 1234.5, 1e-3, length, k0, k1) for d in range(16)]
    np.testing.assert_allclose(one, run, rtol=1e-5, atol=1e-5)
