"""Input modulators and output converters: real numbers to integer codes.

A charge is written in *input codes times relative conductance* (code x g / g_max), which is
what a column collects during one conversion; the type of converters: :mod:`.quantise`.
"""

from __future__ import annotations

import math

from ..rng import Key
from ..spec import CoreSpec
from . import oscillators, symmetric
from .quantise import ColumnConverters, Quantiser

KINDS = {"symmetric": symmetric, "cco": oscillators}
"""The module of every kind of ``core.adc``: the only place that lists them."""


def integer_range(bits: int | None, largest: float) -> Quantiser:
    """Return the symmetric quantiser that just holds ``largest``; ideal if bits is None."""
    if bits is None:
        return Quantiser(1.0, math.inf, False)
    limit = 2 ** (bits - 1) - 1
    return Quantiser((largest if largest > 0 else 1.0) / limit, limit, True)


def adc(core: CoreSpec, full_scale_amperes: float | None = None) -> Quantiser:
    """Return the ADC of a column, one conversion, in units of charge (input code x g / g_max).

    Parameters
    ----------
    core : CoreSpec
        The core whose column it is: its converter, inputs and read voltage.
    full_scale_amperes : float, amperes, optional
        Of this core's ADCs, where calibration chose it (``core.adc.range``).

    Notes
    -----
    The full-scale current flows when the rows' conductances, weighted by the share of the
    window in which their pulse is on, add up to ``full_scale / v_read``. In a 4-phase read that
    is the current of each phase by itself. With bit-serial inputs the result is that of one
    plane, whose pulses all last as long as the conversion: the same full-scale current, but only
    :func:`.inputs.plane_share` of the codes. Where columns differ it is the nominal law. Raises
    ValueError if the full scale is to be calibrated and was not.
    """
    found: Quantiser = KINDS[core.adc.kind].quantiser(core, full_scale_amperes)
    return found


def of_core(
    core: CoreSpec, key: Key, columns: int, full_scale_amperes: float | None = None
) -> ColumnConverters:
    """Return the converters of the first columns of a core.

    Parameters
    ----------
    core : CoreSpec
        The core, of which ``adc.kind`` picks the module.
    key : Key
        Of the core: the same circuits after every programming.
    columns : int
        Number of columns in use, from the first one.
    full_scale_amperes : float, amperes, optional
        As of :func:`adc`, whose ValueError this raises too.
    """
    found: ColumnConverters = KINDS[core.adc.kind].converter(core, key, columns, full_scale_amperes)
    return found


def awaits_range(core: CoreSpec, full_scale_amperes: float | None) -> bool:
    """Whether a core's converters are not known before calibration."""
    return (
        core.adc.calibrates and full_scale_amperes is None and (core.adc.full_scale_amperes is None)
    )
