"""Write a block of weights into a crossbar."""

from __future__ import annotations

import numpy as np

from ..device import family
from ..rng import Key
from ..spec import CoreSpec, GradientProgramming, PcmSpec
from . import encodings, gradient, weights
from .tile import TileState, address


def program(
    weight: np.ndarray,
    core: CoreSpec,
    key: Key,
    cycle: int = 0,
    g_max_siemens: float | None = None,
) -> TileState:
    """Program a block of weights, (R, C), that fits the core: R <= core.rows.

    Its physical columns, as many as the encoding of the core needs, are at most core.cols. Cells
    outside the block hold no devices that are read: they draw no current.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
        The block.
    core : CoreSpec
        Its devices, encoding and programming scheme.
    key : Key
        Of the core.
    cycle : int
        Number of the programming, 0 the first; draws that belong to devices stay, draws that
        belong to a pulse are made anew.
    g_max_siemens : float, siemens, optional
        Of this core, if lower than the device's; see :mod:`aimc_sim.core.gmax`.

    Returns
    -------
    TileState
        Devices with their scale, and the cost of writing them.

    Raises
    ------
    ValueError
        If the block is larger than the crossbar.
    """
    columns = encodings.of(core).columns(weight.shape[1])
    if weight.shape[0] > core.rows or columns > core.cols:
        cells = "" if columns == weight.shape[1] else f", {columns} columns of cells,"
        raise ValueError(
            f"a block of {weight.shape[0]} x {weight.shape[1]} weights{cells} does not fit a "
            f"crossbar of {core.rows} x {core.cols} cells; split it first (aimc_sim.mapping.split)"
        )
    targets = weights.to_targets(weight, core, g_max_siemens)
    device = core.device
    if isinstance(device, PcmSpec) and isinstance(device.programming, GradientProgramming):
        # The one scheme that reads whole matrix-vector products, which devices have none of.
        state, report = gradient.write(targets.request, core, key, cycle)
    else:
        laws = family.of(device)
        state, report = laws.write(targets.request, device, address(core), key, cycle)
    return TileState(state, targets.siemens_per_weight, report, cycle)
