"""The operations of the digital units: one record per operation, one file per family.

=====================  ==========================================================================
:mod:`.record`         the record of an operation: kind, ATen name or function, work, shape, reads
:mod:`.geometry`       shapes of values and read relations, for records
:mod:`.pointwise`      functions of numbers at one place
:mod:`.views`          other shapes and orders of numbers, without arithmetic
:mod:`.pools`          pooling and interpolation
:mod:`.norms`          normalisation and softmax
:mod:`.reductions`     one number out of many
:mod:`.products`       products of values
:mod:`.indexing`       tables and gathering
:mod:`.creation`       numbers that come from sizes only
:mod:`.exact`          whole numbers and truth values
:mod:`.recurrent`      loops over time
=====================  ==========================================================================

:mod:`aimc_sim.digital.apply` runs them; nothing here imports torch. An operation of ATen is
computed by ATen itself from the recorded arguments, so that a pointwise
operation more is a name more in one list.
"""

from __future__ import annotations

from aimc_sim.ops import (
    creation,
    exact,
    indexing,
    norms,
    pointwise,
    pools,
    products,
    recurrent,
    reductions,
    views,
)
from aimc_sim.ops.record import Operation, Sizes
from aimc_sim.ops.recurrent import GATES, RECURRENT, spiking_states

__all__ = [
    "ATEN", "FAMILIES", "GATES", "OPERATIONS", "RECURRENT", "Operation", "Sizes", "charged",
    "spiking_states",
]  # fmt: skip

FAMILIES: dict[str, tuple[Operation, ...]] = {
    "pointwise": pointwise.RECORDS,
    "views": views.RECORDS,
    "pools": pools.RECORDS,
    "norms": norms.RECORDS,
    "reductions": reductions.RECORDS,
    "products": products.RECORDS,
    "indexing": indexing.RECORDS,
    "creation": creation.RECORDS,
    "whole numbers": exact.RECORDS,
    "recurrent": (*recurrent.RECORDS, *recurrent.OFF_CORES),
}
"""All records, family by family."""


def _by_name() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for family, records in FAMILIES.items():
        for record in records:
            if record.name in found:
                raise ValueError(f"operation '{record.name}' is recorded twice, again in {family}")
            found[record.name] = record
    return found


OPERATIONS = _by_name()
"""All records by name."""

_LAYERS = frozenset(("recurrence", "convolution_digital", "linear_digital", "spiking_attention"))

ATEN = {
    record.aten or name: record
    for name, record in OPERATIONS.items()
    if record.run is None and name not in RECURRENT and name not in _LAYERS
}
"""Records by the ATen function that computes them from recorded arguments."""


def charged(op: str) -> bool:
    """Return whether an operation is charged for time and energy where it is counted.

    Arithmetic in floating point is, of the global units and of layers off the cores; operations of
    a core's local unit are part of what a layer costs, and gates of recurrent layers and spiking
    neurons have costs of their own.
    """
    return OPERATIONS[op].kind == "float" and op not in RECURRENT
