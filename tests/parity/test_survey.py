"""What is surveyed in one pass against torch's operations, one by one."""

import numpy as np
import pytest
import torch

from aimc_sim.kernels import survey as kernels
from aimc_sim.runtime import phases, survey

SHAPES = [(3, 5, 17, 30), (2, 16, 8, 8), (1, 3, 1, 40), (4, 70, 1, 1), (2, 1, 33, 9)]


def codes(shape, low):
    x = torch.randint(low, 128, shape, generator=torch.Generator().manual_seed(3)).float()
    x[0] = x[0].abs()  # one image without a negative code
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("low", [0, -127], ids=["positive", "signed"])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (5, 1)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_torch(shape, window, low):
    x = codes(shape, low)
    found = survey.survey(x, window)
    assert float(found.magnitude) == float(x.double().abs().sum())
    assert torch.equal(found.lowest, x.flatten(2).amin(2).clamp(max=0))
    wanted = survey.largest_codes(x, window)
    assert len(found.spans) == len(wanted)
    for one, other in zip(found.spans, wanted, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(found.signed, (x.flatten(1) < 0).any(1))
    assert survey.survey(x, None).spans == ()


def test_of_some_channels():
    x = codes((3, 6, 12, 12), 0)
    x[1, 4] = -1.0
    found = survey.survey(x, (3, 3))
    assert found.signed.tolist() == [False, True, False]
    assert found.of(slice(0, 4)).signed.tolist() == [False] * 3
    assert torch.equal(found.of(slice(2, 5)).spans[1], found.spans[1][..., 2:5])


def test_magnitudes_are_exact_for_large_maps():
    """Of 300,000 codes of 127 in one channel: a sum in float32 alone is off by 66,000."""
    x = torch.full((1, 1, 600, 500), 127.0).contiguous(memory_format=torch.channels_last)
    assert float(survey.survey(x, None).magnitude) == 127 * 300_000
    assert x.size(2) * x.size(3) > kernels.FLUSH


@pytest.mark.parametrize("noisy", [True, False])
def test_the_guard_against_torch(noisy, rng):
    """Of 200 images between 0.4 and 1.6 times the limit; torch's sums may differ by 1e-6."""
    reach = torch.from_numpy(rng.random((12, 30)).astype(np.float32))
    noise = torch.from_numpy(rng.random((12, 30)).astype(np.float32)) if noisy else None
    x = torch.from_numpy(rng.integers(0, 128, (200, 5, 12)).astype(np.float32))
    charge = x @ reach
    if noisy:
        charge = charge + phases.SIGMAS * (x.square() @ noise).sqrt()
    worst = charge.flatten(1).amax(1)
    limit = float(worst.median())
    guard = phases.Guard(reach, noise, limit, False)
    clear = (worst / limit - 1).abs() > 1e-5
    assert torch.equal(guard.exceeded((x,))[clear], (worst > limit)[clear])
    assert 0.4 < guard.exceeded((x * 0.999, x)).float().mean() < 0.6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, None], ids=str)
def test_bit_planes_add_up_to_the_codes(dtype):
    x, total = codes((3, 5, 17, 30), -127), 0
    for bit in range(7):
        plane, square = survey.bit_plane(x, bit, dtype)
        assert torch.equal(plane.abs(), (x.abs().to(torch.int32) >> bit & 1).float())
        assert dtype is None or (
            square.dtype == dtype and torch.equal(square, plane.abs().to(dtype))
        )
        total = total + 2**bit * plane
    assert torch.equal(total, x)


def test_a_single_value_is_surveyed():
    """One image, one channel, one part: was taken for "not wanted", and no phase for saturated."""
    x = torch.full((1, 1, 1, 1), -100.0)
    found = survey.survey(x, (1, 1))
    assert [float(one) for one in found.spans] == [0.0, 100.0]
    plane, square = survey.bit_plane(x, 2, torch.float32)
    assert (float(plane), float(square)) == (-1.0, 1.0)
