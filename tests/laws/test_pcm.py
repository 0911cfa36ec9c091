"""The device laws against the published tables, per level and time, with teeth.

Reference numbers: evaluated from the published formulae (25 uS model: Nandakumar ICECS 2019 /
Joshi 2020; chip: AIHWKit HERMES fits), independently of this code. Sampling: n = 200,000
elements per level; means are held to 5/sqrt(n) = 1.1 % of a standard deviation, spreads to
0.8 %, and every check is shown to reject a law that is 5 % off.
"""

import math

import naive
import numpy as np
import pytest
from checks import assert_independent, assert_law, assert_mean, assert_std
from scipy import stats

from aimc_sim import presets
from aimc_sim.device import draws, pcm

US = 1e-6
SHAPE = (1, 200, 1000)
ADDRESS = (1000, 200_000)
HOUR, DAY, YEAR = 3600.0, 86400.0, 31_536_000.0

# 25 uS model: G_T: sigma_prog (uS), mu_nu, sigma_nu, Q_s
GENERIC = {
    0.5: (0.30231, 0.08504, 0.04300, 0.111896),
    2.5: (0.44825, 0.06009, 0.02288, 0.039308),
    5.0: (0.60956, 0.04935, 0.01422, 0.025050),
    12.5: (0.95271, 0.04900, 0.00800, 0.013809),
    20.0: (1.08470, 0.04900, 0.00800, 0.010174),
    25.0: (1.05538, 0.04900, 0.00800, 0.008800),
}
# G_T, t: G_d at nu = mu_nu, mean, spread from sigma_nu, read noise (uS)
GENERIC_TIME = {
    (0.5, 1.0): (0.49793, 0.49793, 0.00104, 0.23343),
    (0.5, DAY): (0.24537, 0.26179, 0.09737, 0.13966),
    (5.0, 1.0): (4.98798, 4.98798, 0.00346, 0.52350),
    (5.0, HOUR): (3.86867, 3.87925, 0.28712, 0.46176),
    (5.0, DAY): (3.30801, 3.33153, 0.39793, 0.42153),
    (5.0, YEAR): (2.47248, 2.52390, 0.51742, 0.34913),
    (12.5, HOUR): (9.68911, 9.69749, 0.40347, 0.63749),
    (12.5, YEAR): (6.21182, 6.25244, 0.71616, 0.48352),
    (25.0, 1.0): (24.94030, 24.94031, 0.00973, 0.91952),
    (25.0, HOUR): (19.37821, 19.39498, 0.80695, 0.81253),
    (25.0, DAY): (16.58809, 16.62533, 1.11465, 0.74255),
    (25.0, YEAR): (12.42364, 12.50487, 1.43231, 0.61628),
}
# chip: x: sigma_prog (uS), mu_nu, sigma_nu, Q_s, relative read noise at 1 s, 1 h, 1 d, 1 y
CHIP_ONE = {
    0.1: (0.3693, 0.07190, 0.02533, 0.02176, (0.0951, 0.1021, 0.1092, 0.1213)),
    0.5: (0.8653, 0.05640, 0.01207, 0.02170, (0.0948, 0.1019, 0.1089, 0.1209)),
    1.0: (1.0076, 0.01740, 0.00550, 0.01680, (0.0734, 0.0789, 0.0843, 0.0936)),
}
CHIP_TWO = {
    0.1: (0.5577, 0.07190, 0.02124, 0.02004, (0.0885, 0.0941, 0.1005, 0.1117)),
    0.5: (0.9910, 0.05640, 0.00900, 0.01671, (0.0738, 0.0785, 0.0838, 0.0931)),
    1.0: (1.0927, 0.01740, 0.00480, 0.01230, (0.0543, 0.0578, 0.0617, 0.0686)),
}

ROWS = [(presets.pcm_25_microsiemens(), g, row) for g, row in GENERIC.items()]
ROWS += [(presets.pcm_hermes_one_device(), 10.35 * x, row) for x, row in CHIP_ONE.items()]
ROWS += [(presets.pcm_hermes_two_devices(), 20.7 * x, row) for x, row in CHIP_TWO.items()]


def sample(spec, g_us, key, **changes):
    """Program n elements to one level."""
    target = np.full(SHAPE, g_us * US, np.float32)
    target = np.minimum(target, np.float32(spec.g_max_siemens))
    spec = spec.with_(changes)
    return spec, pcm.program(target, np.ones(SHAPE, bool), spec, ADDRESS, key)


@pytest.mark.parametrize(("spec", "g", "row"), ROWS)
def test_formulae_match_the_tables(spec, g, row):
    x = g * US / spec.g_max_siemens
    found = (
        naive.sigma_programming(x, spec) / US,
        naive.curve(x, spec.drift.exponent_mean),
        naive.curve(x, spec.drift.exponent_std),
        naive.curve(x, spec.read_noise.amplitude),
    )
    # half a digit of the printed tables
    np.testing.assert_allclose(found, row[:4], rtol=2e-4, atol=6e-6)


def test_knees_and_caps():
    spec = presets.pcm_25_microsiemens()
    mean, std, q = spec.drift.exponent_mean, spec.drift.exponent_std, spec.read_noise.amplitude
    assert naive.curve(0.20453, mean) == 0.049 < naive.curve(0.2045, mean)
    assert naive.curve(0.0076166, mean) == pytest.approx(0.1, abs=1e-6)
    assert naive.curve(0.32891, std) == 0.008 < naive.curve(0.3288, std)
    assert naive.curve(0.017043, std) == pytest.approx(0.045, abs=1e-6)
    assert naive.curve(0.008184, q) == 0.2 > naive.curve(0.0083, q)


# At levels where neither the clip at zero nor the fold of nu moves a moment noticeably.
CLEAN = [r for r in ROWS if r[1] * US / r[0].g_max_siemens >= 0.2]


@pytest.mark.parametrize(("spec", "g", "row"), CLEAN)
def test_programming_and_exponents(spec, g, row, key):
    spec, state = sample(spec, g, key)
    aim, sigma = g * US, naive.sigma_programming(g * US / spec.g_max_siemens, spec)
    assert_mean(state.g, aim)
    assert_std(state.g, sigma)
    assert_law((state.g - aim) / sigma, stats.norm.cdf)
    assert_mean(state.nu, row[1], row[2])
    assert_std(state.nu, naive.curve(g * US / spec.g_max_siemens, spec.drift.exponent_std))
    assert_independent(state.g, state.nu)


@pytest.mark.parametrize(("spec", "g", "row"), CLEAN)
def test_five_percent_is_noticed(spec, g, row, key):
    """The same checks reject a programming error, exponent mean or exponent spread off by 5 %."""
    x = g * US / spec.g_max_siemens
    _, state = sample(spec, g, key, **{"programming.scale": 1.05})
    with pytest.raises(AssertionError):
        assert_std(state.g, naive.sigma_programming(x, spec))
    _, state = sample(spec, g, key, **{"drift.scale": 1.05})
    with pytest.raises(AssertionError):
        assert_mean(state.nu, row[1], row[2])
    with pytest.raises(AssertionError):
        assert_std(state.nu, naive.curve(x, spec.drift.exponent_std))


def test_folded_and_clipped_at_low_conductance(key):
    """Where clip and fold matter, the exact laws of the folded and the clipped normal hold."""
    spec, state = sample(presets.pcm_25_microsiemens(), 0.5, key)
    _, mu, sd, _ = GENERIC[0.5]
    x = 0.5 / 25
    mu, sd = naive.curve(x, spec.drift.exponent_mean), naive.curve(x, spec.drift.exponent_std)
    assert_law(state.nu, stats.foldnorm(mu / sd, scale=sd).cdf)
    assert_mean(state.nu, stats.foldnorm(mu / sd, scale=sd).mean())
    assert 0.0856 < stats.foldnorm(mu / sd, scale=sd).mean() < 0.0860  # published: 0.08581
    sigma = naive.sigma_programming(x, spec)
    share = (state.g == 0).mean()
    expected = stats.norm.cdf(-0.5 * US / sigma)
    assert abs(share - expected) < 5 * math.sqrt(expected / state.g.size)


def rectified_normal(mean, sd):
    """Mean and spread of max(0, N(mean, sd))."""
    z = mean / sd
    first = mean * stats.norm.cdf(z) + sd * stats.norm.pdf(z)
    second = (mean**2 + sd**2) * stats.norm.cdf(z) + mean * sd * stats.norm.pdf(z)
    return first, math.sqrt(second - first**2)


LOW = [r for r in ROWS if r[1] * US / r[0].g_max_siemens < 0.2]


@pytest.mark.parametrize(("spec", "g", "row"), LOW)
def test_programming_of_low_targets(spec, g, row, key):
    """Below 0.2 g_max the clip at zero counts: moments of the rectified normal, and teeth."""
    _, state = sample(spec, g, key)
    mean, sd = rectified_normal(g, row[0])
    assert_mean(state.g / US, mean)
    assert_std(state.g / US, sd)
    _, state = sample(spec, g, key, **{"programming.scale": 1.05})
    with pytest.raises(AssertionError):
        assert_std(state.g / US, sd)


def test_zero_target_trap(key):
    """Programmed to zero by the law: half are 0, mean 0.10511, spread 0.15382 uS. In RESET: not."""
    spec = presets.pcm_25_microsiemens()
    zero = np.zeros(SHAPE, np.float32)
    state = pcm.program(zero, np.ones(SHAPE, bool), spec, ADDRESS, key)
    assert abs((state.g == 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(state.g.size)
    assert_mean(state.g / US, 0.10511)
    assert_std(state.g / US, 0.15382)
    level = np.full(SHAPE, pcm.reset_level(spec), np.float32)
    reset = pcm.program(level, np.zeros(SHAPE, bool), spec, ADDRESS, key)
    assert_mean(reset.g / US, 0.1)
    assert_std(reset.g / US, 0.01)


def noiseless(spec):
    return spec.with_({"programming": None, "read_noise": None})


@pytest.mark.parametrize(("g", "t"), [k for k in GENERIC_TIME if k[0] >= 5])
def test_drift_over_time(g, t, key):
    """Mean and spread of G(t); closed form exp(-mu L + (sigma L)^2 / 2) of the log-normal."""
    _, mean, sd, _ = GENERIC_TIME[g, t]
    spec, state = sample(noiseless(presets.pcm_25_microsiemens()), g, key)
    now = pcm.evaluate(state, spec, t, ADDRESS, key).g / US
    # tables print five digits: their rounding is allowed for beside the sampling error
    assert abs(now.mean() - mean) < 5 * sd / math.sqrt(now.size) + 2e-5
    assert abs(now.std() / sd - 1) < 5 / math.sqrt(2 * now.size) + 2e-3 + (5e-6 / sd)
    median, length = np.median(now), math.log((t + 20) / 20)
    exact = g * math.exp(-naive.curve(g / 25, spec.drift.exponent_mean) * length)
    assert abs(median - exact) < 6.3 * sd / math.sqrt(now.size) + 1e-6
    off, state = sample(noiseless(presets.pcm_25_microsiemens()), g, key, **{"drift.scale": 1.05})
    wrong = pcm.evaluate(state, off, t, ADDRESS, key).g / US
    assert abs(wrong.mean() - mean) > 5 * sd / math.sqrt(now.size) + 2e-5


def wider(curve, factor):
    """A curve whose values are all larger by a factor."""
    return curve.with_(
        a=curve.a * factor, b=curve.b * factor, low=curve.low * factor, high=curve.high * factor,
        polynomial=tuple(c * factor for c in curve.polynomial),
    )  # fmt: skip


@pytest.mark.parametrize("t", [1.0, HOUR, DAY, YEAR])
@pytest.mark.parametrize("x", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    "spec",
    [
        presets.pcm_hermes_one_device(),
        presets.pcm_hermes_two_devices(),
        presets.pcm_25_microsiemens(),
    ],
    ids=["one device", "two devices", "25 uS"],
)
def test_drift_closed_form(spec, x, t, key):
    """Both models: G(t) is log-normal, mean G exp(-mu L + s^2 / 2) and its spread, s = sigma L.

    n = 200,000; mean to 5 standard errors, spread to 0.8 %. A sigma_nu that is 5 % too large is
    rejected by the spread, a mu_nu that is 5 % too large by the mean.
    """
    g = x * spec.g_max_siemens / US
    length = math.log((t + spec.t0_seconds) / spec.t0_seconds)
    mu = naive.curve(x, spec.drift.exponent_mean)
    s = naive.curve(x, spec.drift.exponent_std) * length
    mean = g * math.exp(-mu * length + s**2 / 2)
    sd = mean * math.sqrt(math.expm1(s**2))

    def found(law):
        law, state = sample(noiseless(law), g, key)
        return pcm.evaluate(state, law, t, ADDRESS, key).g / US

    def mean_fits(now):
        return abs(now.mean() - mean) < 5 * sd / math.sqrt(now.size) + 2e-7 * g

    def spread_fits(now):
        return abs(now.std() / sd - 1) < 5 / math.sqrt(2 * now.size) + 2e-7 * g / sd

    now = found(spec).astype(float)
    assert mean_fits(now)
    if t > 1:  # at 1 s the spread is a few 1e-5 of g: single precision
        assert spread_fits(now)
        std = wider(spec.drift.exponent_std, 1.05)
        assert not spread_fits(found(spec.with_({"drift.exponent_std": std})).astype(float))
        law = spec.with_({"drift.exponent_mean": wider(spec.drift.exponent_mean, 1.05)})
        assert not mean_fits(found(law).astype(float))


def total_read_noise(spec, g, t, key):
    """Return frozen noise per element and the fresh noise that adds to it, in siemens."""
    bare, state = sample(spec.with_({"programming": None, "drift.scale": 0.0}), g, key)
    now = pcm.evaluate(state, bare, t, ADDRESS, key)
    frozen = now.g.astype(float) - state.target
    rest = 0.0 if now.fresh is None else float(now.fresh.flat[0])
    assert now.fresh is None or np.ptp(now.fresh) == 0
    return frozen, rest


@pytest.mark.parametrize("band", ["split", "frozen", "per_mvm"])
@pytest.mark.parametrize(
    ("spec", "g", "t", "relative"),
    [
        (presets.pcm_25_microsiemens(), g, t, row[3] / row[0])
        for (g, t), row in GENERIC_TIME.items()
        if g >= 5
    ]
    + [
        (spec, x * gm, t, rel)
        for spec, gm, table in (
            (presets.pcm_hermes_one_device(), 10.35, CHIP_ONE),
            (presets.pcm_hermes_two_devices(), 20.7, CHIP_TWO),
        )
        for x, row in table.items()
        for t, rel in zip((1.0, HOUR, DAY, YEAR), row[4], strict=True)
        if (x, t) in {(0.1, 1.0), (0.5, DAY), (1.0, YEAR)}
    ],
)
def test_read_noise_variance(spec, g, t, relative, band, key):
    """Frozen plus fresh variance is the published one, however the band is split."""
    spec = spec.with_({"read_noise.band": band})
    frozen, rest = total_read_noise(spec, g, t, key)
    found = math.sqrt(frozen.var() + rest**2) / (g * US)
    # printed with four digits; sampling error only on the frozen part
    bound = 5 / math.sqrt(2 * frozen.size) + 5e-5 / relative
    assert abs(found / relative - 1) < bound
    if band != "per_mvm":
        assert_mean(frozen, 0.0)
        assert_law(frozen[:, :50] / frozen.std(), stats.norm.cdf)
    off = spec.with_({"read_noise.scale": 1.05})
    frozen, rest = total_read_noise(off, g, t, key)
    assert abs(math.sqrt(frozen.var() + rest**2) / (g * US) / relative - 1) > bound


def test_band_edges():
    law = presets.pcm_25_microsiemens().read_noise
    total = math.log((20 + DAY + 250e-9) / 500e-9)
    frozen, fresh = draws.noise_bands(law, 20 + DAY)
    assert frozen + fresh == pytest.approx(total)
    assert fresh == pytest.approx(math.log(law.inference_seconds / 500e-9))
    longer = law.with_(inference_seconds=1e10)
    assert draws.noise_bands(longer, 20 + DAY) == pytest.approx((0.0, total))
    shorter = law.with_(inference_seconds=1e-9)
    assert draws.noise_bands(shorter, 20 + DAY) == pytest.approx((total, 0.0))


def test_noise_belongs_to_the_target_state(key):
    """Q_s is taken at the target: two elements of one target and different hits share it."""
    spec, state = sample(presets.pcm_25_microsiemens(), 5.0, key)
    now = pcm.evaluate(state, spec, 0.0, ADDRESS, key)
    ratio = now.fresh / state.g
    assert np.ptp(ratio[state.g > 1e-7]) < 1e-6 * ratio.max()


def test_time_is_a_pure_function(key):
    spec, state = sample(presets.pcm_hermes_two_devices(), 8.0, key)
    first = pcm.evaluate(state, spec, DAY, ADDRESS, key).g
    hour = pcm.evaluate(state, spec, HOUR, ADDRESS, key).g
    again = pcm.evaluate(state, spec, DAY, ADDRESS, key).g
    np.testing.assert_array_equal(first, again)
    zero = pcm.evaluate(state, noiseless(spec), 0.0, ADDRESS, key).g
    np.testing.assert_array_equal(zero, state.g)  # at t = 0 the drift factor is exactly 1
    assert not np.array_equal(first, hour)


def test_seeds_and_cores_are_independent(key):
    _, one = sample(presets.pcm_25_microsiemens(), 12.5, key)
    _, two = sample(presets.pcm_25_microsiemens(), 12.5, key.child(1))
    assert_independent(one.g, two.g)
    assert_independent(one.g[0, :-1], one.g[0, 1:])
    assert_independent(one.g[0, :, :-1], one.g[0, :, 1:])


def test_a_part_has_the_draws_of_the_whole(key):
    """A device's history depends on its address only, not on what else is programmed."""
    spec = presets.pcm_25_microsiemens()
    target = np.full((4, 16, 16), 5 * US, np.float32)
    whole = pcm.program(target, np.ones(target.shape, bool), spec, (256, 65536), key)
    part = pcm.program(target[:, :7, :5], np.ones((4, 7, 5), bool), spec, (256, 65536), key)
    np.testing.assert_array_equal(part.g, whole.g[:, :7, :5])


def test_targets_out_of_range_are_refused(key):
    spec = presets.pcm_25_microsiemens()
    for bad in (26 * US, -1 * US, math.nan):
        with pytest.raises(ValueError, match="outside the characterised range"):
            pcm.program(np.full((1, 1, 1), bad), np.ones((1, 1, 1), bool), spec, ADDRESS, key)


def test_the_programming_error_ends_at_the_measured_states(key):
    """Below and above the states sigma stays what it is at their end; 65,536 elements each."""
    law = presets.pcm_25_microsiemens()
    ended = law.with_({"programming.states": (0.4, 0.7)})
    for x, inside in ((0.2, 0.4), (0.55, 0.55), (1.0, 0.7)):
        target = np.full(SHAPE, x * 25 * US, np.float32)
        g = pcm.program(target, np.ones(SHAPE, bool), ended, ADDRESS, key).g.astype(float)
        sigma = naive.sigma_programming(inside, law)
        assert_std(g, sigma)
        assert naive.sigma_programming(x, ended) == sigma


@pytest.mark.parametrize(
    ("polynomial", "states", "where"),
    [
        ((-1.5e-6, 5e-6, -3e-6, 0.0), None, "-1.5e-06 S at x = 0"),
        ((1e-6, -5e-6, 5e-6, 0.0), None, "-2.5e-07 S at x = 0.5"),
        ((1e-6, 0.0, 0.0, -2e-6), None, "-1e-06 S at x = 1"),
        ((-1.5e-6, 5e-6, -3e-6, 0.0), (0.2, 1.0), "-6.2e-07 S at x = 0.2"),
    ],
)
def test_a_negative_spread_is_refused(polynomial, states, where):
    spec = presets.pcm_25_microsiemens()
    changes = {"programming.polynomial_siemens": polynomial, "programming.states": states}
    with pytest.raises(ValueError, match=f"sigma is {where}; no standard deviation is negative"):
        spec.with_(changes)
    spec.with_(changes | {"programming.states": (0.4, 0.42)} if polynomial[0] < 0 else {})
