"""State of a calibrated and programmed chip: plain arrays and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..core import compensation, programming, tile
from ..core.quantise import Calibrated
from ..device import family
from ..device.programming import ProgrammingReport
from ..rng import Key
from ..spec import ChipSpec
from .program import Block, Program


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes of the calibration images, in the network's own numbers.

    Attributes
    ----------
    values : mapping
        By value name: the chip's input, outputs of layers, results of digital steps.
    links : mapping
        By :func:`link_name`: partial sums that travel from one core to the next.
    images : int
        Calibration images behind the numbers.
    g_max_siemens : mapping
        By :func:`link_name` of the block on a core: the largest g_max whose bit-line currents
        the ADCs accept; empty if the device's holds everywhere.
    adc_amperes : mapping
        By :func:`link_name` of the block: full scale of its ADCs, or thresholds and values of its
        columns, where those are calibrated.
    """

    values: Mapping[str, float]
    links: Mapping[str, float]
    images: int
    g_max_siemens: Mapping[str, float] = field(default_factory=dict)
    adc_amperes: Mapping[str, Calibrated] = field(default_factory=dict)


@dataclass(frozen=True)
class ChipState:
    """A programmed chip: one :class:`~aimc_sim.core.tile.TileState` per core in use.

    ``programmed_at_seconds`` is the time of the last programming on the chip's clock, which
    starts with the first one; ``cycle`` counts programmings from 0. ``layer_of`` names the layer
    of every tile, whose specification may be its own.
    """

    seed: int
    tiles: Mapping[int, tile.TileState]
    programmed_at_seconds: float = 0.0
    cycle: int = 0
    layer_of: Mapping[int, str] = field(default_factory=dict)

    def spec_of(self, core: int, spec: ChipSpec) -> ChipSpec:
        """Return the specification of a tile's core."""
        return spec.for_layer(self.layer_of[core]) if spec.layers else spec

    def demand_own_devices(self, spec: ChipSpec) -> None:
        """Raise unless a programming of the chip can write its devices again.

        Parameters
        ----------
        spec : ChipSpec
            Of the chip.

        Raises
        ------
        ValueError
            If a core holds devices that come from elsewhere; names its layer.
        """
        for core, crossbar in self.tiles.items():
            laws = family.of(self.spec_of(core, spec).core.device)
            if not laws.writes_again(crossbar.devices):
                raise ValueError(
                    f"layer '{self.layer_of[core]}' lies on devices that learned, with bounds and "
                    "steps of their own, and a refresh would write others: program(seed) writes "
                    "the weights into new devices"
                )

    def report(self) -> ProgrammingReport:
        """Return the cost and error of programming all cores, one after the other."""
        first, *others = (crossbar.report for crossbar in self.tiles.values())
        return sum(others, first)

    def age(self, t_seconds: float) -> float:
        """Return the time since the last programming, in seconds, at a time of the clock."""
        if t_seconds < self.programmed_at_seconds:
            raise ValueError(
                f"time = {t_seconds:g} s lies before the last programming at "
                f"{self.programmed_at_seconds:g} s; the states before it are gone: go forward, "
                "or program again"
            )
        return t_seconds - self.programmed_at_seconds

    def key(self, core: int) -> Key:
        """Return the key of one core's draws."""
        return _core_key(self.seed, core)


def _core_key(seed: int, core: int) -> Key:
    """Return the key of one core's draws: other cores and layers do not change it."""
    return Key(seed).child(core)


def link_name(block: Block) -> str:
    """Return the name of the partial sum that leaves a block."""
    return f"{block.layer}[{block.row_index},{block.col_index}]"


def program(
    compiled: Program, spec: ChipSpec, seed: int, at_seconds: float = 0.0, cycle: int = 0,
    ranges: Ranges | None = None,
) -> ChipState:  # fmt: skip
    """Write a program's weights to the devices; the same seed gives the same devices.

    Parameters
    ----------
    compiled : Program
        Placed network with its weights.
    spec : ChipSpec
    seed : int
        Number from which all draws come, >= 0.
    at_seconds : float
        Time of the programming on the chip's clock.
    cycle : int
        Number of the programming: later ones write the same devices with new pulses.
    ranges : Ranges, optional
        For the g_max of every core, where the specification asks for it.

    Returns
    -------
    ChipState
    """
    tiles = {}
    for layer in compiled.layers:
        own = spec.for_layer(layer.owner)
        for block in layer.blocks if layer.devices is None else ():
            weight = layer.weight[
                block.row_start : block.row_stop, block.col_start : block.col_stop
            ]
            tiles[block.tile] = programming.program(
                weight, own.core, _core_key(seed, block.tile), cycle,
                None if ranges is None else ranges.g_max_siemens.get(link_name(block)),
            )  # fmt: skip
    layer_of = {block.tile: block.layer for block in compiled.blocks}
    return ChipState(seed, tiles, at_seconds, cycle, layer_of)


def tiles_at(state: ChipState, spec: ChipSpec, t_seconds: float) -> dict[int, tile.TileNow]:
    """Return every crossbar in use, by core, at a time of the chip's clock."""
    age = state.age(t_seconds)
    return {
        core: tile.at(programmed, state.spec_of(core, spec).core, age, state.key(core))
        for core, programmed in state.tiles.items()
    }


def compensation_reads(
    method: compensation.Method, state: ChipState, spec: ChipSpec,
    now: Mapping[int, tile.TileNow], t_seconds: float,
) -> dict[int, np.ndarray]:  # fmt: skip
    """Return the results of the drift-compensation reads of every core, by core."""
    return {
        core: compensation.readout(
            method, crossbar, state.spec_of(core, spec), t_seconds, state.key(core)
        )
        for core, crossbar in now.items()
    }


def compensation_references(
    method: compensation.Method, state: ChipState, spec: ChipSpec,
    begin: Mapping[int, tile.TileNow],
) -> dict[int, np.ndarray]:  # fmt: skip
    """Return the references of later reads, by core, from the crossbars after programming."""
    return {
        core: compensation.reference(
            method, crossbar, state.tiles[core], state.spec_of(core, spec),
            state.programmed_at_seconds, state.key(core),
        )
        for core, crossbar in begin.items()
    }  # fmt: skip
