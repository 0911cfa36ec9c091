"""The differential cell: one column per output, two polarities per cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...device import family
from ...device.request import Request
from ...spec import CoreSpec
from .interface import Array, Group, Targets, background, largest_weights


@dataclass(frozen=True)
class OneColumn:
    """Shared by all encodings with one differential column per output."""

    polarities: int = 2
    columns_per_output: int = 1
    conversions: int = 1

    def columns(self, outputs: int) -> int:
        """Return the physical columns of a block: as many as outputs."""
        return outputs

    def capacity(self, columns: int) -> int:
        """Return the outputs that fit a crossbar: as many as columns."""
        return columns

    def groups(self, columns: int) -> tuple[Group, ...]:
        """Return no group: every column is an output."""
        return ()

    def additions(self, outputs: int) -> int:
        """Return 0: nothing is added between columns."""
        return 0

    def full_scales(self, amperes: Sequence[float]) -> tuple[float, ...]:
        """Return the full scales as they are needed: there is one group."""
        return tuple(amperes)


@dataclass(frozen=True)
class Pair(OneColumn):
    """``core.encoding.kind`` "differential"."""

    text: str = "differential pair"

    def targets(self, weight: Array, core: CoreSpec, g_max_siemens: float | None) -> Targets:
        """Return the targets of a block.

        Parameters
        ----------
        weight : (R, C) float, dimensionless
            A block of weights.
        core : CoreSpec
            Its device holds them.
        g_max_siemens : float or None, siemens
            Of this core, where it is lower than the device's.

        Notes
        -----
        ``G = W g_max / W_max`` with W_max per core (chip paper, eq. 1, arXiv:2212.02872) or per
        column. The weight's polarity is programmed, the other one stays idle (phase-change memory:
        in RESET). Since idle devices conduct a little, the programmed polarity aims at ``|W| s``
        plus the conductance of the other one, so that the difference is exact on average; ``s`` is
        chosen such that the largest weight needs as much as the devices can give. The paper does
        not say how it treats that background.
        """
        around = background(core, g_max_siemens)
        weight = np.asarray(weight, np.float64)
        magnitude = np.abs(weight)
        largest = largest_weights(weight, core)
        per_weight = np.divide(around.span, largest, out=np.ones_like(largest), where=largest > 0)
        own = np.stack([weight > 0, weight < 0])
        g = np.where(own, magnitude * per_weight, 0.0) + around.idle
        return Targets(Request(g, own | around.zeros_too), per_weight)

    def per_g_max(self, weight: Array, core: CoreSpec) -> Array:
        """Return the siemens that every polarity gains per siemens of g_max, (2, R, C) float64."""
        return polarity_shares(weight, core, family.of(core.device).filled(core.device))


def polarity_shares(weight: Array, core: CoreSpec, devices: int) -> Array:
    """Return the share of a full polarity that either polarity holds, times its devices.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
        A block of weights.
    core : CoreSpec
        Its ``weight_scaling`` says which weight fills a polarity.
    devices : int
        That share the largest weight.

    Returns
    -------
    (2, R, C) float64, dimensionless
        Of the positive and the negative polarity.
    """
    own = np.stack([np.maximum(weight, 0), np.maximum(-weight, 0)])
    largest = largest_weights(weight, core)
    shares: Array = own * np.divide(devices, largest, out=np.zeros_like(largest), where=largest > 0)
    return shares
