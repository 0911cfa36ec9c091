"""How accurate products are, in the format that each is computed in."""

import numpy as np
import pytest
import torch

from aimc_sim.machine import products
from aimc_sim.machine.formats import formats

CHARGE, VARIANCE = 2.0**-18, 2.0**-6
"""Largest relative errors: a charge's as a share of what its currents sum to without their signs
(256 roundings of 2^-24 each); a variance's as a share of itself (inputs, factors and the sum are
rounded to 2^-9 in bfloat16). Products in bfloat16 alone are off by 2^-10 in a charge, and squares
of codes by 2^-4 in four bits."""


def layer(rng, linear):
    codes = rng.integers(-127, 128, (20, 28, 9, 7)).astype(np.float32)
    weights = rng.uniform(-1, 1, (30, 28, 3, 3)).astype(np.float32)
    if linear:
        codes, weights = codes[:, :, :1, :1], weights[:, :, :1, :1]
    return torch.from_numpy(codes), torch.from_numpy(weights)


def product(x, kernel):
    x = x.contiguous(memory_format=torch.channels_last)
    if kernel.shape[2] == 1:
        return products.linear(x[:, :, 0, 0], kernel[:, :, 0, 0])[:, :, None, None]
    return products.convolution(x, kernel, None, (1, 1), (1, 1), (1, 1))


def exact(x, kernel):
    padding = kernel.shape[2] // 2
    return torch.nn.functional.conv2d(x.double(), kernel.double(), padding=padding)


@pytest.mark.parametrize("linear", [False, True], ids=["convolution", "matrix"])
def test_charges(linear, rng):
    x, kernel = layer(rng, linear)
    assert formats().charge == torch.float32
    off = (product(x, kernel) - exact(x, kernel)).abs() / exact(x.abs(), kernel.abs())
    assert off.max() <= CHARGE
    narrow = product(x, kernel.bfloat16().float())  # what one bfloat16 product would lose
    assert ((narrow - exact(x, kernel)).abs() / exact(x.abs(), kernel.abs())).max() > CHARGE


@pytest.mark.parametrize("linear", [False, True], ids=["convolution", "matrix"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_variances(dtype, linear, rng):
    """In the format of this machine, and in float32, which every machine has."""
    if dtype not in (torch.float32, formats().variance):
        pytest.skip(f"variances are {formats().variance} here: {formats().why_variance}")
    x, kernel = layer(rng, linear)
    squares, kernel = x.square(), kernel.square()
    wanted = exact(squares, kernel)
    off = (product(squares.to(dtype), kernel.to(dtype)).double() - wanted).abs() / wanted
    assert off.max() <= VARIANCE
    coarse = exact((squares / 1024).round() * 1024, kernel)
    assert ((coarse - wanted).abs() / wanted).max() > VARIANCE
