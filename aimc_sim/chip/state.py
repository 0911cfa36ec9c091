"""What a chip holds once it is calibrated and programmed: plain arrays and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core import tile
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
            weight = layer.weight[block.row_start : block.row_stop, block.col_start : block.col_stop]
            tiles[block.core] = tile.program(weight, spec.core, core_key(seed, block.core))
    return ChipState(seed, tiles)
