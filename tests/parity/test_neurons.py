"""Neurons in one pass over all time steps against the digital unit's steps, bit by bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from spiking_networks import coarse, made, spikes
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import membranes
from aimc_sim.runtime import neurons, plan
from aimc_sim.spec import GdpuSpec
from aimc_sim.spiking import LIF, SNU

pytestmark = pytest.mark.filterwarnings("ignore:layer")  # few sequences: some outputs clip

UNIT = GdpuSpec()
LAYOUTS = {
    "batch first": ((4, 6, 10), (0, 1, 2)),
    "time first": ((6, 4, 10), (1, 0, 2)),
    "maps, channels last": ((6, 4, 5, 3, 10), (1, 0, 4, 2, 3)),
    "steps innermost": ((4, 10, 6), (0, 2, 1)),
    "lying apart": ((4, 6, 20), (0, 1, 2)),
}
"""By name: sizes in the order in memory, and that of (B, T, ...) among them."""


def one_by_one(neuron, loaded, inputs, state):
    """Return what the slow twin makes, step after step."""
    sent, cell = (part.numpy() for part in state)
    outputs = []
    for t in range(inputs.shape[1]):
        x = np.ascontiguousarray(inputs[:, t].numpy())
        after = membranes.step(neuron, loaded, x, None, sent, cell, UNIT)
        sent, cell = after.codes, after.cell
        outputs.append(sent)
    return np.stack(outputs, 1), sent, cell


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("units", [1, 10])
@pytest.mark.parametrize("transfer", ["identity", "relu", "leaky"])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("delayed", [True, False])
def test_same_bits_as_step_by_step(layout, units, transfer, reset, delayed, rng):
    neuron = SNU(2, 2, 0.75, transfer=transfer, reset=reset, delayed=delayed).neuron.attrs()
    theta = rng.normal(0.4, 0.2, units).astype("f4") if units > 1 else np.array(0.4, "f4")
    sizes, order = LAYOUTS[layout]
    inputs = torch.from_numpy(rng.integers(-127, 128, sizes).astype("f4")).permute(order)
    inputs = inputs[..., :10]
    shape = (inputs.shape[0], *inputs.shape[2:])
    theta = theta if units == 1 or shape[-1] == units else np.resize(theta, shape[-1])
    state = (
        torch.from_numpy(rng.integers(0, 2, shape).astype("f4")),
        torch.from_numpy(rng.normal(0, 0.5, shape).astype("f4")),
    )
    kept = [part.clone() for part in state]
    loaded = membranes.registers(neuron, theta, None, 0.013, 1.0, 1.0, UNIT)
    made_ = neurons.Neurons(
        loaded.threshold,
        np.array([loaded.input_scale, loaded.decay, membranes.slope(neuron, UNIT)], "f4"),
        neurons._RESETS[reset], delayed, int(transfer != "identity"),
    )  # fmt: skip
    outputs, after = made_.run(inputs, state)
    wanted = one_by_one(neuron, loaded, inputs, state)
    for found, own in zip((outputs, *after), wanted, strict=True):
        assert np.array_equal(found.numpy(), own)
    assert 0.02 < outputs.mean() < 0.98
    assert all(map(torch.equal, state, kept))  # what was given is as it was


class Maps(nn.Module):
    """Two convolutions with neurons behind them, batch first."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 20, 3, 2)
        self.lif = LIF(0.75, 0.25, batch_first=True)
        self.other = LIF(0.5, 0.4, reset="subtract", batch_first=True)
        self.out = nn.Linear(20 * 9, 3)

    def forward(self, x):
        for layer, neurons_ in ((self.one, self.lif), (self.two, self.other)):
            x, _ = neurons_(layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.out(x.flatten(2))


def maps():
    torch.manual_seed(3)
    return coarse(Maps()), spikes(4, 5, 2, 8, 8)


@pytest.mark.parametrize("kind", ["maps", "dense"])
@pytest.mark.parametrize("machine", ["hermes", "ideal"])
def test_a_chip_with_and_without_it(kind, machine, monkeypatch):
    """The same bits, pieces too, and the states at the end of pieces."""
    model, x = maps() if kind == "maps" else (made(SNU), spikes(5, 4, 12))
    spec = presets.hermes("odp") if machine == "hermes" else presets.ideal()
    chip = aimc_sim.Chip.from_model(model, spec, example=x).calibrate(x).program(2)
    fast = chip(x, first_image=3)
    if kind == "dense":
        stream = chip.stream(first_image=3)
        assert torch.equal(torch.cat([stream(part) for part in x.split([1, 3, 1])]), fast)
    ready = [chip.evaluation.plan(chip.compiled).whole(call)
             for call in chip.evaluation.plan(chip.compiled).calls
             if getattr(getattr(call, "step", None), "op", "") == "spiking"]  # fmt: skip
    assert [isinstance(one, neurons.Neurons) for one in ready] == [machine == "hermes"] * 2
    monkeypatch.setattr(plan, "prepare_neurons", lambda *_: None)
    again = aimc_sim.Chip.from_model(model, spec, example=x).calibrate(x).program(2)
    assert torch.equal(again(x, first_image=3), fast)
    assert fast.std() > 0


def test_layers_that_take_another_path():
    """Outputs that come back, inhibition, sigmoids, gates, adaptation: step by step."""
    for options in ({"recurrent": True}, {"inhibition": True}, {"axo_axonic": True},
                    {"axo_somatic": 0.5}):  # fmt: skip
        model, x = made(SNU, **options), spikes(5, 4, 12)
        chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
        ready = chip.evaluation.plan(chip.compiled)
        calls = [call for call in ready.calls if getattr(call, "hidden", 0) != 0]
        assert not any(isinstance(ready.whole(call), neurons.Neurons) for call in calls)


def test_order_in_memory():
    x = torch.zeros(2, 3, 4, 5)
    for order in itertools.permutations(range(4)):
        found = neurons.in_memory(x.permute(order))
        assert x.permute(order).permute(found).is_contiguous()
    assert neurons.in_memory(x[..., ::2]) is None
    assert neurons.in_memory(x[:, :1].expand(-1, 3, -1, -1)) is None


def busy():
    """Return a convolution of spikes that charge every part of a map, though never all at once."""
    torch.manual_seed(3)

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = LIF(0.5, 0.5, batch_first=True)
            self.conv = nn.Conv2d(28, 24, 3, padding=1)

        def forward(self, x):
            y, _ = self.lif(x)
            return self.conv(y.flatten(0, 1)).unflatten(0, x.shape[:2])

    x = (torch.rand(8, 3, 28, 12, 12, generator=torch.Generator().manual_seed(1)) < 0.25).float()
    model = One().eval()
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"), example=x)
    return chip.calibrate(x).program(0), x


def test_charges_decide_where_bounds_do_not(monkeypatch):
    """The bound leaves all images open; their charges say that no phase comes near its limit."""
    chip, x = busy()
    from aimc_sim.runtime import phases

    loose, tight, charges = [], [], []
    exceeded, charged = phases.Guard.exceeded, phases.Guard.charged

    def watch(self, spans, columns=True):
        loose.append(exceeded(self, spans, columns))
        return loose[-1].clone()

    def watch_charges(self, first, net, variance):
        tight.append(charged(self, first, net, variance))
        most = torch.maximum(first, first - net) + phases.SIGMAS * variance.float().sqrt()
        charges.append((most.flatten(1).amax(1), self.limit))
        return tight[-1].clone()

    monkeypatch.setattr(phases.Guard, "exceeded", watch)
    monkeypatch.setattr(phases.Guard, "charged", watch_charges)
    whole = chip(x, first_image=0)
    assert torch.cat(loose).float().mean() > 0.9
    assert torch.cat(tight).float().mean() < 0.1
    for found, (most, limit) in zip(tight, charges, strict=True):
        clear = (most / limit - 1).abs() > 1e-4
        assert torch.equal(found[clear], (most > limit)[clear])
    parts = [chip(x[a:b], first_image=a) for a, b in ((0, 1), (1, 4), (4, 8))]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(chip(x, first_image=0, chunk=4), whole)


def test_charges_find_what_saturates(monkeypatch):
    """With every row driven phases are beyond: images are converted phase by phase as before."""
    chip, x = busy()
    x = torch.ones_like(x)
    fast = chip(x, first_image=0)
    saturated = [seen.adc_saturated for seen in chip.counts.values()]
    assert sum(saturated) > 0
    from aimc_sim.runtime import phases

    monkeypatch.setattr(phases.Guard, "charged", lambda self, first, net, variance: torch.ones(
        len(first), dtype=torch.bool
    ))  # fmt: skip
    chip.counts.clear()
    assert torch.equal(chip(x, first_image=0), fast)
    assert [seen.adc_saturated for seen in chip.counts.values()] == saturated
