"""Weights inferred from products, and the split of the error."""

import numpy as np
import pytest

from aimc_sim.core import estimate


@pytest.fixture
def products(rng):
    x, w = rng.uniform(-1, 1, (300, 20)), rng.normal(size=(20, 7))
    return x, w, x @ w


def test_noiseless_products_give_the_weights_back(products):
    x, w, y = products
    np.testing.assert_allclose(estimate.weights(x, y), w, atol=1e-12)
    found = estimate.split(x, y, y)
    assert (found.total, found.linear) == pytest.approx((0, 0), abs=1e-12)


def test_wrong_weights_are_linear_and_noise_is_residual(products, rng):
    x, w, y = products
    wrong = estimate.split(x, x @ (w + 0.1 * rng.normal(size=w.shape)), y)
    assert wrong.residual < 1e-12 < 0.05 < wrong.linear == pytest.approx(wrong.total)
    noise = estimate.split(x, y + 0.1 * rng.normal(size=y.shape), y)
    # of N noisy products, R degrees of freedom go into the inferred weights
    assert noise.linear**2 / noise.total**2 == pytest.approx(20 / 300, rel=0.3)
    assert noise.linear**2 + noise.residual**2 == pytest.approx(noise.total**2)


def test_a_nonlinear_core_shows_in_the_residual(products):
    x, _, y = products
    bent = estimate.split(x, y - 0.02 * y**3, y)
    assert bent.residual > 0.3 * bent.linear > 0


def test_too_few_or_equal_inputs_are_refused(products):
    x, _, y = products
    with pytest.raises(ValueError, match="19 products cannot tell 20 rows apart"):
        estimate.weights(x[:19], y[:19])
    same = np.repeat(x[:5], 60, axis=0)
    with pytest.raises(ValueError, match="span only 5 of 20 rows"):
        estimate.weights(same, np.repeat(y[:5], 60, axis=0))
