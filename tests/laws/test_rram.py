"""Resistive memory: published numbers of its laws, draws that follow them, a network on it."""

import numpy as np
import pytest
import torch
from checks import assert_independent, assert_mean, assert_std

import aimc_sim
from aimc_sim import presets
from aimc_sim.device import families, family, moments
from aimc_sim.rng import Key
from aimc_sim.spec import READ_NOISE
from aimc_sim.studies import attribute
from aimc_sim.training.law import weight_law

ADDRESS, SHAPE = (256, 65536), (2, 150, 200)
LAWS, SPEC, US = families.Rram(), presets.rram_cmo_hfox(), 1e-6
DAY, YEAR = 86400.0, 3.15e7


def at(spec, siemens, t, key=None, cycle=0):
    key = key or Key(5)
    target = np.full(SHAPE, siemens, np.float32)
    state = LAWS.program(target, np.ones(SHAPE, bool), spec, ADDRESS, key, cycle)
    return LAWS.at(state, spec, t, ADDRESS, family.cycle_key(key, cycle))


def test_the_error_is_that_of_the_abstract():
    """ "Low programming noise (down to 10 nS)": the lowest level at the tight acceptance."""
    law = SPEC.programming
    lowest = law.slope * SPEC.low_siemens + law.offset_siemens
    assert lowest == pytest.approx(10e-9, rel=0.1)
    loose = presets.rram_cmo_hfox(2.0).programming
    assert loose.slope * SPEC.low_siemens + loose.offset_siemens > 100e-9
    with pytest.raises(ValueError, match=r"acceptance_percent = 1.*0\.2 and 2"):
        presets.rram_cmo_hfox(1.0)


@pytest.mark.parametrize("siemens", [20 * US, 50 * US, 80 * US])
@pytest.mark.parametrize("acceptance", [0.2, 2.0])
def test_programming_error(siemens, acceptance):
    """n = 60,000: 5 standard errors of a standard deviation are 1.5 %; 2 % more is noticed."""
    spec = presets.rram_cmo_hfox(acceptance).with_(relaxation=None, read_noise=None)
    errors = at(spec, siemens, DAY).g.astype(float) - siemens
    wanted = spec.programming.slope * siemens + spec.programming.offset_siemens
    assert_mean(errors, 0.0)
    assert_std(errors, wanted)
    with pytest.raises(AssertionError):
        assert_std(errors, 1.02 * wanted)


@pytest.mark.parametrize(("t", "shift", "std"), [(0.0, 0.0, 0.41183), (DAY, -1.01160, 0.88934),
                                                 (YEAR, -1.53662, 1.13716)])  # fmt: skip
def test_relaxation(t, shift, std):
    """Published fit: mean -0.0890 ln t uS, standard deviation 0.0420 ln t + 0.4118 uS, t in s."""
    change = at(SPEC.with_(programming=None, read_noise=None), 50 * US, t).g.astype(float) / US - 50
    assert_mean(change, shift)
    assert_std(change, std)
    with pytest.raises(AssertionError):
        assert_mean(change, shift - 0.05 * std)


def test_a_device_keeps_its_place_and_every_programming_draws_anew():
    quiet = SPEC.with_(programming=None, read_noise=None)
    early, late = (at(quiet, 50 * US, t).g for t in (0.0, YEAR))
    assert np.corrcoef(early.ravel(), late.ravel())[0, 1] > 0.9999
    np.testing.assert_array_equal(at(quiet, 50 * US, 0.0).g, early)
    assert_independent(early, at(quiet, 50 * US, 0.0, cycle=1).g)


@pytest.mark.parametrize("band", ["split", "frozen", "per_mvm"])
def test_read_noise(band):
    """Slow and fresh variances add up to K^2 log10(G)^2 ln((t + t_read) / (2 t_read))."""
    law = SPEC.read_noise.with_(band=band)
    now = at(SPEC.with_(programming=None, relaxation=None, read_noise=law), 50 * US, DAY)
    factor = np.log((DAY + 1 + 1e-6) / 2e-6)
    wanted = 0.0277316483 * np.log10(50) * np.sqrt(factor)
    fresh = 0.0 if now.fresh is None else float(now.fresh.mean()) / US
    slow = now.g.astype(float) / US
    total = np.hypot(slow.std(), fresh)
    assert total == pytest.approx(wanted, rel=0.015)
    assert (now.fresh is None) == (band == "frozen")
    assert (slow.std() < 1e-5) == (band == "per_mvm")


def test_conductances_stay_in_the_range():
    for siemens in (9 * US, 88.2 * US):
        g = at(SPEC, siemens, YEAR).g
        assert g.min() >= np.float32(9 * US)
        assert g.max() <= np.float32(88.2 * US)
    with pytest.raises(ValueError, match="characterised range"):
        SPEC.with_(g_max_siemens=100 * US)


@pytest.mark.parametrize("scale", [1.0, 1.03])
def test_moments_are_those_of_draws(scale):
    """Devices at the ends of the range and inside; 3 % more relaxation is noticed."""
    target = np.array([9.0, 9.5, 30.0, 88.2]) * US
    for t in (0.0, YEAR):
        off = SPEC.with_({"relaxation.scale": scale})
        first, second = LAWS.moments(target, np.ones(4, bool), off, t)
        for i, siemens in enumerate(target):
            now = at(SPEC, siemens, t)
            g = now.g.astype(float)
            square = g**2 + now.fresh.astype(float) ** 2
            if scale == 1.0:
                assert_mean(g / US, first[i] / US)
                assert_mean(square / US**2, second[i] / US**2)
        if scale != 1.0:
            with pytest.raises(AssertionError):
                assert_std(at(SPEC, 30 * US, t).g / US, np.sqrt(second[2] - first[2] ** 2) / US)


def test_clipped_moments(rng):
    for mean, std in ((0.2, 1.0), (-3.0, 0.5), (1.5, 0.0), (9.0, 2.0)):
        first, second = moments.clipped(np.array(mean), np.array(std), -1.0, 2.0)
        sample = np.clip(mean + std * rng.standard_normal(200_000), -1.0, 2.0)
        np.testing.assert_allclose([first, second], [sample.mean(), (sample**2).mean()], atol=0.02)


def test_training_takes_the_closed_form(monkeypatch):
    """Against crossbars that are programmed and read: equal within what 2,000 cells can say."""
    core = presets.generic_rram().with_({"core.rows": 128, "core.cols": 128}).core
    exact = weight_law(core, (1e4, 1e4))
    monkeypatch.setattr(families.Rram, "moments", lambda *_: None)  # then crossbars are measured
    weight_law.cache_clear()
    found = weight_law(core, (1e4, 1e4))
    weight_law.cache_clear()
    assert not np.array_equal(exact.std, found.std)
    mean, std, seen, spread = exact.mean, exact.std, found.mean, found.std
    # Between its levels the measured table is linear, which cuts the bend at the upper end.
    np.testing.assert_allclose(mean[:, 32:], seen[:, 32:], atol=2e-3)
    np.testing.assert_allclose(std[:, 64:249], spread[:, 64:249], rtol=0.1)
    np.testing.assert_allclose(std[:, -1], spread[:, -1], rtol=0.1)
    np.testing.assert_allclose(exact.zero_std, found.zero_std, rtol=0.1)


def test_a_network_on_resistive_memory(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))
    images = torch.randn(64, 40)
    with torch.no_grad():
        exact = model(images)

    def decibels(outputs):
        return float(10 * torch.log10(exact.square().mean() / (outputs - exact).square().mean()))

    spec = presets.generic_rram()
    chip = aimc_sim.Chip.from_model(model, spec)
    chip.calibrate([images])
    chip.program(seed=1)
    start, later = decibels(chip(images)), decibels(chip.at("1 year")(images))
    assert start > later + 3
    assert decibels(chip.compensate("gdc")(images)) > later + 1
    perfect = aimc_sim.Chip.from_model(model, presets.ideal_devices(spec))
    perfect.calibrate([images])
    perfect.program(seed=1)
    assert decibels(perfect(images)) > start
    assert attribute.effects(spec)[:3] == ["programming error", "relaxation", READ_NOISE]
    assert "temperature and nonlinear current of resistive memory" in str(chip.report())
    chip.save(tmp_path / "chip.h5")
    torch.testing.assert_close(
        aimc_sim.Chip.load(tmp_path / "chip.h5")(images), chip(images), rtol=0, atol=0
    )
