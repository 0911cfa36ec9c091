"""Counts of a run: conversions and saturations, by layer; operations of digital steps."""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor


@dataclass
class Counts:
    """Conversions and saturations of an analog layer, or operations of a digital step.

    ``mvms`` are those of cores; ``outputs`` the values that left their digital units. ``misses``
    holds ADC saturations, output clippings and conversions, (n, 3) tensors, and ``magnitudes`` the
    sums of input magnitudes in codes: left on the device until somebody asks, so that counting does
    not stop a GPU. ``inputs`` is the number of those inputs. ``driven``, ``fired`` and ``attended``
    count spikes, of a layer that reads them, of neurons that make them, and of attention
    (:mod:`.events`). ``factors`` are, of a product that is written into devices, sums
    over images of the number of matrices, of input vectors, rows and columns.
    """

    images: int = 0
    mvms: int = 0
    outputs: int = 0
    operations: float = 0.0
    inputs: float = 0.0
    factors: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    magnitudes: list[Tensor] = field(default_factory=list)
    misses: list[Tensor] = field(default_factory=list)
    driven: list[Tensor] = field(default_factory=list)
    fired: list[Tensor] = field(default_factory=list)
    attended: list[Tensor] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add the counts of another chunk."""
        self.images += other.images
        self.mvms += other.mvms
        self.outputs += other.outputs
        self.operations += other.operations
        self.inputs += other.inputs
        self.factors = tuple(a + b for a, b in zip(self.factors, other.factors, strict=True))
        if self.magnitudes or other.magnitudes:
            self.magnitudes = [reduce(operator.add, self.magnitudes + other.magnitudes)]
        if self.misses or other.misses:
            self.misses = [torch.cat(self.misses + other.misses).sum(0, keepdim=True)]

        for name in ("driven", "fired", "attended"):
            parts = getattr(self, name) + getattr(other, name)
            if parts:
                setattr(self, name, [reduce(operator.add, parts)])

    @property
    def mean_magnitude(self) -> float:
        """Mean magnitude of the inputs, in codes."""
        return sum(float(part) for part in self.magnitudes) / max(1.0, self.inputs)

    def _total(self, column: int) -> int:
        return sum(int(misses[:, column].sum()) for misses in self.misses)

    @property
    def adc_saturated(self) -> int:
        """Conversions whose current was out of range: single phases of 4-phase reads."""
        return self._total(0)

    @property
    def conversions(self) -> int:
        """Conversions of a current.

        Per output one, or one per phase that has inputs of its sign (two or four in 4-phase
        reads), and that for every bit plane.
        """
        return self._total(2)

    @property
    def output_clipped(self) -> int:
        """Outputs that did not fit their integer range."""
        return self._total(1)


Tally = dict[str, Counts]
"""By name of the layer or step."""


def new_counts() -> Tally:
    """Return an empty table of counts."""
    return defaultdict(Counts)
