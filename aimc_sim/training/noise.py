"""Draws of a layer's weights on devices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aimc_sim.training import loops
from aimc_sim.training.functional import NoiseAddress, normals
from aimc_sim.training.geometry import WeightCuts

METHODS = {"none": 0, "gdc": 1, "column": 2}
"""Numbers of the methods of drift compensation in :func:`.loops.perturb`."""


@dataclass(frozen=True)
class Tables:
    """A device law at one age; see :class:`.law.WeightLaw`.

    Attributes
    ----------
    mean, std : (K,) float32
        Mean and standard deviation against the state, in units of the largest weight.
    zero_std : float
        Standard deviation of a weight that is exactly zero.
    fresh : (K,) float32
        Mean right after programming.
    factor : float
        Factor of the standard deviations.
    compensation : {"none", "gdc", "column"}
        Drift compensation.
    """

    mean: np.ndarray
    std: np.ndarray
    zero_std: float
    fresh: np.ndarray
    factor: float
    compensation: str
    shared_std: float | None = None
    rounds: bool = False

    @property
    def plain(self) -> bool:
        """Whether states are magnitudes between which the table is linear, with noise alone."""
        return self.shared_std is None and not self.rounds


def _fused(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def largest(matrix: Tensor, layout: WeightCuts, per_column: bool) -> Tensor:
    """Return the weights that are mapped to g_max.

    Parameters
    ----------
    matrix : (C, R) tensor
        Weights, dimensionless.
    layout : WeightCuts
        Cuts of the matrix.
    per_column : bool
        Whether every column of a crossbar has its own, or the whole crossbar one.

    Returns
    -------
    (C, row blocks) tensor
        Largest magnitudes.
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
    matrix: Tensor, scale: Tensor, layout: WeightCuts, tables: Tables, address: NoiseAddress
) -> Tensor:
    """Return a draw of the effective weights.

    Parameters
    ----------
    matrix : (C, R) tensor
        Weights without a gradient, dimensionless.
    scale : (C, row blocks) tensor
        Weights that are mapped to g_max, from :func:`largest`; larger weights become as large.
    layout : WeightCuts
        Cuts of the matrix.
    tables : Tables
        The device law at one age.
    address : NoiseAddress
        Address of the noise.

    Returns
    -------
    (C, R) tensor
        The draw, dimensionless.
    """
    noise = normals(matrix.shape, matrix, address)
    if not _fused(matrix) or not tables.plain:
        common = None
        if tables.shared_std is not None:
            behind = replace(address, event=address.event + -(-matrix.numel() // loops.BLOCK))
            common = normals(torch.Size((layout.col_blocks, layout.rows)), matrix, behind)
        return _perturbed_plainly(matrix, scale, layout, tables, noise, common)
    out = torch.empty_like(matrix)
    loops.perturb(
        matrix.numpy(), scale.numpy(), layout.row_cuts, layout.col_cuts, tables.mean, tables.std,
        np.float32(tables.zero_std), tables.fresh, np.float32(tables.factor),
        METHODS[tables.compensation], noise.numpy(), out.numpy(),
    )  # fmt: skip
    return out


def _perturbed_plainly(
    matrix: Tensor, scale: Tensor, layout: WeightCuts, tables: Tables, noise: Tensor,
    common: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a draw of the effective weights by torch operations, for any dtype and device.

    Parameters
    ----------
    matrix : (C, R) tensor
        Weights without a gradient, dimensionless.
    scale : (C, row blocks) tensor
        Weights that are mapped to g_max.
    layout : WeightCuts
        Cuts of the matrix.
    tables : Tables
        The device law at one age.
    noise : (C, R) tensor
        Standard normals.
    common : (column blocks, R) tensor, optional
        Standard normals that the outputs of a crossbar share, those of several groups of a grouped
        layer that lie in one crossbar included.

    Returns
    -------
    (C, R) tensor
        The draw, dimensionless.
    """
    mean, std, fresh = (
        torch.from_numpy(np.ascontiguousarray(table)).to(matrix)
        for table in (tables.mean, tables.std, tables.fresh)
    )
    out = torch.empty_like(matrix)
    for block, cols, rows in layout.blocks():
        w, s = matrix[cols, rows], scale[cols, block, None]
        state = torch.where(s > 0, w / s, 0)
        state = state.abs().clamp(max=1) if common is None else (state.clamp(-1, 1) + 1) / 2
        place = state * (len(mean) - 1)
        place = place.round() if tables.rounds else place
        low = place.long().clamp(max=len(mean) - 2)
        part = place - low

        def at(table: Tensor, low: Tensor = low, part: Tensor = part) -> Tensor:
            return table[low] + part * (table[low + 1] - table[low])

        m, d, xi = at(mean), at(std), noise[cols, rows]
        there = w != 0
        if common is None or tables.shared_std is None:
            draw = torch.where(
                there, w.sign() * (m + tables.factor * d * xi), tables.factor * tables.zero_std * xi
            )
        else:
            eta = common[layout.col_block(cols), rows]
            draw = m + tables.factor * (d * xi + tables.shared_std * eta)
        alpha: float | Tensor = 1.0
        if tables.compensation != "none":
            begin, now = at(fresh), m
            if common is not None:  # a signed law: reads give magnitudes
                begin, now = begin.abs(), now.abs()
            before = s * (begin * there).sum(1, keepdim=True)
            after = s * (now * there).sum(1, keepdim=True)
            if tables.compensation == "gdc":
                before, after = before.sum(), after.sum()
            alpha = torch.where(after > 0, before / after, 1.0)
        out[cols, rows] = s * draw * alpha
    return out


def gaussian(
    matrix: Tensor, scale: Tensor, layout: WeightCuts, fraction: float, address: NoiseAddress
) -> Tensor:
    """Return weights with Gaussian noise.

    Parameters
    ----------
    matrix : (C, R) tensor
        Weights without a gradient, dimensionless.
    scale : (C, row blocks) tensor
        Weights that are mapped to g_max.
    layout : WeightCuts
        Cuts of the matrix.
    fraction : float
        Standard deviation of the noise as a fraction of the scale.
    address : NoiseAddress
        Address of the noise.

    Returns
    -------
    (C, R) tensor
        The draw, dimensionless.
    """
    sizes = torch.from_numpy(np.diff(layout.row_cuts)).to(matrix.device)
    std = fraction * scale.repeat_interleave(sizes, dim=1)
    return matrix + std * normals(matrix.shape, matrix, address)
