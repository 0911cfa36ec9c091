"""One crossbar: look at it at a time, read it.

``read`` is the reference path: float64, one core, plain matrix products. The executor
(:mod:`aimc_sim.runtime.executor`) runs whole networks on the same :class:`TileNow`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device import pcm
from ..device.programming import ProgrammingReport
from ..rng import Key
from ..spec import CoreSpec
from . import inputs, oscillators, wired
from .adc import AdcColumns, apply
from .converters import adc


@dataclass(frozen=True)
class TileState:
    """A programmed crossbar block.

    Attributes
    ----------
    pcm : PcmState
        Its elements, (E, R, C).
    siemens_per_weight : (C,) float64
        Scale of the mapping; the digital unit divides by it.
    report : ProgrammingReport
        What programming took and reached.
    cycle : int
        How often the crossbar had been programmed before.
    """

    pcm: pcm.PcmState
    siemens_per_weight: np.ndarray
    report: ProgrammingReport
    cycle: int = 0


@dataclass(frozen=True)
class TileNow:
    """A crossbar block at one moment, in units of g_max.

    Attributes
    ----------
    net : (R, C) float32
        Net relative conductance that a positive input sees.
    net_negative : (R, C) float32 or None
        The same for a negative input, where it differs (1-phase reads).
    variance : (R, C) float32 or None
        Variance of the relative conductance that is drawn anew in every MVM.
    idle : Floating or None
        What floating input lines add, where wires resist and idle lines float.
    oscillators : AdcColumns or None
        The core's converters where they are circuits with a spread; None: all alike.
    full_scale_amperes : float or None
        Of the core's plain converters where calibration chose it; None: the specification's.
    """

    net: np.ndarray
    net_negative: np.ndarray | None
    variance: np.ndarray | None
    idle: wired.Floating | None = None
    oscillators: AdcColumns | None = None
    full_scale_amperes: float | None = None


def address(core: CoreSpec) -> pcm.Address:
    """Return (columns, cells) of a core: what turns a device into the index of its draws."""
    return core.cols, core.rows * core.cols


def elements_at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> pcm.PcmNow:
    """Return the elements, in siemens, at a time after programming."""
    own = pcm.cycle_key(key, state.cycle)
    return pcm.evaluate(state.pcm, core.pcm, t_seconds, address(core), own)


def at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> TileNow:
    """Return the crossbar as inputs see it at a time after programming.

    In 1-phase mode an input drives the two polarities of a cell with opposite read voltages,
    and an element conducts ``g (1 + delta)`` under the second one: a positive input sees
    ``G+ - (1 + delta) G-``, a negative one ``(1 + delta) G+ - G-``.
    """
    now = elements_at(state, core, t_seconds, key)
    unit = np.float32(1 / core.pcm.g_max_siemens)
    relative = now.g * unit
    circuits = None
    if core.adc.kind == "cco":
        circuits = oscillators.of_core(core, key, relative.shape[2])
    plus, minus = _polarities(relative)
    fresh = None if now.fresh is None else _polarities((now.fresh * unit) ** 2)
    polarity = core.read.polarity
    other = relative
    if polarity is not None:
        delta = pcm.polarity_delta(relative.shape, polarity, address(core), key)
        other = relative * (1 + delta)
    other_plus, other_minus = _polarities(other)
    if core.wires is None:
        variance = None if fresh is None else fresh[0] + fresh[1]
        net, negative, idle = plus - other_minus, other_plus - minus, None
    else:
        seen = wired.through(plus, other_minus, fresh, core)
        net, variance, idle = seen.net, seen.variance, seen.idle
        negative = net
        if polarity is not None:
            negative = wired.through(other_plus, minus, None, core).net
    return TileNow(net, None if polarity is None else negative, variance, idle, circuits)


def _polarities(elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over the elements of either polarity, (R, C) each."""
    half = elements.shape[0] // 2
    return elements[:half].sum(axis=0), elements[half:].sum(axis=0)


def charge(now: TileNow, codes: np.ndarray) -> np.ndarray:
    """Return the noiseless charge, (N, C) float64, of input codes (N, R) of one conversion.

    With bit-serial inputs and floating idle lines those are the codes of one plane.
    """
    codes = np.asarray(codes, np.float64)
    if now.idle is not None:
        return _charge(now, codes) + now.idle.correction(codes)
    return _charge(now, codes)


def _charge(now: TileNow, codes: np.ndarray) -> np.ndarray:
    if now.net_negative is None:
        return codes @ now.net.astype(np.float64)
    positive, negative = np.maximum(codes, 0), np.minimum(codes, 0)
    return positive @ now.net.astype(np.float64) + negative @ now.net_negative.astype(np.float64)


def read(
    now: TileNow, codes: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> np.ndarray:
    """Return the ADC codes, (N, C) float64, of N input vectors.

    With bit-serial inputs every plane is converted by itself, with noise of its own, and the
    codes are shifted and added: ``sum over b of 2^b ADC(plane_b @ G + noise_b)``.

    Parameters
    ----------
    now : TileNow
    codes : (N, R) float, input codes, within +-core.dac.max_code; integers if bit-serial
    core : CoreSpec
    generator : numpy Generator
        Source of the fresh read noise.

    Notes
    -----
    Independent Gaussian noise of the devices adds up to one Gaussian per column, with variance
    ``codes^2 @ variance``: exact, not an approximation.
    """
    if not inputs.reads_planes(core.dac):
        return _convert(now, codes, core, generator)
    planes = inputs.bit_planes(codes, core.dac)
    return sum(2.0**b * _convert(now, plane, core, generator) for b, plane in enumerate(planes))


def _convert(
    now: TileNow, codes: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> np.ndarray:
    """Return the ADC codes of one conversion."""
    z = charge(now, codes)
    variance = 0.0
    if now.variance is not None:
        variance = np.asarray(codes, np.float64) ** 2 @ now.variance.astype(np.float64)
    if now.oscillators is not None:
        signed = bool((np.asarray(codes) < 0).any())
        variance = variance + oscillators.rounding_variance(now.oscillators, core, signed)
    if np.any(variance):
        z = z + np.sqrt(variance) * generator.standard_normal(z.shape)
    if now.oscillators is not None:
        return apply(now.oscillators, z)[1].astype(np.float64)
    return adc(core, now.full_scale_amperes).codes(z)
