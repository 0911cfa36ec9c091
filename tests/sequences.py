"""Recurrent networks on a chip: what the tests of sequences share."""

from __future__ import annotations

import torch
from interpreter import settle
from torch import nn
from torch.nn.utils.rnn import PackedSequence

import aimc_sim
from aimc_sim import presets


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(8))


def chip_of(model, x, spec=None):
    torch.manual_seed(2)
    model = settle(model()).eval()
    spec = presets.hermes("odp") if spec is None else spec
    return aimc_sim.Chip.from_model(model, spec).calibrate(x).program(4), model


def leaves(result):
    if isinstance(result, PackedSequence):
        return [result.data]
    if isinstance(result, torch.Tensor):
        return [result]
    return [leaf for part in result for leaf in leaves(part)]


def alike(one, other):
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class FromState(nn.Module):
    """The state comes as an input."""

    def __init__(self, kind):
        super().__init__()
        self.layer, self.pair = kind(4, 7, 2, batch_first=True), kind is nn.LSTM

    def forward(self, x, state):
        state = state.transpose(0, 1)
        return self.layer(x, (state, 0.5 * state) if self.pair else state)
