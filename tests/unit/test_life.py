"""The life of a programmed chip: closed loops end to end, refresh, faults, temperature, files."""

import math

import numpy as np
import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.core import programming, tile
from aimc_sim.device import pcm
from aimc_sim.rng import Key
from aimc_sim.spec import TemperatureLaw

DAY = 86400.0


def chip_of(spec, name="asymmetric_300x40"):
    model, shape = small_nets()[name]
    images = torch.randn(32, *shape, generator=torch.Generator().manual_seed(3))
    return aimc_sim.Chip.from_model(model, spec).calibrate(images), model, images


def relative_error(chip, model, images):
    with torch.inference_mode():
        exact = model(images)
    return float((chip(images) - exact).norm() / exact.norm())


@pytest.mark.parametrize(
    "preset", ["hermes-odp-verify", "hermes-tdp-verify", "hermes-tdp-gradient"]
)
def test_closed_loops_run_networks(preset, tmp_path):
    """About as good as the fitted law; the report tells time and energy; files keep it."""
    chip, model, images = chip_of(presets.by_name(preset))
    chip.program(0)
    error = relative_error(chip, model, images)
    law, _, _ = chip_of(presets.hermes(preset.split("-")[1]))
    assert 0.3 < error / relative_error(law.program(0), model, images) < 1.4
    report = chip.report()
    assert report.programming["tuned"] == 300 * 40 + 40 * 3
    assert report.programming["seconds"] > 0 < report.programming["joules"]
    assert "iterations each" in str(report)
    chip.save(tmp_path / "chip.h5")
    again = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert again.report().programming == report.programming
    assert torch.equal(again.at("1 d")(images), chip.at("1 d")(images))


def test_ideal_loops_are_exact():
    """A loop on a noiseless device with a fine read and margin: the weights themselves."""
    spec = presets.hermes("odp", programming="program-and-verify").with_(
        {
            "core.pcm.drift": None, "core.pcm.read_noise": None,
            "core.pcm.reset.mean_siemens": 1e-9, "core.pcm.pulses.low_siemens": 0.0,
            "core.pcm.pulses.curve.cycle_std_decades": 0.0,
            "core.pcm.pulses.set.device_std": 0.0, "core.pcm.pulses.set.core_std": 0.0,
            "core.pcm.programming.verify.count_siemens": 1e-11,
            "core.pcm.programming.step_amperes_per_count": 1e-10,
            "core.pcm.programming.max_iterations": 1000,
        }
    )  # fmt: skip
    weight = np.random.default_rng(0).uniform(-1, 1, (20, 20))
    state = programming.program(weight, spec.core, Key(0))
    now = tile.at(state, spec.core, 0.0, Key(0))
    found = now.net * spec.core.pcm.g_max_siemens / state.siemens_per_weight
    np.testing.assert_allclose(found, weight, atol=5e-4)  # the smallest: steps of 1e-10 A
    assert np.abs(found - weight)[np.abs(weight) > 0.01].max() < 1e-5


def test_refresh_starts_drift_again():
    chip, model, images = chip_of(presets.hermes("odp").with_({"core.pcm.read_noise": None}))
    chip.program(0)
    fresh = np.stack([chip.conductances(c).sum() for c in chip.state.tiles])
    old = chip.at("30 d")
    drifted = np.stack([chip.conductances(c).sum() for c in chip.state.tiles])
    assert (drifted < 0.75 * fresh).all()
    before = relative_error(old, model, images)
    chip.refresh()
    again = np.stack([chip.conductances(c).sum() for c in chip.state.tiles])
    np.testing.assert_allclose(again, fresh, rtol=0.03)
    assert relative_error(chip, model, images) < 0.5 * before
    # a second day after the refresh equals a day after programming, in law
    chip.at(30 * DAY + DAY)
    day = np.stack([chip.conductances(c).sum() for c in chip.state.tiles])
    first, _, _ = chip_of(chip.spec)
    first.program(0).at("1 d")
    reference = np.stack([first.conductances(c).sum() for c in first.state.tiles])
    np.testing.assert_allclose(day, reference, rtol=0.03)
    assert "1 d after programming (refreshed at 30 d)" in str(chip.report())


def test_refresh_draws_new_errors_and_forgets_the_past(tmp_path):
    chip, _, images = chip_of(presets.hermes("tdp"))
    chip.program(0)
    first = chip.conductances(0)
    chip.at("1 h").compensate("gdc").refresh()
    second = chip.conductances(0)
    # programming errors of two programmings are independent: spread of the difference is larger
    assert not np.array_equal(first, second)
    outputs = chip(images)
    with pytest.raises(ValueError, match=r"before the last programming at 3600 s"):
        chip.at("1 min")
    assert chip.time_seconds == 3600.0  # the clock was left alone
    chip.save(tmp_path / "refreshed.h5")
    again = aimc_sim.Chip.load(tmp_path / "refreshed.h5")
    again.images_seen = 0
    assert torch.equal(again(images), outputs)
    assert (again.state.cycle, again.state.programmed_at_seconds) == (1, 3600.0)
    assert np.array_equal(chip.program(0).conductances(0), first)


def test_refresh_needs_a_programmed_chip():
    chip, _, _ = chip_of(presets.hermes())
    with pytest.raises(aimc_sim.NotProgrammedError, match=r"call chip\.program"):
        chip.refresh()


HOT = TemperatureLaw(
    kelvin=350.0, activation_reset_ev=0.25, activation_set_ev=0.0, relaxation_ev=0.1,
    source="test",
)  # fmt: skip


def one_level(spec, x):
    target = np.full((1, 8, 8), x * spec.g_max_siemens, np.float32)
    quiet = spec.with_(programming=None)
    state = pcm.program(target, np.ones(target.shape, bool), quiet, (256, 65536), Key(0))
    return lambda other, t: pcm.evaluate(state, other, t, (256, 65536), Key(0)).g.astype(float)


@pytest.mark.parametrize("x", [0.02, 0.5, 1.0])
def test_temperature_follows_arrhenius(x):
    """G(T) / G(T0) = exp(-(Ea(x) / k) (1/T - 1/T0)); the drift clock runs exp(E (..)) faster."""
    cold = presets.pcm_25_microsiemens().with_({"read_noise": None})
    look = one_level(cold, x)
    hot = cold.with_(temperature=HOT)
    beta = (1 / 350 - 1 / 300) / 8.617333262e-5
    conduction = math.exp(-0.25 * (1 - x) * beta)
    np.testing.assert_allclose(look(hot, 0.0) / look(cold, 0.0), conduction, rtol=2e-6)
    stretched = DAY * math.exp(-0.1 * beta)
    np.testing.assert_allclose(look(hot, DAY) / look(cold, stretched), conduction, rtol=5e-6)
    assert stretched > 1.5 * DAY
    same = cold.with_(temperature=HOT.with_(kelvin=300.0))
    np.testing.assert_array_equal(look(same, DAY), look(cold, DAY))


@pytest.mark.filterwarnings("ignore:layer")
def test_heat_shows_in_a_network():
    """Low conductances gain most from heat, RESET devices too: products lose contrast."""
    cold, model, images = chip_of(presets.hermes())
    hot, _, _ = chip_of(presets.hermes().with_({"core.pcm.temperature": HOT}))
    errors = [relative_error(chip.program(0), model, images) for chip in (cold, hot)]
    assert errors[1] > 2 * errors[0]
    before, after = cold.conductances(0), hot.conductances(0)
    assert 1.0 < np.mean((after / np.maximum(before, 1e-9))[before > 10e-6]) < 2.5
    reset = (before > 0.15e-6) & (before < 0.25e-6)
    assert 3.0 < np.median(after[reset] / before[reset]) < 4.2
