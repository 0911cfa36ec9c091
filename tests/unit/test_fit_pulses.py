"""Pulse laws: the truth of generated trains within five standard errors, and its form."""

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.analysis.fit import fit
from aimc_sim.analysis.fit_pulses import ACCUMULATION, CONSTANT, EXPONENTIAL, SOFT, fit_pulses
from aimc_sim.device import steps
from aimc_sim.device.measured import MeasuredData, read, replay, write
from aimc_sim.spec import LinearStep

US = 1e-6


def trains(mean, key, devices=40, pulses=40, start=2 * US, spread=0.05 * US, noise=0.05 * US,
           slope=0.0):  # fmt: skip
    """Up-trains of devices whose step is mean(G, p) + (slope G + spread) xi, read with noise."""
    rng = key.generator()
    g = np.full(devices, start)
    reads = [g]
    for p in range(1, pulses + 1):
        step = mean(g, p) + (spread + slope * g) * rng.standard_normal(devices)
        g = g + step
        reads.append(g)
    read = np.array(reads).T + noise * rng.standard_normal((devices, pulses + 1))
    device, number = np.indices(read.shape).reshape(2, -1)
    return MeasuredData.of(
        device=device, cycle=np.zeros(device.size, int), time_seconds=np.zeros(device.size),
        pulse_number=number, pulse_direction=np.where(number > 0, 1, 0),
        conductance_siemens=read.ravel(),
    )  # fmt: skip


FORMS = {
    CONSTANT: lambda g, p: np.full_like(g, 0.3 * US),
    SOFT: lambda g, p: 1.0 * US - 0.08 * g,
    EXPONENTIAL: lambda g, p: 1.5 * US * np.exp(-g / (4 * US)),
    ACCUMULATION: lambda g, p: 0.4 * US - 0.01 * g + 1.5 * US * np.exp(-p / 3),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_the_form_of_the_step_is_found(form, key):
    law = fit_pulses(trains(FORMS[form], key)).law("step up")
    assert law.identified
    values = {e.quantity: e for e in law.estimates if np.isnan(e.level)}
    assert values[f"criterion above the best: {form}"].value < 4  # within chance of the best
    truth = {
        SOFT: {"m1": -0.08, "c1": 1e-6}, EXPONENTIAL: {"A": 1.5e-6, "k": 0.25e6},
        CONSTANT: {"c1": 0.3e-6}, ACCUMULATION: {},
    }[form]  # fmt: skip
    if any(q in values for q in truth) and set(truth) <= set(values):
        for name, value in truth.items():
            # A smooth curve stands for the state: up to 3 % besides the standard error.
            bound = 5 * values[name].standard_error + 0.03 * abs(value)
            assert values[name].value == pytest.approx(value, abs=bound)
            assert values[name].standard_error < 0.1 * abs(value)


def test_the_noise_of_reads_is_no_spread_of_the_step(key):
    """Steps spread by 0.05 uS, reads by 0.1 uS: 1,600 steps; the raw spread would be 0.15 uS."""
    law = fit_pulses(trains(FORMS[SOFT], key, noise=0.1 * US)).law("step up")
    values = {e.quantity: e.value for e in law.estimates if np.isnan(e.level)}
    assert values["read noise"] == pytest.approx(0.1 * US, rel=0.1)
    spreads = [e for e in law.estimates if e.quantity == "spread of the step"]
    assert np.sqrt(np.mean([e.value**2 for e in spreads])) == pytest.approx(0.05 * US, rel=0.4)


def test_a_law_becomes_a_specification(key):
    report = fit_pulses(trains(FORMS[SOFT], key, slope=0.02, noise=0.0))
    law = report.to_accumulation(amperes=90e-6, seconds=50e-9)
    assert law.mean_slope == pytest.approx(-0.08, rel=0.05)
    assert law.mean_offset_siemens == pytest.approx(1e-6, rel=0.05)
    middle = law.std_slope * 8 * US + law.std_offset_siemens
    assert middle == pytest.approx(0.02 * 8 * US + 0.05 * US, rel=0.15)
    bound = next(e for e in report.law("step up").estimates if e.quantity.startswith("bound"))
    assert bound.value == pytest.approx(12.5 * US, rel=0.05)
    assert not report.law("step down").identified


def test_few_devices_are_said(key):
    report = fit_pulses(trains(FORMS[SOFT], key, devices=2))
    assert report.law("step up").reason.startswith("2 device(s): the numbers are of these")
    with pytest.raises(ValueError, match="no law from these records: step up: 2 device"):
        report.to_accumulation(1e-4, 1e-7)
    assert report.to_accumulation(1e-4, 1e-7, of_few=True).mean_slope < 0
    assert len(report.table()) == sum(len(law.estimates) for law in report.laws)


def test_records_and_reads_are_told_apart(key, tmp_path):
    data = trains(FORMS[SOFT], key, devices=6, pulses=20)
    write(tmp_path / "p.h5", data)
    assert read(tmp_path / "p.h5").pulse_number is not None
    with pytest.raises(ValueError, match="these are pulse records"):
        fit(data)
    with pytest.raises(ValueError, match="nothing to replay: these are pulse records"):
        replay.library(data)
    plain = MeasuredData.of(device=[0], cycle=[0], time_seconds=[0.0], conductance_siemens=[1e-6])
    with pytest.raises(ValueError, match="no pulse records"):
        fit_pulses(plain)


def staircase(spec, key, devices=30, pulses=150):
    """Trains of pulses up, then down, on stepped devices of a specification."""
    state, reads = steps.fresh(devices, spec, key), []
    steps.put(state, np.full(devices, -0.7, np.float32), np.ones(devices, bool), 0.0)
    ways = [0] + [1] * pulses + [-1] * pulses
    for way in ways:
        if way:
            steps.pulse(state, np.arange(devices), np.full(devices, way, np.int32), 0.0)
        unit = (spec.g_max_siemens - spec.low_siemens) / (spec.upper - spec.lower)
        reads.append(spec.low_siemens + unit * (state.p.astype(float) - spec.lower))
    device, number = np.indices((devices, len(ways))).reshape(2, -1)
    return MeasuredData.of(
        device=device, cycle=np.zeros(device.size, int), time_seconds=np.zeros(device.size),
        pulse_number=number, pulse_direction=np.tile(ways, devices),
        conductance_siemens=np.array(reads).T.ravel(),
    )  # fmt: skip


def test_a_staircase_becomes_a_device_that_learns(key):
    """9,000 steps of 0.01 with noise 0.003: the step within 3 %, its fall within 0.05."""
    truth = presets.ecram().with_(
        variation=None, lower=-1.0, upper=1.0, step=0.01, up_down=0.2,
        shape=LinearStep(decrease_up=0.3, decrease_down=0.5),
    )  # fmt: skip
    report = fit_pulses(staircase(truth, key))
    found = report.to_steps(5e-9, 1.0, truth.low_siemens, truth.g_max_siemens)
    assert found.scales == pytest.approx(truth.scales, rel=0.03)
    assert found.shape.decrease_up == pytest.approx(0.3, abs=0.05)
    assert found.shape.decrease_down == pytest.approx(0.5, abs=0.05)
    assert found.cycle.offset == pytest.approx(0.3 * 0.009, rel=0.15)
    again = fit_pulses(staircase(found, key)).to_steps(5e-9, 1.0, truth.low_siemens,
                                                       truth.g_max_siemens)  # fmt: skip
    assert again.scales == pytest.approx(truth.scales, rel=0.05)


def test_the_range_is_that_of_the_records(key):
    """The ends are those of the reads less noise, not the means of groups of steps: 2 %."""
    truth = presets.ecram().with_(variation=None, lower=-1.0, upper=1.0, step=0.01)
    data = staircase(truth, key)
    found = fit_pulses(data).to_steps(5e-9, 1.0)
    reads = data.columns()["conductance_siemens"]
    span = reads.max() - reads.min()
    assert found.low_siemens == pytest.approx(reads.min(), abs=0.02 * span)
    assert found.g_max_siemens == pytest.approx(reads.max(), abs=0.02 * span)


def test_records_that_are_no_step_law(key):
    up_only = fit_pulses(trains(FORMS[SOFT], key))
    with pytest.raises(ValueError, match="no step law from these records: step down"):
        up_only.to_steps(5e-9, 1.0)
    first = fit_pulses(trains(FORMS[ACCUMULATION], key))
    with pytest.raises(ValueError, match=r"depends on the number of pulses.*to_accumulation"):
        first.to_steps(5e-9, 1.0)
