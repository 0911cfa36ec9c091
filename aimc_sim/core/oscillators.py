"""The oscillator ADCs of one core: drawn and calibrated once, as passes over charges use them.

In a 4-phase read every current flows in the positive direction, so that one counter serves all
phases. Its digital offset is left out, as on the chip: two phases add and two subtract, and what
an oscillator counts without current cancels. One effect does not cancel: an oscillator whose
offset is negative does not start below some current, which costs that phase its small currents.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..rng import Key, Purpose
from ..spec import CcoAdcSpec, CoreSpec, CostSpec
from . import adc
from .inputs import conversion_seconds, full_window_seconds, reads_planes, window_seconds
from .quantise import Calibrated, ColumnConverters, ConverterTable, Quantiser

_CALIBRATION_READS = 99
"""Path of the reads of the calibration, below the ADCs' purpose: no quantity has that number."""


def nominal_step(core: CoreSpec) -> float:
    """Return the charge (input code x g / g_max) of one count of the mean ADC, linearised."""
    spec, window = _circuit(core), conversion_seconds(core.dac)
    return 1 / (spec.counts_per_coulomb * window * amperes_per_charge(core))


def amperes_per_charge(core: CoreSpec) -> float:
    """Return the mean current, over one conversion, of a unit of charge.

    A bit plane's currents flow all the time; one step of a PWM window flows for its share of it.
    """
    share = 1.0 if reads_planes(core.dac) else core.dac.pulse_seconds / window_seconds(core.dac)
    return core.device.g_max_siemens * share * core.read.v_read_volts


def quantiser(core: CoreSpec, calibrated: Calibrated | None = None) -> Quantiser:
    """Return the mean ADC, linearised: its step is the unit of corrected codes."""
    step = nominal_step(core)
    return Quantiser(
        step, _circuit(core).full_scale_amperes / amperes_per_charge(core) / step, True
    )


def converter(
    core: CoreSpec, key: Key, columns: int, calibrated: Calibrated | None = None
) -> ColumnConverters:
    """Return the ADCs of the first columns of a core, corrected values in nominal counts.

    Parameters
    ----------
    core : CoreSpec
        With a :class:`~aimc_sim.spec.CcoAdcSpec`.
    key : Key
        Of the core: the same circuit after every programming.
    columns : int
        Number of columns in use, from the first one.
    calibrated : Calibrated, optional
        Of no effect: the mirrors set the range of these converters.

    Raises
    ------
    ValueError
        If counters run over or oscillators hit a ceiling inside the range: the passes over
        charges model neither, only :func:`aimc_sim.core.adc.convert` does.
    """
    return _drawn(core, key, columns)


@functools.lru_cache(maxsize=256)
def _drawn(core: CoreSpec, key: Key, columns: int) -> ColumnConverters:
    """Return :func:`converter`, made once."""
    spec = _circuit(core)
    window = conversion_seconds(core.dac)
    _representable(spec, window)
    state = adc.draw(spec, columns, key)
    reads = key.child(Purpose.ADC, _CALIBRATION_READS).generator()
    # Once, with full windows: what is found are rates, which hold for the time of a bit too.
    calibration = adc.calibrate(state, spec, full_window_seconds(core.dac), reads)
    curve = adc.curve(state, calibration, spec)
    found = adc.columns(curve, calibration, spec, window, amperes_per_charge(core))
    law, rows = quantiser(core), found.rows.copy()
    rows[3:] /= np.float32(law.step)
    jitter = spec.jitter_counts**2 / rows[0].mean(axis=0, dtype=np.float64) ** 2
    dead = found.dead
    if core.read.mode == "4-phase":
        rows[:, 1] = rows[:, 0]
        rows[4] = 0.0
        dead = math.inf
    full = round(spec.counts_per_coulomb * window * spec.full_scale_amperes)
    text = f"oscillators and counters, {full} counts at full scale"
    return ColumnConverters(law, ConverterTable(rows, found.limit, dead), jitter, text)


def check(core: CoreSpec) -> None:
    """Raise nothing: such converters work with every core that has one."""


def levels(core: CoreSpec, sums: np.ndarray) -> np.ndarray:
    """Return no thresholds: the mirrors set the range of every column, (0, C)."""
    return np.zeros((0, sums.shape[1]))


def deviations(core: CoreSpec) -> tuple[float, float]:
    """Return 0: no offset and no noise in front of thresholds, of which there are none."""
    return 0.0, 0.0


def joules(core: CoreSpec, cost: CostSpec, columns: int, seconds: float, coulombs: float) -> float:
    """Return the energy of one MVM, see :func:`aimc_sim.core.converters.joules`."""
    counts = coulombs * _circuit(core).counts_per_coulomb * cost.adc_joules_per_count
    return columns * cost.adc_watts * seconds + counts


def settling_seconds(core: CoreSpec) -> float:
    """Return 0: counts are there when the integration ends."""
    return 0.0


def _circuit(core: CoreSpec) -> CcoAdcSpec:
    spec = core.adc
    assert isinstance(spec, CcoAdcSpec)  # the table of kinds leads no other converter here
    return spec


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
