"""The time of training: drift acts while a network learns."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Clock:
    """The clock that all arrays of a network share; held constant within a step.

    Attributes
    ----------
    seconds_per_step : float, seconds, optional
        Duration of a step of the optimiser. Default: that of the cores, see :meth:`advance`.
    seconds : float, seconds
        Time since the network was prepared.
    """

    seconds_per_step: float | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse durations that are none."""
        step = self.seconds_per_step
        if step is not None and not 0 <= step < math.inf:
            raise ValueError(f"seconds_per_step = {step!r} must be finite and >= 0, or None")

    def advance(self, reading: float, writing: float) -> None:
        """Go on by a step.

        Parameters
        ----------
        reading : float, seconds
            Of all products forward and backward, one after the other: errors cannot go back
            before the last layer's products are there.
        writing : float, seconds
            Of the pulses of the array that takes longest: cores write at one time.
        """
        step = self.seconds_per_step
        self.seconds += reading + writing if step is None else step
