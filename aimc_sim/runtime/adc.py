"""A core's converters on tensors: :class:`aimc_sim.core.quantise.ColumnConverters` in torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..core.quantise import ColumnConverters, Quantiser
from ..digital import rounding

AS_IT_IS = Quantiser(1.0, math.inf, False)
"""Passes every number on."""

_NO_TABLE = np.zeros((1, 1, 1), np.float32)
_NO_BOUNDS = np.zeros(2, np.float32)
_NO_JITTER = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Adc:
    """Converters of a core.

    Attributes
    ----------
    quantiser : Quantiser
        The law of all columns where there is no table; its step is the unit of the codes.
    table : (5, 2, C) or (2 T + 1, 1, C) float32 or None
        See :class:`aimc_sim.core.quantise.ConverterTable` and
        :class:`aimc_sim.core.quantise.StepTable`.
    bounds : (2,) float32 or None
        Its limit and dead zone.
    jitter : (C,) float32 or None
        Variance added by a conversion, charge squared; of no charge only where ``noisy_at_rest``.
    """

    quantiser: Quantiser
    table: Tensor | None = None
    bounds: Tensor | None = None
    jitter: Tensor | None = None

    @classmethod
    def of(cls, converter: ColumnConverters, device: torch.device) -> Adc:
        """Return a core's converters on a device."""
        jitter = None
        if np.any(converter.jitter):
            jitter = torch.from_numpy(np.array(converter.jitter, np.float32)).to(device)
        found = converter.table
        if found is None:
            return cls(converter.quantiser, jitter=jitter)
        bounds = torch.tensor([found.limit, found.dead], dtype=torch.float32, device=device)
        return cls(converter.quantiser, torch.from_numpy(found.rows).to(device), bounds, jitter)

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """``adc, oscillators, bounds, jitter`` of :func:`aimc_sim.kernels.epilogue.epilogue`."""
        jitter = _NO_JITTER if self.jitter is None else self.jitter.numpy()
        if self.table is None:
            return row(self.quantiser), _NO_TABLE, _NO_BOUNDS, jitter
        assert self.bounds is not None  # they come with the table
        return row(self.quantiser), self.table.numpy(), self.bounds.numpy(), jitter

    @property
    def noisy_at_rest(self) -> bool:
        """Whether a conversion of no charge has noise too: that of a staircase."""
        return self.table is not None and self.table.shape[1] == 1

    def noise(self, charge: Tensor) -> Tensor | None:
        """Return the variance that conversions of (B, C, H, W) charges add, or None."""
        if self.jitter is None:
            return None
        jitter = self.jitter[:, None, None]
        return jitter.expand(charge.shape) if self.noisy_at_rest else jitter * (charge != 0)

    def codes(self, charge: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes of (B, C, H, W) charges, and how many of each image saturate, (B,)."""
        if self.table is None:
            return quantised(charge, self.quantiser)
        if self.noisy_at_rest:
            return climbed(charge, self.table[:, 0, :, None, None]), _nobody(charge)
        assert self.bounds is not None  # they come with the table
        slope, bend, lift, gain, offset = self.table[:, :, :, None, None]
        limit, dead = self.bounds
        z = charge.clamp(min=0) if math.isinf(float(dead)) else charge
        negative = z < -dead
        size = z.abs()
        beyond = (size > limit).flatten(1).sum(1)
        size = torch.minimum(size, limit)

        def of(pair: Tensor) -> Tensor:
            return torch.where(negative, pair[1], pair[0])

        count = (of(slope) * size / (1 + of(bend) * size) + of(lift)).round()
        value = torch.where(count > 0, of(gain) * count + of(offset), torch.zeros_like(count))
        return torch.where(negative, -value, value), beyond


PASSES_ALL = Adc(AS_IT_IS)
"""Of a core whose charge is converted already."""


def row(quantiser: Quantiser) -> np.ndarray:
    """Return a quantiser as (1 / step, limit, rounds), (3,) float32."""
    return np.array([quantiser.per_step, quantiser.limit, quantiser.rounds], np.float32)


def quantised(values: Tensor, quantiser: Quantiser) -> tuple[Tensor, Tensor]:
    """Return codes of values, and how many of each image lie beyond the limit, (B,)."""
    codes = rounding.whole(values, quantiser.per_step, quantiser.rounds)
    outside = (codes.abs() > quantiser.limit).flatten(1).sum(1)
    return codes.clamp(-quantiser.limit, quantiser.limit), outside


def climbed(charge: Tensor, rows: Tensor) -> Tensor:
    """Return the values of the steps that charges reach.

    Parameters
    ----------
    charge : tensor of any shape
        In any unit.
    rows : (2 T + 1, ...) tensor that broadcasts with it
        T thresholds, then T + 1 values, in that unit.
    """
    steps = len(rows) // 2
    value = rows[steps].expand(charge.shape)
    for t in range(steps):
        value = torch.where(charge >= rows[t], rows[steps + 1 + t], value)
    return value


def _nobody(charge: Tensor) -> Tensor:
    return torch.zeros(len(charge), dtype=torch.int64, device=charge.device)
