"""Cells of one polarity around a middle conductance, and a reference column per block.

Source: A. Shafiee et al., ISCA 2016, doi:10.1145/3007787.3001139: unsigned cells hold weights with
a bias, a column of one value collects the sum of the inputs, and its result is subtracted
digitally. There that column is read once and its result multiplied by the bias; here, as in
CrossSim's core style OFFSET, it holds the middle conductance itself and is subtracted as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...device import family
from ...device.request import Request
from ...spec import CoreSpec
from .interface import Array, Group, Targets, largest_weights, top_siemens


@dataclass(frozen=True)
class Offset:
    """``core.encoding.kind`` "offset-column": the last column of a block is the reference."""

    polarities: int = 1
    columns_per_output: int = 1
    conversions: int = 2
    text: str = "one polarity around a middle conductance, one reference column per block"

    def columns(self, outputs: int) -> int:
        """Return the physical columns of a block: one more than outputs."""
        return outputs + 1

    def capacity(self, columns: int) -> int:
        """Return the outputs that fit a crossbar: one less than columns."""
        return max(0, columns - 1)

    def groups(self, columns: int) -> tuple[Group, ...]:
        """Return the columns of the outputs, and the reference that all of them share."""
        last = columns - 1
        return Group(0, last, 1.0), Group(last, columns, -1.0, shared=True)

    def additions(self, outputs: int) -> int:
        """Return one subtraction per output."""
        return outputs

    def full_scales(self, amperes: Sequence[float]) -> tuple[float, ...]:
        """Return the larger of both for both: codes are subtracted as they are."""
        return (max(amperes),) * len(amperes)

    def targets(self, weight: Array, core: CoreSpec, g_max_siemens: float | None) -> Targets:
        """Return the targets of a block; parameters as of :meth:`.pair.Pair.targets`.

        Notes
        -----
        ``G = G_mid + W s`` with G_mid in the middle between an idle device and the largest
        conductance that is asked for. Every cell is written, so that ``zero_target`` of
        phase-change memory plays no part. The first element of a cell holds all of it, others
        stay idle.
        """
        device, laws = core.device, family.of(core.device)
        n, level = laws.elements_per_polarity(device), laws.idle_siemens(device)
        low = max(level, laws.lowest_siemens(device))
        half = max(0.0, top_siemens(core, g_max_siemens) - low) / 2
        weight = np.asarray(weight, np.float64)
        largest = largest_weights(weight, core)
        per_weight = np.divide(half, largest, out=np.ones_like(largest), where=largest > 0)
        cells = np.zeros((len(weight), weight.shape[1] + 1))
        cells[:, :-1] = weight * per_weight
        held = low + half + cells
        target = np.full((n, *held.shape), level)
        target[0] = held
        programmed = np.zeros(target.shape, bool)
        programmed[0] = True
        elements = np.maximum(target, min(low, level)).astype(np.float32), programmed
        request = Request((held + (n - 1) * level)[None], programmed[:1], elements)
        return Targets(request, per_weight)

    def per_g_max(self, weight: Array, core: CoreSpec) -> Array:
        """Return the siemens that every cell gains per siemens of g_max, (1, R, C + 1) float64."""
        largest = largest_weights(weight, core)
        cells = np.zeros((1, len(weight), weight.shape[1] + 1))
        cells[0, :, :-1] = np.divide(weight, largest, out=np.zeros_like(weight), where=largest > 0)
        return (1.0 + cells) / 2
