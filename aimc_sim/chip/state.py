"""What a chip holds once it is calibrated and programmed: plain arrays and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core import compensation, tile
from ..rng import Key
from ..spec import ChipSpec
from .image import Block, ChipImage


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes seen during calibration, in the network's own numbers.

    Attributes
    ----------
    values : mapping
        By value name: the chip's input, outputs of layers, results of digital steps.
    links : mapping
        By :func:`link_name`: partial sums that travel from one core to the next.
    images : int
        Calibration images behind the numbers.
    """

    values: Mapping[str, float]
    links: Mapping[str, float]
    images: int


@dataclass(frozen=True)
class ChipState:
    """A programmed chip: one :class:`~aimc_sim.core.tile.TileState` per core in use."""

    seed: int
    tiles: Mapping[int, tile.TileState]

    def key(self, core: int) -> Key:
        """Return the key of one core's draws."""
        return core_key(self.seed, core)


def core_key(seed: int, core: int) -> Key:
    """Return the key of one core's draws: other cores and layers do not change it."""
    return Key(seed).child(core)


def link_name(block: Block) -> str:
    """Return the name of the partial sum that leaves a block."""
    return f"{block.layer}[{block.row_index},{block.col_index}]"


def program(image: ChipImage, spec: ChipSpec, seed: int) -> ChipState:
    """Program every core of an image; the same seed gives the same devices.

    Parameters
    ----------
    image : ChipImage
    spec : ChipSpec
    seed : int
        >= 0.

    Returns
    -------
    ChipState
    """
    tiles = {}
    for layer in image.layers:
        for block in layer.blocks:
            weight = layer.weight[
                block.row_start : block.row_stop, block.col_start : block.col_stop
            ]
            tiles[block.core] = tile.program(weight, spec.core, core_key(seed, block.core))
    return ChipState(seed, tiles)


def look(state: ChipState, spec: ChipSpec, t_seconds: float) -> dict[int, tile.TileNow]:
    """Return every crossbar in use, by core, at a time after programming."""
    return {
        core: tile.at(programmed, spec.core, t_seconds, state.key(core))
        for core, programmed in state.tiles.items()
    }


def compensation_reads(
    state: ChipState, spec: ChipSpec, now: Mapping[int, tile.TileNow], t_seconds: float
) -> dict[int, np.ndarray]:
    """Return what the drift-compensation reads of every core give, (C,) float64 by core."""
    return {
        core: compensation.mean_magnitude(crossbar, spec, t_seconds, state.key(core))
        for core, crossbar in now.items()
    }
