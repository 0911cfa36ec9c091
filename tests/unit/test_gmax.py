"""The largest conductance whose currents the ADCs accept: closed forms."""

import numpy as np
import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.core import gmax, weights
from aimc_sim.errors import NotProgrammedError

LIMIT = 100e-6


def ideal(read="4-phase", g_max=25e-6):
    """Return the chip's core with devices that conduct nothing in RESET."""
    chip = presets.ideal_devices(presets.hermes("tdp", read))
    return chip.with_({"core.pcm": presets.pcm_ideal(g_max)}).core


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
def test_uniform_weights_and_full_scale_inputs(read):
    """R equal weights, all inputs at full scale: i = R v g, so g = limit / (R v)."""
    core = ideal(read)
    codes = np.full((1, 256), 127)
    for rows in (256, 100):
        found = gmax.largest_siemens(np.ones((rows, 3)), core, codes[:, :rows])
        assert found == pytest.approx(LIMIT / (rows * 0.2))
    assert gmax.largest_siemens(np.ones((4, 3)), core, codes[:, :4]) == 25e-6  # the devices' own


def test_mean_and_peak_current():
    """Half-width pulses: half the mean current, the same peak."""
    core, weight = ideal(), np.ones((200, 2))
    codes = np.full((1, 200), 63.5)
    mean = gmax.largest_siemens(weight, core, codes)
    peak = gmax.largest_siemens(weight, core, codes, current="peak")
    assert mean == pytest.approx(2 * peak)


def test_signs_cancel_in_one_phase_only():
    weight = np.ones((200, 2))
    weight[::2] = -1
    codes = np.full((1, 200), 127)
    assert gmax.largest_siemens(weight, ideal("1-phase"), codes) == 25e-6
    found = gmax.largest_siemens(weight, ideal("4-phase"), codes)
    assert found == pytest.approx(LIMIT / (100 * 0.2))


def test_reset_devices_use_up_current():
    """Two devices per polarity, 0.1 uS each in RESET: (R v) (span + background) <= limit."""
    core = presets.hermes("odp").core
    found = gmax.largest_siemens(np.ones((100, 2)), core, np.full((1, 100), 127))
    at_found = core.with_({"pcm.g_max_siemens": found})
    g = weights.to_targets(np.ones((100, 2)), at_found).request.g
    assert (0.2 * g[0].sum(axis=0)) == pytest.approx([LIMIT, LIMIT])
    with pytest.raises(ValueError, match="used up by devices in RESET alone"):
        gmax.largest_siemens(
            np.ones((100, 2)), core, np.full((1, 100), 127), full_scale_amperes=2e-6
        )


@pytest.mark.parametrize("mode", ["odp", "tdp"])
@pytest.mark.parametrize("scaling", ["core", "column"])
def test_currents_at_the_answer_reach_the_limit(rng, mode, scaling):
    """The answer, put back into the mapping: the largest of the four phases is at the limit."""
    core = presets.hermes(mode, programming="program-and-verify").core
    core = core.with_({"weight_scaling": scaling})
    weight = rng.normal(size=(256, 20))
    codes = rng.integers(-127, 128, (30, 256)).astype(float)
    limit = 10e-6
    found = gmax.largest_siemens(weight, core, codes, full_scale_amperes=limit)
    assert found < core.pcm.g_max_siemens
    g = weights.to_targets(weight, core.with_({"pcm.g_max_siemens": found})).request.g
    drive = 0.2 * codes / 127
    currents = [x @ p for x in (np.maximum(drive, 0), np.maximum(-drive, 0)) for p in g]
    assert np.max(currents) == pytest.approx(limit)


def test_percentile(rng):
    """With 90 %, one current in ten may exceed the limit, and no more."""
    core, weight = ideal("1-phase"), rng.normal(size=(256, 20))
    codes = rng.integers(-127, 128, (100, 256)).astype(float)
    found = gmax.largest_siemens(weight, core, codes, full_scale_amperes=8e-6, percentile=90)
    current = 0.2 * codes / 127 @ weight / np.abs(weight).max() * found
    share = (np.abs(current) > 8e-6 * (1 + 1e-12)).mean()
    assert share <= 0.1
    assert share > 0.099  # teeth: of 2,000 currents, not one more than needed is kept below


def test_two_devices_are_lowered_where_one_is_not(rng):
    """As on the chip: 80 counts are kept with one device, two give up part of their 160.

    A layer with dense inputs, weights clipped at 2.5 sigma, currents at the start of the window.
    """
    weight = np.clip(rng.normal(size=(252, 256)), -2.5, 2.5)
    codes = np.maximum(np.rint(rng.normal(20, 40, (256, 252))), 0).clip(0, 127)
    count = 10.35e-6 / 80
    found = {
        mode: gmax.largest_siemens(weight, presets.hermes(mode).core, codes, current="peak") / count
        for mode in ("odp", "tdp")
    }
    assert found["odp"] == pytest.approx(80)
    assert 80 <= found["tdp"] < 150


def test_nothing_to_limit():
    core = ideal()
    codes = np.full((1, 4), 127)
    assert gmax.largest_siemens(np.zeros((4, 2)), core, codes) == 25e-6
    assert gmax.largest_siemens(np.ones((4, 2)), core, 0 * codes) == 25e-6
    assert gmax.largest_siemens(np.ones((4, 2)), presets.ideal().core, codes) > 0


def test_bad_input():
    core, weight, codes = ideal(), np.ones((4, 2)), np.ones((1, 4))
    with pytest.raises(ValueError, match=r"codes of shape \(1, 3\) do not drive the rows"):
        gmax.largest_siemens(weight, core, codes[:, :3])
    with pytest.raises(ValueError, match=r"full_scale_amperes = -1 must be above 0"):
        gmax.largest_siemens(weight, core, codes, full_scale_amperes=-1.0)
    with pytest.raises(ValueError, match="percentile = 0 must be above 0"):
        gmax.largest_siemens(weight, core, codes, percentile=0)
    with pytest.raises(ValueError, match="current = 'rms' is unknown"):
        gmax.largest_siemens(weight, core, codes, current="rms")


def saturated_share(chip, images, rule_share):
    """Share of the phases of a layer whose current is beyond 100 uA while all pulses are on."""
    block = chip.compiled.blocks[0]
    codes = np.rint(images.numpy() / chip.ranges.values[chip.compiled.input] * 127)
    siemens = chip.state.tiles[block.tile].devices.target.astype(float)
    half = len(siemens) // 2
    on = [(codes > 0).astype(float), (codes < 0).astype(float)]
    found = [0.2 * x @ g.sum(axis=0) for x in on for g in (siemens[:half], siemens[half:])]
    return (np.concatenate(found) > LIMIT * (1 + 1e-6)).mean()


@pytest.mark.parametrize("share", [0.0, 0.03, 0.2])
def test_a_stated_share_of_the_phases_may_saturate(share):
    """On the calibration batch itself: at most the share, and not one phase in 100 less."""
    model = torch.nn.Linear(256, 64, bias=False)
    images = torch.randn(500, 256, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        model.weight.copy_(torch.rand(64, 256, generator=torch.Generator().manual_seed(5)) - 0.5)
    spec = presets.hermes("tdp").with_({"core.g_max_saturated_share": share})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images[:16]).program(0)
    g_max = chip.ranges.g_max_siemens["Linear[0,0]"]
    assert 5e-6 < g_max < 20e-6
    found = saturated_share(chip, images[:16], share)
    assert share - 0.01 <= found <= share + 0.002
    early = aimc_sim.Chip.from_model(model, spec).program(0)
    with pytest.raises(NotProgrammedError, match=r"await calibration, which chooses g_max"):
        early.conductances(0)
    early.calibrate(images[:16])  # in whatever order
    np.testing.assert_array_equal(early.conductances(0), chip.conductances(0))


def test_published_ranges_by_name():
    """The chip paper's counts of the verify read, by layer; 10.35 uS are 80."""
    chip = presets.as_published("resnet9", "tdp")
    counts = {
        name: round(chip.for_layer(name).core.pcm.g_max_siemens / 10.35e-6 * 80)
        for name in ("conv0", "conv1", "conv4", "conv5", "conv7", "dense")
    }
    assert counts == {
        "conv0": 160, "conv1": 100, "conv4": 100, "conv5": 130, "conv7": 130, "dense": 160,
    }  # fmt: skip
    lstm = presets.as_published("lstm-ptb", "tdp")
    ranges = [lstm.for_layer(n).core.pcm.g_max_siemens for n in ("lstm.weight_hh_l0", "dense")]
    np.testing.assert_allclose(np.array(ranges) / 20.7e-6 * 160, [100, 120])
    odp = presets.as_published("resnet9", "odp").for_layer("conv3").core.pcm.g_max_siemens
    assert odp == pytest.approx(10.35e-6)
    with pytest.raises(KeyError, match=r"no published ranges of .captioning \(tdp\)"):
        presets.as_published("captioning", "tdp")
