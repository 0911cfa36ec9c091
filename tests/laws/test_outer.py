"""Outer products from random bits: mean, variance and covariances against the closed forms."""

import naive_outer
import numpy as np
import pytest

from aimc_sim.learning.products import StochasticProduct

X = np.array([1.0, -0.6, 0.3, 0.05, 0.003, 0.0, -0.5], np.float32)
D = np.array([0.3, -1.0, 0.07, 0.75, -0.002], np.float32)
N = 6000


def samples(product, key, n=N, x=X, d=D):
    """Return n estimates of one outer product, (n, R, C) float64."""
    return np.array([product.sum(x[None], d[None], key, i) for i in range(n)], np.float64)


def deviations(found, mean, variance, length, unit=1.0):
    """Return by how many standard errors means and variances of samples are off, at worst.

    A count is binomial; its fourth moment gives the standard error of a variance.
    """
    n, p = len(found), np.abs(mean) / unit
    fourth = p * (1 - p) * (1 + (3 * length - 6) * p * (1 - p)) / length**3 * unit**4
    of_mean = np.sqrt(variance / n)
    # The last term counts where the first one vanishes: one slot and p q = 1/2.
    of_variance = np.sqrt(np.maximum(fourth - variance**2, 0) / n) + variance / n
    random = variance > 0
    assert np.array_equal(found[0][~random], mean[~random])  # 0 or 1 in every slot
    assert random.any()
    rare = n * length * p < 25  # too few coincidences for a normal distribution
    means = (found.mean(0) - mean)[random & ~rare] / of_mean[random & ~rare]
    variances = (found.var(0) - variance)[random & ~rare] / of_variance[random & ~rare]
    return np.abs(means).max(initial=0), np.abs(variances).max(initial=0)


@pytest.mark.parametrize("length", [1, 4, 64])
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 12, 16])
def test_mean_and_variance(key, bits, length):
    """n = 6,000; bound: 5.5 standard errors, at most 35 entries (chance 1e-6).

    Smallest error that is caught, of an entry with p q = 0.18 and length 4: 0.014 of the mean
    (8 %) and 11 % of the variance.
    """
    product = StochasticProduct(bits, length)
    found = samples(product, key)
    mean, variance = product.moments(X, D)
    of_mean, of_variance = deviations(found, mean, variance, length)
    assert of_mean < 5.5
    assert of_variance < 5.5
    if bits <= 3:  # the bias of few bits is larger than all noise
        unbiased = np.outer(X, D).astype(float)
        seen = variance > 0
        error = np.abs(found.mean(0) - unbiased)[seen] / np.sqrt(variance[seen] / N)
        assert error.max() > 8


def test_every_width_has_its_bias(key):
    """E = floor(p 2^b) floor(q 2^b) / 4^b for b of 1 to 16: p = q = 0.7, five by hand."""
    x = np.array([0.7, 1.0], np.float32)
    by_hand = {1: 0.25, 2: 0.25, 3: 0.390625, 4: 0.47265625, 8: (179 / 256) ** 2}
    for bits in range(1, 17):
        mean, _ = StochasticProduct(bits, 64).moments(x, x)
        assert mean[0, 0] == by_hand.get(bits, mean[0, 0])
        assert 0 <= 0.49 - mean[0, 0] <= 2 * 0.7 * 2.0**-bits
        found = samples(StochasticProduct(bits, 64), key, 1000, x, x)[:, 0, 0]
        # Standard error 0.002; a width that is off by one is caught up to 5 bits.
        assert abs(found.mean() - mean[0, 0]) < 5.5 * np.sqrt(mean[0, 0] * (1 - mean[0, 0]) / 64000)


@pytest.mark.parametrize("bits", [1, 4, 8, 11])
def test_small_values_never_fire(key, bits):
    """Below 2^-b no random number of b bits is small enough; from 2^-b on, one of 2^b is."""
    x = np.array([1.0, 0.999 * 2.0**-bits, 2.0**-bits], np.float32)
    found = samples(StochasticProduct(bits, 64), key, 2000, x, np.ones(1, np.float32))[:, :, 0]
    assert (found[:, 0] == 1).all()
    assert (found[:, 1] == 0).all()
    # At 11 bits 62 of 128,000 slots are expected: none at all has a chance of 1e-27.
    assert 0.5 < found[:, 2].mean() * 2**bits < 1.5


def test_published_standard_deviations(key):
    """The table of the closed form for p = 0.6, q = 0.3; n = 20,000: 5 % is ten standard errors."""
    x, d = np.array([0.6, 1.0], np.float32), np.array([0.3, 1.0], np.float32)
    table = {1: 0.3842, 2: 0.2717, 4: 0.1921, 8: 0.1358, 16: 0.0960, 32: 0.0679, 64: 0.0480}
    for length, deviation in table.items():
        product = StochasticProduct(16, length)
        assert np.sqrt(product.moments(x, d)[1][0, 0]) == pytest.approx(deviation, abs=6e-5)
        found = samples(product, key, 4000, x, d)[:, 0, 0]
        assert found.std() == pytest.approx(deviation, rel=0.08)  # standard error 1.5 % or less


def covariance(p, q, length):
    """Return the covariance of all entries, (RC, RC): rows share u, columns share v."""
    rows, columns = np.minimum.outer(p, p), np.minimum.outer(q, q)
    return (np.kron(rows, columns) - np.outer(np.kron(p, q), np.kron(p, q))) / length


def test_covariances_are_those_of_shared_numbers(key):
    """n = 6,000, 12 x 12 covariances; bound: 6 standard errors of a normal distribution.

    The smallest error that is caught is a correlation of 0.08 in place of 0. Independent cells,
    and columns with a number each (pulse trains have those), are both rejected.
    """
    p, q, length = np.array([1.0, 0.8, 0.6, 0.3]), np.array([1.0, 0.6, 0.3]), 64
    found = samples(
        StochasticProduct(16, length), key, N, p.astype(np.float32), q.astype(np.float32)
    )
    found = np.cov(found.reshape(N, -1), rowvar=False, bias=True)
    cut = [np.floor(np.float32(one).astype(float) * 2**16) / 2**16 for one in (p, q)]

    def deviation(wanted):
        own = np.diag(covariance(*cut, length))
        error = np.sqrt((np.outer(own, own) + wanted**2) / N)
        return np.max(np.abs(found - wanted)[error > 0] / error[error > 0])

    shared = covariance(*cut, length)
    assert deviation(shared) < 6
    assert deviation(np.diag(np.diag(shared))) > 20
    both = np.outer(cut[0], cut[1]).ravel()
    square = np.outer(cut[1], cut[1]) * (1 - np.eye(3)) + np.diag(cut[1])
    own_numbers = (
        np.kron(np.minimum.outer(cut[0], cut[0]), square) - np.outer(both, both)
    ) / length
    assert deviation(own_numbers) > 20


def test_one_number_for_both_sides_is_caught(key):
    """u = v gives min(p, q) for p q: the moments reject it at once (n = 300, p 0.6, q 0.3)."""
    x, d = np.array([0.6, 1.0], np.float32), np.array([0.3, 1.0], np.float32)
    mean, variance = StochasticProduct(16, 8).moments(x, d)
    for shared in (False, True):
        found = np.array(
            [naive_outer.estimate(x, d, 16, 8, key, i, shared=shared) for i in range(300)]
        )
        off, _ = deviations(found, mean, variance, 8)
        assert (off > 10) if shared else (off < 5.5)
        wanted = 0.3 if shared else 0.18
        assert found[:, 0, 0].mean() == pytest.approx(wanted, abs=0.045)
