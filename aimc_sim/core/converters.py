"""Input modulators and output converters: real numbers to integer codes.

A charge is written in *input codes times relative conductance* (code x g / g_max), which is
what a column collects during one conversion; the type of converters, and the functions that a kind
has: :mod:`.quantise`.
"""

from __future__ import annotations

import math

import numpy as np

from ..rng import Key
from ..spec import CoreSpec, CostSpec
from . import inputs, oscillators, sense, symmetric
from .quantise import Calibrated, ColumnConverters, ConverterKind, Quantiser

KINDS: dict[str, ConverterKind] = {
    "symmetric": symmetric,
    "cco": oscillators,
    "sense-amplifier": sense,
}
"""The module of every kind of ``core.adc``: the only place that lists them."""


def integer_range(bits: int | None, largest: float) -> Quantiser:
    """Return the symmetric quantiser that just holds ``largest``; ideal if bits is None."""
    if bits is None:
        return Quantiser(1.0, math.inf, False)
    limit = 2 ** (bits - 1) - 1
    return Quantiser((largest if largest > 0 else 1.0) / limit, limit, True)


def adc(core: CoreSpec, calibrated: Calibrated | None = None) -> Quantiser:
    """Return the ADC of a column, one conversion, in units of charge (input code x g / g_max).

    Parameters
    ----------
    core : CoreSpec
        The core whose column it is: its converter, inputs and read voltage.
    calibrated : Calibrated, optional
        Full scale of this core's ADCs in amperes, or thresholds and values of its columns, where
        calibration chose them (``core.adc.calibrates``).

    Notes
    -----
    The full-scale current flows when the rows' conductances, weighted by the share of the
    window in which their pulse is on, add up to ``full_scale / v_read``. In a 4-phase read that
    is the current of each phase by itself. With bit-serial inputs the result is that of one
    plane, whose pulses all last as long as the conversion: the same full-scale current, but only
    :func:`.inputs.plane_share` of the codes. Where columns differ it is the nominal law. Raises
    ValueError if the full scale is to be calibrated and was not.
    """
    return KINDS[core.adc.kind].quantiser(core, calibrated)


def of_core(
    core: CoreSpec, key: Key, columns: int, calibrated: Calibrated | None = None
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
    calibrated : Calibrated, optional
        As of :func:`adc`, whose ValueError this raises too.
    """
    return KINDS[core.adc.kind].converter(core, key, columns, calibrated)


def awaits_range(core: CoreSpec) -> bool:
    """Whether a core's converters are not known before calibration."""
    return core.adc.calibrates and core.adc.full_scale_amperes is None


def check(core: CoreSpec) -> None:
    """Raise ValueError if the converters of a core cannot work with the rest of it.

    Parameters
    ----------
    core : CoreSpec
        Its converter, inputs, read mode, encoding and g_max rule.
    """
    inputs.check(core)
    KINDS[core.adc.kind].check(core)


def levels(core: CoreSpec, sums: np.ndarray) -> np.ndarray:
    """Return the thresholds and values that suit the sums of columns.

    Parameters
    ----------
    core : CoreSpec
        With converters whose columns are calibrated by themselves
        (``core.adc.calibrates_columns``).
    sums : (N, C) float, in any unit
        Sums that the columns of one core make of N inputs.

    Returns
    -------
    (2 T + 1, C) float64, in the unit of ``sums``
        T thresholds, then T + 1 values, of every column.
    """
    return KINDS[core.adc.kind].levels(core, sums)


def deviations(core: CoreSpec) -> tuple[float, float]:
    """Return two standard deviations in front of the thresholds of columns, A.

    That of the offsets of columns, which stay, and that of the noise of every conversion; 0 where
    columns have no thresholds.
    """
    return KINDS[core.adc.kind].deviations(core)


def joules(core: CoreSpec, cost: CostSpec, columns: int, seconds: float, coulombs: float) -> float:
    """Return the energy that the converters of a core take for one MVM, J.

    Parameters
    ----------
    core : CoreSpec
        The converters, and how often an MVM converts.
    cost : CostSpec
        Power and energy of ADCs.
    columns : int
        Columns that are converted.
    seconds : float, seconds
        Integration time of all conversions of the MVM.
    coulombs : float, coulombs
        Charge through the array.
    """
    return KINDS[core.adc.kind].joules(core, cost, columns, seconds, coulombs)


def settling_seconds(core: CoreSpec) -> float:
    """Return the time that one conversion of a core takes behind its integration, s."""
    return KINDS[core.adc.kind].settling_seconds(core)
