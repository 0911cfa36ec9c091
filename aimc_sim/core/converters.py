"""Input modulators and output converters: real numbers to integer codes.

A charge is written in *input codes times relative conductance* (code x g / g_max), which is
what a column collects during one read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..spec import CoreSpec
from . import inputs, oscillators


@dataclass(frozen=True)
class Quantiser:
    """Round to a multiple of ``step``, then clip at ``limit`` steps; both may be absent.

    With ``rounds`` False nothing is rounded and ``step`` is only the unit of the codes;
    ``limit`` may be infinite.
    """

    step: float
    limit: float
    rounds: bool

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of real values: integers if the quantiser rounds."""
        codes = values / self.step
        if self.rounds:
            codes = np.rint(codes)
        return np.clip(codes, -self.limit, self.limit)


def integer_range(bits: int | None, largest: float) -> Quantiser:
    """Return the symmetric quantiser that just holds ``largest``; ideal if bits is None."""
    if bits is None:
        return Quantiser(1.0, math.inf, False)
    limit = 2 ** (bits - 1) - 1
    return Quantiser((largest if largest > 0 else 1.0) / limit, limit, True)


def adc(core: CoreSpec, full_scale_amperes: float | None = None) -> Quantiser:
    """Return the ADC in units of charge (input code x g / g_max).

    Parameters
    ----------
    core : CoreSpec
    full_scale_amperes : float, amperes, optional
        Of this core's ADCs, where calibration chose it (``core.adc.range``).

    Notes
    -----
    The full-scale current flows when the rows' conductances, weighted by the share of the
    window in which their pulse is on, add up to ``full_scale / v_read``. With bit-serial inputs
    the result is that of one plane, whose pulses all last as long as the conversion: the same
    full-scale current, but only :func:`.inputs.plane_share` of the codes. Raises ValueError if
    the full scale is to be calibrated and was not.
    """
    spec = core.adc
    if spec.kind == "cco":
        # The unit of its corrected codes; the circuit itself is in `oscillators`.
        step = oscillators.nominal_step(core)
        return Quantiser(
            step, spec.full_scale_amperes / oscillators.amperes_per_charge(core) / step, True
        )
    amperes = spec.full_scale_amperes if full_scale_amperes is None else full_scale_amperes
    if amperes is None:
        if spec.range == "calibrated":
            raise ValueError(
                "core.adc.range = 'calibrated': full scale is not known before "
                "chip.calibrate(batches)"
            )
        return Quantiser(1.0, math.inf, False)
    siemens = amperes / core.read.v_read_volts
    full_scale = inputs.largest_drive(core.dac) * siemens / core.pcm.g_max_siemens
    if spec.bits is None:
        return Quantiser(full_scale, 1.0, False)
    codes = spec.max_code
    if inputs.reads_planes(core.dac):
        codes = codes * inputs.plane_share(core.dac)
        return Quantiser(full_scale / codes, max(1, round(codes)), True)
    return Quantiser(full_scale / codes, codes, True)
