"""One weight on several devices: a global counter selects the device that takes each event.

Scheme: I. Boybat et al., "Neuromorphic computing with multi-memristive synapses", Nature
Communications 9, 2514 (2018), doi:10.1038/s41467-018-04933-y: the conductances of a synapse add
up; at an event one device of every synapse concerned is programmed, the one that a counter shared
by all synapses points at; then the counter advances by a fixed increment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..rng import Key
from ..spec import PcmSpec
from . import pulses
from .pulses import Pulse, PulseState


@dataclass(frozen=True)
class SynapseState:
    """Synapses of N devices each.

    Attributes
    ----------
    devices : tuple of N PulseState
        Device 0 of every synapse, device 1 of every synapse, and so on.
    counter : int
        Device that takes the next event, 0 ... N - 1.
    increment : int
        Advance of the counter after an event.
    """

    devices: tuple[PulseState, ...]
    counter: int = 0
    increment: int = 1


def fresh(
    shape: int | tuple[int, ...], devices: int, spec: PcmSpec, key: Key, increment: int = 1
) -> SynapseState:
    """Return synapses whose devices are all in RESET.

    Parameters
    ----------
    shape : int or tuple of int
        Of the synapses.
    devices : int
        N, devices per synapse.
    spec : PcmSpec
        With ``pulses``.
    key : Key
        Of the core.
    increment : int
        Advance of the counter per event; no common divisor with N, else some devices would
        never be selected.

    Returns
    -------
    SynapseState

    Raises
    ------
    ValueError
        If ``devices`` or ``increment`` does not fit.
    """
    if devices < 1:
        raise ValueError(f"devices = {devices} must be >= 1")
    if increment < 1 or math.gcd(increment, devices) != 1:
        raise ValueError(
            f"increment = {increment} must be >= 1 and have no common divisor with the "
            f"{devices} devices of a synapse: some would never be selected"
        )
    size = math.prod(np.atleast_1d(shape).tolist())
    planes = tuple(pulses.fresh(shape, spec, key, first=k * size) for k in range(devices))
    return SynapseState(planes, 0, increment)


def potentiate(
    state: SynapseState,
    spec: PcmSpec,
    t_seconds: float,
    key: Key,
    where: np.ndarray | None = None,
    repeats: int = 1,
) -> SynapseState:
    """Give one event: accumulating pulses to the selected device of every synapse concerned.

    Parameters
    ----------
    state : SynapseState
        Untouched.
    spec : PcmSpec
        With ``pulses.accumulation``.
    t_seconds : float, seconds
        Time of the event, not before the last pulse of the selected devices.
    key : Key
        The one of :func:`fresh`.
    where : bool array of the synapses' shape, optional
        Synapses that are potentiated; default all. The counter is global: it advances anyway.
    repeats : int
        Pulses of the event, all to the selected device.

    Returns
    -------
    SynapseState
    """
    chosen = state.counter
    planes = list(state.devices)
    planes[chosen] = pulses.apply(
        planes[chosen], spec, Pulse.ACCUMULATE, t_seconds, key, where=where, repeats=repeats
    )
    counter = (chosen + state.increment) % len(planes)
    return replace(state, devices=tuple(planes), counter=counter)


def weight(state: SynapseState, spec: PcmSpec, t_seconds: float, key: Key) -> np.ndarray:
    """Return the noiseless conductance of every synapse: the sum over its devices.

    Parameters
    ----------
    state : SynapseState
        Synapses after their last event.
    spec : PcmSpec
    t_seconds : float, seconds
        Evaluation time, not before the last pulse of any device.
    key : Key
        The one of :func:`fresh`.

    Returns
    -------
    array of the synapses' shape, float32, siemens
        Divide by ``len(state.devices)`` for the mean.
    """
    first, *others = (pulses.conductance(p, spec, t_seconds, key) for p in state.devices)
    return sum(others, first)
