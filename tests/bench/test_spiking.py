"""Spiking networks of ten layers, four time steps, batch 128, as a ratio to torch float32.

    pytest tests/bench/test_spiking.py

Nine layers of weights with integrate-and-fire neurons behind them, and a readout. Torch and the
chip take all steps of a layer of weights as one batch, and run the neurons step by step.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import SenseAmplifierSpec
from aimc_sim.spiking import LIF

BATCH, STEPS, CLASSES = 128, 4, 10
FULL = presets.hermes("odp")
ONE_BIT = presets.hermes("odp", "1-phase").with_(
    {"core.adc": SenseAmplifierSpec(), "core.g_max_rule": "device"}
)
LIMIT = 6
"""Largest allowed ratio to torch: twice the 3 that is wanted of a quiet machine."""


class Convolutions(nn.Module):
    """(B, T, 3, 32, 32) to scores; 16, 32 and 64 channels, three layers each."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [3, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.weights = nn.ModuleList(
            nn.Conv2d(n, m, 3, 1 + (n != m and n > 3), 1) for n, m in pairwise(sizes)
        )
        self.neurons = nn.ModuleList(LIF(0.5, 0.3, batch_first=True) for _ in self.weights)
        self.head = nn.Linear(sizes[-1], CLASSES)

    def forward(self, x):
        """Return the scores, the mean over time and pixels."""
        for layer, neurons in zip(self.weights, self.neurons, strict=True):
            x, _ = neurons(layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.head(x.mean((3, 4))).mean(1)


class Dense(nn.Module):
    """(B, T, 784) to scores; nine layers of 512."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [784, *[512] * 9]
        self.weights = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.neurons = nn.ModuleList(LIF(0.5, 0.3, batch_first=True) for _ in self.weights)
        self.head = nn.Linear(sizes[-1], CLASSES)

    def forward(self, x):
        """Return the scores, the mean over time."""
        for layer, neurons in zip(self.weights, self.neurons, strict=True):
            x, _ = neurons(layer(x))
        return self.head(x).mean(1)


CASES = {
    "10 convolutions, full physics": (Convolutions, (3, 32, 32), FULL, LIMIT),
    "10 convolutions, sense amplifiers": (Convolutions, (3, 32, 32), ONE_BIT, LIMIT),
    "10 dense layers, full physics": (Dense, (784,), FULL, 4 * LIMIT),
}


def spiking(kind):
    """Return a network whose neurons spike in a quarter to a half of all steps."""
    torch.manual_seed(0)
    model = kind().eval()
    with torch.no_grad():
        for one in model.parameters():
            if one.ndim > 1:
                one.mul_(2.5)
    return model


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:layer")  # few calibration inputs
def test_forward(ratio, in_turn, case, threads):
    kind, shape, spec, limit = CASES[case]
    model = spiking(kind)
    x = torch.rand(BATCH, STEPS, *shape, generator=torch.Generator().manual_seed(1)).lt(0.3).float()
    chip = aimc_sim.Chip.from_model(model, spec, example=x[:8]).calibrate(x[:32]).program(0)
    pairs = in_turn(lambda: chip(x, first_image=0), lambda: model(x), rounds=5, warm_up=1)
    assert ratio(f"spiking, {case}, {STEPS} steps x {BATCH}", threads, pairs) <= limit
