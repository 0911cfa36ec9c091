"""What a run counts: conversions and what did not fit, by layer; operations of digital steps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Counts:
    """What was converted and what did not fit, per analog layer; operations of digital steps.

    ``mvms`` are those of cores; ``outputs`` what left their digital units; ``conversions`` what
    their ADCs made: as many, or one per bit plane. ``misses`` holds ADC saturations and output
    clippings, (n, 2) tensors: left on the device until somebody asks, so that counting does not
    stop a GPU.
    """

    images: int = 0
    mvms: int = 0
    outputs: int = 0
    conversions: int = 0
    operations: float = 0.0
    misses: list[Tensor] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add what another chunk counted."""
        self.images += other.images
        self.mvms += other.mvms
        self.outputs += other.outputs
        self.conversions += other.conversions
        self.operations += other.operations
        if self.misses or other.misses:
            self.misses = [torch.cat(self.misses + other.misses).sum(0, keepdim=True)]

    def _total(self, column: int) -> int:
        return sum(int(misses[:, column].sum()) for misses in self.misses)

    @property
    def adc_saturated(self) -> int:
        """Conversions whose current was out of range."""
        return self._total(0)

    @property
    def output_clipped(self) -> int:
        """Outputs that did not fit their integer range."""
        return self._total(1)


Tally = dict[str, Counts]
"""By name of the layer or step."""


def new_counts() -> Tally:
    """Return an empty table of counts."""
    return defaultdict(Counts)
