"""MNIST from its files, and a perceptron trained on it to hold on noisy devices.

The training adds noise to the weights in every forward pass, 3.8 % of the largest weight of the
layer, and keeps weights within 2.5 standard deviations: the recipe of V. Joshi et al., Nature
Communications 11, 2473 (2020), doi:10.1038/s41467-020-16108-9.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOISE_FRACTION, CLIP_SIGMAS = 0.038, 2.5
EPOCHS, BATCH, LEARNING_RATE, SEED = 15, 100, 1e-3, 2004


@dataclass(frozen=True)
class Images:
    """Images (N, pixels) float32, 0..1, and labels (N,) int64."""

    images: Tensor
    labels: Tensor


def read_mnist(folder: Path, split: str) -> Images:
    """Read a part of MNIST.

    Parameters
    ----------
    folder : Path
        Holds ``train-images-idx3-ubyte.gz`` and its three sisters.
    split : "train" or "test"
    """
    name = {"train": "train", "test": "t10k"}[split]
    pixels = _read_idx(folder / f"{name}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{name}-labels-idx1-ubyte.gz")
    flat = torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
    return Images(flat, torch.from_numpy(labels.astype(np.int64)))


def _read_idx(path: Path) -> np.ndarray:
    """Return the bytes of an idx file in their shape: magic 0 0 8 d, d sizes, then the data."""
    with gzip.open(path) as file:
        data = file.read()
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is not an idx file of bytes")
    d = data[3]
    shape = np.frombuffer(data, ">u4", d, 4)
    return np.frombuffer(data, np.uint8, -1, 4 + 4 * d).reshape(shape)


def perceptron(sizes: Sequence[int], seed: int = SEED) -> nn.Sequential:
    """Return an untrained perceptron with ReLUs between its layers; same seed, same weights."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            layers += [nn.ReLU()] * (i > 0) + [nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def train(model: nn.Sequential, data: Images, epochs: int = EPOCHS) -> nn.Sequential:
    """Train in place and return the model; all draws come from one seeded generator."""
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    steps = epochs * (len(data.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * LEARNING_RATE, max(1, steps))
    for _ in range(epochs):
        order = torch.randperm(len(data.labels), generator=generator)
        for pick in order[: len(order) // BATCH * BATCH].split(BATCH):
            loss = F.cross_entropy(_noisy(model, data.images[pick], generator), data.labels[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            _clip(model)
    return model.eval()


def _noisy(model: nn.Sequential, x: Tensor, generator: torch.Generator) -> Tensor:
    """Run the model with noise on weights and biases; the gradient passes the noise by."""
    for layer in model:
        if not isinstance(layer, nn.Linear):
            x = layer(x)
            continue
        with torch.no_grad():
            sigma = NOISE_FRACTION * _largest(layer)
            noise = [sigma * torch.randn(p.shape, generator=generator) for p in layer.parameters()]
        x = F.linear(x, layer.weight + noise[0], layer.bias + noise[1])
    return x


def _largest(layer: nn.Linear) -> Tensor:
    return torch.maximum(layer.weight.abs().max(), layer.bias.abs().max())


@torch.no_grad()
def _clip(model: nn.Sequential) -> None:
    """Keep weights and biases, which share a crossbar, within the bound of the weights."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            bound = CLIP_SIGMAS * layer.weight.std()
            for parameter in layer.parameters():
                parameter.clamp_(-bound, bound)


def kept(model: nn.Sequential, path: Path | None) -> bool:
    """Load weights that an earlier run kept; return whether there were any."""
    if path is None or not path.exists():
        return False
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    return True
