"""From charge to the integers that leave a core, on tensors: two twins with one signature.

:data:`COMPILED` hands the memory of CPU tensors to the fused kernels
(:mod:`aimc_sim.kernels.epilogue`, :mod:`aimc_sim.kernels.conversion`); :data:`PLAIN` does the same
with torch operations, on any device. Both draw the same addressed noise, so they agree to the
rounding of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..kernels.conversion import add_codes
from ..kernels.epilogue import epilogue
from ..kernels.normal import LANES
from ..machine.formats import formats
from .adc import Adc, quantised
from .calls import CoreCall

_NO_LINK = np.zeros((0, 0, 0), np.float32)
_NO_VARIANCE = {
    torch.bfloat16: np.zeros((0, 0, 0), np.uint16), torch.float32: np.zeros((0, 0, 0), np.float32)
}  # fmt: skip
"""By the format of variances: the kernel is then compiled once."""
_NO_EXTRA = np.zeros(0, np.float32)
_ZERO = np.float32(0.0)


@dataclass
class CodedValue:
    """Codes of a value, (B, C, H, W) or (B, C) float32, and their squares where needed."""

    codes: Tensor
    squares: Tensor | None = None

    def rows(self, rows: slice) -> CodedValue:
        """Return part of the batch; writing to it writes to this value."""
        return CodedValue(self.codes[rows], None if self.squares is None else self.squares[rows])


@dataclass(frozen=True)
class ArrivingCodes:
    """Codes that arrive at a core: (B, L, H, W) float32, and the first channel it reads."""

    codes: Tensor
    column: int


def convert_compiled(
    charge: Tensor, variance: Tensor | None, link: ArrivingCodes | None, core: CoreCall,
    events: np.ndarray, relu: bool, target: CodedValue, column: int, extra: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Write a core's output codes into a value; the fused kernel.

    Parameters
    ----------
    charge : (B, C, H, W) float32, channels last
        Charges of the columns, in units of the core's ADC (or codes, if they are converted
        already).
    variance : (B, C, H, W) in the format of variances, or None
        Variance of the fresh noise of every charge, in the unit of charge squared.
    link : ArrivingCodes or None
        Codes of the core before in the chain, or of the residual, that are added.
    core : CoreCall
        Converters, registers and noise key of the core.
    events : (B,) int64
        Numbers of the images.
    relu : bool
        Whether negative outputs become zero.
    target : CodedValue
        Written from channel ``column`` on.
    column : int
        First channel of the target that the core writes.
    extra : (B,) float32 or None
        Variance that all charges of an image have besides.

    Returns
    -------
    (B, 2) int64 tensor
        ADC saturations and output clippings per image.
    """
    counts = np.zeros((len(charge), 2), np.int64)
    nothing = _NO_VARIANCE[formats().variance]
    gain, offset, adc, oscillators, bounds, jitter, link_gain, requantise = core.arrays
    epilogue(
        _pixels(charge),
        nothing if variance is None else _variance(variance),
        _NO_EXTRA if extra is None else extra.numpy(), jitter,
        _NO_LINK if link is None else _pixels(link.codes),
        gain, offset, adc, oscillators, bounds,
        _ZERO if link is None else link_gain,
        relu, requantise, core.noise_key,
        events, 0 if link is None else link.column, column, core.bit_true,
        _pixels(target.codes),
        nothing if target.squares is None else _variance(target.squares),
        counts,
    )  # fmt: skip
    return torch.from_numpy(counts)


def _convert_plain(
    charge: Tensor, variance: Tensor | None, link: ArrivingCodes | None, core: CoreCall,
    events: np.ndarray, relu: bool, target: CodedValue, column: int, extra: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Write a core's output codes into a value; torch operations on any device.

    Parameters and return value as in :func:`convert_compiled`.
    """
    channels = charge.shape[1]
    z = _noisy(charge, variance, core.adc, core.noise_key, events, extra)
    z, saturated = core.adc.codes(z)
    registers, bit_true = core.registers, core.bit_true
    gain, offset = registers.gain[:, None, None], registers.offset[:, None, None]
    # In half precision every step is exact in double precision before its one rounding.
    step = _half if bit_true else (lambda value: value)
    exact = torch.Tensor.double if bit_true else (lambda value: value)
    y = step(exact(step(exact(z))) * exact(gain) + exact(offset))
    if link is not None:
        part = link.codes[:, link.column : link.column + channels]
        y = step(exact(y) + registers.link_gain * exact(part))
    if relu:
        y = y.clamp(min=0)
    y, clipped = quantised(y.float(), registers.output)
    target.codes[:, column : column + channels] = y
    if target.squares is not None:
        target.squares[:, column : column + channels] = y.square()
    return torch.stack([saturated, clipped], dim=1)


def _add_codes_compiled(
    charge: Tensor, variance: Tensor | None, adc: Adc, noise_key: np.ndarray, events: np.ndarray,
    column: int, factor: float, total: Tensor, extra: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Add the codes of one of several conversions to their sum; the compiled loops.

    Parameters
    ----------
    charge : (B, K, H, W) float32, channels last
        Read from channel ``column`` on.
    variance : (B, K, H, W) in the format of variances, or None
        Variance of the fresh noise of every charge, in the unit of charge squared.
    adc : Adc
        The converters, in units of charge.
    noise_key : (2,) uint32
        Key of the addressed draws of this conversion's noise.
    events : (B,) int64
        Numbers of the images.
    column : int
        First channel of the charges to convert.
    factor : float
        Weight of these codes in the sum.
    total : (B, C, H, W) float32, channels last
        ``factor`` times the codes is added.
    extra : (B,) float32 or None
        Variance that all charges of an image have besides.

    Returns
    -------
    (B,) int64 tensor
        ADC saturations per image.
    """
    counts = np.zeros(len(charge), np.int64)
    row, oscillators, bounds, jitter = adc.arrays
    add_codes(
        _pixels(charge),
        _NO_VARIANCE[formats().variance] if variance is None else _variance(variance),
        _NO_EXTRA if extra is None else extra.numpy(), jitter, row, oscillators, bounds,
        noise_key, events, column, np.float32(factor), _pixels(total), counts,
    )  # fmt: skip
    return torch.from_numpy(counts)


def _add_codes_plain(
    charge: Tensor, variance: Tensor | None, adc: Adc, noise_key: np.ndarray, events: np.ndarray,
    column: int, factor: float, total: Tensor, extra: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Add the codes of one of several conversions to their sum; torch operations on any device.

    Parameters and return value as in :func:`_add_codes_compiled`.
    """
    columns = slice(column, column + total.shape[1])
    own = None if variance is None else variance[:, columns]
    z = _noisy(charge[:, columns], own, adc, noise_key, events, extra)
    codes, saturated = adc.codes(z)
    total.add_(codes, alpha=factor)
    return saturated


def _noisy(
    charge: Tensor, variance: Tensor | None, adc: Adc, noise_key: np.ndarray, events: np.ndarray,
    extra: Tensor | None,
) -> Tensor:  # fmt: skip
    """Return charges with their noise."""
    batch, channels, height, width = charge.shape
    own_variance = variance if variance is None else variance.float()
    for more in (
        None if extra is None else extra[:, None, None, None],
        adc.noise(charge),
    ):
        if more is not None:
            own_variance = more if own_variance is None else own_variance + more
    if own_variance is None:
        return charge
    xi = normals(events, channels * height * width, noise_key, charge.device)
    xi = xi.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return charge + own_variance.sqrt() * xi


@dataclass(frozen=True)
class Passes:
    """The passes over the outputs of crossbars, in one of two twins.

    Attributes
    ----------
    convert : callable
        All of it, see :func:`convert_compiled`.
    add_codes : callable
        Up to the converters, see :func:`_add_codes_compiled`.
    """

    convert: Callable[..., Tensor]
    add_codes: Callable[..., Tensor]


COMPILED = Passes(convert_compiled, _add_codes_compiled)
PLAIN = Passes(_convert_plain, _add_codes_plain)


def _half(values: Tensor) -> Tensor:
    """Round float64 values to halves, once (a conversion may round to float32 on its way)."""
    _, exponent = torch.frexp(values)
    unit = torch.ldexp(torch.ones_like(values), (exponent - 11).clamp(min=-24))
    return (values / unit).round() * unit


def normals(events: np.ndarray, n: int, key: np.ndarray, device: torch.device) -> Tensor:
    """Return (images, n) float32 normals: the draws of :func:`aimc_sim.kernels.normal.fill`.

    Notes
    -----
    Philox on int64 tensors: products wrap modulo 2^64, so the arithmetic shift followed by a
    mask gives the high word.
    """
    mask = 0xFFFFFFFF
    tiles = -(-n // (8 * LANES))
    images, numbers = len(events), torch.from_numpy(events).to(device)[:, None]
    c0 = torch.arange(tiles * LANES, device=device)[None, :].expand(images, -1)
    c1, c2, c3 = numbers & mask, numbers >> 32, torch.zeros_like(numbers)
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(7):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            ((p1 >> 32) & mask) ^ c1 ^ k0, p1 & mask, ((p0 >> 32) & mask) ^ c3 ^ k1, p0 & mask,
        )  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    words = torch.stack([c0, c1, c2, c3], dim=1).view(images, 4, tiles, LANES)
    u = ((words >> 12).float() + 0.5) * 2.0**-20
    radius = (-2.0 * u.log()).sqrt()
    angle = ((words & 4095).float() - 2047.5) * (2 * math.pi / 4096)
    pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2)
    # (images, word, pair, tile, lane) -> tile, normal of the tile's row, lane
    ordered = pairs.permute(0, 3, 1, 2, 4).reshape(images, tiles * 8 * LANES)
    return ordered[:, :n].contiguous()


def _pixels(maps: Tensor) -> np.ndarray:
    """Return channels-last maps as a (B, H W, C) array that shares their memory."""
    batch, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).view(batch, height * width, channels).numpy()


def _variance(maps: Tensor) -> np.ndarray:
    """Return channels-last maps as (B, H W, C) float32, or uint16 for the bits of bfloat16."""
    if maps.dtype == torch.float32:
        return _pixels(maps)
    return _pixels(maps.view(torch.int16)).view(np.uint16)
