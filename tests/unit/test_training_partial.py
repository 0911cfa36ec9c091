"""Training only the most important channels."""

import math

import pytest
import torch
from torch import nn

from aimc_sim import presets
from aimc_sim.training import (
    TrainingSpec,
    channel_importance,
    finalize,
    only_important,
    prepare,
)

TDP = presets.hermes("tdp")


def values(*shape, seed=0):
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return nn.Sequential(
            nn.Conv1d(3, 10, 3), nn.BatchNorm1d(10), nn.ReLU(), nn.ConvTranspose1d(10, 6, 2),
            nn.Flatten(), nn.Linear(54, 7),
        )  # fmt: skip


def loss(net, batch):
    return net(batch).square().mean()


DIMENSION = {"0": 0, "3": 1, "5": 0}
"""Of the output channels in each layer's weights."""


def moved(before, after, dim):
    """Return which channels changed."""
    return (before != after).transpose(0, dim).flatten(1).any(1)


def train(prepared, optimizer, steps=4):
    for step in range(steps):
        optimizer.zero_grad()
        loss(prepared, values(8, 3, 10, seed=step)).backward()
        optimizer.step()


@pytest.mark.parametrize("fraction", [0.2, 0.35, 1.0])
@pytest.mark.parametrize("clip", [None, 1.5])
def test_other_channels_do_not_move(fraction, clip):
    """Not under momentum that is there already, nor weight decay, nor clipping."""
    prepared = prepare(network(), TDP, TrainingSpec(clip_sigma=clip)).train()
    optimizer = torch.optim.SGD(prepared.parameters(), 0.05, momentum=0.9, weight_decay=0.1)
    train(prepared, optimizer)
    importance = channel_importance(prepared, [values(8, 3, 10, seed=9)], loss)
    handle = only_important(prepared, fraction, importance)
    before = {name: value.detach().clone() for name, value in prepared.named_parameters()}
    train(prepared, optimizer)
    for path, dim in DIMENSION.items():
        name = f"{path}.weight"
        changed = moved(before[name], prepared.get_parameter(name).detach(), dim)
        wanted = math.ceil(fraction * len(changed) - 1e-9)
        assert changed.sum() == wanted
        best = importance[name].topk(wanted).indices.sort().values
        assert torch.equal(changed.nonzero()[:, 0], best)
        bias = before[f"{path}.bias"] != prepared.get_parameter(f"{path}.bias")
        assert torch.equal(bias, changed)
    assert (before["1.weight"] != prepared[1].weight).all()  # normalisation is digital
    plain = finalize(prepared)
    prepared(values(8, 3, 10))  # clips what the last step has moved, if it is to be clipped
    held = ~(before["5.weight"] != prepared[5].weight).any(1)
    assert torch.equal(plain[5].weight, prepared[5].weight)
    assert torch.equal(plain[5].weight[held], before["5.weight"][held])
    handle.remove()
    middle = prepared[0].weight.detach().clone()
    train(prepared, optimizer)
    assert moved(middle, prepared[0].weight.detach(), 0).all()


def test_any_optimizer_made_before_or_after():
    for make in (torch.optim.AdamW, torch.optim.RMSprop):
        prepared = prepare(network(), TDP).train()
        importance = channel_importance(prepared, [values(8, 3, 10)], loss)
        with only_important(prepared, 0.3, importance):
            optimizer = make(prepared.parameters(), lr=0.01, weight_decay=0.1)
            before = prepared[0].weight.detach().clone()
            train(prepared, optimizer)
            assert moved(before, prepared[0].weight.detach(), 0).sum() == 3


def test_importance_is_gradient_times_weight():
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.data = torch.tensor([[1.0, -2.0], [0.0, 3.0], [0.5, 0.5]])
    prepared = prepare(layer, presets.ideal()).train()
    batches = [torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, -1.0]])]
    factor = torch.tensor([1.0, 2.0, 10.0])
    found = channel_importance(prepared, batches, lambda net, x: (net(x) * factor).sum())
    # sum over batches of |factor x_i w_ki|
    assert torch.allclose(found["weight"], torch.tensor([3.0 + 4, 6 + 6, 10 + 15]))
    assert prepared.training
    assert prepared.weight.grad is None
    handle = only_important(prepared, 1 / 3, found)
    (prepared(batches[0]) * factor).sum().backward()
    assert torch.equal(prepared.weight.grad[:2], torch.zeros(2, 2))
    assert prepared.weight.grad[2].any()
    handle.remove()
    # by default the gradients at hand
    with only_important(prepared, 0.5):
        prepared.weight.grad = None
        prepared(batches[0]).sum().backward()
        assert prepared.weight.grad.any(1).tolist() == [False, False, True] or (
            prepared.weight.grad.any(1).sum() == 2
        )


def test_recurrent_gates():
    prepared = prepare(nn.LSTM(4, 5), TDP).train()
    x = values(3, 2, 4)
    importance = channel_importance(prepared, [x], lambda net, x: net(x)[0].square().sum())
    with only_important(prepared, 0.25, importance):
        before = {name: value.detach().clone() for name, value in prepared.named_parameters()}
        optimizer = torch.optim.SGD(prepared.parameters(), 0.1, weight_decay=0.5)
        prepared(x)[0].square().sum().backward()
        optimizer.step()
        for name, value in prepared.named_parameters():
            changed = (before[name] != value).reshape(20, -1).any(1)
            assert changed.sum() == 5, name


def test_bad_input():
    prepared = prepare(nn.Linear(2, 3), TDP)
    with pytest.raises(ValueError, match=r"fraction = 0: wanted above 0 and at most 1"):
        only_important(prepared, 0)
    with pytest.raises(ValueError, match="'weight' has no gradient to judge its channels by"):
        only_important(prepared, 0.5)
    with pytest.raises(ValueError, match=r"got shape \(2,\), wanted \(3,\)"):
        only_important(prepared, 0.5, {"weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"got nothing, wanted \(3,\)"):
        only_important(prepared, 0.5, {})
    with pytest.raises(ValueError, match="Linear without analog layers: wanted what"):
        only_important(nn.Linear(2, 3), 0.5)
    with pytest.raises(ValueError, match="give at least one batch"):
        channel_importance(prepared, [], loss)
