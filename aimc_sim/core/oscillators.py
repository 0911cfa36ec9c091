"""The oscillator ADCs of one core: drawn and calibrated once, as passes over charges use them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from ..rng import Key, Purpose
from ..spec import CcoAdcSpec, CoreSpec
from . import adc
from .inputs import conversion_seconds, reads_planes, window_seconds

_CALIBRATION_READS = 99
"""Path of the reads of the calibration, below the ADCs' purpose: no quantity has that number."""


def nominal_step(core: CoreSpec) -> float:
    """Return the charge (input code x g / g_max) of one count of the mean ADC, linearised."""
    spec, window = core.adc, conversion_seconds(core.dac)
    return 1 / (spec.counts_per_coulomb * window * amperes_per_charge(core))


def amperes_per_charge(core: CoreSpec) -> float:
    """Return the mean current, over one conversion, of a unit of charge.

    A bit plane's currents flow all the time; one step of a PWM window flows for its share of it.
    """
    share = 1.0 if reads_planes(core.dac) else core.dac.lsb_seconds / window_seconds(core.dac)
    return core.pcm.g_max_siemens * share * core.read.v_read_volts


@functools.lru_cache(maxsize=256)
def of_core(core: CoreSpec, key: Key, columns: int) -> adc.AdcColumns:
    """Return the ADCs of the first columns of a core, corrected values in nominal counts.

    Parameters
    ----------
    core : CoreSpec
        With a :class:`~aimc_sim.spec.CcoAdcSpec`.
    key : Key
        Of the core: the same circuit after every programming.
    columns : int

    Raises
    ------
    ValueError
        If counters run over or oscillators hit a ceiling inside the range: the passes over
        charges know neither, only :func:`aimc_sim.core.adc.convert` does.

    Notes
    -----
    In 4-phase reads every phase has the same direction of current, so that one counter serves
    both signs and its offset cancels between the phases.
    """
    spec: CcoAdcSpec = core.adc
    window = conversion_seconds(core.dac)
    _representable(spec, window)
    state = adc.draw(spec, columns, key)
    reads = key.child(Purpose.ADC, _CALIBRATION_READS).generator()
    # Once, with full windows: what is found are rates, which hold for the time of a bit too.
    calibration = adc.calibrate(state, spec, window_seconds(core.dac), reads)
    curve = adc.curve(state, calibration, spec)
    found = adc.columns(curve, calibration, spec, window, amperes_per_charge(core))
    step = np.float32(nominal_step(core))
    found = dataclasses.replace(found, gain=found.gain / step, offset=found.offset / step)
    if core.read.mode == "1-phase":
        return found

    def same(pair: np.ndarray) -> np.ndarray:
        return np.stack([pair[0], pair[0]])

    nothing = np.zeros_like(found.lift)
    return dataclasses.replace(
        found, slope=same(found.slope), bend=same(found.bend), gain=same(found.gain),
        lift=nothing, offset=nothing, dead=0.0,
    )  # fmt: skip


def _representable(spec: CcoAdcSpec, window: float) -> None:
    full = spec.counts_per_coulomb * window * spec.full_scale_amperes
    if spec.counter_bits is not None and full * (1 + spec.trim_accept_fraction) >= (
        2**spec.counter_bits
    ):
        raise ValueError(
            f"core.adc.counter_bits = {spec.counter_bits}: {full:.0f} counts at full scale do not "
            "fit; use wider counters or a smaller full_scale_amperes"
        )
    if spec.max_hertz is not None:
        raise ValueError(
            f"core.adc.max_hertz = {spec.max_hertz:g}: a ceiling is modelled for single ADCs only "
            "(aimc_sim.core.adc.convert); set it to None and lower full_scale_amperes instead"
        )


def rounding_variance(columns: adc.AdcColumns, core: CoreSpec, signed_inputs: bool) -> np.ndarray:
    """Return the (C,) variance, in charge squared, of what one pass over charges leaves out.

    A 4-phase read converts four times, or twice if no input is negative. Every conversion has
    its jitter; the pass over net charges rounds once, and the other roundings act like noise of
    1/12 of a squared count each (measured against separate phases in ``validation/cco_adc.py``).
    """
    conversions = 1
    if core.read.mode == "4-phase":
        conversions = 4 if signed_inputs else 2
    squared_counts = (conversions - 1) / 12 + conversions * core.adc.jitter_counts**2
    return squared_counts / columns.slope.mean(axis=0, dtype=np.float64) ** 2
