"""Mixed precision: a digital accumulator, and a pulse for every whole step that it holds.

``chi <- chi - lr sum_b x_b^T d_b``; ``n = trunc(chi / eps)``; ``chi <- chi - n eps``; n pulses.
``trunc`` goes towards zero, so that the remainder keeps its sign. Counts are exact and pulses
blind: nothing is read back.

Source: S. R. Nandakumar et al., arXiv:1712.01192 (2017) and Frontiers in Neuroscience 14, 406
(2020), doi:10.3389/fnins.2020.00406, of which the abstracts were read; the rule as in AIHWKit's
mixed-precision compound (read), which gives its pulses as random trains instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from aimc_sim import arguments
from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import sized
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.pairs import pairs_of
from aimc_sim.learning.products import ExactProduct, OuterProduct
from aimc_sim.learning.steps import stepped
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec

_MOST_PULSES = 2**31
"""Pulses of a step that counts of 32 bits do not hold."""


@dataclass(frozen=True)
class MixedPrecision(Update):
    """The update by a digital accumulator.

    Attributes
    ----------
    epsilon : float, dimensionless, optional
        Change of a weight that a pulse stands for. Default: the mean step of the devices.
    refresh_every : int
        Steps between two checks for saturated devices; 0 for none. RECALLED (medium): 100
        images, one per step.
    product : OuterProduct
        How the outer products are made that are accumulated.
    pulses_at_once : int
        Pulses of a train: a device gets none before the accumulator holds that many, and then
        whole trains of them. More than one suits devices whose every write redraws a noise that
        is larger than a step. AIHWKit's ``granularity`` of this update is such a train, there as
        a change of the weight.
    """

    epsilon: float | None = None
    refresh_every: int = 100
    product: OuterProduct = field(default_factory=ExactProduct)
    pulses_at_once: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that are no step."""
        if self.epsilon is not None and not 0 < self.epsilon < np.inf:
            raise ValueError(f"epsilon = {self.epsilon!r} of MixedPrecision must be > 0, or None")
        if self.refresh_every < 0 or self.refresh_every != int(self.refresh_every):
            raise ValueError(
                f"refresh_every = {self.refresh_every!r} of MixedPrecision must be an integer >= 0"
            )
        arguments.whole(self.pulses_at_once, "pulses_at_once", 1, 2**20)

    def engine(self, synapses: Synapses, key: Key) -> MixedEngine:
        """Return the accumulator of an array; see :meth:`Update.engine`."""
        for name in ("up", "down"):
            if getattr(synapses, name) <= 0:
                raise ValueError(
                    f"MixedPrecision needs devices of both directions, and these have no '{name}': "
                    "take two per weight, for example learning.PcmPairs()"
                )
        return MixedEngine(self, synapses, key)

    def device(self, chip: DeviceSpec) -> Device | None:
        """Return pairs of phase-change devices (:func:`.pairs.pairs_of`), or stepped devices."""
        return pairs_of(chip) or stepped(chip)


class MixedEngine(Engine):
    """The accumulator of one array.

    Parameters
    ----------
    rule : MixedPrecision
        Its specification.
    synapses : Synapses
        The array.
    key : Key
        Of the draws of its products, if they have any.
    """

    def __init__(self, rule: MixedPrecision, synapses: Synapses, key: Key) -> None:
        self.rule, self.synapses, self.key = rule, synapses, key
        step = (synapses.up + synapses.down) / 2 if rule.epsilon is None else rule.epsilon
        self.epsilon = np.float32(step * rule.pulses_at_once)  # change by a train
        self.chi = np.zeros(synapses.shape, np.float32)
        self.steps = 0
        self._hits = np.empty(synapses.shape[0], np.int64)

    def step(self, x: np.ndarray, d: np.ndarray, lr: float, t_seconds: float, number: int) -> Spent:
        """Accumulate, and give the pulses that are due; see :meth:`Engine.step`."""
        if self.steps == 0:
            self._warn(x, d, lr)
        work, factor = x.size * d.shape[1], np.float32(-lr)
        if isinstance(self.rule.product, ExactProduct):
            sized(kernels.accumulate, work)(x, d, factor, self.chi, self.epsilon, self._hits)
        else:
            total = self.rule.product.sum(x, d, self.key, number)
            kernels.add(total, factor, self.chi, self.epsilon, self._hits)
        n, spent = int(self._hits.sum()), Spent()
        if n > 0:
            index, counts = np.empty(n, np.int64), np.empty(n, np.int32)
            together = self.rule.pulses_at_once
            most = together * kernels.take(self.chi, self.epsilon, self._hits, index, counts)
            if not most < _MOST_PULSES:
                raise ValueError(
                    f"a weight is due {most:.3g} pulses in one step: the training has diverged; "
                    "lower the learning rate"
                )
            counts *= np.int32(together)
            spent = self.synapses.pulse(index, counts, t_seconds)
        self.steps += 1
        if self.rule.refresh_every and self.steps % self.rule.refresh_every == 0:
            spent = spent + self.synapses.refresh(t_seconds)
        return spent

    def _warn(self, x: np.ndarray, d: np.ndarray, lr: float) -> None:
        """Warn of a first step that vanishes in the rounding of the accumulator."""
        largest = abs(lr) * float(np.abs(x).max(initial=0)) * float(np.abs(d).max(initial=0))
        reach = float(self.epsilon) * 2.0**-25
        if 0 < largest < reach:
            warnings.warn(
                f"lr = {lr:.3g} is below the reach of the accumulator: the largest update of this "
                f"step is {largest:.3g}, and beside a step of {float(self.epsilon):.3g} float32 "
                f"holds no update below {reach:.3g}",
                stacklevel=4,
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the accumulator and the number of steps."""
        return {"chi": self.chi.copy(), "steps": np.array(self.steps)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        self.chi[:] = arrays["chi"]
        self.steps = int(arrays["steps"])
