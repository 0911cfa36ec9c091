"""Weights to conductances and back."""

import numpy as np
import pytest

from aimc_sim import presets
from aimc_sim.core import weights
from aimc_sim.device.pcm import reset_level


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
    targets = weights.to_targets(block, core)
    back = weights.net(targets.g.astype(float)) / targets.siemens_per_weight
    np.testing.assert_allclose(back, block, atol=3e-7 * np.abs(block).max())
    largest = targets.g.max(axis=(0, 1) if scaling == "column" else None)
    np.testing.assert_allclose(largest, core.pcm.g_max_siemens, rtol=1e-6)


@pytest.mark.parametrize(("mode", "programmed"), [("odp", 1), ("tdp", 2)])
def test_devices_of_a_cell(mode, programmed, block):
    """ODP tunes one device of the weight's polarity, TDP both; the others stay in RESET."""
    core = presets.hermes(mode).core
    targets = weights.to_targets(block, core)
    devices = weights.devices(targets.g, core.pcm)
    assert devices.shape == (4, 40, 13)
    tuned = np.abs(devices - core.pcm.reset.mean_siemens) > 1e-9
    assert set(tuned.sum(axis=0)[block != 0]) == {programmed}
    assert not tuned[:, block == 0].any()
    assert not tuned[2:, block > 0].any()
    assert not tuned[:2, block < 0].any()
    level = reset_level(core.pcm)
    assert (targets.g[~targets.programmed] == np.float32(level)).all()


def test_zero_target_may_be_programmed(block):
    core = presets.generic_pcm().with_({"core.pcm.zero_target": "programmed"}).core
    targets = weights.to_targets(block, core)
    assert targets.programmed[[0, 2]].all()
    assert not targets.programmed[[1, 3]].any()
    back = weights.net(targets.g.astype(float)) / targets.siemens_per_weight
    np.testing.assert_allclose(back, block, atol=3e-7 * np.abs(block).max())
    assert (targets.g[2][block > 0] == 0).all()


def test_swapping_signs_swaps_polarities(block):
    core = presets.hermes("tdp").core
    plus, minus = weights.to_targets(block, core), weights.to_targets(-block, core)
    np.testing.assert_array_equal(plus.g, minus.g[::-1])


def test_all_zero_block():
    core = presets.hermes("tdp").core
    targets = weights.to_targets(np.zeros((3, 2)), core)
    assert not targets.programmed.any()
    assert np.isfinite(targets.siemens_per_weight).all()
