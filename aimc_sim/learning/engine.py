"""An update: from the activations and errors of a step to pulses on an array.

Sign: ``W <- W - lr sum_b x_b^T d_b`` with x the inputs of the layer and d the gradient of the
loss with respect to its outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec


class Engine(ABC):
    """Turns the gradient of one matrix into pulses; holds what lies between two steps.

    Attributes
    ----------
    synapses : Synapses
        The array whose weights the network uses.
    key : Key
        Of all draws of the engine; the number of the step is part of every address.
    """

    synapses: Synapses
    key: Key

    @abstractmethod
    def step(self, x: np.ndarray, d: np.ndarray, lr: float, t_seconds: float, number: int) -> Spent:
        """Update the array by the outer products of a batch.

        Parameters
        ----------
        x : (B, R) float32
            Inputs of the matrix, one row per vector; a convolution gives one vector per pixel.
        d : (B, C) float32
            Gradient of the loss with respect to the outputs.
        lr : float
            Learning rate.
        t_seconds : float, seconds
            Time of the step.
        number : int
            Number of the step, part of the address of every draw.

        Returns
        -------
        Spent
            Pulses, refreshes, time and energy.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state between two steps (accumulators, choppers), without the synapses'."""

    @abstractmethod
    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`, bit for bit."""

    @property
    def others(self) -> tuple[Synapses, ...]:
        """Arrays of devices beside ``synapses``; their state is the engine's to keep and load."""
        return ()


class Update(ABC):
    """Specification of an update; frozen. Users choose one in ``learning.prepare``.

    Attributes
    ----------
    examples : tuple of str
        Devices that it works with, as a user writes them, for messages.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "learning.StepDevices(presets.ecram())", "learning.PcmPairs()"
    )  # fmt: skip

    @abstractmethod
    def engine(self, synapses: Synapses, key: Key) -> Engine:
        """Return an engine for an array; refuses devices that lack a direction it needs."""

    def device(self, chip: DeviceSpec) -> Device | None:
        """Return the devices that it takes where ``prepare`` is given none of its own.

        Parameters
        ----------
        chip : DeviceSpec
            Devices of the chip's specification.

        Returns
        -------
        Device or None
            None: there is no such choice, and ``prepare`` asks for one.
        """
        return None
