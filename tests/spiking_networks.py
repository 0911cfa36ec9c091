"""Networks of spiking units: what their tests share."""

from __future__ import annotations

import torch
from torch import nn


class Two(nn.Module):
    """Two layers of units and a readout."""

    def __init__(self, kind, **options):
        super().__init__()
        self.one = kind(12, 20, threshold=0.25, decay=0.75, **options)
        self.two = kind(20, 9, threshold=0.25, decay=0.75, **options)
        self.out = nn.Linear(9, 4)

    def forward(self, x):
        return self.out(self.two(self.one(x)[0])[0])


def coarse(model):
    """Return a model of weights in steps of 1/32, whose thresholds no sum of them meets."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_((parameter * 32).round() / 32)
            if name.endswith("threshold"):
                parameter += 1 / 77
    return model.eval()


def spikes(*shape, share=0.4, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < share).float()


def made(kind, batch_first=False, **options):
    torch.manual_seed(1)
    return coarse(Two(kind, batch_first=batch_first, **options))
