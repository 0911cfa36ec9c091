"""An array of weights that only pulses can change: the interface of all devices that learn.

An array is a matrix of synapses, rows are inputs and columns are outputs, as in a crossbar. All
numbers are in units of the network's weights; the devices behind one weight (a pair that goes
up only, one device that goes both ways and a reference) are the matter of the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimc_sim.device.family import DeviceState
from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import sized
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec

_NONE = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Spent:
    """Cost of an update or a refresh.

    Attributes
    ----------
    pulses : int
        Programming pulses given to devices, RESET included.
    resets : int
        RESET pulses among them.
    refreshed : int
        Synapses that were refreshed.
    reads : int
        Rows or columns that were read to decide about pulses.
    seconds : float, seconds
        Time of pulses, and of reads of devices that give its duration.
    joules : float, joules
        Heat of pulses; that of reads is not counted.
    """

    pulses: int = 0
    resets: int = 0
    refreshed: int = 0
    reads: int = 0
    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Return the sum of two costs, one after the other."""
        return Spent(
            self.pulses + other.pulses, self.resets + other.resets,
            self.refreshed + other.refreshed, self.reads + other.reads,
            self.seconds + other.seconds, self.joules + other.joules,
        )  # fmt: skip


class Synapses(ABC):
    """An (R, C) array of weights behind devices.

    Attributes
    ----------
    shape : (int, int)
        Rows (inputs) and columns (outputs).
    up, down : float
        Mean change of the weight by one pulse in either direction, as the engines count on it, in
        units of weight, > 0. 0: the devices have no such direction, and engines that need it
        refuse.
    bounds : (float, float)
        Smallest and largest weight that the nominal device reaches.
    key : Key
        Of all draws of the devices.
    """

    shape: tuple[int, int]
    up: float
    down: float
    bounds: tuple[float, float]
    key: Key

    @property
    def full_weight(self) -> float:
        """Weight of one device at the largest conductance of its specification, for converters."""
        return max(abs(bound) for bound in self.bounds)

    @abstractmethod
    def weights(self, t_seconds: float) -> np.ndarray:
        """Return the weights at a time, drifted, without read noise, (R, C) float32."""

    def variances(self, t_seconds: float) -> np.ndarray | None:
        """Return the variance of the noise that is fresh in every product, (R, C) float32.

        None: reads of these devices have no noise.
        """
        return None

    def products(self, x: np.ndarray, t_seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the products of vectors with the weights, and the variance of their noise.

        Parameters
        ----------
        x : (B, R) float32, dimensionless
            Inputs.
        t_seconds : float, seconds
            Evaluation time.

        Returns
        -------
        y, variance : (B, C) float32, dimensionless
            ``x W`` without noise, and ``x^2 V``: independent noise of devices adds up.
        """
        return _products(x, self.weights(t_seconds), self.variances(t_seconds))

    def transposed(self, d: np.ndarray, t_seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the products with the transposed weights, for errors that go back.

        Parameters
        ----------
        d : (B, C) float32, dimensionless
            Errors of the outputs.
        t_seconds : float, seconds
            Evaluation time.

        Returns
        -------
        y, variance : (B, R) float32, dimensionless
            As of :meth:`products`.
        """
        return _transposed(d, self.weights(t_seconds), self.variances(t_seconds))

    @abstractmethod
    def read(self, t_seconds: float, number: int = 0) -> np.ndarray:
        """Return one noisy read of all weights at a time, (R, C) float32.

        Parameters
        ----------
        t_seconds : float, seconds
            Evaluation time, not before the last pulse.
        number : int
            Tells reads at one time apart.
        """

    @abstractmethod
    def pulse(self, index: np.ndarray, counts: np.ndarray, t_seconds: float) -> Spent:
        """Give pulses to some synapses, in place.

        Parameters
        ----------
        index : (N,) int64
            Synapses in C order (row * C + column), ascending, each once.
        counts : (N,) int32
            Pulses; the sign is the direction.
        t_seconds : float, seconds
            Time of the pulses, not before the last ones.

        Returns
        -------
        Spent
            Pulses that were given, time and energy of the devices.
        """

    @abstractmethod
    def coincide(
        self, rows: np.ndarray, columns: np.ndarray, signs: tuple[np.ndarray, np.ndarray],
        t_seconds: float,
    ) -> Spent:  # fmt: skip
        """Give every synapse a pulse for each coincidence of its row's and its column's train.

        Parameters
        ----------
        rows : (B, R) uint64
            Trains of the rows, a bit per slot, for each of B vectors, one after the other.
        columns : (B, C) uint64
            Trains of the columns.
        signs : ((B, R) int8, (B, C) int8)
            Signs of the two factors; a pulse has the sign of their product.
        t_seconds : float, seconds
            Time of the pulses.

        Returns
        -------
        Spent
        """

    def refresh(self, t_seconds: float) -> Spent:
        """Write synapses anew whose devices are saturated; nothing where none saturate."""
        return Spent()

    def elements(self, chip: DeviceSpec, t_seconds: float) -> tuple[DeviceState, float]:
        """Return the devices as a chip keeps them, for :meth:`ArrayNetwork.to_chip`.

        Parameters
        ----------
        chip : DeviceSpec
            Devices of the chip, see :meth:`Device.on_chip`.
        t_seconds : float, seconds
            Start of the chip's clock.

        Returns
        -------
        state : DeviceState
            Elements (E, R, C), those of the positive polarity first.
        siemens_per_weight : float, siemens
            Scale of the weights.

        Raises
        ------
        ValueError
            If these devices have no counterpart on a chip.
        """
        raise ValueError(
            f"{type(self).__name__} have no counterpart among the devices of a chip: evaluate the "
            "network itself, with at()"
        )

    @abstractmethod
    def writes(self) -> np.ndarray:
        """Return the pulses in the life of every device, uint32 of any shape."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the whole state as arrays by name, copies."""

    @abstractmethod
    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`, bit for bit."""


def demand_device(chip: DeviceSpec, own: DeviceSpec) -> None:
    """Raise unless the devices of a chip are those of an array.

    Parameters
    ----------
    chip : DeviceSpec
        Of the chip, or of one of its layers.
    own : DeviceSpec
        Of the array.
    """
    if chip != own:
        ours, theirs = own.model_dump(), chip.model_dump()
        names = [n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n)]
        raise ValueError(
            f"its core.device differs from the devices that learned ({', '.join(names)}): leave "
            "core.device out of the specification's layers"
        )


def _products(x: np.ndarray, w: np.ndarray, v: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    x = np.ascontiguousarray(x, np.float32)
    y, s = np.empty((2, len(x), w.shape[1]), np.float32)
    sized(kernels.products, x.size * w.shape[1])(x, w, _NONE if v is None else v, y, s)
    return y, s


def _transposed(
    d: np.ndarray, w: np.ndarray, v: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    turned = None if v is None else np.ascontiguousarray(v.T)
    return _products(d, np.ascontiguousarray(w.T), turned)


class Device(ABC):
    """Specification of the devices behind the weights; frozen. Users give it to ``prepare``."""

    @abstractmethod
    def synapses(
        self, start: np.ndarray, weight_range: float, key: Key, t_seconds: float = 0.0
    ) -> Synapses:
        """Return an array whose weights are, as far as the devices can, those of a network.

        Parameters
        ----------
        start : (R, C) float32, dimensionless
            Weights to begin with.
        weight_range : float, dimensionless
            Weight at the end of the range that the devices are used over: +-this must be reached.
        key : Key
            Of all draws of the devices: one key per array.
        t_seconds : float, seconds
            Time of the first pulses.

        Returns
        -------
        Synapses
        """

    def on_chip(self, chip: DeviceSpec) -> DeviceSpec:
        """Return the devices of the chip that computes with these, whose converters read them.

        Parameters
        ----------
        chip : DeviceSpec
            Devices of the specification that ``prepare`` got; :attr:`Synapses.full_weight` is
            their largest conductance, unless a class says otherwise.
        """
        return chip
