"""One definition of codes, three forms of it: numpy, torch and the compiled loops, bit for bit."""

import numpy as np
import pytest
import torch

from aimc_sim.core import quantise
from aimc_sim.core.quantise import Quantiser
from aimc_sim.digital import rounding
from aimc_sim.kernels import rounding as compiled
from aimc_sim.kernels import serial
from aimc_sim.runtime import adc, chunk
from aimc_sim.training import functional

STEPS = (1.0, 0.5, 3.0, 0.1, 1 / 127, 2.7e-3 / 127, 1.7e5, 1e-7)


@serial
def loop(values, per_step, limit, out):
    """Call the compiled form as kernels do."""
    return compiled.codes(values, per_step, limit, out)


def values(step, limit):
    """Ties, their neighbours, the limit and beyond, both zeros, and what lies between."""
    rng = np.random.Generator(np.random.Philox(7))
    ties = (np.arange(-limit - 3, limit + 3) + 0.5) * step
    whole = np.arange(-limit - 3, limit + 4) * step
    edge = np.concatenate([ties, whole]).astype(np.float32)
    found = [edge, np.nextafter(edge, np.float32(-np.inf)), np.nextafter(edge, np.float32(np.inf))]
    found += [rng.uniform(-1.2, 1.2, 20_000).astype(np.float32) * np.float32(limit * step)]
    found += [np.array([0.0, -0.0, np.inf, -np.inf, 1e30, -1e30], np.float32)]
    return np.concatenate(found)


@pytest.mark.parametrize("limit", [1, 7, 127, 966])
@pytest.mark.parametrize("step", STEPS)
def test_the_three_forms_agree(step, limit):
    x, law = values(step, limit), Quantiser(step, limit, True)
    plain, beyond = quantise.codes(x, law.per_step, limit)
    assert plain.dtype == np.float32
    out = np.empty_like(x)
    many = loop(x, np.float32(law.per_step), np.float32(limit), out)
    np.testing.assert_array_equal(out, plain)
    assert many == beyond.sum() > 0
    by_torch = rounding.codes(torch.from_numpy(x), law.per_step, limit)
    np.testing.assert_array_equal(by_torch.numpy(), plain)


@pytest.mark.parametrize("step", STEPS)
def test_all_that_make_codes_follow_the_definition(step):
    """The chip's inputs, its ADCs, half-rounded ends of digital units in float32, training."""
    limit = 127
    x, law = values(step, limit), Quantiser(step, limit, True)
    x = x[np.isfinite(x)]
    x = x[: len(x) // 4 * 4]
    plain, beyond = quantise.codes(x, law.per_step, limit)
    maps = torch.from_numpy(x).reshape(1, 4, -1, 1)
    np.testing.assert_array_equal(chunk.quantise(maps, law).numpy().reshape(-1), plain)
    codes, outside = adc.quantised(maps, law)
    np.testing.assert_array_equal(codes.numpy().reshape(-1), plain)
    assert outside.item() == beyond.sum()
    np.testing.assert_array_equal(law.codes(x), plain)
    address = functional.NoiseAddress(1, 2, 0)
    trained = functional.convert(torch.from_numpy(x), float(np.float32(step)), limit, 0.0, address)
    same = functional.convert_plainly(
        torch.from_numpy(x), float(np.float32(step)), limit, 0.0, address
    )
    np.testing.assert_array_equal(trained[0].numpy(), same[0].numpy())


def test_a_division_would_be_another_definition():
    """The test above can fail: dividing by the step moves some of these values."""
    moved = 0
    for step in STEPS:
        x = values(step, 127)
        divided = np.clip(np.rint(x / np.float32(step)), -127, 127)
        moved += int((divided != quantise.codes(x, 1 / step, 127)[0]).sum())
    assert moved


def test_without_rounding_only_the_unit_changes():
    x = torch.tensor([[0.3, -7.0, 2.5]])
    found = rounding.codes(x, 2.0, 4.0, rounds=False)
    assert found.tolist() == [[pytest.approx(0.6), -4.0, 4.0]]
    assert quantise.codes(x.numpy(), 2.0, 4.0, False)[1].tolist() == [[False, True, True]]
