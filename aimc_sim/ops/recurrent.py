"""Recurrent layers: loops over time steps on the cores and the global digital units."""

from collections.abc import Sequence
from math import prod

from aimc_sim.ops.record import Attributes, Operation, Sizes


def _neurons(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count per neuron and step: its inputs, leak, reset, comparison, and gate and threshold."""
    neuron = attrs["neuron"]
    each = 5.0 + 6.0 * bool(neuron["gate"]) + 5.0 * (neuron["adaptation"] is not None)
    return each * prod(result)


# Per hidden unit: four gates of one FMA and one function value each, the state, its tanh.
RECORDS = (
    Operation("lstm", "float", 19.0, by_step=True),
    Operation("gru", "float", 17.0, by_step=True),
    Operation("rnn", "float", 3.0, by_step=True),
    Operation("spiking", "float", _neurons, by_step=True),
)

RECURRENT = frozenset(record.name for record in RECORDS)
"""Operations with a state that goes from one time step to the next."""

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
"""Rows of the hidden matrix per hidden unit, by operation."""


def spiking_states(attrs: Attributes, gates: Sizes) -> tuple[Sizes, Sizes]:
    """Return the sizes of the outputs and of the state of spiking neurons after a step.

    Parameters
    ----------
    attrs : mapping
        Attributes of the node "spiking".
    gates : tuple of int
        Of what it reads, batch first: (B, T, ..., sums of inputs).

    Returns
    -------
    outputs, state : tuple of int
        (B, ..., units), and (B, ..., numbers of state).
    """
    neuron = attrs["neuron"]
    adapts = neuron["adaptation"] is not None
    units = gates[-1] // (1 + bool(neuron["gate"]) + adapts)
    inner = (gates[0], *gates[2:-1])
    return (*inner, units), (*inner, units * (1 + adapts))


def _recurrence(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count two operations for every multiplication of the layer's matrices."""
    return 2.0 * float(attrs["macs_per_output"]) * prod(result)


OFF_CORES = (Operation("recurrence", "float", _recurrence),)
"""A recurrent layer that stays off the cores as a whole."""
