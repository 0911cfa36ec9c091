"""Pulse trains in law: moments and covariances of coincidences, against closed forms.

Cells of one row share the row's train: ``Cov(c_ij, c_ik) = BL p_i q_j q_k (1 - p_i)``. A simulator
that draws every cell's count by itself has right means and variances, and none of these.
"""

import numpy as np
import pytest
from checks import assert_mean, assert_std

from aimc_sim import presets
from aimc_sim.device import steps
from aimc_sim.learning import trains
from aimc_sim.rng import Key

N = 40_000
P, Q, SLOTS = (0.27, 0.6), (0.2, 0.4, 0.05), 31


def counts_of(key, n=N, length=SLOTS, p=P, q=Q, independent=False):
    """Coincidences of n vectors with given probabilities, (n, rows, columns)."""
    if independent:
        rng = key.generator()
        return rng.binomial(length, np.outer(p, q), (n, len(p), len(q)))
    x, d = (np.tile(np.array(v, np.float32), (n, 1)) for v in (p, q))
    one = np.ones(n)
    scale = trains.Scales(np.full(n, length), one, one, one)
    drawn = trains.draw(x, d, scale, key, 0)
    words = drawn.rows[:, :, None] & drawn.columns[:, None, :]
    return np.bitwise_count(words).reshape(n, -1, len(p), len(q)).sum(axis=1)


def check_covariance(a, b, wanted):
    """Covariance of two samples within 5 standard errors, those of the product's mean."""
    assert_mean((a - a.mean()) * (b - b.mean()), wanted)


def check_all(counts, length=SLOTS, p=P, q=Q):
    for i in range(len(p)):
        for j in range(len(q)):
            c = counts[:, i, j].astype(float)
            both = p[i] * q[j]
            assert_mean(c, length * both)
            assert_std(c, np.sqrt(length * both * (1 - both)))
    for i in range(len(p)):
        for j, k in ((0, 1), (0, 2), (1, 2)):
            wanted = length * p[i] * q[j] * q[k] * (1 - p[i])
            check_covariance(counts[:, i, j], counts[:, i, k], wanted)
    for j in range(len(q)):
        wanted = length * q[j] * p[0] * p[1] * (1 - q[j])
        check_covariance(counts[:, 0, j], counts[:, 1, j], wanted)
    check_covariance(counts[:, 0, 0], counts[:, 1, 1], 0.0)  # neither row nor column in common


def test_moments_and_covariances_of_coincidences(key):
    """n = 40,000: the covariance 0.4888 is known to 0.025, its absence is 20 errors off."""
    counts = counts_of(key)
    assert SLOTS * P[0] * Q[0] * Q[1] * (1 - P[0]) == pytest.approx(0.4888, abs=1e-4)
    check_all(counts)


@pytest.mark.parametrize("length", [1, 32, 33, 64, 100])
def test_any_length(key, length):
    check_all(counts_of(key, 20_000, length), length)


def test_independent_cells_are_noticed(key):
    counts = counts_of(key, independent=True)
    c = counts[:, 0, 0].astype(float)
    assert_mean(c, SLOTS * P[0] * Q[0])  # means and variances alone are right
    with pytest.raises(AssertionError, match=r"standard errors off 0\.4888"):
        check_all(counts)


def test_a_shared_random_number_is_noticed(key):
    """Rows and columns from one stream: the mean is min(p, q) in place of p q."""
    n = 20_000
    x = np.tile(np.array(P, np.float32), (n, 1))
    one = np.ones(n)
    scale = trains.Scales(np.full(n, SLOTS), one, one, one)
    drawn = trains.draw(x, -x, scale, key, 0)  # equal values on both sides
    hits = np.bitwise_count(drawn.rows & drawn.columns)
    assert_mean(hits[:, 0], SLOTS * P[0] ** 2)
    same = np.bitwise_count(drawn.rows & drawn.rows)
    with pytest.raises(AssertionError):
        assert_mean(same[:, 0], SLOTS * P[0] ** 2)


@pytest.mark.parametrize(("x", "x_most", "d", "d_most", "managed", "mean", "std"), [
    (0.6, 1.0, 0.02, 0.1, True, 1.2e-4, 4.415e-4),
    (0.6, 1.0, 0.02, 0.1, False, 1.2e-4, 4.570e-4),
    (0.6, 1.0, 8.0, 10.0, True, 0.02976, 4.830e-3),
])  # fmt: skip
def test_moments_of_weights(x, x_most, d, d_most, managed, mean, std, key):
    """Change of a weight by one vector, pulse noise 0.3: published mean and standard deviation.

    40,000 vectors and as many devices without variation: 10 % in the standard deviation is noticed.
    """
    xs, ds = np.tile(np.float32([x, x_most]), (N, 1)), np.tile(np.float32([d, d_most]), (N, 1))
    scale = trains.scales(xs, ds, 0.01, 0.0016, SLOTS, managed, managed)
    drawn = trains.draw(xs, ds, scale, key, 0)
    counts = np.bitwise_count(drawn.rows[:, 0] & drawn.columns[:, 0]).astype(np.int32)
    state = steps.fresh(N, presets.gokmen_vlasov().with_(variation=None), key)
    steps.pulse(state, np.arange(N), counts, 0.0)
    found = state.p.astype(float)
    assert_mean(found, mean, std)
    assert_std(found, std)
    with pytest.raises(AssertionError):
        assert_std(found, 1.1 * std)


def test_trains_of_vectors_rows_and_sides_are_independent(key):
    counts = counts_of(key, 30_000, p=(0.3, 0.3), q=(0.3, 0.3)).astype(float)
    check_covariance(counts[:-1, 0, 0], counts[1:, 0, 0], 0.0)
    other = counts_of(Key(key.seed + 1), 30_000, p=(0.3, 0.3), q=(0.3, 0.3))
    check_covariance(counts[:, 0, 0], other[:, 0, 0], 0.0)
