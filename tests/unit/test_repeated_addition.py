"""Additions behind layers that repeat one of their values, as torch's broadcasting does."""

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets


class Added(nn.Module):
    """relu(a(x) + b(x)), each of a view of the input."""

    def __init__(self, a, b, view_a=None, view_b=None):
        super().__init__()
        self.a, self.b = a, b
        self.view_a, self.view_b = view_a or nn.Identity(), view_b or nn.Identity()

    def forward(self, x):
        return torch.relu(self.a(self.view_a(x)) + self.b(self.view_b(x)))


class MeanOver(nn.Module):
    def __init__(self, *dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.mean(self.dims, keepdim=True)


class Unsqueeze(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.unsqueeze(self.dim)


def linear():
    return nn.Linear(6, 8)


CASES = {
    "one channel of the input, over two cores": (
        lambda: Added(nn.Conv2d(1, 300, 3, padding=1), nn.Identity()), (3, 1, 6, 6)),
    "one pixel": (
        lambda: Added(nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(2, 5, 1), view_b=MeanOver(2, 3)),
        (3, 2, 6, 6)),
    "one channel of the layer itself": (
        lambda: Added(nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(2, 5, 1)), (3, 2, 6, 6)),
    "one token": (lambda: Added(linear(), linear(), view_b=MeanOver(1)), (3, 4, 6)),
    "one token, of a single image": (lambda: Added(linear(), linear(), MeanOver(1)), (1, 4, 6)),
    "rows to columns": (
        lambda: Added(linear(), linear(), Unsqueeze(1), Unsqueeze(2)), (3, 4, 6)),
    "one place of a sequence, over two cores": (
        lambda: Added(nn.Conv1d(300, 8, 7), nn.Conv1d(300, 8, 3, padding=1)), (3, 300, 7)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("swapped", [False, True])
def test_an_addition_that_repeats_equals_torch(case, swapped):
    build, shape = CASES[case]
    torch.manual_seed(3)
    model, x = build().eval(), torch.randn(shape)
    if swapped:
        model.a, model.b, model.view_a, model.view_b = (
            model.b, model.a, model.view_b, model.view_a,
        )  # fmt: skip
    expected = model(x)
    ideal = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    torch.testing.assert_close(ideal(x), expected, rtol=1e-4, atol=1e-5)
    # With integers everywhere: two roundings of 8 bits for every value on the way.
    chip = aimc_sim.Chip.from_model(model, presets.ideal_devices(presets.hermes("tdp")))
    chip = chip.calibrate([x]).program(0)
    assert (chip(x) - expected).abs().max() < 0.05 * expected.abs().max()


def test_operands_whose_batch_lies_elsewhere():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 5, 1), nn.Conv2d(2, 5, 1)

        def forward(self, x):
            return self.a(x) + self.b(x).mean((2, 3))  # (B, 5, H, W) + (B, 5): adds B to H

    # For the sizes for which it runs, a call is one piece, and equals torch.
    model, x = Mixed().eval(), torch.randn(3, 2, 3, 5)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    torch.testing.assert_close(chip(x), model(x).detach(), rtol=1e-4, atol=1e-5)
