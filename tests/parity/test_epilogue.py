"""The fused pass against its scalar twin."""

import itertools

import naive
import numba
import numpy as np
import pytest
import torch

from aimc_sim.kernels import threads
from aimc_sim.kernels.epilogue import epilogue
from aimc_sim.kernels.math32 import narrowed

NO_BITS = np.zeros((0, 0, 0), np.uint16)
NOTHING = np.zeros((0, 0, 0), np.float32)
NO_LINK = np.zeros((1, 1, 1), np.float32)
NO_BOUNDS = np.zeros(2, np.float32)
NONE = np.zeros(0, np.float32)
KEY = np.array([4, 5], np.uint32)


def bfloat16(x):
    """Round to the nearest bfloat16, ties to even; return its bits."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def run(charge, gain, offset, link, link_gain, relu, adc, out, variance=NO_BITS, squares=NO_BITS,
        first_event=0, extra=NONE, jitter=NONE):  # fmt: skip
    result = np.full_like(charge, np.nan)
    counts = np.zeros((len(charge), 2), np.int64)
    rows = [np.array([1 / q[0], q[1], q[2]], np.float32) for q in (adc, out)]
    epilogue(
        charge, variance, extra, jitter, link, gain, offset, rows[0], NO_LINK, NO_BOUNDS,
        np.float32(link_gain), relu, rows[1], KEY, first_event + np.arange(len(charge)), 0, 0,
        False,
        result, squares, counts,
    )  # fmt: skip
    return result, counts


CASES = list(
    itertools.product(
        [True, False],  # relu
        [0.0, 0.05],  # link gain
        [(0.25, 20.0, True), (1.0, np.inf, False), (2.0, 3.0, False)],  # adc
        [(0.125, 127.0, True), (1.0, np.inf, False)],  # out
    )
)


@pytest.mark.parametrize(("relu", "link_gain", "adc", "out"), CASES)
def test_against_the_twin(relu, link_gain, adc, out, rng):
    shape = (3, 5, 7)
    charge = rng.normal(0, 4, shape).astype(np.float32)
    gain, offset = rng.normal(0, 1, (2, 7)).astype(np.float32)
    link = rng.integers(-127, 128, shape).astype(np.float32)
    found, counts = run(charge, gain, offset, link, link_gain, relu, adc, out)
    expected = naive.epilogue(charge.astype(float), gain, offset, link, link_gain, relu, adc, out)
    # a tie of rint may fall the other way in float32, by one code
    wrong = np.abs(found - expected) > 1e-5 * np.maximum(1, np.abs(expected))
    assert wrong.mean() <= 0.02
    assert np.abs(found - expected)[wrong].max(initial=0) <= 1
    z = charge / adc[0]
    z = np.rint(z) if adc[2] else z
    assert counts[:, 0].sum() == (np.abs(z) > adc[1]).sum()


@pytest.mark.parametrize("form", [bfloat16, np.float32])
def test_squares_and_slices(form, rng):
    charge = rng.normal(0, 50, (2, 3, 4)).astype(np.float32)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    out = np.full((2, 3, 9), 7, np.float32)
    squares = form(np.zeros((2, 3, 9), np.float32))
    link = np.arange(2 * 3 * 6, dtype=np.float32).reshape(2, 3, 6)
    ideal = np.array([1, np.inf, 0], np.float32)
    epilogue(
        charge, form(NOTHING), NONE, NONE, link, ones, zeros, ideal, NO_LINK, NO_BOUNDS,
        np.float32(2), False, ideal, KEY, np.arange(2), 1, 3, False, out, squares,
        np.zeros((2, 2), np.int64),
    )  # fmt: skip
    np.testing.assert_allclose(out[:, :, 3:7], charge + 2 * link[:, :, 1:5], rtol=1e-6)
    assert (out[:, :, :3] == 7).all()
    assert (out[:, :, 7:] == 7).all()
    np.testing.assert_array_equal(squares[:, :, 3:7], form(out[:, :, 3:7] ** 2))
    assert not squares[:, :, :3].any()


@pytest.mark.parametrize("form", [bfloat16, np.float32])
def test_noise_is_addressed(form):
    """Image i of a call has event first_event + i: splitting a batch changes nothing."""
    shape = (6, 11, 17)
    charge = np.zeros(shape, np.float32)
    variance = form(np.full(shape, 4.0))
    ones, zeros = np.ones(17, np.float32), np.zeros(17, np.float32)
    ideal = (1.0, np.inf, False)
    args = (ones, zeros, NO_LINK, 0.0, False, ideal, ideal)
    noisy = {"squares": form(NOTHING)}
    whole, _ = run(charge, *args, variance=variance, first_event=40, **noisy)
    part, _ = run(charge[2:5], *args, variance=variance[2:5], first_event=42, **noisy)
    np.testing.assert_array_equal(whole[2:5], part)
    expected = 2 * naive.mvm_normals(11 * 17, 43, (4, 5)).reshape(11, 17)
    np.testing.assert_allclose(whole[3], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("known", [True, False], ids=["variances", "none"])
def test_variances_of_images_and_of_columns(known):
    """Of image i ``extra[i]``, of column c ``jitter[c]`` where there is charge."""
    shape = (3, 40, 17)
    charge = np.zeros(shape, np.float32)
    charge[:, ::2] = 1000.0
    extra, jitter = np.array([0, 4, 9], np.float32), np.arange(17, dtype=np.float32)
    variance = np.full(shape if known else (0, 0, 0), 2.0, np.float32)
    ones, zeros, ideal = np.ones(17, np.float32), np.zeros(17, np.float32), (1.0, np.inf, False)
    found, _ = run(charge, ones, zeros, NO_LINK, 0.0, False, ideal, ideal, variance=variance,
                   squares=NOTHING, extra=extra, jitter=jitter)  # fmt: skip
    for i in range(3):
        xi = naive.mvm_normals(40 * 17, i, (4, 5)).reshape(40, 17)
        spread = np.sqrt(2.0 * known + extra[i] + jitter * (charge[i] != 0))
        np.testing.assert_allclose(found[i], charge[i] + spread * xi, rtol=1e-6, atol=2e-4)


def test_threads_do_not_matter(rng):
    """Two at once, each with images of its own, write what one writes."""
    charge = rng.normal(0, 4, (5, 30, 20)).astype(np.float32)
    variance = bfloat16(rng.random(charge.shape))
    ones, zeros = np.ones(20, np.float32), np.zeros(20, np.float32)
    args = (ones, zeros, NO_LINK, 0.0, True, (0.1, 30.0, True), (1.0, 127.0, True))

    def image(i):
        return run(charge[i : i + 1], *args, variance=variance[i : i + 1], first_event=i)[0]

    whole, _ = run(charge, *args, variance=variance)
    np.testing.assert_array_equal(whole, np.concatenate(threads.run(image, range(5), 2)))


def test_squares_are_rounded_as_torch_rounds_them():
    """All codes of 8 bits, and some that are no integers: bit for bit; truncation fails for 23."""
    codes = np.concatenate([np.arange(128), np.linspace(0.1, 127, 1000)]).astype(np.float32)
    wanted = torch.from_numpy(codes).square().to(torch.bfloat16).view(torch.int16).numpy()
    one = numba.njit(lambda code: narrowed(code * code))
    found = np.array([one(code) for code in codes], np.uint16)
    np.testing.assert_array_equal(found, wanted.view(np.uint16))
    cut = (codes[:128] ** 2).view(np.uint32) >> 16
    assert (cut != found[:128]).sum() > 20


@pytest.mark.parametrize("form", [bfloat16, np.float32])
def test_a_single_value_has_noise_and_a_square(form):
    """One image, pixel and column: its variance was taken for none, its square for unwanted."""
    one, ideal = np.ones((1, 1, 1), np.float32), (1.0, np.inf, False)
    squares = form(np.zeros((1, 1, 1)))
    found, _ = run(3 * one, one[0, 0], 0 * one[0, 0], NO_LINK, 0.0, False, ideal, ideal,
                   variance=form(4 * one), squares=squares, first_event=9)  # fmt: skip
    wanted = 3 + 2 * naive.mvm_normals(1, 9, (4, 5))[0]
    np.testing.assert_allclose(found[0, 0, 0], wanted, rtol=1e-5)
    np.testing.assert_array_equal(squares, form(found**2))


@pytest.mark.parametrize("steps", [1, 3])
def test_staircases_against_their_table(steps, rng):
    """Codes of 1 and of 3 thresholds per column, where columns are fewer than a tile and more."""
    from aimc_sim.core.quantise import StepTable

    for columns in (7, 150):
        shape = (3, 5, columns)
        charge = rng.normal(0, 4, shape).astype(np.float32)
        thresholds = np.sort(rng.normal(0, 3, (steps, columns)), axis=0).astype(np.float32)
        values = np.sort(rng.normal(0, 3, (steps + 1, columns)), axis=0).astype(np.float32)
        charge[0, 0] = thresholds[0]  # at a threshold is above it
        table = StepTable(thresholds, values)
        out, counts = np.full_like(charge, np.nan), np.zeros((3, 2), np.int64)
        exact = np.array([1, np.inf, 0], np.float32)
        one, nothing = np.ones(columns, np.float32), np.zeros(columns, np.float32)
        epilogue(
            charge, NO_BITS, NONE, NONE, NO_LINK, one, nothing, exact, table.rows,
            np.full(2, np.inf, np.float32), np.float32(0), False, exact, KEY, np.arange(3), 0, 0,
            False, out, NOTHING, counts,
        )  # fmt: skip
        wanted = table.codes(charge.reshape(-1, columns))[1].reshape(shape)
        np.testing.assert_array_equal(out, wanted)
        assert not counts.any()


def test_jitter_of_staircases_acts_without_charge():
    """n = 40,000: the share of ones at half a standard deviation, five standard errors 0.0125."""
    from aimc_sim.core.quantise import StepTable

    charge, counts = np.zeros((1, 5_000, 8), np.float32), np.zeros((1, 2), np.int64)
    table = StepTable(np.full((1, 8), -1, np.float32), np.array([[0], [1]]) * np.ones((1, 8)))
    exact = np.array([1, np.inf, 0], np.float32)
    one, nothing, out = np.ones(8, np.float32), np.zeros(8, np.float32), np.empty_like(charge)
    epilogue(
        charge, NO_BITS, NONE, np.full(8, 4, np.float32), NO_LINK, one, nothing, exact, table.rows,
        np.full(2, np.inf, np.float32), np.float32(0), False, exact, KEY, np.arange(1), 0, 0,
        False, out, NOTHING, counts,
    )  # fmt: skip
    assert out.mean() == pytest.approx(0.6915, abs=0.0125)
