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
from aimc_sim.mapping.split import split_for
from aimc_sim.presets import hermes
from aimc_sim.spec import FabricSpec

PAPER = "paper:"
"""Before the name of a layout where networks are named too."""

GRID = FabricSpec(topology="prism_grid", rows=8, cols=8)


@dataclass(frozen=True)
class _Matrix:
    """A layer and its cores.

    Attributes
    ----------
    name : str
        Name of the layer.
    inputs, outputs : int
        Rows and columns of its matrix.
    cores : tuple of (int, int)
        Row and column of every core, from 1 as the paper counts them, column block by column
        block and in each from the head of the chain to its tail.
    """

    name: str
    inputs: int
    outputs: int
    cores: tuple[tuple[int, int], ...]


def _row(row: int, first: int = 1, last: int = 8) -> tuple[tuple[int, int], ...]:
    """Return the cores of a row from left to right."""
    return tuple((row, col) for col in range(first, last + 1))


def _columns(top: int, bottom: int, first: int = 1, last: int = 8) -> tuple[tuple[int, int], ...]:
    """Return the cores of some rows column by column, each column from top to bottom."""
    return tuple((row, c) for c in range(first, last + 1) for row in range(top, bottom + 1))


_MATRICES: dict[str, tuple[_Matrix, ...]] = {
    "resnet9": (
        _Matrix("conv0", 27, 56, _row(1, 1, 1)),
        _Matrix("conv1", 504, 112, _row(1, 2, 3)),
        _Matrix("conv2", 1008, 112, _row(1, 4, 7)),
        _Matrix("conv3", 1008, 112, _row(2, 1, 4)),
        _Matrix("conv4", 1008, 224, _row(2, 5, 8)),
        _Matrix("conv5", 2016, 224, _row(3)),
        _Matrix("conv6", 2016, 224, _row(4)),
        _Matrix("conv7", 2016, 224, _row(5)),
        _Matrix("dense", 224, 10, _row(1, 8, 8)),
    ),
    "char-lstm": (
        _Matrix("input gates", 128, 2016, _columns(2, 2)),
        _Matrix("hidden gates", 504, 2016, _columns(3, 4)),
        _Matrix("output", 504, 50, _row(5, 1, 2)),
    ),
    "captioning-lstm": (
        _Matrix("input gates", 504, 2016, _columns(1, 2)),
        _Matrix("hidden gates", 504, 2016, _columns(3, 4)),
        _Matrix("output", 504, 4064, _columns(5, 6) + _columns(7, 8)),
    ),
}
"""Layers of the paper's networks, on 40, 26 and 64 cores."""


def names() -> tuple[str, ...]:
    """Return the names of the layouts."""
    return tuple(_MATRICES)


def named(name: str) -> Program:
    """Return a layout of the chip paper as a program without weights.

    Parameters
    ----------
    name : {"resnet9", "char-lstm", "captioning-lstm"}
        The network of the paper.

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
        If there is no layout of that name; the message lists the names.
    """
    if name not in _MATRICES:
        raise KeyError(f"there is no layout '{name}'; choose one of {', '.join(_MATRICES)}")
    layers = [_layer(matrix) for matrix in _MATRICES[name]]
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
    """Return a layout in the form of ``mapping.cores`` of a specification.

    Parameters
    ----------
    name : {"resnet9", "char-lstm", "captioning-lstm"}
        The network of the paper.

    Returns
    -------
    tuple of (str, tuple of int)
        Name of every layer, and the cores of its blocks.

    Raises
    ------
    KeyError
        If there is no layout of that name; the message lists the names.
    """
    return tuple(
        (layer.name, tuple(block.core for block in layer.blocks)) for layer in named(name).layers
    )


def _layer(matrix: _Matrix) -> AnalogLayer:
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
    blocks = split_for(layer, core)
    placed: list[Block] = []
    for block, (row, col) in zip(blocks, matrix.cores, strict=True):
        placed.append(replace(block, core=(row - 1) * GRID.cols + col - 1))
    return replace(layer, blocks=tuple(placed))
