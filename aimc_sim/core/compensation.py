"""Drift compensation from reads, as a chip can measure it.

A core is read right after programming and again later; a ratio rescales its digital output.

===========  ====================================================================================
method       reads
===========  ====================================================================================
"gdc"        every row by itself, mean magnitude of the outputs: one factor per core. Global drift
             compensation as published: V. Joshi et al., Nature Communications 11, 2473 (2020),
             doi:10.1038/s41467-020-16108-9, rescale by the total current of the devices under one
             read voltage; AIHWKit takes the mean magnitude over one-hot inputs, the same sum. Both
             weigh a device by its conductance
"column"     the same with one factor per column (AIHWKit's variant)
"gdc-signs"  random inputs of +-full amplitude, mean magnitude of the outputs, one factor per core:
             faster, but outputs are root sums of squares, so that it weighs devices by their
             squares and follows the drift of the large ones, which drift least
"ls"         the same inputs at random amplitudes, the factor with the smallest squared error of
             the products against those of the exact weights: the bound of any single factor
===========  ====================================================================================

The current of one device makes about as many counts of the ADC in one window as the device has
microsiemens. A one-hot read therefore holds its row for ``calibration.compensation_windows``
windows (16, 2 us; the chip's verify read lasts 4) and is repeated ``compensation_reads`` times,
added digitally; :mod:`aimc_sim.runtime.procedures` says what that costs. Every read has the core's
read noise, converters and phases.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..rng import Key, Purpose
from ..spec import ChipSpec, CoreSpec
from . import converters, inputs, tile, weights
from .quantise import ColumnConverters

Method = Literal["none", "gdc", "column", "gdc-signs", "ls"]
METHODS: tuple[Method, ...] = ("none", "gdc", "column", "gdc-signs", "ls")

Readout = np.ndarray
"""Numbers that a method keeps of its reads: (C,) float64, or (N, C) float64 products for "ls"."""


def check(method: Method, core: CoreSpec) -> None:
    """Raise ValueError if the reads of a method say nothing through a core's converters.

    Parameters
    ----------
    method : Method
        Of the drift compensation.
    core : CoreSpec
        Whose converters read.
    """
    if method != "none" and not core.adc.graded:
        raise ValueError(
            f"compensation '{method}' with core.adc.kind = '{core.adc.kind}': its reads compare "
            "sizes of currents, and one bit has none; choose the compensation 'none', with "
            "core.adc.threshold = 'zero': signs stay what they are when all devices drift alike"
        )


def _calibration_inputs(rows: int, core: CoreSpec, vectors: int, key: Key) -> np.ndarray:
    """Return the (vectors, rows) float64 input codes: +-full scale, random, fixed per core."""
    generator = key.child(Purpose.COMPENSATION_VECTORS).generator()
    return core.dac.max_code * (2.0 * generator.integers(0, 2, (vectors, rows)) - 1.0)


def _graded_inputs(rows: int, core: CoreSpec, vectors: int, key: Key) -> np.ndarray:
    """Return (vectors, rows) float64 input codes of all amplitudes, random, fixed per core."""
    generator = key.child(Purpose.COMPENSATION_VECTORS, 1).generator()
    top = core.dac.max_code
    return generator.integers(-top, top + 1, (vectors, rows)).astype(np.float64)


def readout(
    method: Method, now: tile.TileNow, spec: ChipSpec, t_seconds: float, key: Key
) -> Readout:
    """Return the result of the reads of a method.

    Parameters
    ----------
    method : Method
        Not "none".
    now : TileNow
        The crossbar that is read.
    spec : ChipSpec
    t_seconds : float, seconds
        Of the core's clock; addresses the noise of the reads.
    key : Key
        Of the core.

    Raises
    ------
    ValueError
        If the core's converters tell no sizes, see :func:`check`.
    """
    check(method, spec.core)
    noise = key.child(Purpose.COMPENSATION_READ).at_time(t_seconds).generator()
    if method in ("gdc", "column"):
        return _one_hot_magnitude(now, spec, key, noise)
    vectors, rows = spec.calibration.compensation_vectors, now.net.shape[0]
    if method == "gdc-signs":
        codes = _calibration_inputs(rows, spec.core, vectors, key)
        mean: np.ndarray = np.abs(tile.read(now, codes, spec.core, noise)).mean(axis=0)
        return mean
    codes = _graded_inputs(rows, spec.core, vectors, key)
    return tile.read(now, codes, spec.core, noise) * tile.unit_charge(now, spec.core)


def _one_hot_magnitude(
    now: tile.TileNow, spec: ChipSpec, key: Key, generator: np.random.Generator
) -> np.ndarray:
    """Return the (C,) mean magnitude of the outputs over all rows, each driven by itself.

    In ADC codes of one window. A row is held, whatever the encoding of inputs is.
    """
    calibration = spec.calibration
    reads = calibration.compensation_windows * calibration.compensation_reads
    every = now.net.shape[1]
    if not now.parts:
        total = _one_hot_codes(now, spec, key, generator, slice(0, every), every)
    else:
        total = np.zeros(())
        for part, factor in zip(now.parts, tile.factors(now, spec.core), strict=True):
            columns = slice(part.group.start, part.group.stop)
            total = total + factor * _one_hot_codes(part.now, spec, key, generator, columns, every)
    mean: np.ndarray = np.abs(total / reads).mean(axis=0)
    return mean


def _one_hot_codes(
    now: tile.TileNow, spec: ChipSpec, key: Key, generator: np.random.Generator,
    place: slice, every: int,
) -> np.ndarray:  # fmt: skip
    """Return the sums of the ADC codes of all reads, (R, C), one row driven at a time.

    ``place`` says which of the ``every`` columns in use on the core these are.
    """
    calibration, core = spec.calibration, spec.core
    windows, reads = calibration.compensation_windows, calibration.compensation_reads
    rows, columns = now.net.shape
    converter = now.converter or ColumnConverters(converters.adc(core))
    if inputs.reads_planes(core.dac):  # whose conversions last for a bit
        amperes = converter.limit * core.device.g_max_siemens * core.read.v_read_volts
        still = core.with_({"dac.encoding": "pwm"})
        converter = converters.of_core(still, key, every, amperes)
        converter = converter.of_columns(place.start, place.stop)
    converter = converter.over(windows)
    scale = core.dac.max_code / inputs.largest_drive(core.dac)
    total = np.zeros((rows, columns))
    for phase in _one_hot(now, core):
        charge = phase.charge * scale
        std = np.sqrt(phase.variance * scale**2 + converter.noise(charge))
        for _ in range(reads):
            z = charge + std * generator.standard_normal(total.shape)
            total += phase.sign * converter.codes(z)
    return total


def _one_hot(now: tile.TileNow, core: CoreSpec) -> list[tile.Phase]:
    """Return the phases of all one-hot inputs of full amplitude: charges (R, C), row by row."""
    top = float(inputs.largest_drive(core.dac))
    if now.idle is not None:  # rows are coupled
        return tile.phases(now, np.diag(np.full(now.net.shape[0], top)), core)

    def phase(sign: int, siemens: np.ndarray, variance: np.ndarray | None) -> tile.Phase:
        charge = top * siemens.astype(np.float64)
        noise = np.zeros_like(charge) if variance is None else top**2 * variance.astype(np.float64)
        return tile.Phase(sign, charge, noise)

    if core.read.mode == "1-phase":
        return [phase(1, now.net, now.variance)]
    noise = (None, None) if now.variances is None else now.variances
    signs = (1, -1)[: len(now.polarities)]
    return [phase(s, now.polarities[i], noise[i]) for i, s in enumerate(signs)]


def reference(
    method: Method, begin: tile.TileNow, state: tile.TileState, spec: ChipSpec, t_seconds: float,
    key: Key,
) -> Readout:  # fmt: skip
    """Return the readout that later reads are compared with.

    Reads right after programming; for "ls" the products of the exact weights, which a host has.
    """
    if method != "ls":
        return readout(method, begin, spec, t_seconds, key)
    vectors = spec.calibration.compensation_vectors
    codes = _graded_inputs(begin.net.shape[0], spec.core, vectors, key)
    targets = weights.net(state.devices.target.astype(np.float64), spec.core)
    wanted = targets / spec.core.device.g_max_siemens
    products: np.ndarray = codes @ wanted
    return products


def factors(before: Readout, later: Readout, method: Method) -> np.ndarray:
    """Return the (C,) factors that the digital unit applies to the core's output.

    Parameters
    ----------
    before, later : Readout
        As :func:`reference` and :func:`readout` give them.
    method : Method
        Of both.

    Notes
    -----
    A column (or core) whose reads are all zero keeps the factor 1.
    """
    columns = later.shape[-1]
    if method == "none":
        return np.ones(columns)
    if method == "column":
        found: np.ndarray = np.divide(before, later, out=np.ones(columns), where=later > 0)
        return found
    if method == "ls":
        above, below = float((before * later).sum()), float((later * later).sum())
    else:
        above, below = float(before.sum()), float(later.sum())
    return np.full(columns, above / below if below > 0 else 1.0)
