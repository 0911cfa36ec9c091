"""A small spiking network for the digits: pixels as constant currents, spikes for eight steps.

Ours, not a published one: 64 pixels drive 96 integrate-and-fire neurons with a constant current;
their spikes go to 64 recurrent spiking neural units (:mod:`aimc_sim.spiking`); scores are the mean
over time of what the spikes of these give.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from aimc_sim.spiking import LIF, SNU
from aimc_sim.zoo.stored import WeightFiles, classifier

__all__ = ["KIND", "STEPS", "SpikingDigits", "spiking_digits"]

KIND = WeightFiles(
    name="spiking network for the digits",
    layout="first, neurons, units, head",
    head="head",
    shipped={"digits": "spiking_digits.pt"},
    training={"digits": "python -m aimc_sim.zoo.train_spiking"},
)
"""The weight files of this architecture."""

STEPS = 8
"""Time steps of an image."""

_INIT_SEED = 8


class SpikingDigits(nn.Module):
    """Pixels, 96 neurons, 64 recurrent units, ten classes.

    Parameters
    ----------
    num_classes : int
        Outputs.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Linear(64, 96)
        self.neurons = LIF(0.75, 1.0, batch_first=True)
        self.units = SNU(96, 64, decay=0.75, recurrent=True, threshold=0.5, batch_first=True)
        self.head = nn.Linear(64, num_classes)

    def example_input(self) -> Tensor:
        """Return inputs for the record of the network, (2, 3, 32, 32)."""
        return torch.linspace(0.0, 600.0, 2 * 3 * 32 * 32).sin().reshape(2, 3, 32, 32)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of the classes; x : (N, 3, 32, 32), of which one channel is read."""
        pixels = functional.avg_pool2d(x[:, :1], 4).flatten(1)
        current = self.first(pixels)[:, None].expand(-1, STEPS, -1)
        spikes, _ = self.neurons(current)
        spikes, _ = self.units(spikes)
        scores: Tensor = self.head(spikes).mean(1)
        return scores


def spiking_digits(num_classes: int = 10, weights: str | Path | None = None) -> SpikingDigits:
    """Build the spiking network in evaluation mode.

    Parameters
    ----------
    num_classes : int
        Outputs.
    weights : None, "digits" or path
        None: random, always the same draw (the global generator is left as it was). "digits": the
        shipped weights. Else the path of a state dict saved by ``torch.save``.

    Returns
    -------
    SpikingDigits
        A float32 network on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    return classifier(SpikingDigits, num_classes, weights, KIND, _INIT_SEED)
