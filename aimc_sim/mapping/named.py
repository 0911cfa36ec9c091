"""The layouts of the chip paper, by name, without weights.

Source: M. Le Gallo et al., Nature Electronics 6, 680 (2023), arXiv:2212.02872: matrices, number
of cores, rows of the chip that a network occupies, and how partial sums travel (along a row for
the ResNet-9, down a column into the fourth row and its global digital unit for LSTMs). The order
of cores inside a row is a drawing that could not be read: from left to right here; so is the
place of the character LSTM's output layer: the fifth row here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aimc_sim.chip.fabric import feeding_core
from aimc_sim.chip.program import AnalogLayer, Block, Program, Transfer
from aimc_sim.mapping.split import split_layer
from aimc_sim.presets import hermes
from aimc_sim.spec import FabricSpec

GRID = FabricSpec(topology="prism_grid", rows=8, cols=8)


@dataclass(frozen=True)
class Matrix:
    """A layer and its cores, (row, column) from 1 as the paper counts them.

    ``cores`` runs over column blocks and, in each, from the head of the chain to its tail.
    """

    name: str
    inputs: int
    outputs: int
    cores: tuple[tuple[int, int], ...]


def _row(row: int, first: int = 1, last: int = 8) -> tuple[tuple[int, int], ...]:
    return tuple((row, col) for col in range(first, last + 1))


def _columns(top: int, bottom: int, first: int = 1, last: int = 8) -> tuple[tuple[int, int], ...]:
    """Cores column by column, each from top to bottom."""
    return tuple((row, c) for c in range(first, last + 1) for row in range(top, bottom + 1))


MATRICES: dict[str, tuple[Matrix, ...]] = {
    "resnet9": (
        Matrix("conv0", 27, 56, _row(1, 1, 1)),
        Matrix("conv1", 504, 112, _row(1, 2, 3)),
        Matrix("conv2", 1008, 112, _row(1, 4, 7)),
        Matrix("conv3", 1008, 112, _row(2, 1, 4)),
        Matrix("conv4", 1008, 224, _row(2, 5, 8)),
        Matrix("conv5", 2016, 224, _row(3)),
        Matrix("conv6", 2016, 224, _row(4)),
        Matrix("conv7", 2016, 224, _row(5)),
        Matrix("dense", 224, 10, _row(1, 8, 8)),
    ),
    "char-lstm": (
        Matrix("input gates", 128, 2016, _columns(2, 2)),
        Matrix("hidden gates", 504, 2016, _columns(3, 4)),
        Matrix("output", 504, 50, _row(5, 1, 2)),
    ),
    "captioning-lstm": (
        Matrix("input gates", 504, 2016, _columns(1, 2)),
        Matrix("hidden gates", 504, 2016, _columns(3, 4)),
        Matrix("output", 504, 4064, _columns(5, 6) + _columns(7, 8)),
    ),
}
"""The networks of the paper: 40, 26 and 64 cores."""


def names() -> tuple[str, ...]:
    """Return the names of the layouts."""
    return tuple(MATRICES)


def named(name: str) -> Program:
    """Return a layout of the chip paper as a program without weights.

    Parameters
    ----------
    name : "resnet9", "char-lstm" or "captioning-lstm"

    Returns
    -------
    Program
        Layers with placed blocks, and the transfers that the chip makes over its links: partial
        sums inside a layer, the hidden gates added below the input gates, and the fourth row's
        sums to the global digital units, whose numbers follow those of the cores. Activations
        go through the host.

    Raises
    ------
    KeyError
        If there is no such layout; names those there are.
    """
    if name not in MATRICES:
        raise KeyError(f"there is no layout '{name}'; choose one of {', '.join(MATRICES)}")
    layers = [_layer(matrix) for matrix in MATRICES[name]]
    transfers = [
        Transfer("partial_sum", layer.name, a.core, b.core, (a.core, b.core), a.shape[1])
        for layer in layers
        for chain in layer.chains
        for a, b in pairwise(chain)
    ]
    if name.endswith("lstm"):
        gates, hidden = layers[:2]
        for chain, below in zip(gates.chains, hidden.chains, strict=True):
            ends = chain[-1].core, below[0].core
            transfers.append(Transfer("partial_sum", gates.name, *ends, ends, below[0].shape[1]))
        for col, chain in enumerate(hidden.chains):
            ends = feeding_core(col, GRID), GRID.cores + col
            transfers.append(Transfer("gates", hidden.name, *ends, ends, chain[-1].shape[1]))
    return Program("input", layers[-1].name, tuple(layers), tuple(transfers), GRID.cores)


def cores_of(name: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return a layout as ``mapping.cores`` of a specification takes it, (layer, cores)."""
    return tuple(
        (layer.name, tuple(block.core for block in layer.blocks)) for layer in named(name).layers
    )


def _layer(matrix: Matrix) -> AnalogLayer:
    core = hermes().core
    layer = AnalogLayer(
        name=matrix.name,
        kind="linear",
        source="input",
        # One zero, seen as a matrix: the layout has shapes only.
        weight=np.broadcast_to(np.float32(0), (matrix.inputs, matrix.outputs)),
        scale=np.ones(matrix.outputs, np.float32),
        offset=np.zeros(matrix.outputs, np.float32),
        relu=False,
    )
    blocks = split_layer(layer, core.rows, core.cols)
    placed: list[Block] = []
    for block, (row, col) in zip(blocks, matrix.cores, strict=True):
        placed.append(replace(block, core=(row - 1) * GRID.cols + col - 1))
    return replace(layer, blocks=tuple(placed))
