"""A survey of a layer's inputs before its cores are read, for counts and for phases.

Two twins, as in :mod:`.convert`: a kernel on CPU tensors, torch operations on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..kernels.survey import bit_plane as plane_kernel
from ..kernels.survey import survey as survey_kernel

_PART = 8
"""Rows and columns of windows that a part of a map holds: large ones give loose bounds."""

_NO_PARTS = np.zeros((0, 0, 0), np.float32)
_NO_SQUARE = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Survey:
    """Codes that a layer reads.

    Attributes
    ----------
    magnitude : () float64 tensor
        Sum of their magnitudes.
    lowest : (B, channels) float32
        min(0, code) over a map.
    spans : one or two (B, P, channels) float32, or none
        Largest positive code, and largest negated code if some image has a negative one, of
        every channel in each of P parts of the map; none where nobody asks.
    """

    magnitude: Tensor
    lowest: Tensor
    spans: tuple[Tensor, ...]

    def of(self, channels: slice) -> Survey:
        """Return the survey of some channels; ``magnitude`` stays that of all."""
        place = channels.start, channels.stop
        if place not in self._parts:  # cores side by side read the same rows
            spans = tuple(codes[..., channels].contiguous() for codes in self.spans)
            self._parts[place] = Survey(self.magnitude, self.lowest[:, channels], spans)
        return self._parts[place]

    @cached_property
    def _parts(self) -> dict[tuple[int, int], Survey]:
        return {}

    @cached_property
    def signed(self) -> Tensor:
        """The (B,) bool images with a negative code: four currents instead of two."""
        return (self.lowest < 0).any(1)


def survey(x: Tensor, window: tuple[int, int] | None) -> Survey:
    """Return the survey of maps of codes.

    Parameters
    ----------
    x : (B, channels, H, W) float32, channels last
        Codes that the layer reads.
    window : (int, int) or None
        Rows and columns between the first and the last input of an output, both included; None:
        no spans.
    """
    if not x.is_cpu:
        spans = () if window is None else largest_codes(x, window)
        least = x.flatten(2).amin(2).clamp(max=0)
        return Survey(x.abs().sum(dtype=torch.float64), least, spans)
    batch, channels, height, width = x.shape
    maps = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels).numpy()
    magnitudes = np.empty(batch)
    lowest = np.empty((batch, channels), np.float32)
    above = below = _NO_PARTS
    size = _sizes(x, window or (1, 1))
    if window is not None:
        down, across = (-(-(n - k) // _PART) + 1 for n, k in zip(x.shape[2:], size, strict=True))
        above, below = np.zeros((2, batch, down * across, channels), np.float32)
    survey_kernel(
        maps, height, width, np.array(size), _PART, magnitudes, lowest, above, below
    )  # fmt: skip
    spans = ()
    if window is not None:
        found = (above, below) if lowest.size and lowest.min() < 0 else (above,)
        spans = tuple(torch.from_numpy(part) for part in found)
    return Survey(torch.from_numpy(magnitudes).sum(), torch.from_numpy(lowest), spans)


def largest_codes(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return the spans of :class:`Survey`, by torch operations.

    Parameters
    ----------
    x : (B, channels, H, W) float32
        Codes that the layer reads.
    window : (int, int)
        Rows and columns of a window, as in :func:`survey`.
    """

    def largest(maps: Tensor) -> Tensor:
        found = F.max_pool2d(maps, _sizes(x, window), _PART, ceil_mode=True).clamp(min=0)
        return found.permute(0, 2, 3, 1).flatten(1, 2)

    if bool(x.amin() >= 0):
        return (largest(x),)
    return largest(x), largest(-x)


def _sizes(x: Tensor, window: tuple[int, int]) -> list[int]:
    """Return rows and columns of a part: whole windows, of which one part holds any."""
    return [min(n, _PART + w - 1) for n, w in zip(x.shape[2:], window, strict=True)]


def bit_plane(
    codes: Tensor, bit: int, variance: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    """Return a bit of every magnitude with the code's sign, and its square.

    Parameters
    ----------
    codes : (B, channels, H, W) float32, channels last, integers
        Codes of sign and magnitude.
    bit : int
        Number of the bit in the magnitude; 0 is the least significant.
    variance : torch.dtype or None
        Format of the square; None: not wanted.
    """
    if not codes.is_cpu:
        plane = (codes.abs().to(torch.int32) >> bit & 1) * codes.sign()
        return plane, None if variance is None else plane.square().to(variance)
    plane = torch.empty_like(codes)
    square = None if variance is None else torch.empty_like(codes, dtype=variance)
    kernel_square = _NO_SQUARE if square is None else _flat(square)
    plane_kernel(_flat(codes), bit, _flat(plane), kernel_square)
    return plane, square


def _flat(maps: Tensor) -> np.ndarray:
    """Return the memory of channels-last maps as a vector; bfloat16 as its bits."""
    rows = maps.permute(0, 2, 3, 1).view(-1)
    if rows.dtype == torch.float32:
        return rows.numpy()
    return rows.view(torch.int16).numpy().view(np.uint16)
