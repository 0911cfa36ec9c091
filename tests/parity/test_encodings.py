"""Encodings with noise: the reference read and the executor against a device-by-device twin.

The twin reads every physical column by itself; outputs are the sums of its codes with the factors
of the encoding. n = 4,000 reads of one input hold a mean to 5 standard errors and a standard
deviation to 6 %; one of 8 % is shown to be noticed. In 20,000 reads of the executor, whose
variances pass through bfloat16, a correlation of outputs is held to 5 / sqrt(n) = 0.035.
"""

import dataclasses

import naive
import numpy as np
import pytest
import torch
from checks import assert_independent, assert_mean, assert_std
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.core import converters, encodings, programming, tile
from aimc_sim.spec import BitSlicesEncoding, OffsetColumnEncoding, SeveralDevicesEncoding

ROWS, OUTPUTS = 9, 4
DAY = 86400.0
KINDS = {
    "offset": OffsetColumnEncoding(),
    "slices": BitSlicesEncoding(weight_bits=8, bits_per_cell=2),
    "three devices": SeveralDevicesEncoding(devices=3),
    "three devices, filled": SeveralDevicesEncoding(devices=3, order="fill"),
}


def machine(name, read="4-phase", **more):
    spec = presets.hermes("odp", read).with_({"core.encoding": KINDS[name]})
    return spec.with_({"core.adc.bits": 20, "core.dac.bits": 8, "core.read.polarity": None, **more})


def crossbar(core, rng, key):
    state = programming.program(rng.normal(0, 1, (ROWS, OUTPUTS)), core, key)
    return state, tile.at(state, core, DAY, key), tile.elements_at(state, core, DAY, key)


def groups_of(core):
    encoding = encodings.of(core)
    return encoding.groups(encoding.columns(OUTPUTS))


def moments(now, codes, core):
    """Mean and covariance of the outputs, in units of charge, for one vector of codes."""
    net, variance = now.net.astype(float), now.variance.astype(float)
    # One row per output: how the physical columns enter it.
    share = encodings.combined(np.eye(net.shape[1]), groups_of(core))
    return codes @ net @ share, share.T @ np.diag(codes**2 @ variance) @ share


@pytest.mark.parametrize("name", KINDS)
def test_a_read_equals_the_twin_in_law(name, rng, key):
    core = machine(name).core
    _, now, elements = crossbar(core, rng, key)
    codes = np.repeat(rng.integers(-127, 128, (1, ROWS)), 4000, axis=0).astype(float)
    step = tile.unit_charge(now, core)
    fast = tile.read(now, codes, core, rng) * step
    q = converters.adc(core)
    args = (elements.g.astype(float), elements.fresh.astype(float), codes[:400], rng)
    polarities = encodings.of(core).polarities
    columns = naive.read_one_tile(
        *args, q.step, q.limit, core.device.g_max_siemens, polarities=polarities
    )
    slow = encodings.combined(columns, groups_of(core)) * q.step
    mean, covariance = moments(now, codes[0], core)
    for c in range(OUTPUTS):
        sigma = np.sqrt(covariance[c, c])
        for sample in (fast, slow):
            assert_mean(sample[:, c], mean[c])
            assert_std(sample[:, c], sigma)
        with pytest.raises(AssertionError):
            assert_std(fast[:, c], 1.08 * sigma)
        with pytest.raises(AssertionError):
            assert_mean(fast[:, c] + 0.15 * sigma, mean[c])
    wanted = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    for sample in (fast, slow):
        found = np.corrcoef(sample[:, 0], sample[:, 1])[0, 1]
        assert abs(found - wanted) < 5 / np.sqrt(len(sample))
    if name == "offset":
        assert wanted > 0.3  # a reference of its own for every output would have none
    else:
        assert_independent(fast[:, 0], fast[:, 1])


@pytest.mark.parametrize("name", KINDS)
def test_without_noise_it_equals_the_twin(name, rng, key):
    core = machine(name, **{"core.adc.bits": 11}).core
    _, now, elements = crossbar(core, rng, key)
    codes = rng.integers(-127, 128, (20, ROWS)).astype(float)
    q = converters.adc(core)
    columns = naive.read_one_tile(
        elements.g.astype(float), np.zeros_like(elements.g), codes, rng, q.step, q.limit,
        core.device.g_max_siemens, polarities=encodings.of(core).polarities,
    )  # fmt: skip
    slow = encodings.combined(columns, groups_of(core))
    fast = tile.read(now.quiet(), codes, core, rng)
    assert np.abs(fast - slow).max() <= 1  # a conversion may fall on the other side of a tie
    assert (fast == slow).mean() > 0.95


def linear_chip(spec, rng, key):
    model = nn.Linear(ROWS, OUTPUTS, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(rng.normal(0, 1, (OUTPUTS, ROWS))))
    chip = aimc_sim.Chip.from_model(model, spec)
    return chip.calibrate(torch.full((1, ROWS), 127.0)).program(key.seed).at("1 day")


def charges(chip, x):
    """Outputs of a linear chip in units of charge."""
    state = chip.state.tiles[chip.compiled.blocks[0].core]
    return chip(x).numpy() * state.siemens_per_weight / chip.spec.core.device.g_max_siemens


@pytest.mark.parametrize("encoding", ["pwm", "bit-serial"])
@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("name", KINDS)
def test_the_executor_has_the_codes_of_the_reference(name, read, encoding, rng, key):
    """Noise off: the sums of rounded codes, with every part's factor."""
    quiet = {"core.device.read_noise": None, "core.ldpu.output_bits": None, "core.adc.bits": 11,
             "core.dac.encoding": encoding}  # fmt: skip
    spec = machine(name, read, **quiet)
    chip = linear_chip(spec, rng, key)
    codes = rng.integers(-127, 128, (64, ROWS)).astype(np.float32)
    now = chip.evaluation.tiles[0]
    wanted = tile.read(now, codes, spec.core, rng)
    found = charges(chip, codes) / tile.unit_charge(now, spec.core)
    assert (np.abs(found - wanted) < 1e-2).mean() > 0.97
    assert np.abs(found - wanted).max() < (1.01 if encoding == "pwm" else 65)


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("name", ["offset", "slices"])
def test_the_executor_has_the_law_of_the_reference(name, read, rng, key):
    spec = machine(name, read, **{"core.adc.bits": 22, "core.ldpu.output_bits": None})
    chip = linear_chip(spec, rng, key)
    codes = rng.integers(-127, 128, (1, ROWS)).astype(np.float32)
    found = charges(chip, np.repeat(codes, 20_000, axis=0))
    mean, covariance = moments(chip.evaluation.tiles[0], codes[0].astype(float), spec.core)
    for c in range(OUTPUTS):
        sigma = np.sqrt(covariance[c, c])
        assert_mean(found[:, c], mean[c])
        # the variance passes through bfloat16 twice: 0.4 % of a variance, 0.2 % of a spread
        assert abs(found[:, c].std() / sigma - 1) < 5 / np.sqrt(40_000) + 0.004
        with pytest.raises(AssertionError):
            assert_std(found[:, c], 1.05 * sigma)
    wanted = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    r = np.corrcoef(found[:, 0], found[:, 1])[0, 1]
    assert abs(r - wanted) < 5 / np.sqrt(20_000)
    assert (wanted > 0.3) == (name == "offset")
    assert_independent(found[:-1, 0], found[1:, 0])


@pytest.mark.parametrize("name", ["offset", "slices"])
def test_a_phase_saturates_by_itself(name, rng, key):
    """Small converters: what clips is a column of one slice, and it is counted there."""
    more = {"core.device.read_noise": None, "core.ldpu.output_bits": None, "core.adc.bits": 10,
            "core.adc.full_scale_amperes": 6e-8, "core.g_max_rule": "device",
            "calibration.clip_warning_fraction": 1.0}  # fmt: skip
    spec = machine(name, **more)
    chip = linear_chip(spec, rng, key)
    codes = rng.integers(-127, 128, (64, ROWS)).astype(np.float32)
    now = chip.evaluation.tiles[0]
    wanted, beyond = tile.read_counting(now, codes, spec.core, rng)
    found = charges(chip, codes) / tile.unit_charge(now, spec.core)
    assert (np.abs(found - wanted) < 1e-2).mean() > 0.97
    counts = chip.counts["Linear"]
    assert beyond > 20
    assert abs(counts.adc_saturated - beyond) <= 1
    polarities = encodings.of(spec.core).polarities
    assert counts.conversions == 64 * now.net.shape[1] * 2 * polarities


@pytest.mark.parametrize("idle", ["grounded", "high-impedance"])
@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("name", ["offset", "slices"])
def test_wires_are_those_of_the_whole_block(name, read, idle, rng, key):
    """The charge of a part is its share of the charge of all columns behind common lines."""
    wires = {"row_ohm": 5.0, "col_ohm": 3.0, "idle": idle}
    spec = machine(name, read).with_(
        {"core.wires": aimc_sim.spec.WireSpec(**wires), "core.device.read_noise": None,
         "core.ldpu.output_bits": None, "core.adc.bits": None,
         "core.adc.full_scale_amperes": None}
    )  # fmt: skip
    chip = linear_chip(spec, rng, key)
    codes = rng.integers(-127, 128, (16, ROWS)).astype(np.float32)
    now = chip.evaluation.tiles[0]
    whole = tile.charge(dataclasses.replace(now, parts=()), codes)
    wanted = encodings.combined(whole, groups_of(spec.core))
    np.testing.assert_allclose(tile.charge(now, codes), wanted, rtol=1e-10, atol=1e-9)
    parts = sum(part.group.factor * tile.charge(part.now, codes) for part in now.parts)
    np.testing.assert_allclose(parts, wanted, rtol=1e-9, atol=1e-7)
    tolerance = 1e-5 if idle == "grounded" else 2e-3
    assert np.abs(charges(chip, codes) - wanted).max() < tolerance * np.abs(wanted).max()
