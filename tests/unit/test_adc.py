"""The ADC as a circuit: closed forms, ideal limit, calibration, what it must notice."""

import checks
import numpy as np
import pytest

from aimc_sim.core import adc, converters, inputs
from aimc_sim.rng import Key
from aimc_sim.spec import DacSpec
from aimc_sim.spec.cco import CcoAdcSpec

WINDOW = 128e-9
FULL = 100e-6
PERFECT = {
    "nonlinearity_per_ampere": 0.0, "gain_std_fraction": 0.0, "mirror_std_fraction": 0.0,
    "nonlinearity_std_fraction": 0.0, "offset_std_amperes": 0.0, "trim_std_fraction": 0.0,
    "jitter_counts": 0.0,
}  # fmt: skip


KEY = Key(5)


def circuit(spec, columns=4, key=KEY, calibrated=True):
    """Return (state, settings, curve) of some ADCs."""
    state = adc.draw(spec, columns, key)
    if calibrated:
        settings = adc.calibrate(state, spec, WINDOW, key.child(1).generator())
    else:
        settings = adc.uncalibrated(spec, columns)
    return state, settings, adc.curve(state, settings, spec)


# --------------------------------------------------------------------------- closed forms


def test_counts_of_the_mean_adc():
    """966 counts at 100 uA in 128 ns, because 10.35 uS at 0.2 V make 80 in 512 ns."""
    spec = CcoAdcSpec().with_(PERFECT)
    *_, curve = circuit(spec, calibrated=False)
    full = adc.convert(np.full((1, 4), FULL), curve, spec, WINDOW)
    assert full[0, 0].tolist() == [966] * 4
    assert not full[0, 1].any()
    verify = adc.convert(np.full((1, 4), -10.35e-6 * 0.2), curve, spec, 512e-9)
    assert verify[0, 1].tolist() == [80] * 4
    assert not verify[0, 0].any()


def test_oscillator_formula():
    """A i / (1 + B i) + C; 3.5 GHz become 3.3 GHz at full scale."""
    plain = {k: v for k, v in PERFECT.items() if k != "nonlinearity_per_ampere"}
    spec = CcoAdcSpec().with_(plain, offset_hertz=1e7)
    *_, curve = circuit(spec, 1, calibrated=False)
    i = np.array([0.0, 5e-6, FULL])
    hertz = adc.frequency(i[:, None, None], curve, spec)[:, 0, 0]
    assert hertz == pytest.approx(35e12 * i / (1 + 606 * i) + 1e7)
    assert hertz[-1] == pytest.approx(3.3e9 + 1e7, rel=1e-3)
    capped = spec.with_(max_hertz=3e9)
    assert adc.frequency(np.full((2, 1), FULL), curve, capped).max() == 3e9


def test_saturation_and_overflow():
    spec = CcoAdcSpec().with_(PERFECT)
    *_, curve = circuit(spec, 1, calibrated=False)

    def count(amperes, seconds, s=spec):
        return int(adc.convert(np.array([[amperes]]), curve, s, seconds)[0, 0, 0])

    assert count(5 * FULL, WINDOW) == count(FULL, WINDOW) == 966
    # 1 us at full scale: 7,548 counts in a counter of 12 bits.
    assert count(FULL, 1e-6, spec.with_(counter_bits=None)) == 7548
    assert count(FULL, 1e-6) == 7548 - 4096
    assert count(FULL, 1e-6, spec.with_(overflow="saturate")) == 4095


def test_ideal_limit_is_the_plain_adc(rng):
    """No curvature, no spread: the symmetric n-bit quantiser, code for code."""
    spec = CcoAdcSpec().with_(PERFECT)
    spec = spec.with_(edges_per_period=1023 / (35e12 * FULL * WINDOW))
    *_, curve = circuit(spec, 50, calibrated=False)
    plain = converters.integer_range(11, FULL)
    i = rng.uniform(-1.3 * FULL, 1.3 * FULL, (200, 50))
    counts = adc.convert(i, curve, spec, WINDOW)
    np.testing.assert_array_equal(counts[:, 0] - counts[:, 1], plain.codes(i))


def test_slices_integrate_the_frequency():
    """Two slices of different current: the curvature acts on each, not on their mean."""
    quiet = {k: 0.0 for k in PERFECT if k != "nonlinearity_per_ampere"}
    spec = CcoAdcSpec().with_(quiet, edges_per_period=1000.0, counter_bits=None)
    *_, curve = circuit(spec, 1, calibrated=False)
    i = np.array([90e-6, 10e-6])
    counts = adc.convert_slices(i[None, :, None], curve, spec, WINDOW / 2)[0, 0, 0]
    expected = 1000 * WINDOW / 2 * (35e12 * i / (1 + 606 * i)).sum()
    assert counts == np.rint(expected)
    mean = adc.convert(np.array([[50e-6]]), curve, spec, WINDOW)[0, 0, 0]
    # By hand, with f'' = -2 A B / (1 + B i)^3 at the mean: A B (40 uA)^2 T, to 10 %.
    curvature = 1000 * WINDOW * 35e12 * 606 * (40e-6) ** 2 / (1 + 606 * 50e-6) ** 3
    assert mean - counts == pytest.approx(curvature, rel=0.1)


def test_schmitt_trigger_steers_the_counter():
    """Clear currents go where they belong; in the dead zone the trigger keeps its state."""
    spec = CcoAdcSpec().with_(PERFECT, wrong_sign_amperes=2e-6)
    *_, curve = circuit(spec, 1, calibrated=False)

    def counts(*amperes):
        i = np.array(amperes)[None, :, None]
        return adc.convert_slices(i, curve, spec, WINDOW)[0, :, 0].tolist()

    assert counts(5e-6) == [48, 0]
    assert counts(-5e-6) == [0, 48]
    assert counts(-1e-6) == [10, 0]  # wrong
    assert counts(-5e-6, 1e-6) == [0, 58]  # wrong: the 10 belong to the other one
    assert counts(-5e-6, 3e-6) == [29, 48]


# --------------------------------------------------------------------------- fabrication


def test_spread_before_trim():
    spec = CcoAdcSpec()
    *_, curve = circuit(spec, 20_000, calibrated=False)
    ln = np.log(curve.gain / spec.gain_hertz_per_ampere)
    checks.assert_std(ln[0], np.hypot(0.2, 0.15))
    checks.assert_std(ln[0] - ln[1], 0.15 * np.sqrt(2))  # the oscillator is shared
    checks.assert_std(curve.offset[1] / 35e12, 0.5e-6)
    *_, apart = circuit(spec.with_(shared_oscillator=False), 20_000, calibrated=False)
    checks.assert_independent(*np.log(apart.gain))
    with pytest.raises(AssertionError):  # teeth: a spread 5 % too large
        checks.assert_std(1.05 * ln[0], np.hypot(0.2, 0.15))


def test_part_of_the_columns_has_the_same_adcs(key):
    spec = CcoAdcSpec()
    few, many = adc.draw(spec, 10, key), adc.draw(spec, 256, key)
    for name in ("gain", "nonlinearity", "mirror", "offset", "trim_error"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[..., :10])
    assert not np.array_equal(few.gain, adc.draw(spec, 10, key.child(1)).gain)


# --------------------------------------------------------------------------- calibration


@pytest.fixture(scope="module")
def calibrated():
    """Return the ADCs of 16 cores, as one."""
    spec = CcoAdcSpec()
    return spec, *circuit(spec, 16 * 256, Key(11))


def test_trim_leaves_the_published_spread(calibrated):
    """Sigma 7.09 %, all within +-21 % (and what the measurement of the gain was off by)."""
    spec, _, _, curve = calibrated
    off = curve.gain / spec.gain_hertz_per_ampere - 1
    checks.assert_std(off, 0.0709)
    assert np.abs(off).max() < 0.215
    with pytest.raises(AssertionError):  # teeth: 8,192 gains notice a spread of 7.6 %
        checks.assert_std(off * 0.076 / 0.0709, 0.0709)


def test_inl_and_dnl_within_one_lsb_after_and_not_before(calibrated):
    spec, state, settings, _ = calibrated
    part = adc.AdcState(*(getattr(state, n)[..., :256] for n in adc.AdcState.__annotations__))
    few = adc.AdcCalibration(*(getattr(settings, n)[:, :256] for n in settings.__annotations__))
    inl, dnl = adc.linearity(adc.curve(part, few, spec), spec, WINDOW)
    assert np.nanmax(np.abs(inl)) < 1
    assert np.nanmax(np.abs(dnl)) < 1
    before, _ = adc.linearity(adc.curve(part, adc.uncalibrated(spec, 256), spec), spec, WINDOW)
    assert np.nanmin(np.nanmax(np.abs(before), axis=-1)) > 2  # every single ADC


def test_linearity_is_that_of_a_ramp():
    """Transitions from the formula equal those of a fine ramp of currents."""
    spec = CcoAdcSpec(edges_per_period=0.1)  # 45 codes
    *_, curve = circuit(spec, 3)
    ramp = np.linspace(0, FULL, 400_001)
    counts = adc.convert(np.repeat(ramp[:, None], 3, axis=1), curve, spec, WINDOW)[:, 0]
    inl, dnl = adc.linearity(curve, spec, WINDOW)
    for c in range(3):
        seen = ramp[1:][np.diff(counts[:, c]) > 0]
        lsb = (seen[-1] - seen[0]) / (len(seen) - 1)
        at = (seen - seen[0]) / lsb - np.arange(len(seen))
        has = np.isfinite(inl[0, c])
        # Two neighbours on the ramp are 1e-4 LSB apart.
        np.testing.assert_allclose(inl[0, c][has], at, atol=5e-4)
        step = dnl[0, c][np.isfinite(dnl[0, c])]
        np.testing.assert_allclose(step, np.diff(seen) / lsb - 1, atol=1e-3)


def test_corrected_currents_are_right(calibrated, rng):
    """After the digital correction a current is found to within rounding and 1 LSB of INL."""
    spec, _, settings, curve = calibrated
    i = rng.uniform(-FULL, FULL, (20, 4096))
    lsb = FULL / 966
    error = adc.corrected(adc.convert(i, curve, spec, WINDOW), settings, WINDOW) - i
    assert np.abs(error).max() < 2 * lsb
    assert error.std() < 0.5 * lsb
    wrong = CcoAdcSpec()  # teeth: a gain off by 2 % is far outside
    off = adc.AdcCurve(1.02 * curve.gain, curve.bend, curve.offset)
    error = adc.corrected(adc.convert(i, off, wrong, WINDOW), settings, WINDOW) - i
    assert np.abs(error).max() > 10 * lsb
    assert error.std() > 5 * lsb


def test_offset_is_independent_of_the_window(calibrated):
    """Calibrated at 128 ns, read for 512 ns: the digital offset scales with the window."""
    spec, _, settings, curve = calibrated
    i = np.full((1, 4096), 20e-6)
    error = adc.corrected(adc.convert(i, curve, spec, 512e-9), settings, 512e-9) - i
    assert np.abs(error).max() < 1.5 * FULL / 966  # bend left over, at a fifth of full scale


def test_calibration_finds_what_it_does_not_know():
    """Without jitter, with fine counters and knobs: A, B and C are solved exactly."""
    spec = CcoAdcSpec(
        jitter_counts=0.0, edges_per_period=1e6, counter_bits=None, calibration_reads=1,
        trim_std_fraction=0.0, trim_step_fraction=0.01, trim_bits=8, feed_forward_bits=12,
        feed_forward_step_per_ampere=0.5, offset_bits=12, offset_step_amperes=2e-9,
        trim_accept_fraction=0.9,
    )  # fmt: skip
    _, settings, curve = circuit(spec, 200)
    assert np.abs(curve.bend).max() < 0.3
    assert np.abs(curve.gain / 35e12 - 1).max() < 0.006
    assert np.abs(curve.offset / 35e12).max() < 1.1e-9
    i = np.linspace(-FULL, FULL, 41)[:, None] * np.ones(200)
    found = adc.corrected(adc.convert(i, curve, spec, WINDOW), settings, WINDOW)
    assert np.abs(found - i).max() < 2e-5 * FULL


def test_uncalibrated_spec_leaves_the_knobs_alone():
    spec = CcoAdcSpec(calibrated=False)
    _, settings, _ = circuit(spec, 3)
    plain = adc.uncalibrated(spec, 3)
    for name in settings.__annotations__:
        np.testing.assert_array_equal(getattr(settings, name), getattr(plain, name))


# --------------------------------------------------------------------------- whole reads


@pytest.fixture
def read(rng):
    """Return codes (N, R) and conductances of both polarities: a busy core within the limit."""
    codes = np.clip(np.rint(rng.normal(0, 30, (24, 256))), -127, 127).astype(int)
    weight = np.clip(rng.normal(0, 0.25, (256, 64)), -1, 1) * 10e-6
    return codes, np.maximum(weight, 0) + 1e-7, np.maximum(-weight, 0) + 1e-7


def test_mean_current_form_against_slices(read):
    """1-phase: what using the mean current of the window costs, after and before calibration.

    The signed current is small where its mean is, so the curvature has little to act on.
    """
    codes, positive, negative = read
    spec, dac = CcoAdcSpec(jitter_counts=0.0), DacSpec()
    worst = {}
    for calibrated in (True, False):
        _, settings, curve = circuit(spec, 64, Key(2), calibrated)
        net = positive - negative
        sliced = inputs.sliced_amperes(codes, net, 0.2, dac)
        exact = adc.convert_slices(sliced, curve, spec, dac.lsb_seconds)
        fast = adc.convert(inputs.mean_amperes(codes, net, 0.2, dac), curve, spec, WINDOW)
        a, b = (adc.corrected(counts, settings, WINDOW) for counts in (exact, fast))
        worst[calibrated] = np.abs(a - b).std() * 966 / FULL
    assert worst[True] < 0.6  # LSB: two roundings differ
    assert worst[False] > 2 * worst[True]


def test_four_phases_round_four_times(read):
    """Exact slices, phase by phase; offsets cancel; the error is that of four roundings."""
    codes, positive, negative = read
    spec, dac = CcoAdcSpec(jitter_counts=0.0), DacSpec()
    _, settings, curve = circuit(spec, 64, Key(2))
    four = inputs.phases(codes, positive, negative)
    counts = tuple(
        adc.convert_slices(
            inputs.sliced_amperes(x, g, 0.2, dac), curve, spec, dac.lsb_seconds
        ) for _, x, g in four
    )  # fmt: skip
    found = adc.combined(counts, tuple(s for s, *_ in four), settings, WINDOW)
    wanted = inputs.mean_amperes(codes, positive - negative, 0.2, dac)
    lsb = settings.amperes_per_rate[0] / WINDOW
    error = (found - wanted) / lsb
    rounding = np.sqrt(4 / 12)
    assert rounding * 0.95 < error.std() < rounding * 1.25  # the rest is what the bend left
    assert abs(error.mean()) < 0.1


def test_parts_of_a_read_equal_the_whole(read):
    """Vectors and columns do not know of each other, nor of the number of threads."""
    codes, positive, negative = read
    dac, spec = DacSpec(), CcoAdcSpec()
    _, _, curve = circuit(spec, 64, Key(2))
    i = inputs.sliced_amperes(codes, positive - negative, 0.2, dac)
    whole = adc.convert_slices(i, curve, spec, dac.lsb_seconds)
    part = adc.AdcCurve(*(getattr(curve, n)[:, 20:30] for n in curve.__annotations__))
    some = adc.convert_slices(i[3:7, :, 20:30], part, spec, dac.lsb_seconds)
    np.testing.assert_array_equal(whole[3:7, :, 20:30], some)


@pytest.mark.parametrize("calibrated", [True, False])
def test_columns_form_equals_the_circuit(read, calibrated):
    """The arrays for a whole network: the same codes as convert, in float32."""
    codes, positive, negative = read
    spec, dac, g_max = CcoAdcSpec(wrong_sign_amperes=3e-7), DacSpec(), 20.7e-6
    _, settings, curve = circuit(spec, 64, Key(2), calibrated)
    unit = g_max * 0.2 * dac.lsb_seconds / WINDOW
    arrays = adc.columns(curve, settings, spec, WINDOW, unit)
    z = codes @ ((positive - negative) / g_max)
    z = np.concatenate([z, 40 * z, 0 * z])  # far beyond full scale too
    found, value = arrays.codes(z)
    counts = adc.convert(z * unit, curve, spec, WINDOW)
    expected = counts[:, 0] - counts[:, 1]
    assert (found != expected).mean() < 1e-3  # ties in float32
    assert np.abs(found - expected).max() <= 1
    same = found == expected
    amperes = adc.corrected(counts, settings, WINDOW)
    np.testing.assert_allclose(value[same] * unit, amperes[same], rtol=1e-4, atol=1e-10)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("counter_bits", 0, "greater than or equal to 1"),
        ("trim_bits", 0, "greater than or equal to 1"),
        ("full_scale_amperes", -1e-6, "greater than 0"),
        ("edges_per_period", 0.0, "greater than 0"),
        ("nonlinearity_per_ampere", -1.0, "greater than or equal to 0"),
        ("calibration_fractions", (0.5, 0.1, 1.0), "must rise, above 0 and up to 1"),
        ("calibration_fractions", (0.1, 0.5, 1.1), "must rise, above 0 and up to 1"),
        ("wrong_sign_amperes", 2e-4, "must be below full_scale_amperes"),
    ],
)
def test_bad_specs(field, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        CcoAdcSpec().with_({field: value})
