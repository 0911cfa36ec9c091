"""How much conductance a core may use before its bit lines carry more than the ADCs accept.

The chip lowers the largest conductance of a core below what its devices can give until the
currents of all bit lines stay under the limit of the ADC, near 100 uA (arXiv:2212.02872,
Methods). The paper does not say on which inputs, nor whether the mean over the window counts or
the current at its start, when all pulses are on; here both can be asked for. The ranges that it
reports are those of currents at the start of which about 3 % may be beyond
(``validation/g_max_ranges.py``): mean currents would limit nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import arguments
from ..device.request import net_of
from ..spec import CoreSpec
from . import encodings, weights


def largest_siemens(
    weight: np.ndarray,
    core: CoreSpec,
    codes: np.ndarray,
    *,
    full_scale_amperes: float | None = None,
    percentile: float = 100.0,
    current: Literal["mean", "peak"] = "mean",
) -> float:
    """Return the largest g_max, at most the devices', whose currents the ADCs accept.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
        The block on the core.
    core : CoreSpec
        Its devices' ``g_max_siemens`` is the upper end; ``read.mode`` says which currents there
        are: four of one polarity each (4-phase), or the net current (1-phase).
    codes : (N, R) float
        Input codes of calibration inputs, within +-``core.dac.max_code``.
    full_scale_amperes : float, amperes
        Limit; default the ADC's. With none, the devices' g_max is returned.
    percentile : float, percent
        Share of the currents that must stay below the limit.
    current : "mean" or "peak"
        Mean over a full-scale pulse, or the current while all pulses are on.

    Returns
    -------
    float, siemens
        Above 0, at most the devices' own.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the limit cannot be kept even without weights because of
        what RESET devices conduct.

    Notes
    -----
    Each current is ``a g_max + b``, with b the background of devices in RESET. The limit gives
    every current its own largest g_max, and the wanted one is a quantile of those: no search.
    Rows and columns outside the block carry nothing.
    """
    limit = core.adc.full_scale_amperes if full_scale_amperes is None else full_scale_amperes
    weight, codes = np.asarray(weight, np.float64), np.asarray(codes, np.float64)
    _check(weight, codes, limit, percentile, current)
    top = core.device.g_max_siemens
    if limit is None or not weight.any() or not codes.any():
        return top

    targets = weights.to_targets(weight, core)
    per_g_max = encodings.of(core).per_g_max(weight, core)  # (P, R, K)
    idle = targets.request.g - per_g_max * top

    drive = codes / core.dac.max_code if current == "mean" else np.sign(codes)
    drive = drive * core.read.v_read_volts
    if core.read.mode == "1-phase":
        polarities = targets.request.polarities
        slope = drive @ net_of(per_g_max, polarities)
        background = drive @ net_of(idle, polarities)
        slope, background = np.abs(slope), background * np.sign(slope)
    else:
        signs = [s for s in (np.maximum(drive, 0), np.maximum(-drive, 0)) if s.any()]
        slope = np.concatenate([x @ w for x in signs for w in per_g_max])
        background = np.concatenate([x @ w for x in signs for w in idle])
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = np.where(slope > 0, (limit - background) / slope, np.inf)
    above = int((1 - percentile / 100) * bound.size)  # currents that may exceed the limit
    found = float(np.partition(bound, above, axis=None)[above])
    if found <= 0:
        raise ValueError(
            f"full_scale_amperes = {limit:g} is used up by devices in RESET alone; use fewer rows, "
            "smaller inputs or a larger range, or set core.g_max_rule to 'device'"
        )
    return min(found, top)


def _check(
    weight: np.ndarray, codes: np.ndarray, limit: float | None, percentile: float, current: str
) -> None:
    if weight.ndim != 2 or codes.ndim != 2 or codes.shape[1] != weight.shape[0]:
        raise ValueError(
            f"codes of shape {codes.shape} do not drive the rows of weights of shape "
            f"{weight.shape}; wanted (N, R) and (R, C)"
        )
    if limit is not None and not limit > 0:
        raise ValueError(f"full_scale_amperes = {limit:g} must be above 0")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile = {percentile:g} must be above 0 and at most 100")
    arguments.choice(current, "current", ("mean", "peak"))
