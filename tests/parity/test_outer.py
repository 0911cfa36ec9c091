"""Outer products from random bits: the kernel against its slow twin, and its own invariants."""

import naive_outer
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aimc_sim.learning.products import ExactProduct, StochasticProduct
from aimc_sim.rng import Key


def batch(rng, vectors=9, rows=23, columns=7):
    """Return inputs of half zeros and errors whose sizes differ by vector, one of them zero."""
    x = np.maximum(rng.normal(size=(vectors, rows)), 0) * 3
    d = rng.normal(size=(vectors, columns)) * 10.0 ** rng.uniform(-8, 2, (vectors, 1))
    d[3] = 0
    x[4] = 0
    x[5, :] = 2.0  # every number is a power of two
    return x.astype(np.float32), d.astype(np.float32)


@pytest.mark.parametrize("length", [1, 2, 16, 64])
@pytest.mark.parametrize("bits", [1, 8, 16])
def test_kernel_is_its_slow_twin(rng, key, bits, length):
    x, d = batch(rng)
    found = StochasticProduct(bits, length).sum(x, d, key, number=2**33 + 5, first=11)
    wanted = sum(
        naive_outer.estimate(x[b], d[b], bits, length, key, 2**33 + 5, 11 + b)
        for b in range(len(x))
    )
    assert np.count_nonzero(wanted) > 3
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_parts_of_a_batch_add_up(rng, key):
    x, d = batch(rng)
    product = StochasticProduct(8, 4)
    whole = product.sum(x, d, key, 7)
    parts = product.sum(x[:4], d[:4], key, 7) + product.sum(x[4:], d[4:], key, 7, first=4)
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-7 * np.abs(whole).max())
    assert not np.array_equal(product.sum(x, d, key, 8), whole)  # another step, other numbers
    alone = product.sum(x[4:], d[4:], key, 7)
    assert not np.array_equal(alone, product.sum(x[4:], d[4:], key, 7, first=4))


def test_powers_of_two_only_move_the_result(rng, key):
    """x and d times powers of two: the estimate times their product, bit for bit."""
    x, d = batch(rng)
    product = StochasticProduct(8, 16)
    whole = product.sum(x, d, key, 0)
    np.testing.assert_array_equal(product.sum(x * 2.0**9, d * 2.0**-20, key, 0), whole * 2.0**-11)
    tiny = np.float32(2.0**-149) * np.arange(5, dtype=np.float32)
    found = StochasticProduct(16, 1).sum(tiny[None], np.ones((1, 1), np.float32), key, 0)
    assert set(found[:, 0].tolist()) <= {0.0, 2.0**-147}


@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 2))])
def test_patches_are_the_vectors_of_unfold(rng, key, stride, dilation):
    x = np.maximum(rng.normal(size=(3, 4, 9, 8)), 0).astype(np.float32)  # padded maps
    unfolded = F.unfold(torch.from_numpy(x), 3, dilation, 0, stride)  # (B, C * 9, pixels)
    pixels = [
        (9 - 2 * dilation[0] - 1) // stride[0] + 1,
        (8 - 2 * dilation[1] - 1) // stride[1] + 1,
    ]
    d = rng.normal(size=(3, *pixels, 5)).astype(np.float32)
    vectors = unfolded.transpose(1, 2).reshape(-1, 36).numpy()
    product = StochasticProduct(8, 8)
    wanted = product.sum(vectors, d.reshape(-1, 5), key, 4).T.reshape(5, 4, 3, 3)
    found = product.patches(x.transpose(0, 2, 3, 1), d, (3, 3), stride, dilation, key, 4)
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), wanted)


def test_exact_product(rng, key):
    x, d = batch(rng)
    np.testing.assert_array_equal(ExactProduct().sum(x, d, key, 0), x.T @ d)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"bits": 0}, "bits = 0"), ({"bits": 17}, "bits = 17"), ({"length": 3}, "shift of bits"),
        ({"length": 128}, "length = 128"), ({"scale": "layer"}, "scale = 'layer' is unknown"),
    ],
)  # fmt: skip
def test_bad_settings(bad, words):
    with pytest.raises(ValueError, match=words):
        StochasticProduct(**bad)


def test_bad_numbers():
    one = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="d holds 1 numbers that are not finite"):
        StochasticProduct().sum(one, np.array([[1], [np.nan]]), Key(0), 0)
    with pytest.raises(ValueError, match=r"wanted \(B, R\) and \(B, C\)"):
        StochasticProduct().sum(one, one[:1], Key(0), 0)
    maps = np.ones((2, 3, 3, 1), np.float32)
    with pytest.raises(ValueError, match="2 maps of"):
        StochasticProduct().patches(maps, maps, (3, 3), (1, 1), (1, 1), Key(0), 0)
