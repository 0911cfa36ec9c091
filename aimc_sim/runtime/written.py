"""Products whose second factor is written into devices, image by image.

Every image, and every head in it, has conductances of its own, drawn at the address (name of the
product, time, number of the image, head, slice, device, row, column), so that no result depends on
batches, threads or their order. Laws and clipping: :class:`aimc_sim.spec.WrittenSpec`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..chip.program import Program, WrittenProduct
from ..chip.state import Ranges
from ..core import inputs
from ..core.quantise import Quantiser
from ..digital import rounding
from ..digital.apply import Dims, evaluate
from ..kernels.written import normals
from ..rng import Key, Purpose
from ..spec import ChipSpec, RramWriteLaw, WrittenSpec
from .adc import AS_IT_IS, quantised


@dataclass(frozen=True, eq=False)
class Devices:
    """The devices and converters that a product is computed with.

    Attributes
    ----------
    spec : WrittenSpec
        Laws and levels of the devices.
    adc : Quantiser
        Converters, in units of the charge that a full-scale input makes of g_max.
    four_phases : bool
        Inputs and devices of each sign are read apart; else net currents.
    row_cuts : tuple of (int, int)
        Rows of the blocks whose partial sums are converted apart and added.
    """

    spec: WrittenSpec
    adc: Quantiser
    four_phases: bool
    row_cuts: tuple[tuple[int, int], ...]

    @property
    def exact(self) -> bool:
        """Whether matrices are written without any error, beyond their range as well."""
        spec = self.spec
        clipped = spec.clip_low is not None or spec.clip_high is not None
        return spec.law is None and spec.bits_per_cell is None and not clipped

    @property
    def floor(self) -> float:
        """Lowest conductance as a share of the largest."""
        return self.spec.g_min_siemens / self.spec.g_max_siemens


@dataclass(frozen=True, eq=False)
class WrittenCall:
    """A written product, ready to run.

    Attributes
    ----------
    step : WrittenProduct
        The step.
    array : Devices
        Its devices and converters.
    drive : Quantiser
        Codes of the factor that drives the rows.
    full_drive, full_value : float
        Magnitudes, in the network's own numbers, of a full-scale input and of the largest
        conductance.
    key : (2,) uint32
        Key of the draws.
    """

    step: WrittenProduct
    array: Devices
    drive: Quantiser
    full_drive: float
    full_value: float
    key: np.ndarray


@dataclass(frozen=True)
class Found:
    """The product of one image.

    Attributes
    ----------
    y : (H, T, C) float32
        In the network's own numbers, before the scale.
    saturated, conversions : int
        Conversions beyond the range, and all.
    largest : float
        Largest charge at a converter, in its unit.
    """

    y: Tensor
    saturated: int
    conversions: int
    largest: float = 0.0


def converter(spec: ChipSpec, amperes: float | None) -> Quantiser:
    """Return the law of the converters of written arrays, in units of charge.

    Parameters
    ----------
    spec : ChipSpec
        The machine: the converter of its cores, and the devices that are written.
    amperes : float or None
        Full scale that calibration chose; None: that of the specification.

    Notes
    -----
    The unit is the charge that a full-scale input makes of a device of g_max: the current of all
    pulses that are on together reaches the full scale of the converter at
    ``amperes / (v_read g_max)`` of them.
    """
    adc = spec.core.adc
    full = amperes if amperes is not None else adc.full_scale_amperes
    if full is None:
        return AS_IT_IS
    most = full / (spec.core.read.v_read_volts * spec.written.g_max_siemens)
    codes = adc.max_code
    if codes is None:
        return Quantiser(most, 1.0, False)
    return Quantiser(most / codes, codes, True)


def check(compiled: Program, spec: ChipSpec) -> None:
    """Raise ValueError if the core of a machine cannot read written arrays.

    Parameters
    ----------
    compiled : Program
        The placed program; without written products everything is accepted.
    spec : ChipSpec
        The machine.
    """
    if not compiled.written:
        return
    core, name = spec.core, compiled.written[0].name
    start = f"'{name}' is written into devices (mapping.products), but "
    if core.adc.kind != "symmetric":
        raise ValueError(
            f"{start}core.adc.kind = '{core.adc.kind}' has circuits per column that only arrays of "
            "weights have here; take a plain converter (core.adc.kind = 'symmetric') or leave "
            "products digital"
        )
    if inputs.is_bit_serial(core.dac):
        raise ValueError(
            f"{start}core.dac.encoding = 'bit-serial' reads arrays of weights only; take pulse "
            "widths (core.dac.encoding = 'pwm') or leave products digital"
        )
    if core.wires is not None:
        raise ValueError(
            f"{start}core.wires are those of arrays of weights; set core.wires to None or leave "
            "products digital"
        )


def build(
    step: WrittenProduct, spec: ChipSpec, ranges: Ranges, full: tuple[float, float], seed: int,
    t_seconds: float,
) -> WrittenCall:  # fmt: skip
    """Return a written product, ready to run.

    Parameters
    ----------
    step : WrittenProduct
        The step, with blocks.
    spec : ChipSpec
        The machine.
    ranges : Ranges
        Of the calibration: full scale of the converters, if they are calibrated.
    full : (float, float)
        Ranges of the factor that drives the rows and of the one that is written.
    seed : int
        Of the chip.
    t_seconds : float
        Time on the chip's clock.
    """
    amperes = ranges.adc_amperes.get(step.name)
    key = Key(seed).child(Purpose.WRITTEN, *step.name.encode()).at_time(t_seconds)
    return of_array(
        step,
        spec,
        full,
        np.array(key.words(), np.uint32),
        None if amperes is None else float(amperes),
    )


def of_array(
    step: WrittenProduct, spec: ChipSpec, full: tuple[float, float],
    key: np.ndarray | None = None, amperes: float | None = None,
) -> WrittenCall:  # fmt: skip
    """Return a written product with the key of its draws and a full scale of its converters.

    Parameters
    ----------
    step, spec, full
        As of :func:`build`.
    key : (2,) uint32, optional
        None: for arrays that are written without error.
    amperes : float, optional
        Full scale; None: that of the specification, or no limit.
    """
    own = spec.written
    adc = converter(spec, amperes)
    key = np.zeros(2, np.uint32) if key is None else key
    array = Devices(own, adc, spec.core.read.mode == "4-phase", step.row_cuts)
    limit = math.inf if own.input_bits is None else 2 ** (own.input_bits - 1) - 1
    step_size = full[0] / (1.0 if own.input_bits is None else limit)
    drive = Quantiser(step_size, limit, own.input_bits is not None)
    return WrittenCall(step, array, drive, full[0], full[1], key)


def run(
    call: WrittenCall, x: Tensor, matrix: Tensor, first_event: int, batch: int, sizes: Dims
) -> tuple[Tensor, Tensor]:
    """Return the product of two values, and its conversions.

    Parameters
    ----------
    call : WrittenCall
        The product.
    x : (..., T, R) float32
        Values that drive the rows, in the network's own numbers.
    matrix : (..., R, C) float32, or (..., C, R) if it is transposed
        Values that are written; their leading dimensions are those of ``x``, the images first.
    first_event : int
        Number of the first image.
    batch : int
        Images.
    sizes : mapping of str to tuple of int
        Sizes of the network's inputs, by which a scale may be computed.

    Returns
    -------
    y : (..., T, C) float32
        The product, in the network's own numbers.
    counted : (images, 2) int64
        Saturated conversions, and all, of every image.

    Raises
    ------
    ValueError
        If the matrices do not fit the blocks that were laid out.
    """
    if call.step.attrs["transposed"]:
        matrix = matrix.transpose(-1, -2)
    leading = x.shape[:-2]
    heads = math.prod(leading) // batch
    if heads * batch != math.prod(leading):
        raise ValueError(
            f"'{call.step.name}' reads {math.prod(leading)} matrices for a batch of {batch}; a "
            "reshape before it mixes the batch with other dimensions: keep the batch first"
        )
    _demand_room(call.step, heads, tuple(matrix.shape[-2:]))
    xs = x.reshape(batch, heads, *x.shape[-2:])
    matrices = matrix.reshape(batch, heads, *matrix.shape[-2:])
    found = [
        of_image(call, one, written, first_event + number)
        for number, (one, written) in enumerate(zip(xs, matrices, strict=True))
    ]
    y = torch.stack([one.y for one in found]).reshape(*leading, x.shape[-2], matrix.shape[-1])
    scale = call.step.attrs["scale"]
    if scale is not None:
        y = y * (matrix.shape[-2] ** -0.5 if scale == "rows" else evaluate(scale, sizes))
    return y, torch.tensor([[one.saturated, one.conversions] for one in found])


def largest_charge(call: WrittenCall, x: Tensor, matrix: Tensor) -> float:
    """Return the largest charge at a converter, in its unit; arguments as of :func:`run`.

    All matrices count as those of one image, so that ``call`` has to write without error.
    """
    if call.step.attrs["transposed"]:
        matrix = matrix.transpose(-1, -2)
    found = of_image(call, x.reshape(-1, *x.shape[-2:]), matrix.reshape(-1, *matrix.shape[-2:]), 0)
    return found.largest


def _demand_room(step: WrittenProduct, heads: int, sizes: tuple[int, ...]) -> None:
    rows, cols = step.largest
    if heads > step.heads or sizes[0] > rows or sizes[1] > cols:
        raise ValueError(
            f"'{step.name}' writes {heads} matrices of {sizes[0]} x {sizes[1]} values per image; "
            f"cores were laid out for {step.heads} of {rows} x {cols}: set written.max_tokens, or "
            "make the chip with an example as large as the largest input"
        )


def of_image(call: WrittenCall, x: Tensor, matrix: Tensor, event: int) -> Found:
    """Return the product of one image.

    Parameters
    ----------
    call : WrittenCall
        The product.
    x : (H, T, R) float32
        Values that drive the rows.
    matrix : (H, R, C) float32
        Values that are written.
    event : int
        Number of the image.
    """
    array, spec = call.array, call.array.spec
    codes = rounding.codes(x, call.drive.per_step, call.drive.limit, call.drive.rounds)
    drive = codes * (call.drive.step / call.full_drive)  # a full-scale input is 1
    g = conductances(matrix / call.full_value, array, event, call.key)
    span = 1 - array.floor
    base = 2 if spec.bits_per_cell is None else 2**spec.bits_per_cell
    total = torch.zeros((*x.shape[:-1], matrix.shape[-1]), device=x.device)
    saturated, conversions, largest = 0, 0, 0.0
    for number in range(spec.slices):
        for start, stop in array.row_cuts:
            rows = slice(start, min(stop, x.shape[-1]))
            if start >= x.shape[-1]:
                continue
            part, counts, most = _read(drive[..., rows], g[:, number, :, rows], array)
            total = total + part * float(base**number)
            saturated, conversions = saturated + counts[0], conversions + counts[1]
            largest = max(largest, most)
    # A device that is at g_max in one slice stands for (base - 1) of the largest magnitude.
    largest_code = spec.largest
    unit = 1.0 if largest_code is None else (base - 1) / largest_code
    y = total * (unit / span * call.full_drive * call.full_value)
    return Found(y, saturated, conversions, largest)


def conductances(u: Tensor, array: Devices, event: int, key: np.ndarray) -> Tensor:
    """Write the matrices of one image.

    Parameters
    ----------
    u : (H, R, C) float32
        Values as shares of the calibrated range.
    array : Devices
        Laws and levels.
    event : int
        Number of the image.
    key : (2,) uint32
        Key of the product.

    Returns
    -------
    (H, S, 2, R, C) float32
        Conductances as shares of the largest: of every slice the devices for positive and for
        negative values.
    """
    spec, floor = array.spec, array.floor
    size = clipped(u.abs() if array.exact else u.abs().clamp(max=1), array)
    if spec.largest is None:
        digits = size[:, None]
    else:
        assert spec.bits_per_cell is not None  # with a largest magnitude
        base = 2**spec.bits_per_cell
        left = (size * spec.largest).round()
        parts = []
        for _ in range(spec.slices):
            parts.append(torch.remainder(left, base) / (base - 1))
            left = torch.div(left, base, rounding_mode="floor")
        digits = torch.stack(parts, 1)
    sign = (u >= 0)[:, None]
    zero = torch.zeros_like(digits)
    pair = torch.stack([torch.where(sign, digits, zero), torch.where(sign, zero, digits)], 2)
    g = floor + pair * (1 - floor)
    if spec.law is None:
        return g
    noise = np.empty(tuple(g.shape), np.float32)
    normals(noise, event, key[0], key[1])
    return (g + deviation(g, spec) * torch.from_numpy(noise).to(g.device)).clamp(min=0)


def clipped(size: Tensor, array: Devices) -> Tensor:
    """Return magnitudes, as shares of the range, that are clipped as conductances (ClipFormer)."""
    spec, floor = array.spec, array.floor
    if spec.clip_low is None and spec.clip_high is None:
        return size
    g = floor + size * (1 - floor)
    if spec.clip_low is not None:
        g = (g - spec.clip_low * floor).clamp(min=floor)
    if spec.clip_high is not None:
        g = g.clamp(max=spec.clip_high)
    return (g - floor) / (1 - floor)


def deviation(g: Tensor, spec: WrittenSpec) -> Tensor:
    """Return the standard deviation of a write; conductances are shares of the largest."""
    law = spec.law
    assert law is not None  # there is an error
    if isinstance(law, RramWriteLaw):
        floor = spec.g_min_siemens / spec.g_max_siemens
        inside = ((g - floor) * (1 - g)).clamp(min=0)
        return inside.sqrt() * (law.gamma * law.sigma)
    c0, c1, c2 = (c * law.scale / law.fitted_siemens for c in law.polynomial_siemens)
    return c0 + g * (c1 + g * c2)


def _read(drive: Tensor, g: Tensor, array: Devices) -> tuple[Tensor, tuple[int, int], float]:
    """Return the sums of one slice and block, conversions beyond the range and all, and the most.

    Parameters
    ----------
    drive : (H, T, R) float32
        Inputs; 1 is full scale.
    g : (H, 2, R, C) float32
        Conductances as shares of the largest.
    array : Devices
        Converters and phases.
    """
    columns = g.shape[-1]
    positive, negative = drive.clamp(min=0), (-drive).clamp(min=0)
    driven = int((positive > 0).any(-1).sum()), int((negative > 0).any(-1).sum())
    if array.adc is AS_IT_IS:
        charge = torch.matmul(drive, g[:, 0] - g[:, 1])
        count = 2 * sum(driven) if array.four_phases else charge[..., 0].numel()
        most = float(charge.abs().max())
        if array.four_phases:
            parts = [torch.matmul(p, g[:, d]) for p in (positive, negative) for d in (0, 1)]
            most = max(float(part.max()) for part in parts)
        return charge, (0, count * columns), most
    if not array.four_phases:
        charge = torch.matmul(drive, g[:, 0] - g[:, 1])
        codes, beyond = quantised(charge, array.adc)
        most = float(charge.abs().max())
        return codes * array.adc.step, (int(beyond.sum()), charge.numel()), most
    total = torch.zeros((*drive.shape[:-1], columns), device=drive.device)
    saturated, conversions, most = 0, 0, 0.0
    for sign, part, vectors in ((1, positive, driven[0]), (-1, negative, driven[1])):
        if not vectors:
            continue
        for device in (0, 1):
            charge = torch.matmul(part, g[:, device])
            codes, beyond = quantised(charge, array.adc)
            total = total + codes * (sign * array.adc.step * (1 - 2 * device))
            saturated, conversions = saturated + int(beyond.sum()), conversions + vectors * columns
            most = max(most, float(charge.max()))
    return total, (saturated, conversions), most
