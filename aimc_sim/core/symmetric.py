"""The plain converter: rounds and clips, alike in every column and for both polarities."""

from __future__ import annotations

import math

import numpy as np

from ..rng import Key
from ..spec import CoreSpec, CostSpec
from . import inputs
from .quantise import Calibrated, ColumnConverters, Quantiser

_FULL_SCALE_AMPERES = 100e-6
"""Of converters whose range is not a number in the specification: the chip's, to count charge."""


def quantiser(core: CoreSpec, calibrated: Calibrated | None = None) -> Quantiser:
    """Return the converter's law, see :func:`aimc_sim.core.converters.adc`."""
    spec = core.adc
    amperes = spec.full_scale_amperes if calibrated is None else float(calibrated)
    if amperes is None:
        if spec.calibrates:
            raise ValueError(
                "core.adc.range = 'calibrated': full scale is not known before "
                "chip.calibrate(batches)"
            )
        return Quantiser(1.0, math.inf, False)
    siemens = amperes / core.read.v_read_volts
    full_scale = inputs.largest_drive(core.dac) * siemens / core.device.g_max_siemens
    if spec.bits is None:
        return Quantiser(full_scale, 1.0, False)
    codes: float | None = spec.max_code
    assert codes is not None  # a converter with bits has a largest code
    if inputs.reads_planes(core.dac) or (core.dac.binary and inputs.plane_share(core.dac) < 1):
        codes = codes * inputs.plane_share(core.dac)
        return Quantiser(full_scale / codes, max(1, round(codes)), True)
    return Quantiser(full_scale / codes, codes, True)


def converter(
    core: CoreSpec, key: Key, columns: int, calibrated: Calibrated | None = None
) -> ColumnConverters:
    """Return the converters of a core: no draw, so that ``key`` and ``columns`` play no part."""
    law = quantiser(core, calibrated)
    text = "no converter" if not law.rounds else f"rounds to {law.limit:.0f} codes per direction"
    return ColumnConverters(law, text=text)


def check(core: CoreSpec) -> None:
    """Raise nothing: such converters work with every core that has one."""


def levels(core: CoreSpec, sums: np.ndarray) -> np.ndarray:
    """Return no thresholds: all columns of a core have one range, (0, C)."""
    return np.zeros((0, sums.shape[1]))


def deviations(core: CoreSpec) -> tuple[float, float]:
    """Return 0: no offset and no noise in front of thresholds, of which there are none."""
    return 0.0, 0.0


def joules(core: CoreSpec, cost: CostSpec, columns: int, seconds: float, coulombs: float) -> float:
    """Return the energy of one MVM, see :func:`aimc_sim.core.converters.joules`."""
    counts = _counts(core, coulombs) * cost.adc_joules_per_count
    return columns * cost.adc_watts * seconds + counts


def _counts(core: CoreSpec, coulombs: float) -> float:
    """Return how many counts the converters make of a charge in coulombs."""
    adc, dac = core.adc, core.dac
    if adc.max_code is None:
        return 0.0
    full = adc.full_scale_amperes or _FULL_SCALE_AMPERES
    if inputs.reads_planes(dac):
        # A plane longer than a whole pulse has all codes, and no more of them.
        codes = adc.max_code * inputs.plane_share(dac)
        return coulombs * codes / (full * dac.bit_seconds)
    codes = adc.max_code * (inputs.plane_share(dac) if dac.binary else 1)
    return coulombs * codes / (full * dac.max_code * dac.pulse_seconds)


def settling_seconds(core: CoreSpec) -> float:
    """Return 0: codes are there when the integration ends."""
    return 0.0
