"""Currents into a converter, from the conductances that are asked for.

In a 4-phase read every combination of an input's and a weight's sign is a current by itself; in a
1-phase read there is one net current.
"""

from __future__ import annotations

import numpy as np

from ..spec import CoreSpec
from . import inputs, weights


def of_targets(targets: weights.Targets, core: CoreSpec, codes: np.ndarray) -> list[np.ndarray]:
    """Return the mean current of every conversion while pulses may be on, (N, K) amperes each.

    Parameters
    ----------
    targets : Targets
        Of a block of (R, K) cells.
    core : CoreSpec
        Its read mode, read voltage and input converter.
    codes : (N, R) float
        Input codes of one conversion.

    Returns
    -------
    list of (N, K) float64, amperes
        Magnitudes: one array (1-phase), or one per phase that has inputs of its sign.
    """
    drive = np.asarray(codes, np.float64) * core.read.v_read_volts / inputs.largest_drive(core.dac)
    if core.read.mode == "1-phase":
        return [np.abs(drive @ targets.request.net())]
    sides = [side for side in (np.maximum(drive, 0), np.maximum(-drive, 0)) if side.any()]
    return [side @ g for side in sides for g in targets.request.g]
