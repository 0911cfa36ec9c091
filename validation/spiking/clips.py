"""Clips of handwritten digits that move: digits of MNIST on a circle or to and fro, made by seed.

A digit of 14 x 14 pixels (MNIST, mean of 2 x 2) moves in a frame of 28 x 28 for eight frames:
seven eighths of a circle of radius 5 to the left, or to the right, or along its diameter to the
opposite point and back. Phase, place of the circle (1 pixel) and digit are random. In the frames 0
and 4 all three movements stand at the same two places: these frames alone tell the digit and not
the movement. The 30 classes are ten digits times three movements. Ours: the form of no publication.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from mnist_perceptron import read_mnist
from torch import Tensor
from torch.nn import functional as F

FRAMES, SIZE, RADIUS, AWAY = 8, 28, 5.0, 1
MOVEMENTS = ("left", "right", "to and fro")
CLASSES = 10 * len(MOVEMENTS)
KEYS, RESIDUALS = (0, 4), (1, 2, 3, 5, 6, 7)
"""Frames of one branch, and of the other, which sees their differences from the frame before."""


class Digits(NamedTuple):
    """Digits (N, 16, 16) float32, 0 to 1, one empty pixel around them, and labels (N,) int64."""

    images: Tensor
    labels: Tensor


class Clips(NamedTuple):
    """Clips (N, 8, 1, 28, 28) float32, 0 to 1, and classes (N,) int64: 3 digit + movement."""

    frames: Tensor
    classes: Tensor


def digits(folder: Path, part: str) -> Digits:
    """Return the small digits of a part of MNIST, "train" or "test"."""
    found = read_mnist(folder, part)
    small = F.avg_pool2d(found.images.view(-1, 28, 28), 2)
    return Digits(F.pad(small, (1, 1, 1, 1)), found.labels)


def places(phases: Tensor, movements: Tensor) -> Tensor:
    """Return the centres of all frames, (N, FRAMES, 2) pixels, less the centre of the circle.

    Parameters
    ----------
    phases : (N,) float tensor, radians
        Where on the circle the first frame stands.
    movements : (N,) int64 tensor
        Places in :data:`MOVEMENTS`.
    """
    angles = torch.arange(FRAMES) * (2 * math.pi / FRAMES)
    ways = torch.tensor([1.0, -1.0, 0.0])[movements, None]
    turned = phases[:, None] + ways * angles
    far = torch.where(ways == 0, angles.cos(), torch.ones(()))
    return RADIUS * torch.stack([far * turned.sin(), far * turned.cos()], -1)


def clips(source: Digits, pick: Tensor, draw: torch.Generator) -> Clips:
    """Return clips of some digits, their movements drawn.

    Parameters
    ----------
    source : Digits
    pick : (N,) int64 tensor
        Which digits.
    draw : torch.Generator
    """
    count = len(pick)
    movements = torch.randint(len(MOVEMENTS), (count,), generator=draw)
    phases = 2 * math.pi * torch.rand(count, generator=draw)
    centres = torch.randint(-AWAY, AWAY + 1, (count, 1, 2), generator=draw)
    corners = (places(phases, movements) + (SIZE - 14) / 2).round().long() + centres
    # Row and column of the padded digit behind every pixel of the frame; outside, its empty border.
    behind = (torch.arange(SIZE) - corners[..., None] + 1).clamp(0, 15)
    rows, cols = behind[..., 0, :, None], behind[..., 1, None, :]
    frames = source.images[pick[:, None, None, None], rows, cols]
    return Clips(frames[:, :, None], 3 * source.labels[pick] + movements)
