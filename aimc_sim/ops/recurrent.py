"""Recurrent layers: loops over time steps on the cores and the global digital units."""

from collections.abc import Sequence
from math import prod

from aimc_sim.ops.record import Attributes, Operation, Sizes

# Per hidden unit: four gates of one FMA and one function value each, the state, its tanh.
RECORDS = (
    Operation("lstm", "float", 19.0, by_step=True),
    Operation("gru", "float", 17.0, by_step=True),
    Operation("rnn", "float", 3.0, by_step=True),
)

RECURRENT = frozenset(record.name for record in RECORDS)
"""Operations with a state that goes from one time step to the next."""

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
"""Rows of the hidden matrix per hidden unit, by operation."""


def _recurrence(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count two operations for every multiplication of the layer's matrices."""
    return 2.0 * float(attrs["macs_per_output"]) * prod(result)


OFF_CORES = (Operation("recurrence", "float", _recurrence),)
"""A recurrent layer that stays off the cores as a whole."""
