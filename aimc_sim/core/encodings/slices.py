"""Integer weights in slices: digits in columns of their own, shifted and added digitally.

Source: A. Shafiee et al., ISCA 2016, doi:10.1145/3007787.3001139: a weight of w bits lies in w / v
columns of v-bit cells, and the results of the columns are shifted and added. As in CrossSim's bit
slicing of style BALANCED every slice is a differential pair that holds a digit of the magnitude
under the sign of the weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...device import family
from ...device.request import Request
from ...spec import BitSlicesEncoding, CoreSpec
from .interface import Array, Group, Targets, background, largest_weights


@dataclass(frozen=True)
class Slices:
    """``core.encoding.kind`` "bit-slices".

    Attributes
    ----------
    spec : BitSlicesEncoding
    """

    spec: BitSlicesEncoding
    polarities: int = 2

    @property
    def columns_per_output(self) -> int:
        """Columns of an output: its slices."""
        return self.spec.slices

    @property
    def conversions(self) -> int:
        """Columns that are converted for one output."""
        return self.spec.slices

    @property
    def text(self) -> str:
        """The encoding in words."""
        many = "s" * (self.spec.slices > 1)
        return (
            f"integers of {self.spec.weight_bits} bits in {self.spec.slices} differential "
            f"column{many} of {self.spec.bits_per_cell} bits"
        )

    def columns(self, outputs: int) -> int:
        """Return the physical columns of a block."""
        return outputs * self.spec.slices

    def capacity(self, columns: int) -> int:
        """Return the outputs that fit a crossbar."""
        return columns // self.spec.slices

    def groups(self, columns: int) -> tuple[Group, ...]:
        """Return the slices, the least significant first; the last one has the factor 1.

        Factors are powers of two, which no arithmetic rounds; relative to the last slice, sums of
        codes stay in the range of half precision.
        """
        slices, outputs = self.spec.slices, columns // self.spec.slices
        return tuple(Group(s * outputs, (s + 1) * outputs, self._factor(s)) for s in range(slices))

    def _factor(self, s: int) -> float:
        return 2.0 ** (self.spec.bits_per_cell * (s - self.spec.slices + 1))

    def additions(self, outputs: int) -> int:
        """Return the shift-and-add operations of one MVM: one per further slice and output."""
        return outputs * (self.spec.slices - 1)

    def full_scales(self, amperes: Sequence[float]) -> tuple[float, ...]:
        """Return full scales whose ratios are powers of two, none below what its slice needs."""
        most = max(amperes)
        return tuple(
            most * 2.0 ** -math.floor(math.log2(most / one)) if one > 0 else most for one in amperes
        )

    def integers(self, weight: Array, core: CoreSpec) -> tuple[Array, Array]:
        """Return the integers of weights, and the weight of one unit.

        Parameters
        ----------
        weight : (R, C) float, dimensionless
            A block of weights.
        core : CoreSpec
            Its ``weight_scaling`` says which weight becomes the largest integer.

        Returns
        -------
        integers : (R, C) int64
            At most ``spec.largest`` in magnitude.
        unit : (C,) float64
            1 for outputs that are all zero.
        """
        weight = np.asarray(weight, np.float64)
        largest = largest_weights(weight, core)
        unit = np.where(largest > 0, largest / self.spec.largest, 1.0)
        return np.rint(weight / unit).astype(np.int64), unit

    def digits(self, integers: Array) -> Array:
        """Return the digits of magnitudes, (S, ...) int64, the least significant first."""
        places = np.arange(self.spec.slices) * self.spec.bits_per_cell
        places = places.reshape(-1, *[1] * integers.ndim)
        digits: Array = (np.abs(integers)[None] >> places) & (2**self.spec.bits_per_cell - 1)
        return digits

    def targets(self, weight: Array, core: CoreSpec, g_max_siemens: float | None) -> Targets:
        """Return the targets of a block; parameters as of :meth:`.pair.Pair.targets`.

        Notes
        -----
        The weight is the integer nearest to ``W (2^(weight_bits - 1) - 1) / W_max``. A digit d of
        b bits is the weight ``d / (2^b - 1)`` of a differential cell; where the bits do not divide
        evenly, the last slice uses the lower part of its range.
        """
        around = background(core, g_max_siemens)
        integers, unit = self.integers(weight, core)
        share, own = self._cells(integers)
        g = np.where(own, share * around.span, 0.0) + around.idle
        per_unit = around.span / (2**self.spec.bits_per_cell - 1) * self._factor(0)
        return Targets(Request(g, own | around.zeros_too), (per_unit or 1.0) / unit)

    def _cells(self, integers: Array) -> tuple[Array, Array]:
        """Return the share of a full polarity (R, K), and which polarity holds it (2, R, K)."""
        digits = np.concatenate(list(self.digits(integers)), axis=1)
        sign = np.tile(np.sign(integers), self.spec.slices)
        own = np.stack([(sign > 0) & (digits > 0), (sign < 0) & (digits > 0)])
        return digits / (2**self.spec.bits_per_cell - 1), own

    def per_g_max(self, weight: Array, core: CoreSpec) -> Array:
        """Return the siemens that every polarity gains per siemens of g_max, (2, R, K) float64."""
        share, own = self._cells(self.integers(weight, core)[0])
        gains: Array = own * share * family.of(core.device).filled(core.device)
        return gains
