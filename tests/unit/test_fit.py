"""Fits find the truth of generated devices within five standard errors, and notice 5 % of error.

Pooled checks: 2,000 devices x 8 levels x 12 times. The mean of estimate / truth over levels,
weighted by the standard errors, has an error of 0.6 % (programming spread), 0.4 % (mean of nu),
0.8 % (spread of nu) and 0.25 % (Q_s): five of them stay below the 5 % of the companions.
"""

import re

import numpy as np
import pandas as pd
import pytest
from naive import curve, sigma_programming
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis import fit_curves, fit_traces
from aimc_sim.analysis.fit import fit
from aimc_sim.device import pcm
from aimc_sim.device.measured import MeasuredData, synthetic
from aimc_sim.device.measured.traces import traces
from aimc_sim.rng import Key

SPEC = presets.pcm_25_microsiemens()
LEVELS = tuple(25e-6 * x for x in (0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0))
TIMES = np.geomspace(20.0, 1e6, 12)


def report(spec=SPEC, devices=2000, levels=LEVELS, times=TIMES, seed=1, **changes):
    data = synthetic.generate(spec, levels, times, devices, Key(seed))
    return fit(MeasuredData.of(**data.columns() | changes) if changes else data)


@pytest.fixture(scope="module")
def found():
    return report()


LAWS = {
    "sigma": ("programming", lambda x: sigma_programming(x, SPEC)),
    "nu mean": ("drift", lambda x: curve(x, SPEC.drift.exponent_mean)),
    "nu spread": ("drift", lambda x: curve(x, SPEC.drift.exponent_std)),
    "Q_s": ("read noise", lambda x: curve(x, SPEC.read_noise.amplitude)),
}


def off(found, quantity):
    """Mean of estimate / truth over the levels less 1, and its standard error."""
    law, truth = LAWS[quantity]
    rows = [e for e in found.law(law).estimates if e.quantity == quantity]
    assert len(rows) == len(LEVELS)
    true = np.array([truth(e.level / 25e-6) for e in rows])
    ratio = np.array([e.value for e in rows]) / true
    error = np.array([e.standard_error for e in rows]) / true
    weight = 1 / error**2
    return (weight * ratio).sum() / weight.sum() - 1, weight.sum() ** -0.5


@pytest.mark.parametrize(
    ("quantity", "largest_error"),
    [("sigma", 0.009), ("nu mean", 0.009), ("nu spread", 0.009), ("Q_s", 0.005)],
)
def test_the_truth_is_found(found, quantity, largest_error):
    value, error = off(found, quantity)
    assert error < largest_error
    assert abs(value) < 5 * error


@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("sigma", {"programming.scale": 1.05}),
        ("nu mean", {"drift.scale": 1.05}),
        ("nu spread", {"drift.scale": 1.05}),
        ("Q_s", {"read_noise.scale": 1.05}),
    ],
)
def test_five_percent_are_noticed(quantity, change):
    value, error = off(report(SPEC.with_(change)), quantity)
    assert abs(value) > 5 * error
    assert value == pytest.approx(0.05, abs=5 * error)


def test_standard_errors_are_those_of_repetition():
    """40 repetitions: the spread of (estimate - truth) / error is 1 to within 5 / sqrt(80)."""
    pulls = {quantity: [] for quantity in LAWS}
    for seed in range(40):
        one = report(devices=60, levels=LEVELS[2:5], seed=100 + seed)
        for quantity, (law, truth) in LAWS.items():
            rows = [e for e in one.law(law).estimates if e.quantity == quantity]
            pulls[quantity] += [(e.value - truth(e.level / 25e-6)) / e.standard_error for e in rows]
    for quantity, values in pulls.items():
        assert np.std(values) == pytest.approx(1, abs=5 / np.sqrt(2 * len(values))), quantity


def test_the_bias_is_found(found):
    """Reads 3 % high: the bias at 25 uS is 0.75 uS, seen at 0.024 uS of error."""
    for e in found.law("programming").estimates:
        if e.quantity == "bias":
            assert abs(e.value) < 5 * e.standard_error
    data = synthetic.generate(SPEC, LEVELS, TIMES, 2000, Key(1)).columns()
    high = fit(
        MeasuredData.of(**data | {"conductance_siemens": 1.03 * data["conductance_siemens"]})
    )
    e = high.value("programming", "bias", 25e-6)
    assert e.value == pytest.approx(0.03 * 25e-6, abs=5 * e.standard_error)
    assert e.value > 5 * e.standard_error


def test_the_polynomial_is_that_of_the_law(found):
    truth = dict(zip(("c0", "c1", "c2"), (0.26348e-6, 1.9650e-6, -1.1731e-6), strict=True))
    for name, value in truth.items():
        e = found.value("programming", name)
        assert e.value == pytest.approx(value, abs=5 * e.standard_error)
        assert e.standard_error < 0.1 * abs(truth["c1"])


def test_a_fitted_device_is_a_device(found, key):
    """Devices under the fitted specification have the laws of the original to a few percent."""
    spec = found.to_pcm_spec()
    assert spec.t0_seconds == 20.0
    assert spec.g_max_siemens == 25e-6
    assert spec.read_noise.t_read_seconds == 250e-9
    for x in np.linspace(0.1, 1, 10):
        # Widest where the published curve has its knee, between two of the levels.
        assert sigma_programming(x, spec) == pytest.approx(sigma_programming(x, SPEC), rel=0.05)
        for ours, true, within in (
            (spec.drift.exponent_mean, SPEC.drift.exponent_mean, 0.05),
            (spec.drift.exponent_std, SPEC.drift.exponent_std, 0.12),
            (spec.read_noise.amplitude, SPEC.read_noise.amplitude, 0.03),
        ):
            assert curve(x, ours) == pytest.approx(curve(x, true), rel=within)
    assert "taken as perfect" in spec.reset.source
    chip = presets.generic_pcm().with_({"core.pcm": spec})
    target = np.full((1, 64, 64), 12.5e-6, np.float32)
    state = pcm.program(target, target > 0, chip.core.pcm, (64, 4096), key)
    assert state.g.std() == pytest.approx(0.9527e-6, rel=0.08)
    assert aimc_sim.Chip.from_model(nn.Linear(8, 4), chip).program(0).report()


def test_reset_devices_are_measured_at_target_zero(key):
    data = synthetic.generate(SPEC, LEVELS, TIMES, 50, key).columns()
    rng = key.generator()
    zero = {
        "device": np.arange(200), "cycle": np.zeros(200, int), "target_siemens": np.zeros(200),
        "time_seconds": np.full(200, 20.0), "read_seconds": data.pop("read_seconds"),
        "conductance_siemens": rng.normal(0.1e-6, 0.01e-6, 200),
    }  # fmt: skip
    joined = {k: np.concatenate([data[k], zero[k]]) for k in data}
    one = fit(MeasuredData.of(**joined, read_seconds=zero["read_seconds"]))
    assert one.reset.mean_siemens == pytest.approx(0.1e-6, abs=5 * 0.01e-6 / np.sqrt(200))
    assert one.reset.std_siemens == pytest.approx(0.01e-6, rel=5 / np.sqrt(400))
    assert one.to_pcm_spec().reset == one.reset
    assert all(e.level > 0 for e in one.law("programming").estimates if e.quantity == "sigma")


def test_noise_amplitude_without_the_duration_of_a_read():
    """From the growth of the noise: harder, so 5,000 devices at one level; 0.0390 at x = 0.1."""
    one = report(devices=5000, levels=LEVELS[:2], read_seconds=None)
    for level in LEVELS[:2]:
        e = one.value("read noise", "Q_s", level)
        truth = curve(level / 25e-6, SPEC.read_noise.amplitude)
        assert e.value == pytest.approx(truth, abs=5 * e.standard_error)
        assert e.standard_error < 0.1 * truth
    few = report(devices=40, levels=LEVELS, read_seconds=None)
    assert not few.law("read noise").identified
    assert "needs read_seconds" in few.law("read noise").reason
    assert any(e.quantity == "relative noise" for e in few.law("read noise").estimates)
    with pytest.raises(ValueError, match="read noise is not identified"):
        few.to_pcm_spec()


# -------------------------------------------------------------------- variance, pulses


def cycles(key, devices=12, repeats=60, between=0.1, within=0.06, levels=8):
    """Single reads after pulses: log10 R = 5 + level / 10 + device + cycle."""
    rng = key.generator()
    level, device, cycle = np.indices((levels, devices, repeats)).reshape(3, -1)
    log_r = 5 + level / 10 + rng.normal(0, between, (levels, devices))[level, device]
    log_r += rng.normal(0, within, level.size)
    return MeasuredData.of(
        device=device, cycle=cycle, pulse_volts=1 + level / 10, time_seconds=np.zeros(level.size),
        conductance_siemens=10**-log_r,
    )  # fmt: skip


def test_variance_is_split_between_devices_and_cycles(key):
    """12 devices x 8 independent levels: standard error of the share 0.03 (88 degrees)."""
    split = {e.quantity: e for e in fit(cycles(key)).law("variance split").estimates}
    share = split["share between devices"]
    true = 0.1**2 / (0.1**2 + 0.06**2)
    assert abs(share.value - true) < 5 * 0.03
    assert share.standard_error < 0.06
    cycle = split["sd between cycles"].value
    assert cycle == pytest.approx(0.06, rel=5 / np.sqrt(2 * 12 * 59 * 8))
    assert cycle != pytest.approx(0.06 * 1.05, rel=5 / np.sqrt(2 * 12 * 59 * 8))


def test_no_devices_no_share(key):
    """Cycles only, 3 each: the plain variance of the means would give a share of 25 %."""
    data = cycles(key, devices=30, repeats=3, between=0.0, levels=30)
    assert fit(data).value("variance split", "share between devices").value < 0.05


def test_the_programming_curve_is_found(key):
    rows = fit(cycles(key, between=0.0)).law("programming curve").estimates
    assert [round(e.level, 6) for e in rows] == [round(1 + i / 10, 6) for i in range(8)]
    for i, e in enumerate(rows):
        assert e.value == pytest.approx(5 + i / 10, abs=5 * 1.2533 * 0.06 / np.sqrt(720))
        assert e.standard_error == pytest.approx(1.2533 * 0.06 / np.sqrt(720), rel=0.7)
    again = fit(cycles(key, between=0.0)).law("programming curve").estimates
    assert rows == again  # resampling is addressed


def test_devices_make_the_error_of_the_curve(key):
    """Spread between 12 devices: the error is that of 12 values, not of 720."""
    rows = fit(cycles(key, between=0.1)).law("programming curve").estimates
    assert np.mean([e.standard_error for e in rows]) > 0.02


# ------------------------------------------------------------------- what is not there


def single_reads(devices=200, levels=LEVELS, key=Key(5)):  # noqa: B008 (keys are frozen)
    return synthetic.generate(SPEC, levels, [20.0], devices, key)


@pytest.mark.parametrize(
    ("make", "law", "reason"),
    [
        (single_reads, "drift", r"1 read\(s\) per trace; needs at least 3 at different times"),
        (single_reads, "read noise", r"1 read\(s\) per trace; needs at least 3"),
        (lambda: synthetic.generate(SPEC, LEVELS, [20, 30, 60], 20, Key(0)), "drift",
         "times from 20 to 60 s; needs at least a factor of 10"),
        (lambda: synthetic.generate(SPEC, LEVELS[:2], TIMES, 20, Key(0)), "programming",
         r"2 level\(s\) with 10 or more traces; needs at least 3 target levels"),
        (single_reads, "programming curve", "no pulses; needs the amplitude"),
        (single_reads, "variance split", "no repeats; needs 2 or more cycles"),
        (lambda: cycles(Key(0)), "programming",
         "no targets; needs the conductance that was asked for"),
        (lambda: cycles(Key(0)), "drift", "no reads after time 0"),
        (lambda: cycles(Key(0), devices=2), "variance split", r"2 device\(s\) with repeats; needs"),
        (lambda: cycles(Key(0), levels=1), "programming curve",
         "one pulse amplitude; needs at least 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_identified_says_what_it_needs(make, law, reason):
    found = fit(make()).law(law)
    assert not found.identified
    assert re.match(reason, found.reason), found.reason


def test_single_reads_still_give_the_programming_error():
    one = fit(single_reads(devices=2000))
    assert "holds read noise too" in " ".join(one.law("programming").notes)
    e = one.value("programming", "sigma", 25e-6)
    noisy = np.hypot(1.05538e-6, 25e-6 * 0.0088 * 4.1838)  # programming and read noise at 20 s
    assert e.value == pytest.approx(noisy, abs=5 * e.standard_error)
    with pytest.raises(ValueError, match="no device from these data: drift is not identified"):
        one.to_pcm_spec()


def test_too_little_data_are_refused():
    with pytest.raises(ValueError, match=r"9 trace.* too little to fit; needs at least 10 traces"):
        fit(synthetic.generate(SPEC, LEVELS[:1], TIMES, 9, Key(0)))
    with pytest.raises(
        ValueError, match="drift: needs a level with at least 10 traces of 3 or more"
    ):
        fit(synthetic.generate(SPEC, LEVELS, TIMES, 9, Key(0)))
    lone = MeasuredData.of(
        device=np.arange(12), cycle=np.zeros(12, int), time_seconds=np.zeros(12),
        conductance_siemens=np.full(12, 1e-6),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"determine no law\. programming: no targets.*drift: no"):
        fit(lone)


def test_traces_with_a_read_of_zero_are_left_out_and_counted():
    data = synthetic.generate(SPEC, LEVELS, TIMES, 30, Key(0)).columns()
    g = data["conductance_siemens"].copy()
    g[5] = 0.0
    one = fit(MeasuredData.of(**data | {"conductance_siemens": g}))
    assert "1 trace(s) with a read of zero left out" in one.law("drift").notes
    assert one.value("drift", "nu mean", LEVELS[0]).n == 29


def test_the_table_has_every_estimate(found):
    table = found.table()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == sum(len(law.estimates) for law in found.laws)
    assert (table["standard_error"] >= 0).all()
    with pytest.raises(KeyError, match="no law named 'x'; there are: programming, drift"):
        found.law("x")
    with pytest.raises(KeyError, match="has no estimate 'y'"):
        found.value("drift", "y")


# ------------------------------------------------------------------------------ curves


def test_residuals_know_what_the_regression_took(rng):
    """Expected squares of residuals, against the hat matrix written out; ragged traces."""
    times = [np.sort(rng.uniform(1, 1e4, n)) for n in (3, 5, 9)]
    sizes = [len(t) for t in times]
    data = MeasuredData.of(
        device=np.repeat([0, 1, 2], sizes), cycle=np.zeros(17, int),
        time_seconds=np.concatenate(times), conductance_siemens=rng.uniform(1e-6, 2e-6, 17),
    )  # fmt: skip
    found = fit_traces.regress(traces(data))
    for i, t in enumerate(times):
        x = np.log(t / found.t0_seconds)
        design = np.stack([np.ones_like(x), x], axis=1)
        left = np.eye(len(t)) - design @ np.linalg.inv(design.T @ design) @ design.T
        y = np.log(data.conductance_siemens[data.device == i])
        here = found.residual.row == i
        np.testing.assert_allclose(found.residual.square[here], (left @ y) ** 2, atol=1e-12)
        np.testing.assert_allclose(found.residual.band[here], (left**2).sum(axis=1), atol=1e-9)
        np.testing.assert_allclose(found.residual.grown[here], left**2 @ x, atol=1e-9)
        slope, intercept = np.polyfit(x, y, 1)
        assert found.slope[i] == pytest.approx(slope)
        assert found.intercept[i] == pytest.approx(intercept)


def test_linear_fit_is_exact_on_exact_data():
    x = np.linspace(0.1, 1, 6)
    one = fit_curves.polynomial(x, 1 + 2 * x - 3 * x**2, np.full(6, 0.1), 2)
    np.testing.assert_allclose(one.values, [1, 2, -3], rtol=1e-10)
    assert one.chi2 < 1e-18
    assert one.freedom == 3


def test_a_clipped_logarithm_finds_its_knee():
    x = np.geomspace(0.02, 1, 12)
    truth = np.maximum(-0.0155 * np.log(x) + 0.0244, 0.049)
    shape, _ = fit_curves.clipped_log(x, truth, np.full(12, 1e-4))
    assert shape.a == pytest.approx(-0.0155, rel=1e-6)
    assert shape.low == pytest.approx(0.049, rel=1e-6)
    flat, _ = fit_curves.clipped_log(x, np.full(12, 0.05), np.full(12, 1e-3))
    assert (flat.a, flat.low, flat.high) == (0.0, pytest.approx(0.05), pytest.approx(0.05))
    up, _ = fit_curves.clipped_log(x, 0.1 + 0.01 * np.log(x), np.full(12, 1e-4))
    assert up.a == pytest.approx(0.01, rel=1e-6)
    power, _ = fit_curves.power(x, 0.0088 * x**-0.65, np.full(12, 1e-3))
    assert (power.a, power.b) == (pytest.approx(0.0088), pytest.approx(-0.65))


def test_many_devices_are_split_in_time(key):
    """400 devices: groups of them are left out in turn, with the same error as one by one."""
    split = {
        e.quantity: e for e in fit(cycles(key, 400, 3, levels=2)).law("variance split").estimates
    }
    share = split["share between devices"]
    assert share.value == pytest.approx(0.7353, abs=5 * share.standard_error)
    assert share.standard_error == pytest.approx(0.011, rel=0.5)  # 798 and 1600 degrees of freedom
