"""Write a block of weights into a crossbar."""

from __future__ import annotations

import numpy as np

from ..device import family
from ..rng import Key
from ..spec import CoreSpec, GradientProgramming, PcmSpec
from . import gradient, weights
from .tile import TileState, address


def program(
    weight: np.ndarray,
    core: CoreSpec,
    key: Key,
    cycle: int = 0,
    g_max_siemens: float | None = None,
) -> TileState:
    """Program a block of weights, (R, C) with R <= core.rows and C <= core.cols.

    Cells outside the block hold no devices that are read: they draw no current.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
    core : CoreSpec
    key : Key
        Of the core.
    cycle : int
        Number of the programming, 0 the first; what belongs to the devices stays, what belongs
        to a pulse is drawn anew.
    g_max_siemens : float, siemens, optional
        Of this core, if lower than the device's; see :mod:`aimc_sim.core.gmax`.

    Returns
    -------
    TileState
    """
    if weight.shape[0] > core.rows or weight.shape[1] > core.cols:
        raise ValueError(
            f"a block of {weight.shape[0]} x {weight.shape[1]} weights does not fit a crossbar of "
            f"{core.rows} x {core.cols} cells; split it first (aimc_sim.mapping.split)"
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
