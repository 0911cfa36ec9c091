"""Sense amplifiers: one comparison per column in the place of an ADC.

The comparator of column c gives one bit, ``i >= threshold + offset + noise``, and the digital unit
takes ``threshold + scale`` for a one and ``threshold - scale`` for a zero: of all numbers of two
levels the nearest ones to sums that lie alike on both sides of the threshold, if the scale is their
mean distance from it. The offset is of fabrication, drawn once per column; the noise is of every
comparison, whether there is current or not.
"""

from __future__ import annotations

import math

import numpy as np

from ..rng import Key, Purpose
from ..spec import CoreSpec, CostSpec, SenseAmplifierSpec
from . import encodings, inputs
from .quantise import Calibrated, ColumnConverters, Quantiser, StepTable


def quantiser(core: CoreSpec, calibrated: Calibrated | None = None) -> Quantiser:
    """Return the unit of the numbers that columns stand for: one of charge, nothing rounded.

    Raises
    ------
    ValueError
        If thresholds and scales are not known, see :func:`aimc_sim.core.converters.adc`.
    """
    if calibrated is None:
        raise ValueError(
            "core.adc.kind = 'sense-amplifier': thresholds and scales are not known before "
            "chip.calibrate(batches)"
        )
    return Quantiser(1.0, math.inf, False)


def charge_per_ampere(core: CoreSpec) -> float:
    """Return the charge (input code x g / g_max) of a mean current over the longest pulse."""
    full = core.device.g_max_siemens * core.read.v_read_volts
    return inputs.largest_drive(core.dac) / full


def converter(
    core: CoreSpec, key: Key, columns: int, calibrated: Calibrated | None = None
) -> ColumnConverters:
    """Return the comparators of the first columns of a core.

    Parameters
    ----------
    core : CoreSpec
        With a :class:`~aimc_sim.spec.SenseAmplifierSpec`.
    key : Key
        Of the core: the same offsets after every programming.
    columns : int
        Number of columns in use, from the first one.
    calibrated : (3, columns) float64, amperes
        Threshold and both values of every column, see :func:`levels`.
    """
    law, spec, unit = quantiser(core, calibrated), _spec(core), charge_per_ampere(core)
    found = np.asarray(calibrated, np.float64)
    if found.shape != (3, columns):
        raise ValueError(
            f"thresholds and values have the shape {found.shape}; wanted (3, {columns}), of every "
            "column: calibrate the chip again"
        )
    draws = key.child(Purpose.ADC, 0).generator().standard_normal(columns)
    thresholds = found[:1] + spec.offset_std_amperes * draws
    table = StepTable((unit * thresholds).astype(np.float32), (unit * found[1:]).astype(np.float32))
    jitter = np.full(columns, (unit * spec.noise_amperes) ** 2) if spec.noise_amperes else 0.0
    return ColumnConverters(law, table, jitter, "sense amplifiers, one bit per column")


def levels(core: CoreSpec, sums: np.ndarray) -> np.ndarray:
    """Return threshold and both values, (3, C) float64, of sums (N, C).

    The threshold is zero or the mean of the sums, and the scale the mean of their distances from
    it, of every column or of all of them (:class:`~aimc_sim.spec.SenseAmplifierSpec`). Where no sum
    differs from the threshold the scale is zero.
    """
    spec, sums = _spec(core), np.asarray(sums, np.float64)
    threshold = sums.mean(axis=0) if spec.threshold == "mean" else np.zeros(sums.shape[1])
    scale = np.abs(sums - threshold).mean(axis=0)
    if spec.scale == "core":
        scale = np.full_like(scale, scale.mean())
    return np.stack([threshold, threshold - scale, threshold + scale])


def check(core: CoreSpec) -> None:
    """Raise ValueError if one bit per column says nothing about what the core reads."""
    what = "core.adc.kind = 'sense-amplifier'"
    if core.read.mode == "4-phase":
        raise ValueError(
            f"{what} with core.read.mode = '4-phase': every phase is a current of one direction, "
            "whose sign is known; set core.read to a 1-phase read, which compares net currents"
        )
    if inputs.is_bit_serial(core.dac):
        raise ValueError(
            f"{what} with core.dac.encoding = 'bit-serial': bits of every plane, shifted and "
            "added, are no sum; set core.dac.encoding to 'pwm'"
        )
    several = encodings.of(core).conversions
    if several != 1:
        raise ValueError(
            f"{what} with core.encoding.kind = '{core.encoding.kind}', which converts {several} "
            "columns for one output: one bit of each cannot be shifted or subtracted; choose an "
            "encoding of one column per output ('differential', 'several-devices', or "
            "'bit-slices' with bits_per_cell = weight_bits - 1)"
        )
    if core.g_max_rule != "device":
        raise ValueError(
            f"{what} with core.g_max_rule = '{core.g_max_rule}': a comparison has no full scale "
            "that currents could be beyond; set core.g_max_rule to 'device'"
        )


def deviations(core: CoreSpec) -> tuple[float, float]:
    """Return standard deviations of offsets and of the noise of a comparison, A."""
    spec = _spec(core)
    return spec.offset_std_amperes, spec.noise_amperes


def joules(core: CoreSpec, cost: CostSpec, columns: int, seconds: float, coulombs: float) -> float:
    """Return the energy of one MVM: a comparison per column."""
    return columns * inputs.modulations(core) * _spec(core).joules_per_comparison


def settling_seconds(core: CoreSpec) -> float:
    """Return the time of a comparison, which follows the pulses."""
    return _spec(core).comparison_seconds


def _spec(core: CoreSpec) -> SenseAmplifierSpec:
    spec = core.adc
    assert isinstance(spec, SenseAmplifierSpec)  # the table of kinds leads no other converter here
    return spec
