"""One crossbar: its conductances at a time, and reads of it.

``read`` is the reference path: float64, one core, plain matrix products. The executor
(:mod:`aimc_sim.runtime.executor`) runs whole networks on the same :class:`TileNow`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..device import family
from ..device.polarity import polarity_delta
from ..device.programming_report import ProgrammingReport
from ..device.request import net_of
from ..rng import Key
from ..spec import CoreSpec
from . import converters, encodings, inputs, wired
from .quantise import Calibrated, ColumnConverters


@dataclass(frozen=True)
class TileState:
    """A programmed crossbar block.

    Attributes
    ----------
    devices : DeviceState
        Its elements, (E, R, K), K physical columns, as their family keeps them.
    siemens_per_weight : (C,) float64, siemens
        Scale of the mapping; the digital unit divides by it.
    report : ProgrammingReport
        Cost and result of the programming.
    cycle : int
        How often the crossbar had been programmed before.
    """

    devices: family.DeviceState
    siemens_per_weight: np.ndarray
    report: ProgrammingReport
    cycle: int = 0


@dataclass(frozen=True)
class TileNow:
    """A crossbar block at one time, in units of g_max.

    C counts physical columns here.

    Attributes
    ----------
    polarities : (P, R, C) float32, dimensionless
        Relative conductance of the cells' positive and negative elements for a positive input;
        P is 1 where cells have one polarity.
    net_negative : (R, C) float32, dimensionless, or None
        Net relative conductance for a negative input, where it differs (1-phase reads).
    variances : (P, R, C) float32, dimensionless, or None
        Variance of ``polarities`` that is drawn anew in every conversion.
    idle : Floating or None
        Additions of floating input lines, where wires resist and idle lines float.
    converter : ColumnConverters or None
        The core's ADCs. None: the nominal one in every column, where its range is known.
    parts : tuple of Part
        Columns that are converted by themselves and whose codes make the outputs together;
        empty where every column is an output.
    """

    polarities: np.ndarray
    net_negative: np.ndarray | None = None
    variances: np.ndarray | None = None
    idle: wired.Floating | None = None
    converter: ColumnConverters | None = None
    parts: tuple[Part, ...] = ()

    @cached_property
    def net(self) -> np.ndarray:
        """Net relative conductance for a positive input, (R, C) float32."""
        return net_of(self.polarities, len(self.polarities))

    @cached_property
    def variance(self) -> np.ndarray | None:
        """Variance of :attr:`net` that is drawn anew in every read, (R, C) float32 or None."""
        return None if self.variances is None else self.variances.sum(axis=0)

    @property
    def nets(self) -> np.ndarray:
        """Net relative conductance behind every weight, (R, outputs) float32."""
        return encodings.combined(self.net, [part.group for part in self.parts])

    def quiet(self) -> TileNow:
        """Return the same crossbar without fresh read noise."""
        parts = tuple(dataclasses.replace(one, now=one.now.quiet()) for one in self.parts)
        return dataclasses.replace(self, variances=None, parts=parts)

    def of_group(self, group: encodings.Group) -> TileNow:
        """Return some columns as a crossbar of their own; memory is shared.

        Parameters
        ----------
        group : Group
            Names the columns.
        """
        columns = slice(group.start, group.stop)
        place = group.start, group.stop
        return TileNow(
            self.polarities[..., columns],
            None if self.net_negative is None else self.net_negative[..., columns],
            None if self.variances is None else self.variances[..., columns],
            None if self.idle is None else self.idle.of_columns(*place),
            None if self.converter is None else self.converter.of_columns(*place),
        )


@dataclass(frozen=True)
class Part:
    """A group of columns of a crossbar.

    Attributes
    ----------
    group : Group
        Which columns, and with which factor their codes enter the outputs.
    now : TileNow
        These columns alone, with their converters.
    """

    group: encodings.Group
    now: TileNow


def unit_charge(now: TileNow, core: CoreSpec) -> float:
    """Return the charge behind a code of an output (input code x g / g_max).

    Parameters
    ----------
    now : TileNow
        With parts, it is that of the first one.
    core : CoreSpec
        Gives the nominal converter where the crossbar has none.
    """
    converter = (now.parts[0].now if now.parts else now).converter
    return (converter or ColumnConverters(converters.adc(core))).quantiser.step


def factors(now: TileNow, core: CoreSpec) -> tuple[float, ...]:
    """Return the factors of the codes of every part in the outputs.

    Parameters
    ----------
    now : TileNow
        With parts; without, there is no factor.
    core : CoreSpec
        See :func:`unit_charge`, in units of which outputs are counted.
    """
    unit = unit_charge(now, core)
    return tuple(part.group.factor * (unit_charge(part.now, core) / unit) for part in now.parts)


def address(core: CoreSpec) -> family.Address:
    """Return (columns, cells) of a core, by which a device becomes the index of its draws."""
    return core.cols, core.rows * core.cols


def elements_at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> family.ElementsNow:
    """Return the elements, in siemens, at a time after programming."""
    own = family.cycle_key(key, state.cycle)
    laws = family.of(core.device)
    return laws.at(state.devices, core.device, t_seconds, address(core), own)


def at(state: TileState, core: CoreSpec, t_seconds: float, key: Key) -> TileNow:
    """Return the crossbar at a time after programming.

    In 1-phase mode an input drives the two polarities of a cell with opposite read voltages,
    and an element conducts ``g (1 + delta)`` under the second one: a positive input meets
    ``G+ - (1 + delta) G-``, a negative one ``(1 + delta) G+ - G-``.
    """
    now = elements_at(state, core, t_seconds, key)
    unit = np.float32(1 / core.device.g_max_siemens)
    relative = now.g * unit
    encoding = encodings.of(core)
    converter = None  # not known before calibration
    if not converters.awaits_range(core):
        converter = converters.of_core(core, key, relative.shape[2])
    sides = by_polarity(relative, encoding.polarities)
    fresh = None
    if now.fresh is not None:
        fresh = by_polarity((now.fresh * unit) ** 2, encoding.polarities)
    polarity = core.read.polarity
    other = relative
    if polarity is not None:
        delta = polarity_delta(relative.shape, polarity, address(core), key)
        other = relative * (1 + delta)
    others = by_polarity(other, encoding.polarities)
    for_positive = np.stack([sides[0], *others[1:]])
    for_negative = np.stack([others[0], *sides[1:]])
    if core.wires is None:
        seen = wired.Seen(for_positive, fresh, None)
    else:
        seen = wired.through(for_positive, fresh, core)
        if polarity is not None:
            for_negative = wired.through(for_negative, None, core).polarities
    found = TileNow(
        seen.polarities,
        None if polarity is None else net_of(for_negative, encoding.polarities),
        seen.variances, seen.idle, converter,
    )  # fmt: skip
    groups = encoding.groups(relative.shape[2])
    parts = tuple(Part(group, found.of_group(group)) for group in groups)
    return dataclasses.replace(found, parts=parts) if parts else found


def with_ranges(now: TileNow, core: CoreSpec, key: Key, amperes: Sequence[Calibrated]) -> TileNow:
    """Return a crossbar whose converters have these ranges.

    Parameters
    ----------
    now : TileNow
        Of any ranges, or none.
    core : CoreSpec
        The converters are those of its ``adc``.
    key : Key
        Of the core.
    amperes : sequence of Calibrated, amperes
        Full scale, or thresholds and values of columns, that calibration found for each part by
        itself; one of them without parts.

    Notes
    -----
    The encoding raises some full scales, so that codes of all parts add up by shifts.
    """
    columns = now.net.shape[1]
    if not now.parts:
        return dataclasses.replace(now, converter=converters.of_core(core, key, columns, *amperes))
    parts = []
    scales = amperes
    if len(now.parts) > 1:  # converters of single columns make all of an output
        scales = encodings.of(core).full_scales([float(one) for one in amperes])
    for part, own in zip(now.parts, scales, strict=True):
        adcs = converters.of_core(core, key, columns, own)
        adcs = adcs.of_columns(part.group.start, part.group.stop)
        parts.append(dataclasses.replace(part, now=dataclasses.replace(part.now, converter=adcs)))
    return dataclasses.replace(now, converter=None, parts=tuple(parts))


def by_polarity(elements: np.ndarray, polarities: int = 2) -> np.ndarray:
    """Return the sums over the elements of every polarity.

    Parameters
    ----------
    elements : (E, R, C) float
        Of the positive polarity first.
    polarities : int
        2, or 1 where cells have one polarity.

    Returns
    -------
    (P, R, C) float
        In the unit of ``elements``.
    """
    each = len(elements) // polarities
    parts = [elements[i * each : (i + 1) * each].sum(axis=0) for i in range(polarities)]
    return np.stack(parts)


def charge(now: TileNow, codes: np.ndarray) -> np.ndarray:
    """Return the noiseless net charge, (N, outputs) float64, of codes (N, R) of one conversion.

    Where several columns make one output it is their sum, with their factors. With bit-serial
    inputs and floating idle lines the codes are those of one plane. In a 4-phase read it is the
    sum over phases, with their signs, before anything is rounded.
    """
    codes = np.asarray(codes, np.float64)
    if now.net_negative is None:
        found = codes @ now.net.astype(np.float64)
    else:
        positive, negative = np.maximum(codes, 0), np.minimum(codes, 0)
        found = positive @ now.net.astype(np.float64)
        found = found + negative @ now.net_negative.astype(np.float64)
    found = found if now.idle is None else found + now.idle.correction(codes)
    return encodings.combined(found, [part.group for part in now.parts])


@dataclass(frozen=True)
class Phase:
    """Charges that one modulation brings to the converters.

    Attributes
    ----------
    sign : int
        With which its code enters the result.
    charge : (N, C) float64, input code x g / g_max
        Without noise.
    variance : (N, C) float64, charge squared
        Of the fresh read noise.
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
        for polarity, of_weight in enumerate((1, -1)[: len(now.polarities)]):
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
    """Return the codes of the outputs, (N, outputs) float64, of N input vectors.

    Where several columns make one output, the codes of all parts are added with their factors, in
    units of :func:`unit_charge`. A 4-phase read converts four times, every phase with noise,
    rounding and saturation of its own; the codes are added and subtracted. With bit-serial inputs
    so is every plane, and the codes are shifted and added: ``sum over b of 2^b ADC(plane_b)``.

    Parameters
    ----------
    now : TileNow
        The crossbar.
    codes : (N, R) float, dimensionless
        Input codes within +-core.dac.max_code; integers if bit-serial.
    core : CoreSpec
        Its read mode, input encoding and nominal converters.
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
    """Return the codes of :func:`read`, and the number of conversions beyond the range."""
    if now.parts:
        total, beyond = np.zeros(()), 0
        for part, factor in zip(now.parts, factors(now, core), strict=True):
            found, lost = read_counting(part.now, codes, core, generator)
            total, beyond = total + factor * found, beyond + lost
        return total, beyond
    if not inputs.reads_planes(core.dac):
        return _convert(now, codes, core, generator)
    total, beyond = np.zeros(()), 0
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
        converter = ColumnConverters(converters.adc(core))
    total, beyond = np.zeros((len(codes), now.net.shape[1])), 0
    for phase in phases(now, codes, core):
        variance = phase.variance + converter.noise(phase.charge)
        z = phase.charge
        if np.any(variance):
            z = z + np.sqrt(variance) * generator.standard_normal(z.shape)
        total += phase.sign * converter.codes(z)
        beyond += int(converter.beyond(z).sum())
    return total, beyond
