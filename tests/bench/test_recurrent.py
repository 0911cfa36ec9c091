"""A small recurrent network, a GRU that spots keywords, with one and with 32 sequences at a time.

    pytest tests/bench/test_recurrent.py

98 frames of 40 features, 128 hidden units, 12 words: what a second of speech is for keyword
spotters that run on microcontrollers. Torch runs its fused GRU; the chip goes step by step.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets

FRAMES, FEATURES, HIDDEN, WORDS = 98, 40, 128, 12
LIMIT = 20
"""Largest allowed ratio to torch's fused GRU."""


class Spotter(nn.Module):
    """(N, frames, features) to scores of the words, from the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.words = nn.Linear(HIDDEN, WORDS)

    def forward(self, x):
        """Return the scores."""
        return self.words(self.gru(x)[0][:, -1])


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("batch", [1, 32])
def test_spotter(ratio, in_turn, batch, threads):
    torch.manual_seed(0)
    model = Spotter().eval()
    x = torch.randn(64, FRAMES, FEATURES)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    own = x[:batch]
    pairs = in_turn(lambda: chip(own, first_image=0), lambda: model(own), rounds=9, warm_up=2)
    row = f"GRU keyword spotter, batch {batch}, full physics"
    assert ratio(row, threads, pairs) <= LIMIT
