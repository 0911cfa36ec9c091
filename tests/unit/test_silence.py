"""Fine-tuning for silence: words of one spike are masked, and only inside the block."""

from __future__ import annotations

import pytest
import torch
from spiking_networks import made, spikes
from torch import nn

from aimc_sim.spiking import LIF, SNU, SoftSNU, masked_single_spikes, silencing, words


@pytest.mark.parametrize("time", [0, 1, -1])
def test_words_and_masks_by_hand(time):
    x = spikes(5, 7, 4, share=0.3)
    kept, counted = masked_single_spikes(x, time), words(x, time)
    silent = single = 0
    for word, own in zip(*(one.movedim(time, 0).flatten(1).T for one in (x, kept)), strict=True):
        count = int(word.sum())
        silent, single = silent + (count == 0), single + (count == 1)
        assert torch.equal(own, torch.zeros_like(word) if count == 1 else word)
    assert (counted.silent, counted.single) == (silent, single)
    assert counted.total == x.numel() // x.shape[time]
    assert words(kept, time).silent == silent + single
    assert words(kept, time).single == 0
    assert counted.silent_share == silent / counted.total


def test_gradients_pass_where_a_word_is_kept():
    x = torch.tensor([[1.0, 1.0], [0.0, 1.0]], requires_grad=True)  # words along 0: 1 and 2 spikes
    masked_single_spikes(x, 0).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize("batch_first", [False, True])
def test_masks_act_inside_the_block_only(batch_first):
    model, x = made(SNU, batch_first), spikes(6, 5, 12)
    time = 1 if batch_first else 0
    before = model(x)
    with silencing(model) as inside:
        assert inside is model
        one = masked_single_spikes(model.one.forward(x)[0], time)
        assert torch.equal(model.one(x)[0], one)
        two = masked_single_spikes(model.two.forward(one)[0], time)
        assert torch.equal(model(x), model.out(two))
        assert not torch.equal(model(x), before)
    assert torch.equal(model(x), before)
    with silencing(model, ["two"]):
        assert torch.equal(model.one(x)[0], model.one.forward(x)[0])
    with pytest.raises(RuntimeError, match="stopped"), silencing(model):
        raise RuntimeError("stopped")
    assert torch.equal(model(x), before)


def test_refusals():
    with (
        pytest.raises(ValueError, match="layer 'one' is recurrent"),
        silencing(made(SNU, recurrent=True)),
    ):
        pass
    with (
        pytest.raises(ValueError, match="layer 'one' makes outputs between 0 and 1"),
        silencing(made(SoftSNU)),
    ):
        pass
    with (
        pytest.raises(ValueError, match="no layers of spiking neurons"),
        silencing(nn.Sequential(nn.Linear(2, 2))),
    ):
        pass
    model = nn.Sequential(LIF())
    with pytest.raises(ValueError, match=r"no layers named \['1'\]; it has these: \['0'\]"):
        with silencing(model, ["1"]):
            pass
    with pytest.raises(ValueError, match="numbers other than 0 and 1"):
        words(torch.full((2, 2), 0.5), 0)
    with pytest.raises(ValueError, match="no step"):
        masked_single_spikes(torch.zeros(0, 2), 0)
