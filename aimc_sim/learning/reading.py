"""The converter behind reads of single rows, which decide about pulses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aimc_sim import arguments
from aimc_sim.rng import Key, Purpose


@dataclass(frozen=True)
class Reading:
    """Noise, steps and range of a reading, in weights of the device; a row is driven by 1.

    AIHWKit's presets read with ``Reading(noise=0.1, step=40 / 510, bound=20)`` (READ, commit
    4545f11); the default converter is perfect.

    Attributes
    ----------
    noise : float, dimensionless
        Standard deviation of a reading, beside that of the device.
    step : float, dimensionless
        Step of the converter; 0: it has none.
    bound : float, dimensionless
        Readings stay within +-this; 0: they have no bound.
    seconds : float, seconds
        Duration of the read of a row. Default: 40 ns, that of a product in M. J. Rasch et al.,
        Nature Communications 15, 7133 (2024), at second hand.
    """

    noise: float = 0.0
    step: float = 0.0
    bound: float = 0.0
    seconds: float = 40e-9

    def __post_init__(self) -> None:
        """Refuse negative numbers."""
        for name in ("noise", "step", "bound", "seconds"):
            arguments.number(getattr(self, name), name, 0.0)

    def converted(self, states: np.ndarray, key: Key, number: int) -> np.ndarray:
        """Return readings of states.

        Parameters
        ----------
        states : float32 array of any shape, dimensionless
            Of the devices.
        key : Key
            Of the array.
        number : int
            Tells readings apart.

        Returns
        -------
        float32 array of the states' shape, dimensionless
        """
        found = states
        if self.noise:
            own = key.child(Purpose.LEARNING_CYCLE, number).generator()
            found = found + np.float32(self.noise) * own.standard_normal(found.shape, np.float32)
        if self.bound:
            found = np.clip(found, -self.bound, self.bound)
        if self.step:
            found = np.rint(found / self.step) * self.step
        return np.asarray(found, np.float32)


AIHWKIT_READING = Reading(noise=0.1, step=40 / 510, bound=20.0)
"""The reading of rows in AIHWKit's presets."""
