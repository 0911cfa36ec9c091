"""How a layer's weights lie on crossbars: which of them share a crossbar, a column, a scale.

Nothing is decided here. A layer becomes a node of the mapper's graph, the node the chip's layer,
and the chip's own splitter cuts it, so that a network trains with the crossbars that it gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aimc_sim.mapping.graph import Node
from aimc_sim.mapping.lower import analog_layer
from aimc_sim.mapping.matrices import transposed_as_convolution, transposed_taps
from aimc_sim.mapping.split import split_for
from aimc_sim.spec import CoreSpec

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


@dataclass(frozen=True, eq=False)
class WeightCuts:
    """Cuts of a matrix of weights with C columns (outputs) and R rows (inputs), stored (C, R).

    Rows of a grouped layer are those of one group: each column has its own group's. As many
    groups as fit share a crossbar, with zeros where a column meets the inputs of other groups;
    neither these zeros nor those of a transposed convolution whose kernel leaves some phases of
    its stride without a tap are given noise in training.

    Attributes
    ----------
    cols, rows : int
        Columns C and rows R of the matrix.
    col_cuts, row_cuts : (n + 1,) int64
        0, ..., C and 0, ..., R; every pair of neighbours on both sides is a crossbar.
    order : (C, R) int64, optional
        Number of the weight, from 1, that a cell holds; 0: none, the cell is zero. None: the
        weights lie in the order in which torch stores them.
    """

    cols: int
    rows: int
    col_cuts: np.ndarray
    row_cuts: np.ndarray
    order: np.ndarray | None = None
    _indices: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightCuts:
        """Share: nothing changes a layout."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the index tensors behind, which belong to a device."""
        return WeightCuts, (self.cols, self.rows, self.col_cuts, self.row_cuts, self.order)

    @property
    def row_blocks(self) -> int:
        """Crossbars whose partial sums make one output."""
        return len(self.row_cuts) - 1

    @property
    def col_blocks(self) -> int:
        """Crossbars beside each other."""
        return len(self.col_cuts) - 1

    def col_block(self, cols: slice) -> int:
        """Return the number of the crossbar that holds some columns, of those side by side."""
        return int(np.searchsorted(self.col_cuts, cols.start))

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a layer's weights as a matrix.

        Parameters
        ----------
        weight : tensor of the layer's shape
            Weights of the layer.

        Returns
        -------
        (C, R) tensor
            Contiguous; a view of the weights where it can be one.
        """
        if self.order is None:
            return weight.flatten(1).contiguous()
        cells, _ = self._index(weight.device)
        flat = weight.reshape(-1)
        held = torch.cat([flat.new_zeros(1), flat]).index_select(0, cells)
        return held.reshape(self.cols, self.rows)

    def unfold(self, matrix: Tensor, weight: Tensor) -> Tensor:
        """Return a matrix in the shape of the layer's weights.

        Parameters
        ----------
        matrix : (C, R) tensor
            Weights as a matrix.
        weight : tensor of the layer's shape
            Weights of the layer, for their shape.

        Returns
        -------
        tensor of the layer's shape
            The entries of the matrix.
        """
        if self.order is not None:
            _, places = self._index(matrix.device)
            matrix = matrix.reshape(-1).index_select(0, places)
        return matrix.reshape(weight.shape)

    def blocks(self) -> Iterator[tuple[int, slice, slice]]:
        """Yield every crossbar: number of its row block, its columns and its rows."""
        for first, last in pairwise(self.col_cuts.tolist()):
            for block, (start, stop) in enumerate(pairwise(self.row_cuts.tolist())):
                yield block, slice(first, last), slice(start, stop)

    def _index(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the weight of every cell, and the cell of every weight."""
        if device not in self._indices:
            cells = torch.from_numpy(self.order).reshape(-1)
            places = torch.empty(int(cells.max()), dtype=torch.int64)
            places[cells[cells > 0] - 1] = (cells > 0).nonzero()[:, 0]
            self._indices[device] = cells.to(device), places.to(device)
        return self._indices[device]


def matrix_layout(cols: int, rows: int, core: CoreSpec) -> WeightCuts:
    """Return the layout of a dense matrix.

    Parameters
    ----------
    cols, rows : int
        Outputs and inputs of the whole matrix.
    core : CoreSpec
        The core: the size of its crossbar is read.

    Returns
    -------
    WeightCuts
        Cuts of the matrix.
    """
    weight = np.zeros((cols, rows), np.float32)
    return _layout(Node("layer", "linear", ("input",), {}, {"weight": weight}), core)


def layer_layout(layer: nn.Module, core: CoreSpec) -> WeightCuts:
    """Return the layout of a dense or convolutional layer.

    Parameters
    ----------
    layer : nn.Module
        A Linear, Conv1d, Conv2d, ConvTranspose1d or ConvTranspose2d.
    core : CoreSpec
        The core: the size of its crossbar is read.

    Returns
    -------
    WeightCuts
        Cuts of the layer's matrix.
    """
    if isinstance(layer, nn.Linear):
        return matrix_layout(layer.weight.shape[0], layer.weight.shape[1], core)
    weight_shape = layer.get_parameter("weight").shape
    lines = len(weight_shape) == 3
    names = (
        "stride",
        "padding",
        "dilation",
        *(["output_padding"] * isinstance(layer, _TRANSPOSED)),
    )
    still = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    attrs: dict[str, Any] = {"groups": layer.groups}
    for name in names:
        given = getattr(layer, name)
        # The padding of 'same' plays no part in the places of weights.
        given = [0] * (len(weight_shape) - 2) if isinstance(given, str) else list(given)
        attrs[name] = [still[name], *given] if lines else given
    shape = list(weight_shape)
    if lines:
        shape.insert(2, 1)
    dims = len(weight_shape) - 2
    if not isinstance(layer, _TRANSPOSED):
        weight = np.zeros(shape, np.float32)
        return _layout(Node("layer", f"conv{dims}d", ("input",), attrs, {"weight": weight}), core)
    numbers = np.arange(1, weight_shape.numel() + 1).reshape(shape)
    node = Node("layer", f"conv_transpose{dims}d", ("input",), attrs, {"weight": numbers})
    convolution, _, _ = transposed_as_convolution(node)
    order = convolution.arrays["weight"]
    order = np.ascontiguousarray(order.reshape(len(order), -1))
    return replace(_layout(convolution, core), order=order)


def same_place(layer: Any, output_padding: list[int]) -> bool:
    """Return whether a transposed layer lies on the crossbars alike with another output padding.

    Parameters
    ----------
    layer : nn.ConvTranspose1d or nn.ConvTranspose2d
        The layer.
    output_padding : list of int
        The other output padding, pixels.

    Returns
    -------
    bool
        True if the kernel of the ordinary convolution has equal sizes.
    """
    about = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return transposed_taps(*about, output_padding) == transposed_taps(*about, layer.output_padding)


def _layout(node: Node, core: CoreSpec) -> WeightCuts:
    layer = analog_layer(node, "input")
    blocks = split_for(layer, core)
    rows, cols = layer.weight.shape[0] // layer.groups, layer.weight.shape[1]
    # The first column block begins with group 0; every other one is cut likewise.
    heads = [min(block.row_stop, rows) for block in blocks if block.col_index == 0]
    edges = {edge for block in blocks for edge in (block.col_start, block.col_stop)}
    return WeightCuts(cols, rows, np.array(sorted(edges)), np.array([0, *heads]))
