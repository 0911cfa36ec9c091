"""Currents that a converter sees, from the conductances that are asked for.

In a 4-phase read every combination of an input's and a weight's sign is a current by itself; in a
1-phase read there is one net current.
"""

from __future__ import annotations

import numpy as np

from ..spec import CoreSpec
from . import inputs, weights


def of_targets(targets: weights.Targets, core: CoreSpec, codes: np.ndarray) -> list[np.ndarray]:
    """Return the mean current of every conversion while pulses may be on, (N, C) amperes each.

    Parameters
    ----------
    targets : Targets
        Of a block (R, C).
    core : CoreSpec
    codes : (N, R) float
        Input codes of one conversion.

    Returns
    -------
    list of (N, C) float64
        Magnitudes: one array (1-phase), or one per phase that has inputs of its sign.
    """
    drive = np.asarray(codes, np.float64) * core.read.v_read_volts / inputs.largest_drive(core.dac)
    plus, minus = targets.request.g
    if core.read.mode == "1-phase":
        return [np.abs(drive @ (plus - minus))]
    sides = [side for side in (np.maximum(drive, 0), np.maximum(-drive, 0)) if side.any()]
    return [side @ g for side in sides for g in (plus, minus)]
