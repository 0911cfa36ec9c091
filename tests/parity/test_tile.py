"""One tile: the executor and the reference read against a device-by-device twin."""

import dataclasses

import naive
import numpy as np
import pytest
import torch
from checks import assert_independent, assert_law, assert_mean, assert_std
from scipy import stats
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.core import converters, programming, tile

ROWS, COLS = 9, 4


def noisy_spec(bits=11):
    return presets.hermes("odp").with_({"core.adc.bits": bits, "core.dac.bits": 8})


@pytest.fixture
def small(rng, key):
    """A small tile a day after programming, and its elements."""
    core = noisy_spec().core
    state = programming.program(rng.normal(0, 1, (ROWS, COLS)), core, key)
    return core, tile.at(state, core, 86400.0, key), tile.elements_at(state, core, 86400.0, key)


def test_read_equals_the_twin_in_law(small, rng):
    """n = 4,000 reads: mean to 5 standard errors, spread to 6 %, of every column."""
    core, now, elements = small
    codes = np.repeat(rng.integers(-127, 128, (1, ROWS)), 4000, axis=0).astype(float)
    fine = core.with_({"adc.bits": 20})
    now = dataclasses.replace(now, converter=None)  # the one of the finer specification
    q = converters.adc(fine)
    fast = tile.read(now, codes, fine, rng) * q.step
    args = (elements.g.astype(float), elements.fresh.astype(float), codes[:400], rng)
    slow = naive.read_one_tile(*args, q.step, q.limit, core.pcm.g_max_siemens) * q.step
    sigma = np.sqrt(codes[0] ** 2 @ now.variance.astype(float))
    mean = codes[0] @ now.net.astype(float)
    for c in range(COLS):
        assert_mean(fast[:, c], mean[c])
        assert_std(fast[:, c], sigma[c])
        assert_mean(slow[:, c], mean[c])
        assert_std(slow[:, c], sigma[c])
        assert_law((slow[:, c] - mean[c]) / sigma[c], stats.norm.cdf)
        with pytest.raises(AssertionError):
            assert_std(fast[:, c], 1.08 * sigma[c])
    assert_independent(fast[:, 0], fast[:, 1])


def test_noise_off_equals_the_twin_exactly(small, rng):
    core, now, elements = small
    codes = rng.integers(-127, 128, (20, ROWS)).astype(float)
    q = converters.adc(core)
    quiet = now.quiet()
    slow = naive.read_one_tile(
        elements.g.astype(float), np.zeros_like(elements.g), codes, rng, q.step, q.limit,
        core.pcm.g_max_siemens,
    )  # fmt: skip
    fast = tile.read(quiet, codes, core, rng)
    assert np.abs(fast - slow).max() <= 1  # a phase may fall on the other side of a tie
    assert (fast == slow).mean() > 0.95


def linear_chip(spec, rng, key, rows=ROWS, cols=COLS):
    model = nn.Linear(rows, cols, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(rng.normal(0, 1, (cols, rows))))
    chip = aimc_sim.Chip.from_model(model, spec)
    chip.calibrate(torch.full((1, rows), 127.0)).program(key.seed)
    return chip


def test_executor_equals_the_reference_read(rng, key):
    """Noise off: the same ADC codes. Noise on: the same law, n = 20,000 images."""
    spec = noisy_spec().with_({"core.ldpu.output_bits": None})
    quiet = spec.with_({"core.pcm.read_noise": None, "core.dac.bits": None})
    chip = linear_chip(quiet, rng, key).at("1 day")
    codes = rng.integers(-127, 128, (64, ROWS)).astype(np.float32)
    block = chip.compiled.blocks[0]
    state = chip.state.tiles[block.core]
    now = tile.at(state, quiet.core, 86400.0, chip.state.key(block.core))
    expected = tile.read(now, codes, quiet.core, rng)
    scale = converters.adc(quiet.core).step * quiet.core.pcm.g_max_siemens
    found = chip(codes).numpy() * state.siemens_per_weight / scale
    assert (np.abs(found - expected) < 1e-2).mean() > 0.98
    assert np.abs(found - expected).max() < 1.01

    fine = spec.with_({"core.adc.bits": 22, "core.dac.bits": None})
    chip = linear_chip(fine, rng, key).at("1 day")
    state = chip.state.tiles[block.core]
    now = tile.at(state, fine.core, 86400.0, chip.state.key(block.core))
    x = np.repeat(codes[:1], 20_000, axis=0)
    found = chip(x).numpy() * state.siemens_per_weight / fine.core.pcm.g_max_siemens
    sigma = np.sqrt(codes[0].astype(float) ** 2 @ now.variance.astype(float))
    for c in range(COLS):
        assert_mean(found[:, c], codes[0].astype(float) @ now.net[:, c].astype(float))
        # the variance passes through bfloat16 twice: 0.4 % of a variance, 0.2 % of a spread
        assert abs(found[:, c].std() / sigma[c] - 1) < 5 / np.sqrt(40_000) + 0.004
        with pytest.raises(AssertionError):
            assert_std(found[:, c], 1.05 * sigma[c])
    assert_independent(found[:, 0], found[:, 1])
    assert_independent(found[:-1, 0], found[1:, 0])


def test_one_phase_sees_two_conductances(rng, key):
    """A negative input reads the other polarity: f(x) differs from -f(-x), and by this much."""
    spec = presets.ideal_devices(presets.hermes("odp", "1-phase")).with_(
        {"core.dac.bits": None, "core.adc.bits": None, "core.adc.full_scale_amperes": None,
         "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
         "core.read.polarity": {"mean_fraction": 0.1, "std_fraction": 0.0, "source": ""}}
    )  # fmt: skip
    chip = linear_chip(spec, rng, key)
    w = chip.compiled.layers[0].weight
    x = rng.normal(0, 1, (8, ROWS)).astype(np.float32)
    plus, minus = np.maximum(w, 0), np.maximum(-w, 0)
    expected = np.maximum(x, 0) @ (plus - 1.1 * minus) - np.maximum(-x, 0) @ (1.1 * plus - minus)
    np.testing.assert_allclose(chip(x).numpy(), expected, rtol=2e-5, atol=2e-5)


def test_split_linear_is_a_sum_of_reads(rng, key):
    """Rows over two cores, float links, noise off: the sum of two ADCs, not one."""
    spec = noisy_spec().with_(
        {"core.pcm.read_noise": None, "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
         "core.dac.bits": None}
    )  # fmt: skip
    chip = linear_chip(spec, rng, key, 300, 40)
    assert [b.shape for b in chip.compiled.blocks] == [(150, 40), (150, 40)]
    codes = rng.integers(-127, 128, (32, 300)).astype(np.float32)
    expected = np.zeros((32, 40))
    for block in chip.compiled.blocks:
        state = chip.state.tiles[block.core]
        now = tile.at(state, spec.core, 0.0, chip.state.key(block.core))
        scale = converters.adc(spec.core).step * spec.core.pcm.g_max_siemens
        part = codes[:, block.row_start : block.row_stop]
        expected += tile.read(now, part, spec.core, rng) * scale / state.siemens_per_weight
    found = chip(codes).numpy()
    lsb = scale / state.siemens_per_weight.min()
    assert (np.abs(found - expected) < 1e-3 * lsb).mean() > 0.95
    assert np.abs(found - expected).max() < 2.01 * lsb
