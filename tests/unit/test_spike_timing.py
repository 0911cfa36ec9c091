"""Spike trains, neurons and the learning of spike times against closed forms and enumeration."""

import itertools

import numpy as np
import pytest

from aimc_sim import learning
from aimc_sim.learning.timing import TimedLayer, errors
from aimc_sim.rng import Key
from aimc_sim.spiking import SpikingNeurons, match, poisson_trains

NEURONS = SpikingNeurons()


def impulse(steps, at=3):
    spikes = np.zeros((steps, 1), bool)
    spikes[at] = True
    return spikes


def test_current_of_one_spike_is_the_difference_of_two_exponentials():
    t = np.arange(60) - 3.0
    wanted = np.where(t >= 0, np.exp(-t / 5) - np.exp(-t / 1.25), 0)
    np.testing.assert_allclose(NEURONS.currents(impulse(60))[:, 0], wanted, atol=1e-6)


def test_response_is_the_membrane_of_a_neuron_that_does_not_spike():
    """By convolution, and as the derivative of the drive: two spikes add up."""
    spikes = poisson_trains(np.full(4, 60.0), 200, Key(1).generator())
    a = np.exp(-0.1)
    kernel = (1 - a) * a ** np.arange(200)
    current = NEURONS.currents(spikes)
    wanted = np.stack([np.convolve(c, kernel)[:200] for c in current.T], axis=1)
    np.testing.assert_allclose(NEURONS.responses(spikes), wanted, atol=1e-6)


@pytest.mark.parametrize("drive", [1.05, 1.5, 4.0, 30.0])
def test_period_under_a_constant_drive(drive):
    """The first n with ``drive (1 - a^n) >= 1``, and three steps of silence after each spike."""
    a = np.exp(-0.1)
    n = int(np.ceil(np.log(1 - 1 / drive) / np.log(a) - 1e-9))
    found = np.flatnonzero(NEURONS.fire(np.full((400, 1), drive))[:, 0])
    assert found[0] == n - 1
    assert set(np.diff(found)) == {n + 3}
    assert not NEURONS.fire(np.full((400, 1), 1.0)).any()


def largest(wanted, found, reach):
    """Return the size of a largest matching, by trying all."""
    if not wanted:
        return 0
    best = largest(wanted[1:], found, reach)
    for k, spike in enumerate(found):
        if abs(spike - wanted[0]) <= reach:
            best = max(best, 1 + largest(wanted[1:], found[:k] + found[k + 1 :], reach))
    return best


def test_matching_by_enumeration():
    rng, nearest = np.random.default_rng(4), 0
    for _ in range(300):
        trains = rng.random((2, 16, 1)) < rng.uniform(0.1, 0.45, (2, 1, 1))
        reach = int(rng.integers(0, 5))
        found = match(trains[0], trains[1], reach * 1e-3)
        a, b = (list(np.flatnonzero(one)) for one in trains[..., 0])
        assert found.pairs == largest(a, b, reach)
        assert (found.wanted, found.found) == (len(a), len(b))
        nearest += sum(any(abs(x - y) <= reach for y in b) for x in a) != found.pairs
    assert nearest > 50  # spikes near any other one: a count that uses a spike twice


def test_shares_of_a_match():
    found = match(np.array([[1, 0, 0, 1, 0, 0, 1]], bool).T, np.array([[1] * 7], bool).T, 0)
    assert (found.accuracy, found.recall, found.precision) == (3 / 7, 1.0, 3 / 7)
    nothing = np.zeros((5, 2), bool)
    assert match(nothing, nothing, 1e-3).accuracy == 1
    with pytest.raises(ValueError, match="wanted has the shape"):
        match(nothing.astype(int), nothing, 1e-3)
    with pytest.raises(ValueError, match="found has the shape"):
        match(nothing, nothing[1:], 1e-3)


def test_poisson_trains_have_their_rates_and_distances():
    """n = 200,000 steps of 20 Hz: 4,000 spikes, standard deviation 63; an error of 8 % is seen."""
    found = poisson_trains(np.array([0.0, 20.0, 1000.0]), 200_000, Key(2).generator())
    counts = found.sum(0)
    assert counts[0] == 0
    assert abs(counts[1] - 4000) < 5 * 63
    assert counts[2] == 200_000
    apart = poisson_trains(np.full(5, 40.0), 5000, Key(2).generator(), apart_seconds=15e-3)
    gaps = [np.diff(np.flatnonzero(train)) for train in apart.T]
    assert min(gap.min() for gap in gaps) == 15
    # The first spike of a train, and any later one far enough, is kept: rate / (1 + rate 14 steps).
    assert abs(apart.sum() - 25_000 * 0.04 / (1 + 0.04 * 14)) < 5 * 25
    with pytest.raises(ValueError, match="rates"):
        poisson_trains(np.array([2000.0]), 5, Key(2).generator())


def test_an_update_moves_the_membrane_at_the_error_by_rate_times_norm():
    """Closed form: ``dw . d = r |d|`` where one spike is missing, minus that where one is too many.

    Other steps move by ``r d . d' / |d|``, and nothing else moves.
    """
    spikes = poisson_trains(np.full(30, 30.0), 100, Key(3).generator())
    d = NEURONS.responses(spikes)
    wanted = np.zeros((100, 2), bool)
    found = wanted.copy()
    wanted[60, 0] = found[80, 1] = True
    wanted[20] = found[20] = True  # right ones: no change
    x, delta = errors(d, wanted, found)
    assert x.shape == (2, 30)
    change = -0.1 * np.einsum("tn,tm->nm", x, delta)
    norm = np.linalg.norm(d, axis=1)
    moved = d @ change
    assert moved[60, 0] == pytest.approx(0.1 * norm[60], rel=1e-5)
    assert moved[80, 1] == pytest.approx(-0.1 * norm[80], rel=1e-5)
    np.testing.assert_allclose(moved[:, 0], 0.1 * (d @ d[60]) / norm[60], atol=1e-6)


def layer(update, device, seed=5):
    start = Key(seed).generator().normal(0.3, 0.1, (40, 12)).astype(np.float32)
    synapses = device.synapses(start, 5.0, Key(seed).child(1))
    return TimedLayer(synapses, update, NEURONS, Key(seed).child(2))


def task(seed=6):
    inputs = poisson_trains(np.full(40, 25.0), 500, Key(seed).generator())
    wanted = poisson_trains(np.full(12, 10.0), 500, Key(seed).child(1).generator(), 1e-3, 15e-3)
    return inputs, wanted


def test_spike_times_are_learned():
    """Float and devices are far above chance, on another task than that of the validation."""
    inputs, wanted = task()
    scores = {}
    for name, update, device in (
        ("float", learning.Exact(), learning.IdealDevice()),
        ("four", learning.MixedPrecision(), learning.PcmPairs(devices=4)),
    ):
        net = layer(update, device)
        first = match(wanted, net.run(inputs, 0.0), 10e-3).accuracy
        for step in range(40):
            net.learn(inputs, wanted, 0.2 * 0.97**step, 40.0 * (step + 1))
        scores[name] = match(wanted, net.run(inputs, 1610.0), 10e-3).accuracy
        assert first < 0.4
    assert scores["float"] > 0.8
    assert scores["four"] > 0.7, scores
    rolled = match(wanted, np.roll(wanted, 250, axis=0), 10e-3).accuracy
    assert rolled < 0.4  # spikes at other times of the trains


def test_a_wrong_sign_does_not_learn():
    inputs, wanted = task()
    net = layer(learning.Exact(), learning.IdealDevice())
    for step in range(40):
        net.learn(inputs, wanted, -0.2 * 0.97**step, 40.0 * (step + 1))
    assert match(wanted, net.run(inputs, 1610.0), 10e-3).accuracy < 0.3


def test_scaling_undoes_uniform_drift():
    """With one exponent and one age for all devices the factor is the drift's: (t / t0)^0.04."""
    device = learning.PcmPairs()
    quiet = learning.PcmPairs(device.device.with_(read_noise=None))
    net, (inputs, _) = layer(learning.MixedPrecision(), quiet), task()
    before, reference = net.run(inputs, 0.0), net.total_current(0.0)
    assert net.compensate(1e5, reference) == pytest.approx(((1e5 + 38.6) / 38.6) ** 0.04, rel=1e-5)
    scaled = net.run(inputs, 1e5)
    net.compensate(1e5)
    assert net.scale == 1
    drifted = net.run(inputs, 1e5)
    assert match(before, scaled, 0).accuracy > 0.98
    assert match(before, drifted, 0).accuracy < 0.7


def test_noise_is_addressed_by_the_presentation():
    inputs, wanted = task()
    runs = [layer(learning.MixedPrecision(), learning.PcmPairs()) for _ in range(2)]
    first = [net.run(inputs, 0.0) for net in runs]
    np.testing.assert_array_equal(*first)
    assert (runs[0].run(inputs, 0.0) != first[0]).any()
    with pytest.raises(ValueError, match="wanted has the shape"):
        runs[0].learn(inputs, wanted[:, :3], 0.1, 1.0)


def test_bad_constants_are_refused():
    for change in itertools.chain(
        ({"step_seconds": 0.0}, {"rise_seconds": 6e-3}, {"membrane_seconds": -1.0})
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            SpikingNeurons(**change)
    with pytest.raises(ValueError, match="drive has the shape"):
        NEURONS.fire(np.zeros(5))
