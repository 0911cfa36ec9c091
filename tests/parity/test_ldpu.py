"""The local digital unit: reference, fused loops and scalar twin, bit for bit."""

import itertools

import naive
import naive_digital
import numpy as np
import pytest

from aimc_sim.core import ldpu
from aimc_sim.core.ldpu import LdpuRegisters
from aimc_sim.kernels import serial
from aimc_sim.kernels.ldpu import _correct_half, ldpu_half

SHAPE = (40, 9)
FLAGS = list(itertools.product([False, True], [False, True], [False, True]))


def registers(rng, linked, before, after, **other):
    cols = SHAPE[1]
    values = dict(
        scale=rng.normal(0, 0.5, cols), offset=rng.normal(0, 20, cols),
        gain_positive=rng.normal(1, 0.07, cols), gain_negative=rng.normal(1, 0.07, cols),
        adc_offset=rng.normal(0, 3, cols), link_scale=0.37 if linked else 0.0,
        relu_before=before, relu_after=after, per_step=0.83,
    )  # fmt: skip
    return LdpuRegisters(**{**values, **other})


def inputs(rng):
    positive, negative = rng.integers(0, 450, (2, *SHAPE))
    positive[0], negative[0] = rng.integers(0, 4096, (2, SHAPE[1]))  # rounded on conversion
    positive[1], negative[1] = 4095, 0
    positive[2], negative[2] = 0, 4095
    positive[3] = negative[3] = 0
    link = rng.integers(-127, 128, SHAPE)
    link[4], link[5] = 127, -127
    return positive, negative, link


def twin(r, positive, negative, link, function):
    codes, cuts = np.zeros(positive.shape, np.float32), 0
    for i, c in np.ndindex(positive.shape):
        one = {name: np.broadcast_to(value, positive.shape[1])[c] for name, value in vars(r).items()
               if name != "rounds"}  # fmt: skip
        code, cut = function(positive[i, c], negative[i, c], None if link is None else link[i, c],
                             one)  # fmt: skip
        codes[i, c] = code
        cuts += cut
    return codes, cuts


@pytest.mark.parametrize(("linked", "before", "after"), FLAGS)
def test_half_against_the_twin(linked, before, after, rng):
    positive, negative, link = inputs(rng)
    link = link if linked else None
    r = registers(rng, linked, before, after)
    codes, saturated = ldpu.run(r, positive, negative, link)
    expected, cuts = twin(r, positive, negative, link, naive_digital.ldpu)
    np.testing.assert_array_equal(codes, expected)
    assert saturated == cuts > 0


@pytest.mark.parametrize(("linked", "before", "after"), FLAGS)
def test_single_against_the_twin(linked, before, after, rng):
    positive, negative, link = inputs(rng)
    link = link if linked else None
    r = registers(rng, linked, before, after)
    codes, saturated = ldpu.run(r, positive, negative, link, bit_true=False)
    expected, cuts = twin(r, positive, negative, link, naive_digital.ldpu_single)
    np.testing.assert_array_equal(codes, expected)
    assert saturated == cuts > 0


def test_overflow_saturates():
    """A value beyond float16 is infinite, then the largest code, and counted."""
    r = LdpuRegisters(scale=60.0, offset=0.0)
    counts = np.array([[4000, 1]])
    codes, saturated = ldpu.run(r, counts, np.zeros_like(counts))
    np.testing.assert_array_equal(codes, [[127, 60]])
    assert saturated == 1


def test_halves_and_ties_of_the_output():
    r = LdpuRegisters(scale=0.5)
    positive, negative = ldpu.split(np.array([[1, 3, 5, -1, -3, 253, 255, -255]]))
    codes, saturated = ldpu.run(r, positive, negative)
    np.testing.assert_array_equal(codes, [[0, 2, 2, 0, -2, 126, 127, -127]])
    assert saturated == 2  # +-127.5 becomes 128


def test_formats_differ_only_in_rounding(rng):
    """float16 against float32: never more than one code here, and sometimes one."""
    positive, negative = rng.integers(0, 450, (2, *SHAPE))
    r = registers(rng, False, False, False, scale=0.3, offset=0.0)
    codes = [ldpu.run(r, positive, negative, bit_true=flag)[0] for flag in (True, False)]
    assert np.abs(codes[0] - codes[1]).max() <= 1
    wide = registers(rng, False, False, False, limit=np.inf, rounds=False)
    values = [ldpu.run(wide, positive, negative, bit_true=flag)[0] for flag in (True, False)]
    assert 0 < np.abs(values[0] - values[1]).max() < 0.5


def fused(r, codes, link):
    def half(x):
        return np.broadcast_to(np.float32(x), codes.shape[1]).astype(np.float16).astype(np.float32)

    out = np.empty(codes.shape, np.float32)
    row = np.array([half(r.per_step)[0], r.limit, r.rounds], np.float32)
    saturated = ldpu_half(
        codes.astype(np.float32), half(r.scale), half(r.offset), np.float32(link),
        half(r.link_scale)[0], r.relu_before, r.relu_after, row, out,
    )  # fmt: skip
    return out, saturated


@pytest.mark.parametrize(("linked", "before", "after"), FLAGS)
def test_fused_loops_equal_the_reference(linked, before, after, rng):
    """Signed codes of ideal ADCs: the two correcting FMAs are exact and drop out."""
    codes = rng.integers(-511, 512, SHAPE)
    link = rng.integers(-127, 128, SHAPE)
    ideal = dict(gain_positive=1.0, gain_negative=1.0, adc_offset=0.0)
    r = registers(rng, linked, before, after, **ideal)
    expected, cuts = ldpu.run(r, *ldpu.split(codes), link if linked else None)
    found, saturated = fused(r, codes, link if linked else np.zeros((1, 1)))
    np.testing.assert_array_equal(found, expected)
    assert saturated == cuts


def test_fused_correction_equals_the_reference(rng):
    @serial
    def correct(positive, negative, up, down, offsets, z):
        _correct_half(positive, negative, up, down, offsets, z)

    positive, negative, _ = inputs(rng)
    r = registers(rng, False, False, False, scale=1.0, offset=0.0, limit=np.inf, rounds=False,
                  per_step=1.0)  # fmt: skip
    expected, _ = ldpu.run(r, positive, negative)
    names = ("gain_positive", "gain_negative", "adc_offset")
    rows = [np.tile(np.float32(getattr(r, n)).astype(np.float16), SHAPE[0]) for n in names]
    found = np.empty(positive.size, np.float32)
    correct(np.float32(positive).ravel(), np.float32(negative).ravel(),
            *(row.astype(np.float32) for row in rows), found)  # fmt: skip
    np.testing.assert_array_equal(found.reshape(SHAPE), expected)


def test_single_equals_the_plain_epilogue(rng):
    """With ideal ADCs and float32, this is the arithmetic of the epilogue's twin."""
    codes = rng.integers(-511, 512, SHAPE)
    link = rng.integers(-127, 128, SHAPE)
    r = registers(rng, True, False, True, gain_positive=1.0, gain_negative=1.0, adc_offset=0.0)
    found, _ = ldpu.run(r, *ldpu.split(codes), link, bit_true=False)
    expected = naive.epilogue(
        codes.astype(float), r.scale, r.offset, link, r.link_scale, True,
        (1.0, np.inf, False), (1 / r.per_step, 127.0, True),
    )  # fmt: skip
    assert (found != expected).mean() <= 0.01  # a tie may fall the other way in float32
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(positive=np.full(SHAPE, 4096)), "positive counts must be integers from 0 to 4095"),
        (dict(negative=np.full(SHAPE, -1)), "negative counts must be .* got values from -1 to 0"),
        (dict(positive=np.full(SHAPE, 0.5)), "12 bits"),
        (dict(negative=np.zeros((2, 9), int)), "counts differ in shape"),
        (dict(link=np.zeros(SHAPE)), "a link input needs a link_scale"),
        (dict(registers=LdpuRegisters(1.0, link_scale=0.5)), "a link input needs a link_scale"),
        (dict(registers=LdpuRegisters(1.0, link_scale=0.5), link=np.zeros((1, 9))),
         r"link input has shape \(1, 9\), the counts \(40, 9\)"),
        (dict(registers=LdpuRegisters(1e6)), "register scale holds 1e\\+06, beyond .* 65504"),
        (dict(registers=LdpuRegisters(1.0, np.nan)), "register offset holds a value that is not"),
    ],
)  # fmt: skip
def test_bad_input(change, sentence):
    args = {"registers": LdpuRegisters(1.0), "positive": np.zeros(SHAPE, int),
            "negative": np.zeros(SHAPE, int), **change}  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        ldpu.run(**args)
