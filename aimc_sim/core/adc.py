"""The ADC as a circuit: mirrors, oscillator, counters, and its one-time calibration.

A column current i passes the mirror of its direction, with ratio alpha, and sets the frequency
``f = A x / (1 + B x - beta i) + C`` of an oscillator, with ``x = alpha i`` and a feed-forward
beta. A counter per direction counts edges during the window. Signal path of this module:
:func:`draw` (the circuits as fabricated), :func:`calibrate` (knobs and digital corrections, found
from three known currents), :func:`curve` (the resulting transfer), :func:`convert` or
:func:`convert_slices` (counts), :func:`corrected` (counts to amperes).

Arrays per ADC are (2, C): first the positive direction, then the negative one. In a 4-phase read
every current flows in the positive direction.

Source: JSSC 57, 1027 (2022), doi:10.1109/JSSC.2022.3140414, eq. 6 to 8 and the calibration
section. The published formula has no feed-forward term; that beta enters the denominator is an
assumption, and with it the corrected ADC keeps the published form with a smaller B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..rng import Key, Purpose
from ..spec.cco import CcoAdcSpec
from .quantise import ConverterTable


@dataclass(frozen=True)
class AdcState:
    """The ADCs of a core as fabricated, with all trims in the middle.

    Attributes
    ----------
    gain : (2, C) float64, Hz/A
        Small-signal gain from the column's current to the frequency, ``A alpha``.
    nonlinearity : (2, C) float64, 1/A
        B of the oscillator, on its own current ``alpha i``.
    mirror : (2, C) float64, dimensionless
        Ratio alpha of the mirror.
    offset : (2, C) float64, Hz
        C, the frequency without current.
    trim_error : (S, 2, C) float64, dimensionless
        Error of ln alpha at each of the S trim settings; none in the middle one.
    """

    gain: np.ndarray
    nonlinearity: np.ndarray
    mirror: np.ndarray
    offset: np.ndarray
    trim_error: np.ndarray


@dataclass(frozen=True)
class AdcCalibration:
    """Settings of the knobs and the digital correction, per ADC and direction.

    Attributes
    ----------
    trim, offset_trim, feed_forward : (2, C) int64
        Settings; the middle of the first two changes nothing, as does feed_forward 0.
    amperes_per_rate : (2, C) float64, A s
        Digital gain: amperes per count rate.
    rate_offset : (2, C) float64, 1/s
        Digital offset: a rate, so that it holds for any window.
    """

    trim: np.ndarray
    offset_trim: np.ndarray
    feed_forward: np.ndarray
    amperes_per_rate: np.ndarray
    rate_offset: np.ndarray


@dataclass(frozen=True)
class AdcCurve:
    """Transfer of the ADCs under given settings: ``f = max(0, gain i / (1 + bend i) + offset)``.

    Attributes
    ----------
    gain : (2, C) float64, Hz/A
        Small-signal gain.
    bend : (2, C) float64, 1/A
        B of the column's current, less the feed-forward.
    offset : (2, C) float64, Hz
        Frequency without current.
    """

    gain: np.ndarray
    bend: np.ndarray
    offset: np.ndarray


def draw(spec: CcoAdcSpec, columns: int, key: Key) -> AdcState:
    """Return the ADCs of a core's columns; the first ones are the same for any number."""

    def normals(quantity: int, *shape: int) -> np.ndarray:
        """Return (*shape, C) normals, drawn column by column, so that a prefix stays."""
        generator = key.child(Purpose.ADC, quantity).generator()
        return np.moveaxis(generator.standard_normal((columns, *shape)), 0, -1)

    oscillator, bend = normals(0, 2), normals(1, 2)
    if spec.shared_oscillator:
        oscillator, bend = oscillator[[0, 0]], bend[[0, 0]]
    mirror = np.exp(spec.mirror_std_fraction * normals(2, 2))
    offset = spec.offset_hertz + (
        spec.gain_hertz_per_ampere * spec.offset_std_amperes * normals(3, 2)
    )
    trim_error = spec.trim_std_fraction * normals(4, 2**spec.trim_bits, 2)
    trim_error[_middle(spec.trim_bits)] = 0.0
    return AdcState(
        gain=spec.gain_hertz_per_ampere * np.exp(spec.gain_std_fraction * oscillator) * mirror,
        nonlinearity=spec.nonlinearity_per_ampere * (1 + spec.nonlinearity_std_fraction * bend),
        mirror=mirror,
        offset=offset,
        trim_error=trim_error,
    )


def curve(state: AdcState, calibration: AdcCalibration, spec: CcoAdcSpec) -> AdcCurve:
    """Return the transfer of the ADCs with their knobs set."""
    error = np.take_along_axis(state.trim_error, calibration.trim[None], axis=0)[0]
    steps = calibration.trim - _middle(spec.trim_bits)
    trim = np.exp(spec.trim_step_fraction * steps + error)
    offset_steps = calibration.offset_trim - _middle(spec.offset_bits)
    offset_step = spec.offset_step_amperes * spec.gain_hertz_per_ampere
    return AdcCurve(
        gain=state.gain * trim,
        bend=state.nonlinearity * state.mirror * trim
        - spec.feed_forward_step_per_ampere * calibration.feed_forward,
        offset=state.offset + offset_step * offset_steps,
    )


def frequency(amperes: np.ndarray, adc: AdcCurve, spec: CcoAdcSpec) -> np.ndarray:
    """Return the oscillator frequencies (..., 2, C), in Hz, of currents >= 0 (..., 2, C).

    Currents beyond full scale do not get through the mirror.
    """
    i = np.minimum(amperes, spec.full_scale_amperes)
    hertz: np.ndarray = np.maximum(adc.gain * i / (1 + adc.bend * i) + adc.offset, 0.0)
    if spec.max_hertz is not None:
        hertz = np.minimum(hertz, spec.max_hertz)
    return hertz


def convert(
    amperes: np.ndarray,
    adc: AdcCurve,
    spec: CcoAdcSpec,
    window_seconds: float,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Return the counts, (N, 2, C) int64, of constant currents.

    The fast form: with the mean current of a window in which pulses end one after the other, it
    differs from :func:`convert_slices` by what the curvature makes of the changes.

    Parameters
    ----------
    amperes : (N, C) float64, amperes
        Signed; the Schmitt trigger picks the counter. Below ``wrong_sign_amperes`` it stays
        where a window starts, at the positive one.
    adc : AdcCurve
        Transfer of the C columns.
    spec : CcoAdcSpec
        The circuit: limits of the mirror, counters, jitter.
    window_seconds : float, seconds
        Duration of the conversion.
    generator : numpy Generator, optional
        Of the jitter; without it there is none.
    """
    return convert_slices(np.asarray(amperes)[:, None], adc, spec, window_seconds, generator)


def convert_slices(
    amperes: np.ndarray,
    adc: AdcCurve,
    spec: CcoAdcSpec,
    slice_seconds: float,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Return the counts, (N, 2, C) int64, of currents that change from slice to slice.

    ``amperes``, (N, L, C) float64, are signed column currents in L slices of equal length
    (:func:`.inputs.sliced_amperes`); the rest as in :func:`convert`.
    """
    periods = np.zeros((len(amperes), 2, amperes.shape[-1]))
    negative = np.zeros(amperes[:, 0].shape, bool)
    for i in np.moveaxis(amperes, 1, 0):
        # The trigger keeps its state until the current is clearly on the other side.
        negative = np.where(np.abs(i) > spec.wrong_sign_amperes, i < 0, negative)
        hertz = frequency(np.abs(i)[:, None, :], adc, spec)
        periods += hertz * np.stack([~negative, negative], axis=1)
    count = periods * (slice_seconds * spec.edges_per_period)
    if generator is not None:
        jitter = spec.jitter_counts * generator.standard_normal(count.shape)
        count = np.where(count > 0, count + jitter, 0.0)
    return _counted(count, spec)


def _counted(count: np.ndarray, spec: CcoAdcSpec) -> np.ndarray:
    """Round to whole counts (where a period starts is an offset) and pass the counter."""
    whole: np.ndarray = np.maximum(np.rint(count), 0).astype(np.int64)
    if spec.counter_bits is None:
        return whole
    if spec.overflow == "wrap":
        whole = whole % 2**spec.counter_bits
    else:
        whole = np.minimum(whole, 2**spec.counter_bits - 1)
    return whole


def corrected(counts: np.ndarray, calibration: AdcCalibration, window_seconds: float) -> np.ndarray:
    """Return mean currents, (N, C) float64 in amperes, from counts (N, 2, C).

    The local digital unit applies gain and offset per counter and subtracts the negative from the
    positive. A counter at zero has not run and has no offset.
    """
    rate = counts / window_seconds - np.where(counts > 0, calibration.rate_offset, 0.0)
    amperes: np.ndarray = rate * calibration.amperes_per_rate
    net: np.ndarray = amperes[..., 0, :] - amperes[..., 1, :]
    return net


def combined(
    counts: Sequence[np.ndarray],
    signs: Sequence[int],
    calibration: AdcCalibration,
    window_seconds: float,
) -> np.ndarray:
    """Return mean currents, (N, C) in amperes, from counts (N, 2, C) and signs of phases.

    Each phase is rounded by itself. All used the positive direction, and as many phases add as
    subtract, so that the offset of an ADC cancels before any correction.
    """
    total = sum(s * c[:, 0, :] for s, c in zip(signs, counts, strict=True))
    amperes: np.ndarray = total / window_seconds * calibration.amperes_per_rate[0]
    return amperes


def uncalibrated(spec: CcoAdcSpec, columns: int) -> AdcCalibration:
    """Return knobs in the middle and the mean ADC's correction."""
    shape = (2, columns)
    return AdcCalibration(
        trim=np.full(shape, _middle(spec.trim_bits)),
        offset_trim=np.full(shape, _middle(spec.offset_bits)),
        feed_forward=np.zeros(shape, np.int64),
        amperes_per_rate=np.full(shape, 1 / spec.counts_per_coulomb),
        rate_offset=np.full(shape, spec.offset_hertz * spec.edges_per_period),
    )


def calibrate(
    state: AdcState, spec: CcoAdcSpec, window_seconds: float, generator: np.random.Generator
) -> AdcCalibration:
    """Calibrate the circuit once, by reading three known currents; networks play no part.

    Each direction by itself: offset, then gain, then feed-forward, with a new measurement after
    each, at last the digital gain and offset from a line through what the settings leave. Knobs
    are set from the measurement as if every ADC had nominal steps; an ADC whose gain is then
    still off by more than ``trim_accept_fraction`` tries all settings.

    ``generator`` makes the jitter of the reads. With ``spec.calibrated`` False,
    :func:`uncalibrated` is returned.
    """
    found = uncalibrated(spec, state.gain.shape[1])
    if not spec.calibrated:
        return found
    nominal = spec.gain_hertz_per_ampere

    def fit(settings: AdcCalibration) -> AdcCurve:
        return _fit(_measure(state, settings, spec, window_seconds, generator), spec)

    def set_to(name: str, change: np.ndarray, bits: int) -> AdcCalibration:
        setting = getattr(found, name) + np.rint(change).astype(np.int64)
        return replace(found, **{name: np.clip(setting, 0, 2**bits - 1)})

    offset = fit(found).offset / (spec.offset_step_amperes * nominal)
    found = set_to("offset_trim", -offset, spec.offset_bits)

    step = spec.trim_step_fraction
    found = set_to("trim", -np.log(fit(found).gain / nominal) / step, spec.trim_bits)
    error = np.abs(fit(found).gain / nominal - 1)
    bad = error > spec.trim_accept_fraction
    if bad.any():
        levels = np.arange(2**spec.trim_bits)
        tried = [replace(found, trim=np.full(bad.shape, level)) for level in levels]
        errors = np.stack([np.abs(fit(t).gain / nominal - 1) for t in tried])
        found = replace(found, trim=np.where(bad, errors.argmin(axis=0), found.trim))

    bend = fit(found).bend / spec.feed_forward_step_per_ampere
    found = set_to("feed_forward", bend, spec.feed_forward_bits)

    rate = _measure(state, found, spec, window_seconds, generator) * spec.edges_per_period
    x = np.array(spec.calibration_fractions)[:, None, None] * spec.full_scale_amperes
    slope = ((x - x.mean()) * rate).sum(axis=0) / ((x - x.mean()) ** 2).sum()
    offset = rate.mean(axis=0) - slope * x.mean()
    return replace(found, amperes_per_rate=1 / slope, rate_offset=offset)


def _measure(
    state: AdcState,
    calibration: AdcCalibration,
    spec: CcoAdcSpec,
    window_seconds: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return measured frequencies, (3, 2, C) Hz: the known currents, several reads averaged."""
    adc = curve(state, calibration, spec)
    fractions = np.tile(spec.calibration_fractions, spec.calibration_reads)
    known = np.repeat(fractions[:, None] * spec.full_scale_amperes, state.gain.shape[1], axis=1)
    counts = np.stack(  # one direction, then the other
        [
            convert(s * known, adc, spec, window_seconds, generator)[:, d]
            for d, s in ((0, 1), (1, -1))
        ],
        axis=1,
    )
    mean = counts.reshape(spec.calibration_reads, 3, *state.gain.shape).mean(axis=0)
    hertz: np.ndarray = mean / (window_seconds * spec.edges_per_period)
    return hertz


def _fit(hertz: np.ndarray, spec: CcoAdcSpec) -> AdcCurve:
    """Solve the oscillator's three numbers from frequencies (3, 2, C) at the known currents.

    ``f (1 + b i) = a i + c (1 + b i)`` is linear in ``a + b c``, ``c`` and ``b``.
    """
    x = np.array(spec.calibration_fractions)[:, None, None]
    scale = spec.gain_hertz_per_ampere * spec.full_scale_amperes
    f = hertz / scale
    matrix = np.stack(np.broadcast_arrays(x, 1.0, -x * f), axis=-1)
    right = np.moveaxis(f, 0, -1)[..., None]
    a, c, b = np.moveaxis(np.linalg.solve(np.moveaxis(matrix, 0, 2), right)[..., 0], -1, 0)
    return AdcCurve(
        (a - b * c) * spec.gain_hertz_per_ampere, b / spec.full_scale_amperes, c * scale
    )


def _middle(bits: int) -> int:
    return 1 << (bits - 1)


def columns(
    adc: AdcCurve,
    calibration: AdcCalibration,
    spec: CcoAdcSpec,
    window_seconds: float,
    amperes_per_charge: float,
) -> ConverterTable:
    """Return the fast form of the circuits, for a pass over charges; values are charges.

    ``amperes_per_charge`` is the mean current over the window of a unit of charge:
    ``g_max v_read lsb_seconds / window_seconds``.
    """
    unit, count = amperes_per_charge, spec.edges_per_period * window_seconds
    gain = calibration.amperes_per_rate / (window_seconds * unit)
    rows = np.stack([
        adc.gain * count * unit,
        adc.bend * unit,
        adc.offset * count,
        gain,
        -calibration.rate_offset * window_seconds * gain,
    ])  # fmt: skip
    limit, dead = spec.full_scale_amperes / unit, spec.wrong_sign_amperes / unit
    return ConverterTable(rows.astype(np.float32), limit, dead)


def linearity(
    adc: AdcCurve, spec: CcoAdcSpec, window_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return INL (2, C, K) and DNL (2, C, K - 1) in LSB, both from the code transitions.

    Transition k is the current at which the count passes from k to k + 1. INL is its distance
    from the line through the first and last transition, DNL the width of a code minus 1, both
    in units of the mean width. NaN where an ADC has no such transition below full scale.
    """
    count = spec.edges_per_period * window_seconds
    top = frequency(np.full_like(adc.gain, spec.full_scale_amperes), adc, spec) * count
    bottom = np.maximum(adc.offset, 0) * count
    k = np.arange(np.floor(bottom.min()), np.ceil(top.max())) + 0.5
    hertz = k / count - adc.offset[..., None]
    at = hertz / (adc.gain[..., None] - adc.bend[..., None] * hertz)
    at = np.where((k >= bottom[..., None]) & (k < top[..., None]), at, np.nan)
    first, last = np.nanmin(at, axis=-1), np.nanmax(at, axis=-1)
    steps = np.isfinite(at).sum(axis=-1) - 1
    lsb = ((last - first) / steps)[..., None]
    place = np.cumsum(np.isfinite(at), axis=-1) - 1
    return (at - first[..., None]) / lsb - place, np.diff(at, axis=-1) / lsb - 1
