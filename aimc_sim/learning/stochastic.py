"""Stochastic gradient descent by coincident pulses: the outer product happens in the array.

Every vector makes a train of pulses per row and per column, and a device gets a pulse for every
coincidence of its two trains. The trains of a row meet all columns, so that updates of one row or
column are correlated: ``Cov(c_ij, c_ik) = BL p_i q_j q_k (1 - p_i)``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimc_sim import arguments
from aimc_sim.learning import trains
from aimc_sim.learning.engine import Engine, Update
from aimc_sim.learning.steps import stepped
from aimc_sim.learning.synapses import Device, Spent, Synapses
from aimc_sim.rng import Key
from aimc_sim.spec import DeviceSpec

REACH = 1e-6
"""Pulses per vector of the most driven device, below which an update warns."""


@dataclass(frozen=True)
class StochasticPulses(Update):
    """The update by random pulse trains; scales and lengths: :mod:`.trains`.

    Attributes
    ----------
    length : int
        Slots of a train; the most of them with pulse-length management.
    pulse_length_management, update_management : bool
        Trains no longer than needed; probabilities of both sides alike at their maxima.
    refresh_every : int
        Steps between two checks for saturated devices; 0 for none. Devices of both directions need
        no refresh.
    """

    length: int = 31
    pulse_length_management: bool = True
    update_management: bool = True
    refresh_every: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that are none."""
        arguments.whole(self.length, "length", 1, trains.MOST_SLOTS)
        arguments.flag(self.pulse_length_management, "pulse_length_management")
        arguments.flag(self.update_management, "update_management")
        arguments.whole(self.refresh_every, "refresh_every", 0, 2**31)

    def engine(self, synapses: Synapses, key: Key) -> StochasticEngine:
        """Return the update of an array; see :meth:`Update.engine`."""
        both_directions(synapses, "StochasticPulses")
        return StochasticEngine(self, synapses, key)

    def device(self, chip: DeviceSpec) -> Device | None:
        """Return the chip's devices where they move step by step; see :meth:`Update.device`."""
        return stepped(chip)


class StochasticEngine(Engine):
    """The update of one array by pulse trains.

    Parameters
    ----------
    rule : StochasticPulses
        Specification.
    synapses : Synapses
        The array.
    key : Key
        Of its trains.
    """

    def __init__(self, rule: StochasticPulses, synapses: Synapses, key: Key) -> None:
        self.rule, self.synapses, self.key = rule, synapses, key
        self.step_size = (synapses.up + synapses.down) / 2
        self.vectors, self.steps, self._told = 0, 0, False

    def step(self, x: np.ndarray, d: np.ndarray, lr: float, t_seconds: float, number: int) -> Spent:
        """Give the pulses of a batch; see :meth:`Engine.step`.

        The vector's number in the life of the engine addresses its draws, so that parts of a batch
        give the pulses of the whole.
        """
        x, d, lr = vectors(x, d, lr)
        rule = self.rule
        scale = trains.scales(
            x, d, lr, self.step_size, rule.length, rule.pulse_length_management,
            rule.update_management,
        )  # fmt: skip
        if not self._told:
            self._told = warn_of_reach(scale.driven, lr, self.step_size)
        spent = Spent()
        if scale.length.any():
            drawn = trains.draw(x, d, scale, self.key, self.vectors)
            spent = self.synapses.coincide(drawn.rows, drawn.columns, drawn.signs, t_seconds)
        self.vectors += len(x)
        self.steps += 1
        if rule.refresh_every and self.steps % rule.refresh_every == 0:
            spent = spent + self.synapses.refresh(t_seconds)
        return spent

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the numbers of vectors and steps."""
        return {"vectors": np.array(self.vectors), "steps": np.array(self.steps)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of :meth:`arrays`."""
        self.vectors, self.steps = int(arrays["vectors"]), int(arrays["steps"])


def both_directions(synapses: Synapses, name: str) -> None:
    """Refuse an array whose weights some pulses cannot move.

    Parameters
    ----------
    synapses : Synapses
        The array.
    name : str
        Of the update, for the message.
    """
    for direction in ("up", "down"):
        if not getattr(synapses, direction) > 0:
            raise ValueError(
                f"{name} needs devices of both directions, and these have no '{direction}': take "
                "pairs of devices, for example learning.StepDevices(presets.pcm_step()), or "
                "devices of both directions, for example learning.StepDevices(presets.ecram())"
            )


def vectors(x: np.ndarray, d: np.ndarray, lr: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return inputs and errors of a step for a learning rate that is not negative.

    Parameters
    ----------
    x, d : (B, R) and (B, C) float32
        Inputs and errors.
    lr : float
        Learning rate; a negative one climbs.

    Returns
    -------
    x, d : (B, R) and (B, C) float32
        Inputs and errors, of the other sign if the rate is negative.
    lr : float
        Its magnitude.
    """
    x, d = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(d, np.float32)
    if x.ndim != 2 or d.ndim != 2 or len(x) != len(d):
        raise ValueError(f"x has the shape {x.shape} and d {d.shape}: wanted (B, R) and (B, C)")
    if not (np.isfinite(x).all() and np.isfinite(d).all() and np.isfinite(lr)):
        raise ValueError("x, d or lr of an update is not finite; lower the learning rate")
    return (x, d, float(lr)) if lr >= 0 else (x, -d, -float(lr))


def warn_of_reach(driven: np.ndarray, lr: float, step: float) -> bool:
    """Warn of a learning rate at which hardly any pulse is given, and return whether it did."""
    most = float(driven.max(initial=0.0))
    if not 0 < most < REACH:
        return False
    warnings.warn(
        f"lr = {lr:.3g} is below the reach of the pulses: a pulse changes a weight by {step:.3g}, "
        f"and the most driven device of this step gets one in {1 / most:.3g} vectors; from "
        f"lr = {lr * REACH / most:.3g} on it is one in {1 / REACH:.0e}",
        stacklevel=4,
    )
    return True
