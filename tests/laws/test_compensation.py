"""Drift compensation under its published names: what each method weighs, and what it costs."""

import numpy as np
import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.core import compensation, converters, programming, tile
from aimc_sim.rng import Key
from aimc_sim.spec import CcoAdcSpec

YEAR = 365 * 86400.0
PRESETS = ("hermes-odp", "hermes-tdp", "generic-pcm")


def cores(name, changes=None, n=6):
    """Return (specification, key, state, now, a year later) of n cores with normal weights."""
    spec = presets.by_name(name).with_(changes or {})
    rng = np.random.default_rng(1)
    for i in range(n):
        key = Key(i)
        state = programming.program(rng.normal(size=(144, 64)), spec.core, key)
        yield spec, key, state, *(tile.at(state, spec.core, t, key) for t in (0.0, YEAR))


def factor(method, spec, key, state, begin, later):
    before = compensation.reference(method, begin, state, spec, 0.0, key)
    after = compensation.readout(method, later, spec, YEAR, key)
    return compensation.factors(before, after, method)[0]


@pytest.mark.parametrize("name", PRESETS)
def test_gdc_weighs_by_magnitude(name):
    """Against the ratio of the sums of |G| that are there: 0.5 % per core, read noise and ADC in.

    The ratio of the root mean squares, which "gdc-signs" reads, is 2 to 6 % away and rejected.
    """
    for spec, key, state, begin, later in cores(name):
        wanted = np.abs(begin.net).mean() / np.abs(later.net).mean()
        assert factor("gdc", spec, key, state, begin, later) == pytest.approx(wanted, rel=0.005)
        squares = np.sqrt((begin.net**2).mean() / (later.net**2).mean())
        assert abs(squares / wanted - 1) > 0.015
        signs = factor("gdc-signs", spec, key, state, begin, later)
        assert signs == pytest.approx(squares, rel=0.015)


@pytest.mark.parametrize("name", PRESETS)
def test_least_squares_is_the_bound(name):
    """No other single factor brings products with random inputs closer to those of the weights."""
    rng = np.random.default_rng(5)
    for spec, key, state, begin, later in cores(name, n=3):
        found = {m: factor(m, spec, key, state, begin, later) for m in ("gdc", "gdc-signs", "ls")}
        codes = rng.integers(-127, 128, (300, 144)).astype(float)
        half = state.devices.target.shape[0] // 2
        target = state.devices.target.astype(float)
        exact = codes @ (target[:half].sum(0) - target[half:].sum(0)) / spec.core.pcm.g_max_siemens
        drifted = tile.charge(later, codes)
        errors = {m: np.linalg.norm(f * drifted - exact) for m, f in found.items()}
        best = np.linalg.norm((exact * drifted).sum() / (drifted**2).sum() * drifted - exact)
        assert errors["ls"] < 1.003 * best
        assert errors["ls"] < errors["gdc-signs"] < errors["gdc"]


def test_one_hot_reads_are_resolved_by_holding_the_row():
    """ADC of 8 bits: one window sees nothing of small devices, 64 see them; the factor shows it."""
    errors = {}
    for windows in (1, 64):
        change = {"core.adc.bits": 8, "calibration.compensation_windows": windows}
        found = [
            factor("gdc", *core) / (np.abs(core[3].net).mean() / np.abs(core[4].net).mean()) - 1
            for core in cores("hermes-odp", change, 3)
        ]
        errors[windows] = np.abs(found).max()
    assert errors[64] < 0.01 < 0.05 < errors[1]


@pytest.mark.parametrize("encoding", ["pwm", "bit-serial"])
@pytest.mark.parametrize("adc", [None, CcoAdcSpec()], ids=["n-bit", "oscillator"])
@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
def test_every_machine_can_do_it(read, adc, encoding):
    spec = presets.hermes("odp", read).with_({"core.dac.encoding": encoding})
    spec = spec if adc is None else spec.with_({"core.adc": adc})
    key = Key(2)
    state = programming.program(np.random.default_rng(0).normal(size=(60, 20)), spec.core, key)
    begin, later = (tile.at(state, spec.core, t, key) for t in (0.0, YEAR))
    wanted = np.abs(begin.net).mean() / np.abs(later.net).mean()
    # Oscillators whose offset is negative do not start at the current of a RESET device.
    near = 0.08 if adc is not None and read == "4-phase" else 0.02
    assert factor("gdc", spec, key, state, begin, later) == pytest.approx(wanted, rel=near)


def test_longer_windows_count_more():
    core = presets.hermes("odp").core
    for adc in (core.adc, CcoAdcSpec(jitter_counts=0.0)):
        converter = converters.of_core(core.with_({"adc": adc}), Key(0), 3)
        z = np.full((1, 3), 0.3 * converter.limit)
        one, many = converter.codes(z), converter.over(50).codes(z)
        np.testing.assert_allclose(many / 50, one, atol=0.51)
        assert np.all(np.abs(many - np.rint(many)) < 0.5)
        assert converter.over(50).limit == pytest.approx(converter.limit)


def test_cost_of_the_reads():
    """Rows x reads x windows, the phases of positive inputs: half of four; all cores at once."""
    chip = aimc_sim.Chip.from_model(nn.Linear(300, 40), presets.hermes("odp"))
    chip.calibrate(torch.randn(8, 300)).program(0)
    joules = ledger.published_mvm_joules(chip.spec)
    cost = chip.compensate("gdc").report().compensation_cost
    assert (cost["reads"], cost["core_mvms"]) == (150, 300)
    assert cost["seconds"] == pytest.approx(150 * 8 * 520e-9)
    assert cost["joules"] == pytest.approx(300 * 8 * joules)
    more = chip.spec.with_(
        {"calibration.compensation_reads": 3, "calibration.compensation_windows": 8}
    )
    chip = aimc_sim.Chip.from_model(nn.Linear(300, 40), more).calibrate(torch.randn(8, 300))
    cost = chip.program(0).compensate("column").report().compensation_cost
    assert cost["seconds"] == pytest.approx(3 * 150 * 4 * 520e-9)
    cost = chip.compensate("gdc-signs").report().compensation_cost
    assert (cost["reads"], cost["seconds"]) == (64, pytest.approx(64 * 520e-9))
