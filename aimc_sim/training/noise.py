"""A draw of what the devices make of a layer's weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aimc_sim.training import loops
from aimc_sim.training.functional import Address, normals
from aimc_sim.training.geometry import Layout

METHODS = {"none": 0, "gdc": 1, "column": 2}


@dataclass(frozen=True)
class Tables:
    """A device law at one age, as :func:`perturbed` needs it; see :class:`.law.WeightLaw`."""

    mean: np.ndarray
    std: np.ndarray
    zero_std: float
    fresh: np.ndarray
    factor: float
    compensation: str


def _fused(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def largest(matrix: Tensor, layout: Layout, per_column: bool) -> Tensor:
    """Return the weights that are mapped to g_max.

    Parameters
    ----------
    matrix : (C, R) tensor
    layout : Layout
    per_column : bool
        Of every column of a crossbar, or one for the whole crossbar.

    Returns
    -------
    (C, row blocks) tensor
    """
    scale = matrix.new_empty(layout.cols, layout.row_blocks)
    if _fused(matrix):
        loops.largest(matrix.numpy(), layout.row_cuts, layout.col_cuts, per_column, scale.numpy())
        return scale
    for block, cols, rows in layout.blocks():
        top = matrix[cols, rows].abs()
        scale[cols, block] = top.amax(1) if per_column else top.amax()
    return scale


def perturbed(
    matrix: Tensor, scale: Tensor, layout: Layout, tables: Tables, address: Address
) -> Tensor:
    """Return a draw of the effective weights.

    Parameters
    ----------
    matrix : (C, R) tensor
        Weights; no gradient.
    scale : (C, row blocks) tensor
        As returned by :func:`largest`; larger weights become as large as these.
    layout : Layout
    tables : Tables
    address : Address

    Returns
    -------
    (C, R) tensor
    """
    noise = normals(matrix.shape, matrix, address)
    if not _fused(matrix):
        return _perturbed_plainly(matrix, scale, layout, tables, noise)
    out = torch.empty_like(matrix)
    loops.perturb(
        matrix.numpy(), scale.numpy(), layout.row_cuts, layout.col_cuts, tables.mean, tables.std,
        np.float32(tables.zero_std), tables.fresh, np.float32(tables.factor),
        METHODS[tables.compensation], noise.numpy(), out.numpy(),
    )  # fmt: skip
    return out


def _perturbed_plainly(
    matrix: Tensor, scale: Tensor, layout: Layout, tables: Tables, noise: Tensor
) -> Tensor:
    """Return the same by torch operations, for any dtype and device, from given normals."""
    mean, std, fresh = (
        torch.from_numpy(np.ascontiguousarray(table)).to(matrix)
        for table in (tables.mean, tables.std, tables.fresh)
    )
    out = torch.empty_like(matrix)
    for block, cols, rows in layout.blocks():
        w, s = matrix[cols, rows], scale[cols, block, None]
        place = torch.where(s > 0, w.abs() / s, 0).clamp(max=1) * (len(mean) - 1)
        low = place.long().clamp(max=len(mean) - 2)
        part = place - low

        def at(table: Tensor, low: Tensor = low, part: Tensor = part) -> Tensor:
            return table[low] + part * (table[low + 1] - table[low])

        m, d, xi = at(mean), at(std), noise[cols, rows]
        there = w != 0
        draw = torch.where(
            there, w.sign() * (m + tables.factor * d * xi), tables.factor * tables.zero_std * xi
        )
        alpha = 1.0
        if tables.compensation != "none":
            before = s * (at(fresh) * there).sum(1, keepdim=True)
            after = s * (m * there).sum(1, keepdim=True)
            if tables.compensation == "gdc":
                before, after = before.sum(), after.sum()
            alpha = torch.where(after > 0, before / after, 1.0)
        out[cols, rows] = s * draw * alpha
    return out


def gaussian(
    matrix: Tensor, scale: Tensor, layout: Layout, fraction: float, address: Address
) -> Tensor:
    """Return weights with a Gaussian of ``fraction`` of their scale; arguments as above."""
    sizes = torch.from_numpy(np.diff(layout.row_cuts)).to(matrix.device)
    spread = fraction * scale.repeat_interleave(sizes, dim=1)
    return matrix + spread * normals(matrix.shape, matrix, address)
