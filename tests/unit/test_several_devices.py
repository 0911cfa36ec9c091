"""Pairs with several devices per polarity: their mean counts, and pulses go to them in turn."""

import numpy as np
import pytest
import torch
from torch import nn

from aimc_sim import learning, presets
from aimc_sim.device import pulses
from aimc_sim.rng import Key

SHAPE = (6, 70)


def pairs(devices, start=None, seed=2, **about):
    start = np.zeros(SHAPE, np.float32) if start is None else start
    return learning.PcmPairs(devices=devices, **about).synapses(start, 1.0, Key(seed))


def means(synapses, t):
    """Return the mean conductances of both polarities from the pulse emulator, in float64."""
    state, several = synapses.state, synapses.kind.devices
    g = pulses.conductance(state, synapses.kind.device, t, synapses.key).astype(np.float64)
    return g[:several].mean(0), g[several:].mean(0)


@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_weights_and_noise_are_those_of_the_means(devices):
    start = np.random.default_rng(1).uniform(-0.15, 0.15, SHAPE).astype(np.float32)
    array = pairs(devices, start)
    assert array.state.g.shape == (2 * devices, *SHAPE)
    np.testing.assert_allclose(array.weights(0.0), start, atol=3e-6)
    array.pulse(np.arange(0, 420, 3), np.resize([1, -2, 7], 140).astype(np.int32), 1.0)
    for t in (1.0, 3e4):
        up, down = means(array, t)
        np.testing.assert_allclose(
            array.weights(t), (up - down) / array.siemens_per_weight, atol=4e-6
        )
    law, age = array.kind.device.read_noise, 3e4 - array.state.last_seconds
    g = pulses.conductance(array.state, array.kind.device, 3e4, array.key).astype(np.float64)
    x = g / array.kind.device.fitted_siemens
    band = np.log((age + law.t_read_seconds) / (2 * law.t_read_seconds))
    sigma = g * (law.amplitude.a / x + law.amplitude.b) * np.sqrt(band)
    wanted = (sigma**2).sum(0) / (devices * array.siemens_per_weight) ** 2
    np.testing.assert_allclose(array.variances(3e4), wanted, rtol=1e-4)
    reads = np.stack([array.read(3e4, n) for n in range(400)])
    # 400 reads of 420 weights: the mean ratio has a standard deviation of 0.0035.
    assert abs(reads.var(0).mean() / wanted.mean() - 1) < 0.018


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_pulses_go_in_turn_and_none_is_lost(devices):
    array, rng = pairs(devices), np.random.default_rng(3)
    wanted = np.zeros((2 * devices, *SHAPE), np.int64)
    flat = wanted.reshape(2 * devices, -1)
    for turn in range(7):
        index = np.sort(rng.choice(420, 100, replace=False))
        counts = rng.integers(1, 2 * devices + 2, 100) * rng.choice([-1, 1], 100)
        spent = array.pulse(index, counts.astype(np.int32), float(turn))
        assert spent.pulses == np.abs(counts).sum()
        for i, n in zip(index, counts, strict=True):  # the slow twin, pulse by pulse
            for k in range(abs(n)):
                flat[(n < 0) * devices + (turn + k) % devices, i] += 1
    np.testing.assert_array_equal(array.writes(), wanted)


def test_a_pulse_is_a_share_of_the_step():
    """The mean change by one pulse against the law's, divided by the devices; so is ``up``.

    n = 420 devices with a standard deviation of 1.4 uS for a mean step of 1.4 uS: five standard
    errors are 25 %, and a change that is not shared among four devices is 300 % off.
    """
    for devices in (1, 4):
        array = pairs(devices)
        law, p = array.kind.device.pulses.accumulation, int(array.state.pulses[0, 0, 0]) + 1
        mean = (
            law.mean_slope * 1.6e-6 + law.mean_offset_siemens
            + law.mean_first_siemens * np.exp(-p / law.decay_pulses)
        )  # fmt: skip
        before = array.weights(38.6)
        array.pulse(np.arange(420), np.ones(420, np.int32), 38.6)
        # Ages: t0 for the conductances of before, and t0 for those after the pulse.
        change = (array.weights(77.2) - before).mean()
        assert change == pytest.approx(mean * 1e6 / 8 / devices, rel=0.25)
        assert array.up == pytest.approx(0.77 / 8 / devices)


@pytest.mark.parametrize("devices", [1, 3])
def test_coincidences_are_pulses_both_ways(devices):
    rows = np.random.default_rng(5).integers(0, 2**8, (4, SHAPE[0])).astype(np.uint64)
    columns = np.random.default_rng(6).integers(0, 2**8, (4, SHAPE[1])).astype(np.uint64)
    signs = (np.ones(rows.shape, np.int8), np.where(columns % 2 == 0, 1, -1).astype(np.int8))
    array = pairs(devices)
    spent = array.coincide(rows, columns, signs, 1.0)
    both = rows[:, :, None] & columns[:, None, :]
    n = np.vectorize(lambda bits: bin(int(bits)).count("1"))(both)
    up = (n * (signs[1][:, None, :] > 0)).sum(0)
    found = array.writes().reshape(2, devices, *SHAPE).sum(1)
    np.testing.assert_array_equal(found, [up, n.sum(0) - up])
    assert spent.pulses == n.sum()


def test_refresh_takes_the_means():
    """Devices up to 9 uS whose mean is below 8 uS are left alone; saturated weights are not."""
    array = pairs(4, refresh_below_siemens=4e-6)
    array.state.g[:] = 1e-6
    array.state.g[0] = 12e-6  # one of four
    assert array.refresh(38.6).refreshed == 0
    array.state.g[:4, :, :10] = 9e-6
    array.state.g[4:, :, :10] = 8e-6
    array._valid[:] = False  # conductances were set by hand
    spent = array.refresh(38.6)
    assert spent.refreshed == SHAPE[0] * 10
    assert spent.resets == 8 * spent.refreshed
    # 1 uS is 5.2 steps of 0.77 / 4 uS: 6 pulses, in turn on four devices, but for read noise.
    trains = array.writes()[:4, :, :10].astype(int).sum(0) - 4
    assert trains.mean() == pytest.approx(5.7, abs=0.8)
    assert array.writes()[:, :, 10:].sum() == 0


def test_state_goes_on_bit_for_bit():
    def train(array, steps):
        for n in steps:
            array.pulse(np.arange(0, 420, 5), np.full(84, 3 if n % 2 else -1, np.int32), float(n))

    whole, first, second = pairs(3), pairs(3), pairs(3)
    train(whole, range(5))
    train(first, range(2))
    second.load(first.arrays())
    train(second, range(2, 5))
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])
    np.testing.assert_array_equal(whole.weights(99.0), second.weights(99.0))


def test_a_network_learns_on_them_and_a_chip_refuses_them():
    torch.manual_seed(0)
    net = learning.prepare(
        nn.Sequential(nn.Linear(8, 3)), presets.hermes("odp"),
        device=learning.PcmPairs(devices=2),
    )  # fmt: skip
    net(torch.ones(2, 8)).sum().backward()
    learning.SGD(net.parameters(), lr=0.2).step()
    assert net.report().to_dict()
    with pytest.raises(ValueError, match="devices = 2 have no counterpart"):
        net.to_chip()
    with pytest.raises((TypeError, ValueError), match="devices of PcmPairs"):
        learning.PcmPairs(devices=0)
