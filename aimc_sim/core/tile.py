"""One crossbar: look at it at a time, read it.

``read`` is the reference path: float64, one core, plain matrix products. The executor
(:mod:`aimc_sim.runtime.executor`) runs whole networks on the same :class:`TileNow`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..device import family
from ..device.polarity import polarity_delta
from ..device.report import ProgrammingReport
from ..rng import Key
from ..spec import CoreSpec
from . import converters, inputs, wired
from .quantise import Converter


@dataclass(frozen=True)
class TileState:
    """A programmed crossbar block.

    Attributes
    ----------
    devices : DeviceState
        Its elements, (E, R, C), as their family keeps them.
    siemens_per_weight : (C,) float64
        Scale of the mapping; the digital unit divides by it.
    report : ProgrammingReport
        What programming took and reached.
    cycle : int
        How often the crossbar had been programmed before.
    """

    devices: family.DeviceState
    siemens_per_weight: np.ndarray
    report: ProgrammingReport
    cycle: int = 0


@dataclass(frozen=True)
class TileNow:
    """A crossbar block at one moment, in units of g_max.

    Attributes
    ----------
    polarities : (2, R, C) float32
        Relative conductance of the cells' positive and negative elements, as a positive input
        sees them.
    net_negative : (R, C) float32 or None
        Net relative conductance for a negative input, where it differs (1-phase reads).
    variances : (2, R, C) float32 or None
        Variance of ``polarities`` that is drawn anew in every conversion.
    idle : Floating or None
        What floating input lines add, where wires resist and idle lines float.
    converter : Converter or None
        The core's ADCs. None: the nominal one in every column, where its range is known.
    """

    polarities: np.ndarray
    net_negative: np.ndarray | None = None
    variances: np.ndarray | None = None
    idle: wired.Floating | None = None
    converter: Converter | None = None

    @cached_property
    def net(self) -> np.ndarray:
        """Net relative conductance that a positive input sees, (R, C) float32."""
        return self.polarities[0] - self.polarities[1]

    @cached_property
    def variance(self) -> np.ndarray | None:
        """Variance of :attr:`net` that is drawn anew in every read, (R, C) float32 or None."""
        return None if self.variances is None else self.variances[0] + self.variances[1]

    def quiet(self) -> TileNow:
        """Return the same crossbar without fresh read noise."""
        return dataclasses.replace(self, variances=None)


def address(core: CoreSpec) -> family.Address:
    """Return (columns, cells) of a core: what turns a device into the index of its draws."""
    return core.cols, core.rows * core.cols


def elements_at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> family.ElementsNow:
    """Return the elements, in siemens, at a time after programming."""
    own = family.cycle_key(key, state.cycle)
    laws = family.of(core.device)
    return laws.at(state.devices, core.device, t_seconds, address(core), own)


def at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> TileNow:
    """Return the crossbar as inputs see it at a time after programming.

    In 1-phase mode an input drives the two polarities of a cell with opposite read voltages,
    and an element conducts ``g (1 + delta)`` under the second one: a positive input sees
    ``G+ - (1 + delta) G-``, a negative one ``(1 + delta) G+ - G-``.
    """
    now = elements_at(state, core, t_seconds, key)
    unit = np.float32(1 / core.device.g_max_siemens)
    relative = now.g * unit
    converter = None  # not known before calibration
    if not converters.awaits_range(core, None):
        converter = converters.of_core(core, key, relative.shape[2])
    plus, minus = by_polarity(relative)
    fresh = None if now.fresh is None else by_polarity((now.fresh * unit) ** 2)
    polarity = core.read.polarity
    other = relative
    if polarity is not None:
        delta = polarity_delta(relative.shape, polarity, address(core), key)
        other = relative * (1 + delta)
    other_plus, other_minus = by_polarity(other)
    if core.wires is None:
        seen = wired.Seen(np.stack([plus, other_minus]), fresh, None)
        negative = other_plus - minus
    else:
        seen = wired.through(plus, other_minus, fresh, core)
        if polarity is not None:
            back = wired.through(other_plus, minus, None, core).polarities
            negative = back[0] - back[1]
    return TileNow(
        seen.polarities, None if polarity is None else negative, seen.variances, seen.idle,
        converter,
    )  # fmt: skip


def by_polarity(elements: np.ndarray) -> np.ndarray:
    """Return the sums over the elements of either polarity, (2, R, C), of (E, R, C)."""
    half = elements.shape[0] // 2
    return np.stack([elements[:half].sum(axis=0), elements[half:].sum(axis=0)])


def charge(now: TileNow, codes: np.ndarray) -> np.ndarray:
    """Return the noiseless net charge, (N, C) float64, of input codes (N, R) of one conversion.

    With bit-serial inputs and floating idle lines those are the codes of one plane. In a 4-phase
    read it is the sum over phases, with their signs: what comes out before anything is rounded.
    """
    codes = np.asarray(codes, np.float64)
    if now.net_negative is None:
        found = codes @ now.net.astype(np.float64)
    else:
        positive, negative = np.maximum(codes, 0), np.minimum(codes, 0)
        found = positive @ now.net.astype(np.float64)
        found = found + negative @ now.net_negative.astype(np.float64)
    return found if now.idle is None else found + now.idle.correction(codes)


@dataclass(frozen=True)
class Phase:
    """What one modulation brings to the converters, (N, C) float64 each.

    Attributes
    ----------
    sign : int
        With which its code enters the result.
    charge : noiseless charge.
    variance : of the fresh read noise in it, charge squared.
    """

    sign: int
    charge: np.ndarray
    variance: np.ndarray


def phases(now: TileNow, codes: np.ndarray, core: CoreSpec) -> list[Phase]:
    """Return the modulations of one conversion of codes (N, R): four, or one in 1-phase reads.

    Four phases are four currents of one direction, for every sign of input and weight; a sign
    that no input has brings no current, and its two phases are left out.
    """
    codes = np.asarray(codes, np.float64)
    if core.read.mode == "1-phase":
        variance = np.zeros((1, now.net.shape[1]))
        if now.variance is not None:
            variance = codes**2 @ now.variance.astype(np.float64)
        return [Phase(1, charge(now, codes), variance)]
    found = []
    for of_input in (1, -1):
        size = np.maximum(of_input * codes, 0)
        if not size.any():
            continue
        for polarity, of_weight in enumerate((1, -1)):
            z = size @ now.polarities[polarity].astype(np.float64)
            if now.idle is not None:
                z = z + now.idle.of_phase(size, polarity)
            variance = np.zeros_like(z)
            if now.variances is not None:
                variance = size**2 @ now.variances[polarity].astype(np.float64)
            found.append(Phase(of_input * of_weight, z, variance))
    return found


def read(
    now: TileNow, codes: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> np.ndarray:
    """Return the ADC codes, (N, C) float64, of N input vectors.

    A 4-phase read converts four times, every phase with noise, rounding and saturation of its
    own; the codes are added and subtracted. With bit-serial inputs so is every plane, and the
    codes are shifted and added: ``sum over b of 2^b ADC(plane_b)``.

    Parameters
    ----------
    now : TileNow
    codes : (N, R) float, input codes, within +-core.dac.max_code; integers if bit-serial
    core : CoreSpec
    generator : numpy Generator
        Source of the fresh read noise.

    Notes
    -----
    Independent Gaussian noise of the devices adds up to one Gaussian per column and phase, with
    variance ``codes^2 @ variance``: exact, not an approximation.
    """
    return read_counting(now, codes, core, generator)[0]


def read_counting(
    now: TileNow, codes: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Return what :func:`read` does, and how many conversions were beyond the converters' range."""
    if not inputs.reads_planes(core.dac):
        return _convert(now, codes, core, generator)
    total, beyond = 0.0, 0
    for b, plane in enumerate(inputs.bit_planes(codes, core.dac)):
        found, lost = _convert(now, plane, core, generator)
        total, beyond = total + 2.0**b * found, beyond + lost
    return total, beyond


def _convert(
    now: TileNow, codes: np.ndarray, core: CoreSpec, generator: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Return the ADC codes of one conversion, or four, and how many saturated."""
    converter = now.converter
    if converter is None:
        converter = Converter(converters.adc(core))
    total, beyond = np.zeros((len(codes), now.net.shape[1])), 0
    for phase in phases(now, codes, core):
        variance = phase.variance + converter.jitter * (phase.charge != 0)
        z = phase.charge
        if np.any(variance):
            z = z + np.sqrt(variance) * generator.standard_normal(z.shape)
        total += phase.sign * converter.codes(z)
        beyond += int(converter.beyond(z).sum())
    return total, beyond
