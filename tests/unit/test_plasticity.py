"""Correlated processes, collective pulses, STDP with fatigue, the volatile part: closed forms."""

import numpy as np
import pytest
from scipy.stats import rankdata

from aimc_sim import learning
from aimc_sim.kernels import spiking as kernels
from aimc_sim.learning.plasticity import InputTraces
from aimc_sim.rng import Key
from aimc_sim.spiking import (
    CorrelatedProcesses,
    CorrelationDetector,
    VolatilePart,
    collective_threshold,
)


def table(processes, steps):
    """Return all activities, (steps, N) bool."""
    found = np.zeros((steps, processes.size), bool)
    for step in range(steps):
        found[step, processes.active(step)] = True
    return found


def test_rates_and_covariances():
    """Mean r of all; covariance c r (1 - r) between correlated ones, 0 for all others.

    20,000 steps of 60 + 60 processes, r 0.2, c 0.3: the covariance, a mean over 1,770 pairs, has a
    standard error of about 0.0006 (found over ten keys), the means one of 0.0012. An error of 10 %
    of 0.048 is caught.
    """
    x = table(CorrelatedProcesses(120, 60, 0.2, 0.3, Key(3)), 20_000)
    assert abs(x[:, :60].mean() - 0.2) < 0.006
    assert abs(x[:, 60:].mean() - 0.2) < 0.0015
    found = np.cov(x.T.astype(float))
    pairs = np.triu_indices(60, 1)
    assert abs(found[:60, :60][pairs].mean() - 0.3 * 0.2 * 0.8) < 0.003
    assert abs(found[60:, 60:][pairs].mean()) < 0.0005
    assert abs(found[:60, 60:].mean()) < 0.0005
    np.testing.assert_allclose(np.diag(found), 0.16, atol=0.01)


def test_gaps_are_those_of_a_bernoulli_process():
    """Sum of squared distances from (1 - p)^k p, n = 50,000: chi^2 over 12 gaps, below its 1e-5."""
    index = np.empty(kernels.RUN * 40, np.int64)
    words, p = np.array(Key(4).words()), 0.3
    n = kernels.active(p, 0, words, index)
    assert abs(n - p * index.size) < 5 * np.sqrt(index.size * p * (1 - p))
    gaps = np.diff(index[:n]) - 1
    counts = np.bincount(np.minimum(gaps, 12), minlength=13)
    chances = np.append(p * (1 - p) ** np.arange(12), (1 - p) ** 12)
    chi = ((counts - len(gaps) * chances) ** 2 / (len(gaps) * chances)).sum()
    assert chi < 45  # 12 degrees of freedom: 1e-5
    wrong = np.append(0.31 * 0.69 ** np.arange(12), 0.69**12)
    assert ((counts - len(gaps) * wrong) ** 2 / (len(gaps) * wrong)).sum() > 45
    assert kernels.active(0.0, 0, words, index) == 0
    assert kernels.active(1.0, 0, words, index) == index.size


def test_draws_are_addressed():
    """A step does not depend on others, nor a process on those that follow it."""
    large = CorrelatedProcesses(20_000, 5_000, 0.02, 0.5, Key(5))
    later = [large.active(k) for k in (7, 3, 7)]
    np.testing.assert_array_equal(later[0], later[2])
    assert len(later[0]) != len(later[1]) or (later[0] != later[1]).any()
    small = CorrelatedProcesses(12_000, 5_000, 0.02, 0.5, Key(5)).active(7)
    np.testing.assert_array_equal(small, later[0][later[0] < 12_000])
    assert (np.diff(later[0]) > 0).all()


def auc(values, first):
    rank = rankdata(values)  # equal values share a rank: sorting orders them as a processor likes
    return (rank[:first].sum() - first * (first + 1) / 2) / (first * (len(values) - first))


def test_collective_pulses_find_correlations_and_others_do_not():
    """1,000 devices, 100 of them correlated (0.75): as many pulses at random steps find nothing."""
    processes = CorrelatedProcesses(1_000, 100, 0.05, 0.75, Key(6))
    found = [processes.active(k) for k in range(800)]
    threshold = collective_threshold(np.array([len(one) for one in found[:400]]), 0.02)
    scores = {}
    for name, steps in (("collective", threshold), ("all", 0.0)):
        detector = CorrelationDetector(1_000, steps, Key(7))
        for k in range(400, 800 if name == "collective" else 408):
            detector.step(found[k], float(k))
        scores[name] = auc(detector.conductances(810.0), 100)
        assert detector.given == detector.state.events.sum() - 1_000  # a RESET each
    assert scores["collective"] > 0.9
    assert 0.35 < scores["all"] < 0.75


def test_threshold_is_exceeded_by_the_share():
    counts = np.array([5, 1, 9, 7, 3, 8, 2, 6, 4, 10])
    for share, wanted in ((0.2, 8), (0.0, 10), (1.0, -1), (0.25, 8)):
        assert collective_threshold(counts, share) == wanted
    assert (counts > collective_threshold(counts, 0.3)).sum() == 3
    with pytest.raises(ValueError, match="counts have the shape"):
        collective_threshold(np.empty(0), 0.1)


@pytest.mark.parametrize("rate", [2.0, 10.0, 50.0])
def test_mean_resource_of_poisson_inputs(rate):
    """1 / (1 + U r tau): U 0.6, tau 0.5 s, 400 inputs.

    In steps of 1 ms the exact mean is that of a Bernoulli process: ``(1 - e) / (1 - e (1 - U p))``
    with e the factor of recovery and p the chance of a spike, within 0.1 % of the formula.
    """
    rule = learning.STDP(used=0.6, recovery_seconds=0.5)
    traces, generator = InputTraces(rule, 400), Key(8).generator()
    total = spikes = 0.0
    for step in range(4_000):
        fires = generator.random(400) < rate * 1e-3
        before = traces.trace.copy() * np.exp(-1e-3 / rule.window_seconds)
        traces.step(fires)
        if step > 2_000:  # settled: four recoveries
            total += (traces.trace - before)[fires].sum()
            spikes += fires.sum()
    wanted = 1 / (1 + 0.6 * rate * 0.5)
    # Spikes of an input are correlated over the recovery; five standard errors of 400 x 2 s.
    assert total / spikes == pytest.approx(wanted, rel=5 * 0.9 / np.sqrt(400 * 2 * rate) + 0.002)
    assert abs(total / spikes / wanted - 1) < 0.2 < abs(1 / wanted - 1)  # not without fatigue


def test_change_at_a_spike_of_the_neuron():
    """InputTraces of two spikes 15 and 5 ms ago, the second of a resource that had used 0.6."""
    rule = learning.STDP(potentiation=0.1, depression=0.02, used=0.6)
    traces = InputTraces(rule, 3)
    for step in range(21):
        traces.step(np.array([step in (5, 15), step == 15, False]))
    second = 1 - 0.6 * np.exp(-10 / 500)
    first = np.exp(-15 / 20) + second * np.exp(-5 / 20)
    wanted = 0.1 * np.array([first, np.exp(-5 / 20), 0]) - 0.02
    np.testing.assert_allclose(traces.change(), wanted, atol=1e-7)
    plain = InputTraces(learning.STDP(), 1)
    for _ in range(3):
        plain.step(np.ones(1, bool))
    assert plain.resource[0] == 1


def neuron(used, device, update, seconds=0.0):
    synapses = device.synapses(np.full((60, 1), 0.5, np.float32), 1.0, Key(9))
    rule = learning.STDP(potentiation=0.02, depression=0.002, used=used)
    return learning.PlasticNeuron(synapses, update, rule, Key(10), threshold=6.0)


@pytest.mark.parametrize("device", ["exact", "pairs"])
def test_fatigue_ranks_correlated_inputs_before_fast_ones(device):
    """20 slow and correlated, 20 slow, 20 fast inputs; 20 s."""
    slow = CorrelatedProcesses(40, 20, 0.005, 0.6, Key(11))
    fast = CorrelatedProcesses(20, 0, 0.06, 0.0, Key(12))
    means = {}
    for used in (0.0, 0.6):
        pair = (learning.IdealDevice(), learning.Exact())
        if device == "pairs":
            pair = (learning.PcmPairs(), learning.MixedPrecision(refresh_every=0))
        net = neuron(used, *pair)
        for k in range(20_000):
            spikes = np.zeros(60, bool)
            spikes[slow.active(k)] = spikes[40 + fast.active(k)] = True
            net.step(spikes, k * 1e-3)
        w = net.synapses.weights(30.0)[:, 0]
        means[used] = w[:20].mean(), w[20:40].mean(), w[40:].mean()
        assert 40 < net.spikes < 400  # a wanted rate of 5 Hz over 20 s, and the way there
    assert means[0.0][2] > means[0.0][1]
    assert means[0.6][0] > means[0.6][2] + 0.05
    assert means[0.6][0] - means[0.6][2] > means[0.0][0] - means[0.0][2]


def test_volatile_part_is_a_sum_over_the_past():
    """F x = rate sum over s of decay^(t-1-s) (x_t . x_s) post_s, which needs no matrix."""
    rng = np.random.default_rng(0)
    x, post = rng.random((6, 3, 5)).astype(np.float32), rng.random((6, 3, 4)).astype(np.float32)
    part = VolatilePart(3, 5, 4, decay=0.7, rate=0.2)
    for t in range(6):
        wanted = sum(
            0.2 * 0.7 ** (t - 1 - s) * (x[t] * x[s]).sum(1)[:, None] * post[s] for s in range(t)
        )
        np.testing.assert_allclose(part.product(x[t]), wanted + np.zeros((3, 4)), atol=1e-5)
        part.update(x[t], post[t])
    with pytest.raises(ValueError, match="x has the shape"):
        part.product(x[0, :2])
    with pytest.raises(ValueError, match="decay"):
        VolatilePart(1, 1, 1, 1.5, 0.1)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="correlated"):
        CorrelatedProcesses(10, 11, 0.1, 0.1, Key(0))
    with pytest.raises(ValueError, match="rate"):
        CorrelatedProcesses(10, 5, 1.1, 0.1, Key(0))
    for change in ({"window_seconds": 0.0}, {"used": 1.5}, {"depression": -1.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            learning.STDP(**change)
    two = learning.PcmPairs().synapses(np.zeros((4, 2), np.float32), 1.0, Key(0))
    with pytest.raises(ValueError, match="2 columns"):
        learning.PlasticNeuron(two, learning.MixedPrecision(), learning.STDP(), Key(1), 1.0)
