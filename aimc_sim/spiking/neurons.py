"""Spike trains, synaptic currents and leaky integrate-and-fire neurons in steps of time.

In units of the neuron: the threshold is 1, the reset 0, and a constant drive above 1 makes it
spike. A synapse of weight 1 gives the drive ``exp(-t / fall) - exp(-t / rise)`` after a spike. The
form is that of the neurons for which NormAD was published (N. Anwani and B. Rajendran, IJCNN 2015,
RECALLED (medium); 300 pF, 30 nS, hence a membrane of 10 ms; 20 mV, 5 ms, 1.25 ms, 3 ms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aimc_sim import arguments
from aimc_sim.kernels import spiking as kernels


@dataclass(frozen=True)
class SpikingNeurons:
    """Leaky integrate-and-fire neurons behind synapses of two exponentials.

    Attributes
    ----------
    step_seconds : float, seconds
        Time step of all trains.
    membrane_seconds : float, seconds
        Time constant of the membrane.
    rise_seconds, fall_seconds : float, seconds
        Time constants of a synapse's current, the first the shorter.
    refractory_seconds : float, seconds
        Time after a spike during which the membrane is held at the reset.
    """

    step_seconds: float = 1e-3
    membrane_seconds: float = 10e-3
    rise_seconds: float = 1.25e-3
    fall_seconds: float = 5e-3
    refractory_seconds: float = 3e-3

    def __post_init__(self) -> None:
        """Refuse times that are none, or in the wrong order."""
        for name in ("step_seconds", "membrane_seconds", "rise_seconds", "fall_seconds"):
            value = arguments.number(getattr(self, name), name, 0)
            if value == 0:
                raise ValueError(f"{name} = 0 of SpikingNeurons must be > 0")
        arguments.number(self.refractory_seconds, "refractory_seconds", 0)
        if self.rise_seconds >= self.fall_seconds:
            raise ValueError(
                f"rise_seconds = {self.rise_seconds:g} of SpikingNeurons must be below "
                f"fall_seconds = {self.fall_seconds:g}"
            )

    def currents(self, spikes: np.ndarray) -> np.ndarray:
        """Return the drive of synapses of weight 1 by spike trains.

        Parameters
        ----------
        spikes : (T, N) bool
            Trains of N inputs.

        Returns
        -------
        (T, N) float32, dimensionless
            ``sum over spikes of exp(-t / fall) - exp(-t / rise)``, from the step of a spike on.
        """
        signal = _train(spikes, "spikes").astype(np.float32)
        found: np.ndarray = self._filter(signal, self.fall_seconds)
        found -= self._filter(signal, self.rise_seconds)
        return found

    def responses(self, spikes: np.ndarray) -> np.ndarray:
        """Return the membrane of a neuron that never spikes, behind synapses of weight 1.

        Parameters
        ----------
        spikes : (T, N) bool
            Trains of N inputs.

        Returns
        -------
        (T, N) float32, dimensionless
            Currents filtered by the membrane: the derivative of its state by each weight, spikes
            of the neuron itself left out.
        """
        decay = self._decay(self.membrane_seconds)
        return np.float32(1 - decay) * self._filter(self.currents(spikes), self.membrane_seconds)

    def fire(self, drive: np.ndarray) -> np.ndarray:
        """Return the spikes of neurons under a drive.

        Parameters
        ----------
        drive : (T, N) float32, dimensionless
            Sum of weights times currents; a constant one above 1 makes the neuron spike.

        Returns
        -------
        (T, N) bool
            Spikes.
        """
        drive = np.ascontiguousarray(drive, np.float32)
        if drive.ndim != 2:
            raise ValueError(f"drive has the shape {drive.shape}: wanted (T, N)")
        spikes = np.empty(drive.shape, bool)
        silent = round(self.refractory_seconds / self.step_seconds)
        kernels.fire(drive, self._decay(self.membrane_seconds), silent, spikes)
        return spikes

    def _decay(self, seconds: float) -> float:
        return math.exp(-self.step_seconds / seconds)

    def _filter(self, signal: np.ndarray, seconds: float) -> np.ndarray:
        out = np.empty(signal.shape, np.float32)
        kernels.filtered(signal, self._decay(seconds), out)
        return out


def poisson_trains(
    rates: np.ndarray, steps: int, generator: np.random.Generator, step_seconds: float = 1e-3,
    apart_seconds: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """Return random spike trains.

    Parameters
    ----------
    rates : (N,) float64, hertz
        Rate of every train, before spikes that are too close are left out.
    steps : int
        Length T of the trains.
    generator : numpy.random.Generator
        Of ``Key.generator()``.
    step_seconds : float, seconds
        Time step.
    apart_seconds : float, seconds
        A spike closer than this to the one before it in its train is left out.

    Returns
    -------
    (T, N) bool
        A spike in a step with probability rate x step.
    """
    chance = np.asarray(rates, np.float64) * step_seconds
    if chance.ndim != 1 or not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("rates must be (N,) and give at most one spike per step, none below 0")
    spikes: np.ndarray = generator.random((steps, len(chance))) < chance
    apart = round(apart_seconds / step_seconds)
    if apart > 1:
        last = np.full(len(chance), -apart)
        for t in range(steps):
            spikes[t] &= t - last >= apart
            last[spikes[t]] = t
    return spikes


@dataclass(frozen=True)
class Match:
    """How well spike trains agree with wanted ones.

    Attributes
    ----------
    pairs : int
        Most pairs of a wanted and a found spike of one train within the window, each spike in one
        pair at most.
    wanted, found : int
        Spikes of both kinds.
    """

    pairs: int
    wanted: int
    found: int

    @property
    def accuracy(self) -> float:
        """Pairs per spike of the kind that has more, which counts missing and surplus ones."""
        most = max(self.wanted, self.found)
        return self.pairs / most if most else 1.0

    @property
    def recall(self) -> float:
        """Share of the wanted spikes that are in a pair."""
        return self.pairs / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        """Share of the found spikes that are in a pair."""
        return self.pairs / self.found if self.found else 1.0


def match(
    wanted: np.ndarray, found: np.ndarray, window_seconds: float, step_seconds: float = 1e-3
) -> Match:
    """Return how well spike trains agree with wanted ones.

    Parameters
    ----------
    wanted, found : (T, N) bool
        Trains.
    window_seconds : float, seconds
        Largest distance of two spikes of a pair.
    step_seconds : float, seconds
        Time step.

    Returns
    -------
    Match
    """
    wanted, found = _train(wanted, "wanted"), _train(found, "found")
    if wanted.shape != found.shape:
        raise ValueError(f"found has the shape {found.shape}: wanted {wanted.shape}")
    reach = math.floor(window_seconds / step_seconds + 1e-9)
    pairs = sum(
        kernels.matches(one, other, reach)
        for one, other in zip(
            np.ascontiguousarray(wanted.T), np.ascontiguousarray(found.T), strict=True
        )
    )
    return Match(int(pairs), int(wanted.sum()), int(found.sum()))


def _train(spikes: np.ndarray, name: str) -> np.ndarray:
    spikes = np.asarray(spikes)
    if spikes.ndim != 2 or spikes.dtype != bool:
        raise ValueError(
            f"{name} has the shape {spikes.shape} and the type {spikes.dtype}: wanted (T, N) bool"
        )
    return spikes
