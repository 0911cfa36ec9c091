"""A layer that is called several times: one set of devices, every call costs, fresh noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.mapping.schedule import schedule
from aimc_sim.runtime.replay_values import run_pipelined

IDEAL = presets.ideal()


class Siamese(nn.Module):
    """Two images through the same layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)

    def embed(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

    def forward(self, first, second):
        return self.embed(first), self.embed(second)


class Once(Siamese):
    def forward(self, first):
        return self.embed(first)


class Chain(nn.Module):
    """The same convolution, one behind the other."""

    def __init__(self, times):
        super().__init__()
        self.conv, self.times = nn.Conv2d(3, 3, 3, padding=1), times

    def forward(self, x):
        for _ in range(self.times):
            x = self.conv(x).relu()
        return x


def chips(spec, calibrated=False):
    torch.manual_seed(3)
    twice, once = Siamese().eval(), Once().eval()
    once.load_state_dict(twice.state_dict())
    x = torch.randn(4, 3, 7, 7)
    made = (
        aimc_sim.Chip.from_model(twice, spec, example=(x, x)),
        aimc_sim.Chip.from_model(once, spec, example=x),
    )
    if calibrated:
        made[0].calibrate([(x, x)])
        made[1].calibrate([x])
    return *(chip.program(1) for chip in made), twice, x


def test_cores_are_counted_once():
    twice, once, _, _ = chips(IDEAL)
    assert twice.compiled.cores_used == once.compiled.cores_used == 2
    assert len(twice.compiled.layers) == 2 * len(once.compiled.layers)
    assert {layer.owner for layer in twice.compiled.layers} == {"conv", "fc"}
    assert len(twice.state.cores if hasattr(twice.state, "cores") else twice.evaluation.tiles) == 2


def test_every_call_equals_torch():
    twice, _, model, x = chips(IDEAL)
    with torch.no_grad():
        expected = model(x, -x)
    for mine, theirs in zip(twice(x, -x), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:layer")
def test_energy_and_products_are_counted_every_time():
    twice, once, _, x = chips(presets.hermes(), calibrated=True)
    twice(x, x)
    once(x)

    def products(chip, owner):
        return sum(chip.counts[i.name].mvms for i in chip.compiled.layers if i.owner == owner)

    for owner in ("conv", "fc"):
        assert products(twice, owner) == 2 * products(once, owner) > 0
    energy = [chip.report().to_dict() for chip in (twice, once)]
    assert energy[0]["cores_used"] == energy[1]["cores_used"]


@pytest.mark.filterwarnings("ignore:layer")
def test_the_noise_of_a_call_is_its_own():
    """The same image twice: the same devices, whose errors both calls share, and fresh noise."""
    twice, _, model, x = chips(presets.hermes("odp"), calibrated=True)
    first, second = twice(x, x, first_image=0)
    assert not torch.equal(first, second)
    with torch.no_grad():
        exact = model(x, x)[0]
    programming, reading = (first + second) / 2 - exact, (first - second) / 2
    assert programming.norm() > 1.5 * reading.norm()  # what the calls share is larger
    again = twice(x, x, first_image=0)
    assert torch.equal(again[0], first)
    assert torch.equal(again[1], second)


def test_other_weights_are_other_devices():
    """Layers of the same sizes share nothing, nor does a layer whose weight is computed anew."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.register_buffer("mask", torch.eye(4))

        def forward(self, x):
            return self.fc(x) + nn.functional.linear(x, self.fc.weight * self.mask)

    torch.manual_seed(4)
    model, x = Masked().eval(), torch.randn(3, 4)
    chip = aimc_sim.Chip.from_model(model, IDEAL).program(0)
    assert chip.compiled.cores_used == 2
    with torch.no_grad():
        torch.testing.assert_close(chip(x), model(x), rtol=1e-5, atol=1e-5)


def test_calls_are_served_one_after_the_other_in_a_pipeline():
    """The interval between images is that of both calls, and the values are the chip's."""
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    interval = {}
    for times in (1, 2):
        torch.manual_seed(5)
        model = Chain(times).eval()
        chip = aimc_sim.Chip.from_model(model, IDEAL, example=x).program(0)
        assert chip.compiled.cores_used == 1
        plan = schedule(chip.compiled, IDEAL, x.shape[1:])
        found, report = run_pipelined(chip, x, plan)
        with torch.no_grad():
            torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)
        interval[times] = report.interval_ps
    assert interval[2] > 1.8 * interval[1]
