"""Short-term plasticity: a volatile part beside the weights, which coincidences write.

    y = x (W + F),        F <- decay F + rate x^T post        after every step

W is held constant (devices, for example); F fades in steps and belongs in a capacitor or in the
digital unit, because the drift of phase-change memory is no exponential. ``post`` are the
activities that the outputs had in the step.

Sources: T. Moraitis et al., "Optimality of short-term synaptic plasticity in modelling certain
dynamic environments", arXiv:2009.06808, abstract READ: with it a network trained on static digits
recognises changing ones better. Its equations were not found; the form here is RECALLED (low).
"""

from __future__ import annotations

import numpy as np

from aimc_sim import arguments


class VolatilePart:
    """F of some streams that share W.

    Parameters
    ----------
    streams, inputs, outputs : int
        Sizes B, R and C.
    decay : float
        Share of F that is left after a step, 0 to 1.
    rate : float
        Change of F by an input of 1 and an activity of 1.

    Attributes
    ----------
    values : (B, R, C) float32, in units of the weights
        F, zeros at first.
    """

    def __init__(self, streams: int, inputs: int, outputs: int, decay: float, rate: float) -> None:
        self.decay = arguments.number(decay, "decay", 0, 1)
        self.rate = arguments.number(rate, "rate")
        sizes = [
            arguments.whole(value, name, 1, 2**31)
            for value, name in ((streams, "streams"), (inputs, "inputs"), (outputs, "outputs"))
        ]
        self.values = np.zeros(sizes, np.float32)

    def product(self, x: np.ndarray) -> np.ndarray:
        """Return the part of F in the outputs, (B, C) float32.

        Parameters
        ----------
        x : (B, R) float32
            Inputs of the step.
        """
        found: np.ndarray = np.einsum("br,brc->bc", self._checked(x, 1, "x"), self.values)
        return found

    def update(self, x: np.ndarray, post: np.ndarray) -> None:
        """Let F fade, and add the coincidences of a step.

        Parameters
        ----------
        x : (B, R) float32
            Inputs of the step.
        post : (B, C) float32
            Activities of the outputs.
        """
        x, post = self._checked(x, 1, "x"), self._checked(post, 2, "post")
        self.values *= np.float32(self.decay)
        self.values += np.float32(self.rate) * (x[:, :, None] * post[:, None, :])

    def _checked(self, array: np.ndarray, axis: int, name: str) -> np.ndarray:
        wanted = (self.values.shape[0], self.values.shape[axis])
        if np.shape(array) != wanted:
            raise ValueError(f"{name} has the shape {np.shape(array)}: wanted {wanted}")
        return np.asarray(array, np.float32)
