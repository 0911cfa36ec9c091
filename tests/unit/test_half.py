"""Half arithmetic on float32 carriers: bit for bit numpy's float16 and exact fractions."""

import naive_digital
import numpy as np
import pytest

from aimc_sim.kernels import half, serial

HALVES = np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16)
FINITE = HALVES[np.isfinite(HALVES)]


def _loop(rounding):
    @serial
    def apply(x, out):
        for j in range(x.size):
            out[j] = rounding(x[j])

    return apply


ROUNDINGS = {"chosen": half.round_arrays, "portable": _loop(half._round_portable)}
if half._converts():
    ROUNDINGS["instruction"] = _loop(half._round_fast)


@pytest.fixture(params=sorted(ROUNDINGS))
def rounded(request):
    def apply(x):
        out = np.empty_like(x)
        ROUNDINGS[request.param](x, out)
        return out

    return apply


def same_bits(found, expected):
    """Bits, signs of zeros included; NaNs count as one."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    np.testing.assert_array_equal(found[~nan].view(np.uint32), expected[~nan].view(np.uint32))


def by_numpy(x):
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float16).astype(np.float32)


def test_every_half_returns(rounded):
    with np.errstate(invalid="ignore"):
        x = HALVES.astype(np.float32)
    same_bits(rounded(x), x)


def test_every_tie_and_its_neighbours(rounded):
    grid = np.unique(FINITE.astype(np.float64))
    ties = (grid[:-1] + grid[1:]) / 2
    top = np.array([-65520.0, 65520.0])  # the tie with what would be 65536
    ties = np.concatenate([ties, top]).astype(np.float32)  # exact: 12 bits
    x = np.concatenate([np.nextafter(ties, np.float32(-np.inf)), ties,
                        np.nextafter(ties, np.float32(np.inf))])  # fmt: skip
    same_bits(rounded(x), by_numpy(x))
    assert np.isinf(rounded(top.astype(np.float32))).all()
    assert rounded(np.array([65519.99], np.float32))[0] == 65504


def test_random_floats(rounded, rng):
    bits = rng.integers(0, 2**32, 1_000_000, dtype=np.uint64).astype(np.uint32)
    near = rng.normal(0, 1, 300_000) * 2.0 ** rng.integers(-30, 18, 300_000)
    x = np.concatenate([bits.view(np.float32), near.astype(np.float32)])
    same_bits(rounded(x), by_numpy(x))


def traps(rng, n):
    """Products that are ties of float16, or nearly, and addends too small for float32."""
    a = np.float16(1 + rng.integers(0, 1024, n) / 1024) * np.float16(2.0) ** rng.integers(-3, 4, n)
    b = np.float16(1 + 2.0 ** -rng.integers(1, 11, n))
    sign = rng.choice([-1, 1], n)
    c = np.float16(sign * 2.0 ** rng.integers(-24, 1, n))
    return a.astype(np.float16), b, c


def any_halves(rng, n):
    return rng.choice(FINITE, (3, n))


def near_cancelling(rng, n):
    a, b = rng.normal(0, 1, (2, n)).astype(np.float16)
    return a, b, -(a * b) + np.float16(2.0) ** rng.integers(-24, -4, n)


def subnormal(rng, n):
    scale = 2.0 ** rng.integers(-13, -6, (2, n))
    a, b = (rng.normal(0, 1, (2, n)) * scale).astype(np.float16)
    return a, b, np.float16(rng.integers(-2000, 2000, n) * 2.0**-24)


@pytest.mark.parametrize("cases", [traps, any_halves, near_cancelling, subnormal])
def test_fma_against_fractions(cases, rng):
    a, b, c = (x.astype(np.float16) for x in cases(rng, 5000))
    found = np.empty(a.size, np.float32)
    half.fma_arrays(*(x.astype(np.float32) for x in (a, b, c)), found)
    expected = [naive_digital.fma(*abc) for abc in zip(a, b, c, strict=True)]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_rounding_twice_is_noticed(rng):
    """The traps are traps: through float32 alone, some results differ."""
    a, b, c = (x.astype(np.float32) for x in traps(rng, 20000))
    found = np.empty(a.size, np.float32)
    half.fma_arrays(a, b, c, found)
    twice = by_numpy(a * b + c)
    assert (found != twice).sum() > 20
    # 1.5 x 683/1024 = 1 + 2^-11, a tie of float16; 2^-24 is half a step of float32 there.
    a, b, small = np.float32(1.5), np.float32(683 / 1024), np.float32(2**-24)
    assert by_numpy(np.array([a * b + small]))[0] == 1
    assert half_fma(a, b, small) == np.float32(1 + 2**-10)
    assert half_fma(a, b, -small) == 1


def half_fma(a, b, c):
    out = np.empty(1, np.float32)
    half.fma_arrays(*(np.array([x], np.float32) for x in (a, b, c)), out)
    return out[0]


def test_infinities_and_nan():
    assert half_fma(60000, 2, 0) == np.inf
    assert half_fma(-60000, 2, 1) == -np.inf
    assert half_fma(np.inf, 1, 5) == np.inf
    assert half_fma(1, 1, -np.inf) == -np.inf
    assert np.isnan(half_fma(np.inf, 1, -np.inf))
    assert np.isnan(half_fma(np.nan, 1, 1))
    assert half_fma(65504, 65504, -np.float32(65504)) == np.inf


def test_products(rng):
    a, b = any_halves(rng, 200_000)[:2]
    found = np.empty(a.size, np.float32)
    half.multiply_arrays(a.astype(np.float32), b.astype(np.float32), found)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, (a * b).astype(np.float32))
