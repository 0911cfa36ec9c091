"""Products and outer products of arrays that learn, bit for bit against plain loops."""

import numpy as np
import pytest
from numba.core.errors import TypingError

from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import serial
from aimc_sim.kernels.tiles import add_rows, others_than_zero

f32 = np.float32


@serial
def sums(a, m, out):
    """Slow twin: ``out = a m``, one column and one term after the other; zeros are skipped."""
    for b in range(a.shape[0]):
        for c in range(m.shape[1]):
            total = f32(0.0)
            for r in range(m.shape[0]):
                if a[b, r] != f32(0.0):
                    total += a[b, r] * m[r, c]
            out[b, c] = total


@serial
def added(x, m, out):
    """Add multiples of the rows of m to ``out``, by tiles."""
    a, i = np.empty(x.size, np.float32), np.empty(x.size, np.int64)
    add_rows(a, i, others_than_zero(x, a, i), m, out)


def slow(a, m):
    out = np.empty((len(a), m.shape[1]), np.float32)
    sums(np.ascontiguousarray(a), m, out)
    return out


def bits(one, other):
    np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))


def batch(rng, vectors, rows, cols, zeros=0.5):
    x = rng.normal(size=(vectors, rows)).astype(np.float32)
    x[rng.random(x.shape) < zeros] = 0
    m = rng.normal(size=(rows, cols)).astype(np.float32)
    return x, m


@pytest.mark.parametrize("cols", [*range(1, 18), 31, 63, 64, 65, 127, 128, 255, 300])
def test_sums_over_tiles_are_those_of_plain_loops(rng, cols):
    x, m = batch(rng, 1, 41, cols)
    start = rng.normal(size=cols).astype(np.float32)
    guarded = np.full(cols + 2, 7, np.float32)  # a tile that is too wide would write beside it
    guarded[1:-1] = start
    added(x[0], m, guarded[1:-1])
    # The start as the first term.
    bits(guarded[1:-1], slow(np.hstack([[[1]], x]).astype(f32), np.vstack([start, m]))[0])
    assert guarded[0] == guarded[-1] == 7


def test_values_that_are_no_numbers_are_no_zeros():
    x = np.array([0, -0.0, np.nan, 2, np.inf], np.float32)
    m = np.ones((5, 3), np.float32)
    out = np.zeros(3, np.float32)
    added(x, m, out)
    assert np.isnan(out).all()
    added(x[:2], m[:2], found := np.full(3, 4, np.float32))
    assert (found == 4).all()


def test_rows_that_are_not_contiguous_are_refused():
    m = np.ones((3, 8), np.float32)
    with pytest.raises(TypingError, match="must be contiguous"):
        added(np.ones(3, np.float32), m[:, ::2], np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("vectors", "rows", "cols"), [(1, 197, 250), (70, 27, 16), (5, 1, 1), (3, 65, 90), (200, 9, 33)]
)
def test_products_and_outer_products_are_plain_loops(rng, vectors, rows, cols):
    x, w = batch(rng, vectors, rows, cols)
    x[:, 0] = 0  # an input that no vector has
    v, d = np.abs(w), rng.normal(size=(vectors, cols)).astype(np.float32)
    wanted, squares = slow(x, w), slow(x * x, v)
    outer, factor, epsilon = slow(x.T, d), f32(-0.3), f32(0.4)
    first = rng.normal(size=(rows, cols)).astype(np.float32)
    for parts in (1, 3):
        y, s = np.full((2, vectors, cols), np.nan, np.float32)
        total, hits = np.full((rows, cols), np.nan, np.float32), np.full(rows, -1)
        chi = first.copy()
        for part in range(parts):
            kernels.products.compiled(x, w, v, y, s, part, parts)
            kernels.outer.compiled(x, d, total, part, parts)
            kernels.accumulate.compiled(x, d, factor, chi, epsilon, hits, part, parts)
        bits(y, wanted)
        bits(s, squares)
        bits(total, outer)
        due = np.empty(rows, np.int64)
        kernels.add(outer, factor, expected := first.copy(), epsilon, due)
        bits(chi, expected)
        due[~x.any(axis=0)] = 0  # rows without an input are not counted
        np.testing.assert_array_equal(hits, due)
    kernels.products(x, w, np.empty((0, 0), np.float32), y, s)
    bits(y, wanted)
    assert not s.any()
