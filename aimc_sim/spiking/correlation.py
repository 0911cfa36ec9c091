"""Temporal correlations among a million processes, found by as many phase-change devices.

Every process has one device. At each step the processes that are active together are counted; if
the count is large, the devices of the active ones get a crystallising pulse. Correlated processes
are active in just those steps, so that their devices end more conductive. No covariance is
computed and nothing is read until the end.

Source: A. Sebastian et al., "Temporal correlation detection using computational phase-change
memory", Nature Communications 8, 1115 (2017), arXiv:1706.00511; abstract READ: one million devices.
The rule is RECALLED (high certainty); there the pulse grows with the count, here pulses are all
alike and are given above a threshold, because the law of pulses is one of equal pulses.
"""

from __future__ import annotations

import math

import numpy as np

from aimc_sim import arguments
from aimc_sim.device import pulses
from aimc_sim.kernels import spiking as kernels
from aimc_sim.presets import pcm_nandakumar_2018
from aimc_sim.rng import Key, Purpose
from aimc_sim.spec import PcmSpec


class CorrelatedProcesses:
    """Binary processes, the first of which are correlated with each other.

    A hidden process is active with the probability ``rate``. At each step a correlated process
    copies it with the probability ``sqrt(correlation)``, and is a fresh draw of ``rate`` else; all
    others are fresh draws. Hence every process has the mean ``rate``, and two correlated ones the
    covariance ``correlation rate (1 - rate)`` (DERIVED).

    Parameters
    ----------
    size : int
        Number of processes.
    correlated : int
        Number of those that are correlated: the first ones.
    rate : float
        Probability of being active in a step.
    correlation : float
        Correlation coefficient of two correlated processes, 0 to 1.
    key : Key
        Of all draws: a step is a function of the key and its number.
    """

    def __init__(
        self, size: int, correlated: int, rate: float, correlation: float, key: Key
    ) -> None:
        self.size = arguments.whole(size, "size", 1, 2**31)
        self.correlated = arguments.whole(correlated, "correlated", 0, self.size)
        self.rate = arguments.number(rate, "rate", 0, 1)
        self.correlation = arguments.number(correlation, "correlation", 0, 1)
        self._words = [np.array(key.child(Purpose.PROCESS, k).words()) for k in range(3)]

    def hidden(self, step: int) -> bool:
        """Return whether the hidden process is active at a step."""
        one = np.empty(1, np.int64)
        return bool(kernels.active(self.rate, step, self._words[0], one))

    def active(self, step: int) -> np.ndarray:
        """Return the processes that are active at a step.

        Parameters
        ----------
        step : int
            Number of the step, 0 to 2^32 - 1.

        Returns
        -------
        (n,) int64
            In ascending order.
        """
        copied = math.sqrt(self.correlation)
        p = (1 - copied) * self.rate + copied * self.hidden(step)
        first = np.empty(self.correlated, np.int64)
        others = np.empty(self.size - self.correlated, np.int64)
        n = kernels.active(p, step, self._words[1], first)
        m = kernels.active(self.rate, step, self._words[2], others)
        return np.concatenate([first[:n], others[:m] + self.correlated])


class CorrelationDetector:
    """Devices that get a pulse where many processes are active together.

    Parameters
    ----------
    size : int
        Number of processes and devices.
    threshold : float
        Active processes above which a step is a collective one; :func:`collective_threshold` gives
        one from counts.
    key : Key
        Of all draws of the devices.
    device : PcmSpec, optional
        With a law of accumulating pulses. Default: :func:`~aimc_sim.presets.pcm_nandakumar_2018`.
    t_seconds : float, seconds
        Time of the RESET before the first step.

    Attributes
    ----------
    state : PulseState
        The devices.
    steps : int
        Collective steps so far.
    given : int
        Pulses so far.
    """

    def __init__(
        self, size: int, threshold: float, key: Key, device: PcmSpec | None = None,
        t_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        self.threshold = arguments.number(threshold, "threshold", 0)
        self.key, self.device = key, pcm_nandakumar_2018() if device is None else device
        self.state = pulses.fresh(
            arguments.whole(size, "size", 1, 2**31), self.device, key, t_seconds
        )
        self._trains = pulses.PulseTrains(self.device, key)
        self.steps = self.given = 0

    def step(self, active: np.ndarray, t_seconds: float) -> bool:
        """Give a pulse to the devices of active processes if there are many; return whether.

        Parameters
        ----------
        active : (n,) int64
            Active processes, each once.
        t_seconds : float, seconds
            Time of the step, not before the last one.
        """
        if len(active) <= self.threshold:
            return False
        self._trains.accumulate(self.state, active, np.ones(len(active), np.int32), t_seconds)
        self.steps, self.given = self.steps + 1, self.given + len(active)
        return True

    def conductances(self, t_seconds: float) -> np.ndarray:
        """Return one noisy read of all devices, (size,) float32, siemens.

        Parameters
        ----------
        t_seconds : float, seconds
            Evaluation time, not before the last step.
        """
        return pulses.read(self.state, self.device, t_seconds, self.key)


def collective_threshold(counts: np.ndarray, share: float) -> float:
    """Return the count that a share of steps exceeds.

    Parameters
    ----------
    counts : (T,) int64
        Active processes at some steps.
    share : float
        Of these steps, 0 to 1, that exceed the result, or fewer where counts are equal.

    Returns
    -------
    float
        One of the counts, or -1 for a share of 1.
    """
    counts = np.sort(np.asarray(counts))
    if counts.ndim != 1 or not counts.size:
        raise ValueError(f"counts have the shape {counts.shape}: wanted (T,) with T >= 1")
    last = counts.size - int(arguments.number(share, "share", 0, 1) * counts.size + 1e-9) - 1
    return float(counts[last]) if last >= 0 else -1.0
