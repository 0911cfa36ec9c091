"""Joules per event, and the operations that the chip paper measured."""

from __future__ import annotations

from dataclasses import dataclass

from aimc_sim.chip.ledger.parts import mvm_parts
from aimc_sim.chip.ledger.silicon import core_mm2
from aimc_sim.chip.ledger.times import mvm_seconds, operation_seconds
from aimc_sim.spec import ChipSpec


def mvm_joules(spec: ChipSpec) -> float:
    """Return the energy of one MVM of one whole core, without any static power."""
    return mvm_parts(spec).joules


def published_mvm_joules(spec: ChipSpec) -> float:
    """Return the energy of one MVM as published: with the share of a core in a busy chip.

    The paper gives the energy of a chip that runs all its cores at once, in which the power that
    they share is contained.
    """
    return mvm_joules(spec) + shared_joules(spec)


def shared_joules(spec: ChipSpec) -> float:
    """Return the share of one core in the power that all cores share, for the time of one MVM."""
    return spec.cost.shared_watts * mvm_seconds(spec) / spec.fabric.cores


@dataclass(frozen=True)
class OperationCost:
    """Cost of one operation of the chip.

    Attributes
    ----------
    seconds : float, seconds
        Latency of the operation.
    mvm_seconds : float, seconds
        Duration of its MVM alone.
    published_mvm_joules : float, joules
        Energy of crossbars, ADCs and modulators, with static power while they work.
    joules : float, joules
        Energy of all components.
    operations : int
        Number of operations, 2 per multiply-accumulate of the weights in use.
    mm2 : float, mm2
        Area of the MVM parts of the cores that work.
    """

    seconds: float
    mvm_seconds: float
    published_mvm_joules: float
    joules: float
    operations: int
    mm2: float

    @property
    def tops_per_mm2(self) -> float:
        """Throughput of the MVM alone per area of the MVM parts, 1e12/s/mm2."""
        return self.tops / self.mm2

    @property
    def tops(self) -> float:
        """Throughput of the MVM alone, 1e12 operations per second."""
        return self.operations / self.mvm_seconds * 1e-12

    @property
    def tops_per_watt(self) -> float:
        """Efficiency of the MVM alone, 1e12 operations per joule."""
        return self.operations / self.published_mvm_joules * 1e-12


def operation(
    spec: ChipSpec, cores: int, weights: int, columns: int = 0, chain: int = 1,
    gdpu_outputs: int = 0,
) -> OperationCost:  # fmt: skip
    """Return the cost of one input to a layer, as Table I of the chip paper counts it.

    Parameters
    ----------
    spec : ChipSpec
    cores : int
        Cores that work, all at once.
    weights : int
        Of the layer.
    columns : int
        Outputs that every core streams; 0 for the MVM alone.
    chain : int
        Cores that accumulate one after the other.
    gdpu_outputs : int
        Hidden units that the global digital units compute.
    """
    mvm = mvm_seconds(spec)
    mvm_energy = cores * mvm_joules(spec) + spec.cost.shared_watts * mvm
    seconds, joules = mvm, mvm_energy
    if columns:
        cost = spec.cost
        seconds = operation_seconds(columns, chain, spec, gdpu_outputs)
        joules = cores * mvm_joules(spec)
        joules += (cost.shared_watts + cores * cost.core_watts) * seconds
        joules += cores * columns * cost.ldpu_joules_per_output
        joules += gdpu_outputs * cost.gdpu_joules_per_output
    return OperationCost(seconds, mvm, mvm_energy, joules, 2 * weights, cores * core_mm2(spec)[0])
