"""How a layer's weights lie on crossbars: which of them share a scale."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from aimc_sim.mapping.split import equal_cuts
from aimc_sim.spec import CoreSpec

Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Layout:
    """Cuts of a matrix of weights with C columns (outputs) and R rows (inputs), stored (C, R).

    Attributes
    ----------
    cols, rows : int
    col_cuts, row_cuts : (n + 1,) int64
        0, ..., C and 0, ..., R; every pair of neighbours on both sides is a crossbar.
    transposed : bool
        The layer stores its weights with the inputs first (transposed convolutions).
    """

    cols: int
    rows: int
    col_cuts: np.ndarray
    row_cuts: np.ndarray
    transposed: bool = False

    @property
    def row_blocks(self) -> int:
        """Crossbars whose partial sums make one output."""
        return len(self.row_cuts) - 1

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a layer's weights as a contiguous (C, R) tensor; a view where it can be one."""
        flat = weight.flatten(1)
        return flat.T.contiguous() if self.transposed else flat.contiguous()

    def unfold(self, matrix: Tensor, weight: Tensor) -> Tensor:
        """Return a (C, R) tensor in the shape of the layer's weights."""
        return (matrix.T if self.transposed else matrix).reshape(weight.shape)

    def blocks(self):
        """Yield (row block, columns, rows), the last two as slices."""
        for first, last in pairwise(self.col_cuts.tolist()):
            for block, (start, stop) in enumerate(pairwise(self.row_cuts.tolist())):
                yield block, slice(first, last), slice(start, stop)


def matrix_layout(cols: int, rows: int, core: CoreSpec, unit: int = 1) -> Layout:
    """Return near-equal cuts as :func:`aimc_sim.mapping.split.split_layer` makes them.

    Parameters
    ----------
    cols, rows : int
        Outputs and inputs of the whole matrix.
    core : CoreSpec
        Largest crossbar.
    unit : int
        Row cuts lie at multiples of it: the area of a kernel, unless it exceeds the crossbar.
    """
    unit = unit if unit <= core.rows else 1
    row_cuts = unit * np.array(equal_cuts(rows // unit, core.rows // unit))
    return Layout(cols, rows, np.array(equal_cuts(cols, core.cols)), row_cuts)


def layer_layout(layer: nn.Module, core: CoreSpec) -> Layout:
    """Return the layout of a dense or convolutional layer.

    Notes
    -----
    As many groups of a grouped convolution as fit share a crossbar, each on rows and columns of
    its own. The columns of a transposed convolution are (output channel, kernel position).
    """
    weight = layer.weight
    if isinstance(layer, Transposed):
        inputs = weight.shape[0] // layer.groups
        cols = weight[0].numel()
        if layer.groups == 1:
            cuts = matrix_layout(cols, inputs, core)
            return Layout(cols, inputs, cuts.col_cuts, cuts.row_cuts, True)
        # Every group has crossbars of its own: rows of the stored matrix belong to one group.
        whole = [np.array(equal_cuts(inputs, core.rows)) + inputs * g for g in range(layer.groups)]
        rows = np.unique(np.concatenate(whole))
        return Layout(cols, weight.shape[0], np.array(equal_cuts(cols, core.cols)), rows, True)
    cols, rows = weight.shape[0], weight[0].numel()
    area = weight[0, 0].numel() if isinstance(layer, Convolution) else 1
    groups = getattr(layer, "groups", 1)
    if groups == 1:
        return matrix_layout(cols, rows, core, area)
    per_group = cols // groups
    together = max(1, min(core.rows // rows, core.cols // per_group))
    one = matrix_layout(per_group * together, rows, core, area)
    if together == 1:
        starts = [one.col_cuts + per_group * g for g in range(groups)]
        return Layout(cols, rows, np.unique(np.concatenate(starts)), one.row_cuts)
    cuts = [g * per_group for g in equal_cuts(groups, together)]
    return Layout(cols, rows, np.array(cuts), one.row_cuts)
