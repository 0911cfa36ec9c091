"""Weights to conductances and back."""

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.core import weights
from aimc_sim.device import family
from aimc_sim.device.pcm import reset_level
from aimc_sim.device.programming import statistical


def allocated(block, core):
    """Targets and tuned flags of the elements, (E, R, C), and the scale of the mapping."""
    targets = weights.to_targets(block, core)
    g, programmed = statistical.allocate(targets.request, core.pcm)
    return g, programmed, targets.siemens_per_weight


@pytest.fixture
def block(rng):
    w = rng.standard_normal((40, 13))
    w[rng.random(w.shape) < 0.2] = 0.0
    return w


@pytest.mark.parametrize("spec", [presets.hermes("odp"), presets.hermes("tdp"),
                                  presets.generic_pcm(), presets.ideal()])  # fmt: skip
@pytest.mark.parametrize("scaling", ["core", "column"])
def test_round_trip(spec, scaling, block):
    core = spec.with_({"core.weight_scaling": scaling}).core
    g, _, per_weight = allocated(block, core)
    back = weights.net(g.astype(float)) / per_weight
    np.testing.assert_allclose(back, block, atol=3e-7 * np.abs(block).max())
    largest = g.max(axis=(0, 1) if scaling == "column" else None)
    np.testing.assert_allclose(largest, core.pcm.g_max_siemens, rtol=1e-6)


@pytest.mark.parametrize(("mode", "programmed"), [("odp", 1), ("tdp", 2)])
def test_devices_of_a_cell(mode, programmed, block):
    """ODP tunes one device of the weight's polarity, TDP both; the others stay in RESET."""
    core = presets.hermes(mode).core
    g, programmed_elements, _ = allocated(block, core)
    devices = family.of(core.device).devices(g, core.device)
    assert devices.shape == (4, 40, 13)
    tuned = np.abs(devices - core.pcm.reset.mean_siemens) > 1e-9
    assert set(tuned.sum(axis=0)[block != 0]) == {programmed}
    assert not tuned[:, block == 0].any()
    assert not tuned[2:, block > 0].any()
    assert not tuned[:2, block < 0].any()
    level = reset_level(core.pcm)
    assert (g[~programmed_elements] == np.float32(level)).all()


def test_zero_target_may_be_programmed(block):
    core = presets.generic_pcm().with_({"core.pcm.zero_target": "programmed"}).core
    g, programmed, per_weight = allocated(block, core)
    assert programmed[[0, 2]].all()
    assert not programmed[[1, 3]].any()
    back = weights.net(g.astype(float)) / per_weight
    np.testing.assert_allclose(back, block, atol=3e-7 * np.abs(block).max())
    assert (g[2][block > 0] == 0).all()


def test_swapping_signs_swaps_polarities(block):
    core = presets.hermes("tdp").core
    plus, minus = (weights.to_targets(w, core).request for w in (block, -block))
    np.testing.assert_array_equal(plus.g, minus.g[::-1])
    np.testing.assert_array_equal(plus.net(), -minus.net())


def test_max_set_fill_asks_for_both_devices(block):
    """Two devices of one polarity share the largest weight; a weight is 2 g_max at most."""
    core = presets.hermes("tdp", programming="program-and-verify").core
    targets = weights.to_targets(block, core)
    level = core.pcm.reset.mean_siemens
    np.testing.assert_allclose(targets.request.g.max(), 2 * core.pcm.g_max_siemens)
    np.testing.assert_allclose(targets.request.net() / targets.siemens_per_weight, block)
    assert targets.request.g.min() == 2 * level


def test_all_zero_block():
    core = presets.hermes("tdp").core
    targets = weights.to_targets(np.zeros((3, 2)), core)
    assert not targets.request.programmed.any()
    assert np.isfinite(targets.siemens_per_weight).all()
