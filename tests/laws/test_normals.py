"""The law of the two normal generators: moments, shape, tails, independence."""

import math

import naive
import numba
import numpy as np
import pytest
from checks import assert_independent, assert_law, assert_mean, assert_std
from scipy import stats

from aimc_sim.kernels.normal import fill, pair64

N = 1 << 22


@pytest.fixture(scope="module")
def sample():
    out = np.empty(N, np.float32)
    fill(out, 12345, np.uint32(7), np.uint32(8))
    return out.astype(float)


def test_fill_equals_the_twin():
    out = np.empty(1024, np.float32)
    event = 3 + (5 << 32)
    fill(out, event, np.uint32(1), np.uint32(2))
    expected = naive.mvm_normals(1024, event, (1, 2))
    # the Taylor series of sine and cosine end 4e-6 off at the edge, times a radius of up to 5.4
    np.testing.assert_allclose(out, expected, rtol=0, atol=5e-5)


def test_moments(sample):
    # n = 4.2e6: the mean is held to 0.0024 sigma, the spread to 0.17 %
    assert_mean(sample, 0.0)
    assert_std(sample, 1.0)
    assert_mean(sample**3, 0.0)
    assert_mean(sample**4, 3.0)
    assert_mean(sample**5, 0.0)
    assert_mean(sample**6, 15.0)


def test_moment_checks_have_teeth(sample):
    with pytest.raises(AssertionError):
        assert_std(sample * 1.003, 1.0)
    with pytest.raises(AssertionError):
        assert_mean(sample + 0.004, 0.0)


def test_shape(sample):
    assert_law(sample[::4], stats.norm.cdf)
    with pytest.raises(AssertionError):
        assert_law(sample[::4] * 1.01, stats.norm.cdf)


@pytest.mark.parametrize("z", [3.0, 4.0, 4.5])
def test_tails(sample, z):
    # exact binomial count beyond z; at 4.5 sigma 28 of 4.2e6 draws are expected
    count = int((np.abs(sample) > z).sum())
    p = stats.binomtest(count, N, 2 * stats.norm.sf(z)).pvalue
    assert p > 1e-6


@pytest.mark.parametrize("side", [-1, 1])
def test_either_tail_to_five_sigma(side):
    """n = 2^28 draws: 500 beyond 4.6 sigma on either side are held to +-22 %, 77 beyond 5."""
    events, out = 64, np.empty(N, np.float32)
    found = {4.6: 0, 5.0: 0}
    for event in range(events):
        fill(out, event, np.uint32(21), np.uint32(22))
        for z in found:
            found[z] += int(np.count_nonzero(side * out > z))
    for z, count in found.items():
        claim = stats.binomtest(count, events * N, stats.norm.sf(z)).pvalue
        assert claim > 1e-6
        halved = stats.binomtest(count, events * N, 2 * stats.norm.sf(z)).pvalue
        assert halved < 1e-6  # a tail of half its weight would be seen


def test_tail_ends_beyond_five_sigma():
    # the smallest radius argument is 2^-21: the law is cut at 5.4 sigma, probability 7e-8
    assert math.sqrt(-2 * math.log(0.5 * 2**-20)) > 5.3


def test_shape_of_radius_and_angle():
    """Both normals of a word: squared radius exponential, angle uniform, one without the other."""
    out = np.empty(N, np.float32)
    fill(out, 77, np.uint32(5), np.uint32(6))
    x, y = out.astype(float).reshape(-1, 2, 64).transpose(1, 0, 2).reshape(2, -1)
    square, angle = x**2 + y**2, np.arctan2(y, x)
    assert_law(square[::4] / 2, stats.expon.cdf)
    assert_law(angle[::4], stats.uniform(-np.pi, 2 * np.pi).cdf)
    assert_independent(square, angle)


def test_neighbours_events_and_keys_are_independent(sample):
    assert_independent(sample[:-1], sample[1:])
    assert_independent(sample[:-64], sample[64:])  # both normals of one word
    for event, key in ((12346, 7), (12345, 9)):
        other = np.empty(N // 4, np.float32)
        fill(other, event, np.uint32(key), np.uint32(8))
        assert_independent(sample[: N // 4], other)
    with pytest.raises(AssertionError):
        assert_independent(sample, 0.01 * sample + sample[::-1])


@numba.njit
def _pairs(words, out):
    for i in range(len(words)):
        out[i, 0], out[i, 1] = pair64(words[i, 0], words[i, 1])


def test_pair64(rng):
    words = rng.integers(0, 2**32, (400_000, 2), dtype=np.uint32)
    out = np.empty(words.shape)
    _pairs(words, out)
    np.testing.assert_allclose(out[0], naive.pair(*words[0].tolist()), rtol=1e-12)
    assert_law(out, stats.norm.cdf)
    assert_independent(out[:, 0], out[:, 1])
