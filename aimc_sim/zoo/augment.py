"""Random changes to training images, a batch at a time; every draw is from the given generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_and_flip(images: Tensor, margin: int, generator: torch.Generator) -> Tensor:
    """Shift each image by whole pixels and mirror every second one on average.

    Parameters
    ----------
    images : (N, C, H, W) float32 tensor
        Normalised images, dimensionless.
    margin : int
        Largest shift each way and in both directions, pixels; places that come into view are
        zero, the mean of normalised images.
    generator : torch.Generator
        Source of the draws.

    Returns
    -------
    (N, C, H, W) float32 tensor
        Changed images, in channels-last memory format.
    """
    n, _, height, width = images.shape
    padded = F.pad(images, (margin, margin, margin, margin))
    top, left = (_integers(2 * margin + 1, n, generator) for _ in range(2))
    mirrored = _integers(2, n, generator).bool()
    columns = torch.arange(width).expand(n, width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + left[:, None]
    rows = torch.arange(height) + top[:, None]
    # One gather of all images; the channels come last, which is how they are wanted.
    found = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2)


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Set a square of each image to zero, the mean of normalised images.

    Parameters
    ----------
    images : (N, C, H, W) float32 tensor
        Normalised images, dimensionless.
    size : int
        Side of the square, pixels; 0 changes nothing. Its centre is anywhere in the image, so
        a part may lie outside.
    generator : torch.Generator
        Source of the draws.

    Returns
    -------
    (N, C, H, W) float32 tensor
        Changed images.

    Notes
    -----
    Source: T. DeVries, G. W. Taylor, *Improved regularization of convolutional neural networks
    with Cutout*, arXiv:1708.04552 (2017).
    """
    if size == 0:
        return images
    n, _, height, width = images.shape
    rows, columns = (_near(_integers(m, n, generator), m, size) for m in (height, width))
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(inside, 0.0)


def _near(centre: Tensor, length: int, size: int) -> Tensor:
    """Return (N, length) bool: the ``size`` places around each centre."""
    offset = torch.arange(length) - centre[:, None] + size // 2
    return (offset >= 0) & (offset < size)


def _integers(below: int, n: int, generator: torch.Generator) -> Tensor:
    """Return n integers, uniform in 0 ... below - 1."""
    return torch.empty(n, dtype=torch.int64).random_(below, generator=generator)
