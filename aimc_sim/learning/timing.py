"""Supervised learning of spike times: NormAD, event by event, on arrays of devices.

N inputs, M neurons, one array between them. Where a neuron spikes and should not, or does not and
should, every synapse is changed against or along the part ``d`` that it has in the membrane::

    dw = r sum over errors of (wanted - found) d / |d|        d: currents filtered by the membrane

with ``|d|`` over the inputs. That is an outer product of directions and errors, step by step in
time, so that any update of this room takes it: an accumulator and blind pulses, in the first place.

Sources: the rule is that of N. Anwani and B. Rajendran (NormAD, IJCNN 2015), RECALLED (medium), and
its approximation leaves the neuron's own spikes out of d. On phase-change devices: S. R.
Nandakumar et al., Scientific Reports 10, 8080 (2020), arXiv:1905.11929, abstract READ: trains of
1,250 ms, more than 85 % of the spikes within 25 ms, scaling of the array against drift. Its
constants were not found: those of the validation script are ours.
"""

from __future__ import annotations

import numpy as np

from aimc_sim.kernels import learning as kernels
from aimc_sim.kernels import sized
from aimc_sim.learning.engine import Update
from aimc_sim.learning.synapses import Spent, Synapses
from aimc_sim.rng import Key, Purpose
from aimc_sim.spiking.neurons import SpikingNeurons

VECTORS = 10
"""Random inputs behind :meth:`TimedLayer.total_current`."""


class TimedLayer:
    """One layer of spiking neurons on an array, which learns when to spike.

    Parameters
    ----------
    synapses : Synapses
        The array, inputs x neurons.
    update : Update
        From directions and errors to pulses.
    neurons : SpikingNeurons
        Their constants.
    key : Key
        Of the noise of products and of the update's draws.

    Attributes
    ----------
    presented : int
        Presentations so far, learned from or not: they address the noise of products.
    learned : int
        Presentations that were learned from.
    scale : float
        Factor on all currents, 1 at first; :meth:`compensate` sets it.
    spent : Spent
        Pulses, time and energy of all updates.
    """

    def __init__(
        self, synapses: Synapses, update: Update, neurons: SpikingNeurons, key: Key
    ) -> None:
        self.synapses, self.neurons, self.key = synapses, neurons, key
        self.engine = update.engine(synapses, key.child(Purpose.LEARNING_UPDATE))
        self._noise = np.array(key.child(Purpose.MVM_NOISE).words())
        self.presented = self.learned = 0
        self.scale, self._reference = 1.0, 0.0
        self.spent = Spent()

    def run(self, spikes: np.ndarray, t_seconds: float) -> np.ndarray:
        """Return the spikes that the neurons answer with.

        Parameters
        ----------
        spikes : (T, N) bool
            Trains of the inputs.
        t_seconds : float, seconds
            Evaluation time of the devices, one for the whole presentation.

        Returns
        -------
        (T, M) bool
            Trains of the neurons. Every step reads the array, with noise of its own.
        """
        drive = self._products(self.neurons.currents(spikes), t_seconds)
        self.presented += 1
        return self.neurons.fire(np.float32(self.scale) * drive)

    def learn(
        self, spikes: np.ndarray, wanted: np.ndarray, rate: float, t_seconds: float
    ) -> np.ndarray:
        """Return the answer to a presentation, and update the array once after it.

        Parameters
        ----------
        spikes : (T, N) bool
            Trains of the inputs.
        wanted : (T, M) bool
            Trains that the neurons should answer with.
        rate : float
            Change of the weights by one error, Euclidean norm over the inputs.
        t_seconds : float, seconds
            Time of the presentation and of the pulses.

        Returns
        -------
        (T, M) bool
            Trains of the neurons before the update.
        """
        found = self.run(spikes, t_seconds)
        if wanted.shape != found.shape or wanted.dtype != bool:
            raise ValueError(
                f"wanted has the shape {wanted.shape} and the type {wanted.dtype}: wanted "
                f"{found.shape} bool"
            )
        x, d = errors(self.neurons.responses(spikes), wanted, found)
        self.spent = self.spent + self.engine.step(x, d, rate, t_seconds, self.learned)
        self.learned += 1
        return found

    def total_current(self, t_seconds: float) -> float:
        """Return the sum of the magnitudes of the columns' currents under fixed random inputs.

        Parameters
        ----------
        t_seconds : float, seconds
            Evaluation time.

        Returns
        -------
        float, dimensionless
            In units of the weights.
        """
        generator = self.key.child(Purpose.COMPENSATION_VECTORS).generator()
        x = generator.random((VECTORS, self.synapses.shape[0])).astype(np.float32)
        return float(np.abs(self._products(x, t_seconds)).sum())

    def compensate(self, t_seconds: float, reference: float | None = None) -> float:
        """Set ``scale`` so that the array's total current is a reference, and return it.

        Source: one factor for the array, DERIVED from "array-level scaling" of the abstract of
        arXiv:1905.11929.

        Parameters
        ----------
        t_seconds : float, seconds
            Evaluation time.
        reference : float, dimensionless, optional
            An earlier :meth:`total_current`. None: no compensation, ``scale`` is 1.
        """
        self.scale = 1.0 if reference is None else reference / self.total_current(t_seconds)
        self.presented += reference is not None
        return self.scale

    def _products(self, x: np.ndarray, t_seconds: float) -> np.ndarray:
        y, variance = self.synapses.products(x, t_seconds)
        step, none = np.zeros(1, np.float32), np.float32(0)
        beyond = np.empty(len(y), np.int64)
        convert = sized(kernels.convert, 16 * y.size)
        first = self.presented * 2**32  # so that steps of two presentations never meet
        convert(y, variance, first, self._noise, step, none, False, beyond)
        return y


def errors(
    responses: np.ndarray, wanted: np.ndarray, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return directions and errors at the steps that have an error, as updates take them.

    Parameters
    ----------
    responses : (T, N) float32, dimensionless
        Part of every input in the membranes.
    wanted, found : (T, M) bool
        Trains of the neurons.

    Returns
    -------
    x : (E, N) float32
        Directions: responses divided by their Euclidean norm; zeros where no input has spiked.
    d : (E, M) float32
        Errors, found minus wanted: 1, 0 or -1. ``-rate sum x^T d`` is the change of the weights.
    """
    d = found.astype(np.float32) - wanted.astype(np.float32)
    steps = np.flatnonzero(d.any(axis=1))
    x = responses[steps]
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    return x, np.ascontiguousarray(d[steps])
