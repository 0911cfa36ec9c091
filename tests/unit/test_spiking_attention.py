"""Attention of spikes: loops, the chip, streams of whole blocks, additions and writes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from spiking_networks import spikes
from torch import nn

import aimc_sim
from aimc_sim import presets, training
from aimc_sim.digital.attention import Attending, attention
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.spiking import LIF, NormedLinear, SpikingAttention, SpikingBlock

pytestmark = pytest.mark.filterwarnings("ignore:layer")  # few sequences: some outputs clip

NEURONS = {"decay": 0.25, "threshold": 0.5}


def looped(q, k, v, steps, heads, scale):
    """Return the attention of (T, B, N, D) spikes, number by number; and both sums of additions."""
    times, batch, tokens, width = q.shape
    d = width // heads
    made, counted, summed = torch.zeros(q.shape), 0, 0
    for b, h, block in itertools.product(range(batch), range(heads), range(times // steps)):
        counts = np.zeros((d, d))
        own = list(itertools.product(range(block * steps, (block + 1) * steps), range(tokens)))
        part = slice(h * d, (h + 1) * d)
        for t, n in own:
            both = np.outer(k[t, b, n, part], v[t, b, n, part])
            counts, counted = counts + both, counted + int(both.sum())
        for t, n in own:
            for i in range(d):
                if q[t, b, n, h * d + i]:
                    made[t, b, n, part] += torch.from_numpy(counts[i]).float()
                    summed += d
    return made * scale / steps, counted, summed


@pytest.mark.parametrize(("steps", "heads"), [(1, 1), (1, 2), (2, 1), (4, 3)])
def test_attention_by_loops(steps, heads):
    q, k, v = (spikes(4, 2, 3, 6, seed=seed) for seed in (1, 2, 3))
    wanted, _, _ = looped(q, k, v, steps, heads, 0.5)
    how = Attending(steps, heads, 0.5)
    assert torch.equal(attention(q, k, v, how), wanted)
    turned = (one.transpose(0, 1) for one in (q, k, v))
    assert torch.equal(attention(*turned, how, 0), wanted.transpose(0, 1))
    assert wanted.std() > 0.1


def test_spikes_that_do_not_change_have_no_time():
    """A block of steps gives what one step gives; where steps differ, it does not."""
    q, k, v = (spikes(1, 3, 5, 8, seed=seed).expand(4, -1, -1, -1) for seed in (1, 2, 3))
    still = attention(q, k, v, Attending(4, 2))
    assert torch.equal(still, attention(q, k, v, Attending(1, 2)))
    k = spikes(4, 3, 5, 8, seed=2)
    assert not torch.equal(attention(q, k, v, Attending(4)), attention(q, k, v, Attending(1)))


def test_refusals():
    q = spikes(4, 2, 3, 6)
    with pytest.raises(ValueError, match=r"4 time steps: wanted whole blocks of 3"):
        attention(q, q, q, Attending(3))
    with pytest.raises(ValueError, match="a width of 6: wanted a multiple of its 4 heads"):
        attention(q, q, q, Attending(1, 4))
    with pytest.raises(ValueError, match="wanted"):
        attention(q, q[:2], q, Attending())
    with pytest.raises(ValueError, match="heads = 4: they do not divide width = 6"):
        SpikingAttention(6, 4)
    with pytest.raises(ValueError, match=r"wanted \(T, B, N, 6\)"):
        SpikingAttention(6)(spikes(4, 2, 3, 5))
    with pytest.raises(ValueError, match=r"wanted \(B, T, N, 6\)"):
        SpikingAttention(6, batch_first=True)(spikes(4, 2, 6))


def block(batch_first=False, steps=2, **more):
    """Return a block whose norms have seen inputs, in evaluation mode."""
    torch.manual_seed(0)
    model = SpikingBlock(
        16, heads=2, steps=steps, hidden=24, batch_first=batch_first, **NEURONS, **more
    )
    for _ in range(10):
        model(inputs(4, 6, batch_first))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.mul_(1.5)
    return model.eval()


def inputs(steps, batch, batch_first, tokens=5, seed=4):
    generator = torch.Generator().manual_seed(seed)
    sizes = (batch, steps) if batch_first else (steps, batch)
    return torch.randn(*sizes, tokens, 16, generator=generator)


@pytest.mark.parametrize("batch_first", [False, True])
def test_ideal_chip_is_torch(batch_first):
    model = block(batch_first)
    chip = aimc_sim.Chip.from_model(
        model, presets.ideal(), example=inputs(4, 6, batch_first)
    ).program(0)
    names = [layer.name for layer in chip.compiled.layers]
    assert names == [f"attention.{one}" for one in ("query", "key", "value", "proj")] + [
        "wide", "narrow",
    ]  # fmt: skip
    for steps, batch in ((4, 6), (8, 3)):
        x = inputs(steps, batch, batch_first)
        wanted = model(x).detach()
        assert torch.allclose(chip(x), wanted, rtol=0, atol=5e-6)  # a spike moves more than 1e-3
        assert (wanted - x).abs().max() > 0.1
    rates = [row.rate for row in chip.spiking_report().neurons]
    assert min(rates) > 0


def test_odd_steps_are_refused_by_the_chip_too():
    chip = aimc_sim.Chip.from_model(block(), presets.ideal(), example=inputs(4, 6, False))
    with pytest.raises(ValueError, match="wanted whole blocks of 2"):
        chip.program(0)(inputs(3, 6, False))


@pytest.mark.parametrize("batch_first", [False, True])
def test_streams_of_whole_blocks(batch_first):
    """Pieces give the whole bit by bit, with noise, where a step has several rows of tokens."""
    model, x = block(batch_first), inputs(8, 3, batch_first)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"), example=x).calibrate(x)
    chip.program(4)
    whole, time = chip(x, first_image=6), 1 if batch_first else 0
    for lengths in ([2, 2, 2, 2], [4, 2, 2], [8]):
        stream = chip.stream(first_image=6)
        parts = [stream(piece) for piece in x.split(lengths, time)]
        assert torch.equal(torch.cat(parts, time), whole)
    assert not torch.equal(chip.stream(first_image=9)(x), whole)  # another image, other noise
    stream = chip.stream()
    with pytest.raises(ValueError, match="a piece of 3 time steps: attention reads blocks of 2"):
        stream(x.narrow(time, 0, 3))
    assert stream(x.narrow(time, 0, 2)).shape[time] == 2  # the refused piece has left no trace
    single = aimc_sim.Chip.from_model(block(batch_first, 1), presets.ideal(), example=x).program(0)
    assert single.stream()(x.narrow(time, 0, 3)).shape[time] == 3


@pytest.mark.parametrize(("steps", "batch_first"), [(1, True), (2, False), (4, True)])
def test_additions_and_writes(steps, batch_first):
    """Counts of the report are those of loops over the spikes that torch has, and closed forms."""
    model, x = block(batch_first, steps), inputs(4, 3, batch_first)
    seen = {}
    for name in ("query", "key", "value"):
        neurons = getattr(model.attention, f"{name}_neurons")
        neurons.register_forward_hook(lambda m, _, y, name=name: seen.update({name: y[0]}))
    model(x)
    for name in ("query", "key", "value"):
        getattr(model.attention, f"{name}_neurons")._forward_hooks.clear()
    q, k, v = (
        one.detach().transpose(0, 1) if batch_first else one.detach() for one in seen.values()
    )
    _, counted, summed = looped(q, k, v, steps, 2, 0.25)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    chip(x)
    report = chip.spiking_report()
    (row,) = report.attentions
    times, tokens, width, each = 4, 5, 16, 8
    assert (row.block_steps, row.worst) == (steps, times * tokens * width * each)
    assert (row.counted, row.summed) == (counted / 3, summed / 3)
    assert 0 < row.counted < row.worst
    assert row.written == times // steps * width * each
    assert row.read_rows == times * tokens * 2
    assert "K^T V counted" in str(report)
    assert "K^T V counted" in report._repr_html_()
    assert report.to_dict()["attentions"][0]["written"] == row.written
    operations = chip.counts["attention.counters"].operations / 3
    assert operations == 2 * row.worst + times * tokens * width
    stream = chip.stream()  # pieces count together as the whole does
    chip.counts.clear()
    for piece in x.split(steps, 1 if batch_first else 0):
        stream(piece)
    assert chip.spiking_report().attentions == (row,)


def test_all_neurons_firing_is_the_worst():
    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.lif = nn.Linear(4, 6), LIF(0.5, -1.0)

        def forward(self, x):
            y, _ = self.lif(self.first(x))
            return attention(y, y, y, Attending(2, 3))

    model, x = Same().eval(), torch.zeros(4, 2, 5, 4)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    assert torch.equal(chip(x), model(x))
    (row,) = chip.spiking_report().attentions
    assert row.counted == row.summed == row.worst == 4 * 5 * 6 * 2


def test_values_that_need_not_be_spikes_are_refused():
    class Plain(nn.Module):
        def __init__(self, spiking):
            super().__init__()
            self.first, self.lif, self.spiking = nn.Linear(4, 6), LIF(), spiking

        def forward(self, x):
            y = self.first(x)
            spikes, _ = self.lif(y)
            return attention(spikes, spikes, spikes if self.spiking else y, Attending())

    x = torch.zeros(4, 2, 5, 4)
    aimc_sim.Chip.from_model(Plain(True), presets.ideal(), example=x)
    with pytest.raises(UnsupportedLayerError, match="reads 'first' as V, which need not be"):
        aimc_sim.Chip.from_model(Plain(False), presets.ideal(), example=x)


def test_a_network_that_mixes_images_is_one_piece():
    """Neurons take the first dimension for the batch, attention the second: nothing is padding."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.lif = nn.Linear(4, 6), LIF(0.5, -1.0, batch_first=True)

        def forward(self, x):
            y, _ = self.lif(self.first(x))
            return attention(y, y, y, Attending(), 1)

    model, x = Turned().eval(), torch.zeros(3, 2, 5, 4)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    assert chip.compiled.axis is None
    assert torch.equal(chip(x), model(x))
    report = chip.spiking_report()
    assert report.attentions[0].worst == report.attentions[0].counted == 3 * 2 * 5 * 6 * 6
    assert report.neurons[0].outputs == report.neurons[0].spikes == 3 * 2 * 5 * 6


def test_norm_behind_a_matrix():
    """Training is that of torch's own pair; evaluation is one matrix."""
    torch.manual_seed(2)
    layer, x = NormedLinear(6, 5), torch.randn(4, 3, 2, 6)
    pair = nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5))
    pair[0].load_state_dict({"weight": layer.weight})
    with torch.no_grad():
        for own, other in ((layer.gain, pair[1].weight), (layer.bias, pair[1].bias)):
            own.uniform_(0.5, 2)
            other.copy_(own)
    for _ in range(3):
        y, wanted = layer(x), pair(x.flatten(0, 2)).view(4, 3, 2, 5)
        assert torch.allclose(y, wanted, rtol=0, atol=1e-6)
    y.square().sum().backward()
    assert layer.weight.grad.abs().max() > 0
    layer.eval()
    pair.eval()
    assert torch.allclose(layer(x), pair(x.flatten(0, 2)).view(4, 3, 2, 5), rtol=0, atol=2e-6)
    matrix, offset = layer.folded()
    assert torch.equal(layer(x), nn.functional.linear(x, matrix, offset))
    with pytest.raises(ValueError, match="NormedLinear"):
        training.prepare(nn.Sequential(layer, nn.Linear(5, 2)), presets.hermes("odp"))


def test_files(tmp_path):
    model, x = block(), inputs(4, 3, False)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"), example=x).calibrate(x).program(1)
    chip.save(tmp_path / "chip.h5")
    again = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert torch.equal(again(x, first_image=0), chip(x, first_image=0))
