"""Controls: devices whose pulses are all equal, and an update that needs no pulse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimc_sim.device.family import DeviceState
from aimc_sim.device.pcm import PcmState
from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import sized
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec, PcmSpec


@dataclass(frozen=True)
class IdealDevice(Device):
    """Devices without noise, drift or bounds, whose every pulse is one equal step.

    Attributes
    ----------
    steps : float, dimensionless
        Pulses from zero to the end of the range of weights. Default: 8 / 0.77, those of a mean
        step of :class:`~aimc_sim.learning.PcmPairs`.
    """

    steps: float = 8 / 0.77

    def __post_init__(self) -> None:
        """Refuse a number of pulses that is none."""
        if not 0 < self.steps < np.inf:
            raise ValueError(f"steps = {self.steps!r} of IdealDevice must be > 0")

    def synapses(
        self, start: np.ndarray, weight_range: float, key: Key, t_seconds: float = 0.0
    ) -> IdealSynapses:
        """Return an array that begins with exactly these weights; see :meth:`Device.synapses`."""
        return IdealSynapses(start, weight_range / self.steps, weight_range, key)


class IdealSynapses(Synapses):
    """Exact weights: those of the start, and a whole number of steps.

    Parameters
    ----------
    start : (R, C) float32, dimensionless
        Weights to begin with.
    step : float, dimensionless
        Change by one pulse.
    weight_range : float, dimensionless
        End of the range of weights; nothing clips there.
    key : Key
        Unused: there are no draws.
    """

    def __init__(self, start: np.ndarray, step: float, weight_range: float, key: Key) -> None:
        self.shape = (int(start.shape[0]), int(start.shape[1]))
        self.key, self.up, self.down = key, step, step
        self.bounds = (-weight_range, weight_range)
        self.start = np.array(start, np.float32)
        self.count = np.zeros(self.shape, np.int64)
        self.given = np.zeros(self.shape, np.uint32)

    def weights(self, t_seconds: float) -> np.ndarray:
        """Return the weights, rounded once to float32."""
        exact: np.ndarray = self.start + self.up * self.count
        return exact.astype(np.float32)

    def read(self, t_seconds: float, number: int = 0) -> np.ndarray:
        """Return the weights: reads have no noise."""
        return self.weights(t_seconds)

    def add(self, change: np.ndarray) -> None:
        """Change the weights by any amounts, which no device can: for the control.

        Parameters
        ----------
        change : (R, C) float32, dimensionless
            Added to the weights.
        """
        self.start += change

    def pulse(self, index: np.ndarray, counts: np.ndarray, t_seconds: float) -> Spent:
        """Change the weights by whole steps."""
        self.count.reshape(-1)[index] += counts
        self.given.reshape(-1)[index] += np.abs(counts).astype(np.uint32)
        return Spent(pulses=int(np.abs(counts).sum()))

    def coincide(
        self, rows: np.ndarray, columns: np.ndarray, signs: tuple[np.ndarray, np.ndarray],
        t_seconds: float,
    ) -> Spent:  # fmt: skip
        """Change the weights by a step for each coincidence."""
        both = np.empty((2, *self.shape), np.int32)
        kernels.coincidences(rows, columns, *signs, both[0], both[1])
        self.count += both[0].astype(np.int64) - both[1]
        self.given += both.sum(axis=0).astype(np.uint32)
        return Spent(pulses=int(both.sum()))

    def elements(self, chip: DeviceSpec, t_seconds: float) -> tuple[DeviceState, float]:
        """Return perfect devices; see :meth:`Synapses.elements`."""
        if not isinstance(chip, PcmSpec) or chip != chip.ideal():
            raise ValueError(
                "weights on IdealDevice stand on perfect devices, and the chip has others: give "
                "prepare presets.ideal_devices(spec)"
            )
        scale = chip.g_max_siemens / self.full_weight
        w = self.weights(t_seconds) * np.float32(scale)
        g = np.stack([np.maximum(w, 0), np.maximum(-w, 0)])
        return PcmState(g, np.ones(g.shape, bool), g.copy(), np.zeros_like(g)), scale

    def writes(self) -> np.ndarray:
        """Return the pulses that every weight got, (R, C) uint32."""
        return self.given.copy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state."""
        return {"start": self.start.copy(), "count": self.count.copy(), "given": self.given.copy()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        for name in ("start", "count", "given"):
            getattr(self, name)[:] = arrays[name]


@dataclass(frozen=True)
class Exact(Update):
    """The control: weights change by exactly ``-lr x^T d``, as in a digital computer.

    Forward and backward products still run on the simulated converters.
    """

    def engine(self, synapses: Synapses, key: Key) -> ExactEngine:
        """Return the update of an array; refuses devices that are not ideal."""
        if not isinstance(synapses, IdealSynapses):
            raise ValueError(
                f"Exact() changes weights without pulses, and {type(synapses).__name__} are "
                "devices: leave device to it, or give learning.IdealDevice()"
            )
        return ExactEngine(synapses, key)

    def device(self, chip: DeviceSpec) -> Device:
        """Return ideal devices."""
        return IdealDevice()


class ExactEngine(Engine):
    """The exact update of one array.

    Parameters
    ----------
    synapses : IdealSynapses
        The array.
    key : Key
        Unused: there are no draws.
    """

    synapses: IdealSynapses

    def __init__(self, synapses: IdealSynapses, key: Key) -> None:
        self.synapses, self.key = synapses, key
        self._sum = np.empty(synapses.shape, np.float32)

    def step(self, x: np.ndarray, d: np.ndarray, lr: float, t_seconds: float, number: int) -> Spent:
        """Add the change; see :meth:`Engine.step`."""
        sized(kernels.outer, x.size * d.shape[1])(x, d, self._sum)
        self.synapses.add(np.float32(-lr) * self._sum)
        return Spent()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing: the weights are the synapses'."""
        return {}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""
