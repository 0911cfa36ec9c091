"""The character LSTM: 128 sequences of 30 characters, forward time as a ratio to torch float32.

    pytest tests/bench/test_lstm.py

Torch runs its fused LSTM; the chip goes step by step, because the hidden state is quantised and
every step has its own noise.
"""

from __future__ import annotations

import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.zoo import char_lstm

BATCH, CHARACTERS = 128, 30
SETTINGS = {
    "full physics": presets.hermes("odp"),
    "bit-true digital units": presets.hermes("odp").with_(
        {"core.ldpu.bit_true": True, "gdpu.bit_true": True}
    ),
    "ideal": presets.ideal(),
}
LIMIT = 30
"""Largest allowed ratio to torch's fused LSTM."""


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("setting", SETTINGS)
def test_forward(ratio, in_turn, setting, threads):
    model = char_lstm()
    tokens = torch.arange(BATCH * CHARACTERS).mul(7919).remainder(50).view(BATCH, CHARACTERS)
    chip = aimc_sim.Chip.from_model(model, SETTINGS[setting]).calibrate(tokens[:32]).program(0)
    pairs = in_turn(lambda: chip(tokens, first_image=0), lambda: model(tokens), rounds=7, warm_up=2)
    assert ratio(f"character LSTM, 128 x 30, {setting}", threads, pairs) <= LIMIT
