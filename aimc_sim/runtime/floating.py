"""Input lines that float while they have no pulse, as convolutions and one pass over outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..kernels.floating import add_floating

Product = Callable[[Tensor, Tensor], Tensor]
"""Of inputs and a kernel, see :func:`aimc_sim.runtime.blocks.convolve`."""


@dataclass(frozen=True, eq=False)
class FloatingLines:
    """Kernels of :func:`aimc_sim.core.idle.high_impedance_correction` as convolutions.

    Of n crossbars side by side that read the same inputs: the polarities of a 4-phase read, or
    one. Kernels are in the format of variances.

    Attributes
    ----------
    lengths : (1 + 2 n + n C, channels, kh, kw)
        One, shares, weights and reaches, for the pulse lengths.
    signs : (n + 1, channels, kh, kw)
        Weights and one, for their signs.
    one : (1, channels, kh, kw)
        Ones where a crossbar has rows: counts the inputs of a window.
    reach_sum : (n, C) float32
        Sums of the reaches over the rows of every column.
    share_sum : (n,) float32
        Sum of the shares over the rows of every crossbar.
    max_code : float
        Largest code of the modulators: the longest pulse.
    both_signs : bool
        1-phase: inputs of both signs float together; else one sign after the other.
    """

    lengths: Tensor
    signs: Tensor
    one: Tensor
    reach_sum: Tensor
    share_sum: Tensor
    max_code: float
    both_signs: bool

    def add(self, product: Product, x: Tensor, charge: Tensor, negative: bool) -> None:
        """Add the contribution of floating idle lines to charges, in place.

        Parameters
        ----------
        product : callable
            Convolution of inputs with a kernel, see :data:`Product`.
        x : (B, channels, H, W) float32, input codes
            Codes that the crossbars read.
        charge : (B, n C, H', W') float32, channels last
            Charges of all columns, in units of g_max times an input code; written in place.
        negative : bool
            Some code is below zero.

        Notes
        -----
        The products run in the format of variances. bfloat16 holds the codes exactly and rounds
        the sums to 0.4 %: of a correction that is itself below a percent of the charge.
        """
        dtype = self.lengths.dtype
        if not negative:
            self._add_one_sign(product, x.to(dtype), charge, 1.0)
        elif self.both_signs:
            self._add_both_signs(product, x.to(dtype), charge)
        else:
            for sign in (1.0, -1.0):
                part = (sign * x).clamp(min=0).to(dtype)
                self._add_one_sign(product, part, charge, sign)

    def _add_one_sign(self, product: Product, x: Tensor, charge: Tensor, sign: float) -> None:
        signs = product(x.sign(), self.signs)
        n = len(self.share_sum)
        self._add(charge, product(x, self.lengths), None, signs, signs[:, n:], x, product, sign)

    def _add_both_signs(self, product: Product, x: Tensor, charge: Tensor) -> None:
        length = x.abs()
        start = product(x, self.signs[: len(self.share_sum)])
        driven = product(length.sign(), self.one)
        signs = product(x.sign(), self.signs)
        self._add(charge, product(length, self.lengths), start, signs, driven, x, product, 1.0)

    def _add(
        self, charge: Tensor, lengths: Tensor, start: Tensor | None, signs: Tensor,
        driven: Tensor, x: Tensor, product: Product, sign: float,
    ) -> None:  # fmt: skip
        """Combine the sums; ``start`` is among those of lengths if all inputs have one sign."""
        n = len(self.share_sum)
        start = lengths[:, 1 + n : 1 + 2 * n] if start is None else start
        narrow = torch.cat(
            [lengths[:, : 1 + n], start, signs[:, :n], driven, product(x.square(), self.one)], 1
        ).float()
        combine = combine_compiled if charge.is_cpu else combine_plain
        combine(self, narrow, lengths, sign, charge)


def combine_compiled(
    lines: FloatingLines, narrow: Tensor, lengths: Tensor, sign: float, charge: Tensor
) -> None:
    """Add the correction to charges, from sums; see :mod:`aimc_sim.kernels.floating`."""
    wide = _rows(lengths if lengths.dtype == torch.float32 else lengths.view(torch.int16))
    add_floating(
        _rows(narrow), wide if wide.dtype == np.float32 else wide.view(np.uint16),
        lines.reach_sum.numpy(), lines.share_sum.numpy(), np.float32(lines.max_code),
        np.float32(sign), _rows(charge),
    )  # fmt: skip


def combine_plain(
    lines: FloatingLines, narrow: Tensor, lengths: Tensor, sign: float, charge: Tensor
) -> None:
    """Add the correction to charges, from sums; torch operations on any device."""
    n = len(lines.share_sum)
    total, shared, start, weighted, driven, square = narrow.split([1, n, n, n, 1, 1], 1)
    relative = driven * square / total.square().clamp(min=1e-12)
    std = (relative - 1).clamp(min=0).sqrt()
    coupled = 1 - lines.share_sum[:, None, None] + shared / lines.max_code
    falls = sign * (1 - std / math.sqrt(3)).clamp(min=0) * weighted / coupled
    reached = lengths[:, 1 + 2 * n :].float().unflatten(1, (n, charge.shape[1] // n))
    added = (sign * start / coupled)[:, :, None] * lines.reach_sum[:, :, None, None]
    charge.add_((added - reached * falls[:, :, None]).flatten(1, 2))


def _rows(maps: Tensor) -> np.ndarray:
    """Return maps as a (B, H W, channels) array; memory is shared where channels are last."""
    batch, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(batch, height * width, channels).numpy()
