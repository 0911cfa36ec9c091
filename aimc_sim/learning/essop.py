"""ESSOP as an update: mixed precision whose outer products are made from random bits.

The products are those of :class:`~aimc_sim.learning.products.StochasticProduct`, and they land in
the accumulator of :class:`~aimc_sim.learning.MixedPrecision`; pulses follow from it as there. So
errors need no clipping, unlike with trains that meet in the devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.mixed import MixedPrecision
from aimc_sim.learning.products import StochasticProduct
from aimc_sim.learning.synapses import Device, Synapses
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec


@dataclass(frozen=True)
class ESSOP(Update):
    """The update by a digital accumulator that random bits fill.

    Attributes
    ----------
    bits, length : int
        Bits of a random number, 1 to 16, and slots of a train, a power of two up to 64.
    scale : "vector" or "batch"
        Which numbers share a power of two: those of one vector, or all of a step.
    epsilon : float, dimensionless, optional
        As of :class:`~aimc_sim.learning.MixedPrecision`.
    refresh_every : int
        As of :class:`~aimc_sim.learning.MixedPrecision`.
    """

    bits: int = 8
    length: int = 16
    scale: Literal["vector", "batch"] = "vector"
    epsilon: float | None = None
    refresh_every: int = 100

    def __post_init__(self) -> None:
        """Refuse what the parts refuse."""
        self.mixed()

    def mixed(self) -> MixedPrecision:
        """Return the update by its parts."""
        product = StochasticProduct(self.bits, self.length, self.scale)
        return MixedPrecision(self.epsilon, self.refresh_every, product)

    def engine(self, synapses: Synapses, key: Key) -> Engine:
        """Return the accumulator of an array; see :meth:`Update.engine`."""
        return self.mixed().engine(synapses, key)

    def device(self, chip: DeviceSpec) -> Device | None:
        """Return pairs of phase-change devices, as for mixed precision."""
        return self.mixed().device(chip)
