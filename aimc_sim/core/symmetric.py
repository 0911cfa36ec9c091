"""The plain converter: rounds and clips, alike in every column and for both polarities."""

from __future__ import annotations

import math

from ..rng import Key
from ..spec import CoreSpec
from . import inputs
from .quantise import ColumnConverters, Quantiser


def quantiser(core: CoreSpec, full_scale_amperes: float | None = None) -> Quantiser:
    """Return the converter's law, see :func:`aimc_sim.core.converters.adc`."""
    spec = core.adc
    amperes = spec.full_scale_amperes if full_scale_amperes is None else full_scale_amperes
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
    core: CoreSpec, key: Key, columns: int, full_scale_amperes: float | None = None
) -> ColumnConverters:
    """Return the converters of a core: no draw, so that ``key`` and ``columns`` play no part."""
    law = quantiser(core, full_scale_amperes)
    text = "no converter" if not law.rounds else f"rounds to {law.limit:.0f} codes per direction"
    return ColumnConverters(law, text=text)
