"""Packed sequences and initial states on the chip."""

from __future__ import annotations

import copy

import pytest
import torch
from interpreter import settle
from sequences import FromState, alike, chip_of, leaves, numbers
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import aimc_sim
from aimc_sim import presets

pytestmark = [
    pytest.mark.filterwarnings("ignore:layer"),  # few sequences: some outputs clip
    pytest.mark.filterwarnings("ignore:LSTM with projections"),  # of torch itself
]

# ------------------------------------------------------------------------ packed sequences

LENGTHS = torch.tensor([3, 8, 1, 5, 8])


def packed(x, lengths=LENGTHS, batch_first=True):
    return pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)


def padded(result, batch_first=True):
    return pad_packed_sequence(result, batch_first=batch_first)[0]


PACKED = {
    "lstm": lambda: nn.LSTM(4, 7, 2, batch_first=True, bidirectional=True),
    "gru": lambda: nn.GRU(4, 7, batch_first=True, bidirectional=True),
    "rnn": lambda: nn.RNN(4, 7, 2, batch_first=True),
    "lstm, time first": lambda: nn.LSTM(4, 7, bidirectional=True),
    "projection": lambda: nn.LSTM(4, 7, proj_size=3, batch_first=True, bidirectional=True),
}


@pytest.mark.parametrize("case", PACKED)
def test_packed_equals_torch(case):
    x = numbers(5, 8, 4)
    chip, model = chip_of(PACKED[case], x if model_first(case) else x.movedim(1, 0),
                          presets.ideal())  # fmt: skip
    given = packed(x if model_first(case) else x.movedim(1, 0), batch_first=model_first(case))
    with torch.no_grad():
        expected = model(given)
    found = chip(given)
    assert isinstance(found[0], PackedSequence)
    assert torch.equal(found[0].batch_sizes, expected[0].batch_sizes)
    assert torch.equal(found[0].unsorted_indices, expected[0].unsorted_indices)
    for mine, theirs in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def model_first(case):
    return "time first" not in case


@pytest.mark.parametrize("case", ["lstm", "gru", "rnn", "projection"])
def test_packed_equals_every_sequence_alone(case):
    """Bit by bit on noisy devices; a backward pass begins at each sequence's own end."""
    x = numbers(5, 8, 4)
    chip, _ = chip_of(PACKED[case], x)
    outputs, state = chip(packed(x), first_image=10)
    outputs, states = padded(outputs), leaves(state)
    for i, length in enumerate(LENGTHS.tolist()):
        alone, end = chip(x[i : i + 1, :length], first_image=10 + i)
        assert torch.equal(outputs[i, :length], alone[0])
        assert torch.equal(outputs[i, length:], torch.zeros_like(outputs[i, length:]))
        for whole, own in zip(states, leaves(end), strict=True):
            assert torch.equal(whole[:, i], own[:, 0])


def test_packed_by_the_model_itself_equals_packed_by_hand():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(4, 7, batch_first=True, bidirectional=True)

        def forward(self, x, lengths):
            y, h = self.gru(packed(x, lengths))
            return padded(y), h

    x = numbers(5, 8, 4)
    torch.manual_seed(2)
    model = settle(Inside()).eval()
    inside = aimc_sim.Chip.from_model(model, presets.hermes("odp"))
    inside.calibrate([(x, LENGTHS)]).program(4)
    outside = aimc_sim.Chip.from_model(model.gru, presets.hermes("odp"))
    outside.calibrate(x).program(4)
    # The same devices; ranges were measured on whole sequences here, on their parts there.
    outside.ranges = type(outside.ranges)(
        {k.replace("gru.", "GRU.").replace("x", "input"): v
         for k, v in inside.ranges.values.items()}, inside.ranges.links, 5,
    )  # fmt: skip
    found = outside(packed(x), first_image=0)
    expected = inside(x, LENGTHS, first_image=0)
    assert torch.equal(padded(found[0]), expected[0])
    assert torch.equal(found[1], expected[1])


def test_packed_chunks():
    x = numbers(5, 8, 4)
    chip, _ = chip_of(PACKED["lstm"], x)
    whole = chip(packed(x), first_image=0)
    for chunk in (1, 2, 4):
        assert alike(whole, chip(packed(x), first_image=0, chunk=chunk))


# -------------------------------------------------------------------------- initial states


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_given_states_equal_torch(kind):
    model = settle(FromState(kind)).eval()
    x, state = numbers(3, 5, 4), numbers(3, 2, 7).tanh()
    with torch.no_grad():
        expected = model(x, state)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=(x, state)).program(0)
    found = chip(x, state)
    for mine, theirs in zip(leaves(found), leaves(expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_states_go_on_like_a_longer_sequence():
    """On the ideal chip: the state of the first half, given to the second half."""
    model = settle(FromState(nn.LSTM)).eval()
    torch_layer = copy.deepcopy(model.layer)
    chip = aimc_sim.Chip.from_model(torch_layer, presets.ideal()).program(0)
    x = numbers(3, 6, 4)
    whole, (h, c) = chip(x)
    stream = chip.stream()
    stream(x[:, :2])
    y, (h2, c2) = stream(x[:, 2:])
    torch.testing.assert_close(y, whole[:, 2:], rtol=0, atol=0)
    assert torch.equal(h, h2)
    assert torch.equal(c, c2)
