"""Calibration: run images through the network in float and note how large numbers become."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.image import AnalogLayer, Block, ChipImage
from ..chip.state import Ranges, link_name
from ..core import gmax, inputs, tile, weights
from ..spec import CalibrationSpec, ChipSpec
from . import digital
from .blocks import as_maps, block_kernel, convolve
from .plan import value_quantisers


def float_walk(
    image: ChipImage, x: Tensor, see=lambda name, value: None, enter=lambda layer, x: None
) -> Tensor:
    """Run the image's network in float32 with exact weights.

    Parameters
    ----------
    image : ChipImage
    x : (B, ...) float32 tensor
    see : callable(name, tensor), optional
        Called with every value and every partial sum that would be turned into integers.
    enter : callable(AnalogLayer, tensor), optional
        Called with every analog layer and its input maps (B, channels, H, W).

    Returns
    -------
    (B, outputs) float32 tensor
    """
    values = {image.input: x}
    see(image.input, x)
    for step in image.steps:
        if isinstance(step, AnalogLayer):
            enter(step, as_maps(step, values[step.source]))
            y = _float_layer(step, values, see)
        else:
            y = digital.apply(step.op, [values[name] for name in step.sources], step.attrs)
        values[step.name] = y
        if isinstance(step, AnalogLayer) or step.op not in digital.KEEPS_CODES:
            see(step.name, y)
    return values[image.output]


def _float_layer(layer: AnalogLayer, values: dict[str, Tensor], see) -> Tensor:
    x = as_maps(layer, values[layer.source])
    scale = torch.from_numpy(layer.scale)[:, None, None]
    offset = torch.from_numpy(layer.offset)[:, None, None]
    weight = torch.from_numpy(layer.weight)
    outputs = []
    for chain in layer.chains:
        cols = slice(chain[0].col_start, chain[0].col_stop)
        total = None
        if layer.residual is not None:
            total = as_maps(layer, values[layer.residual])[:, cols]
        for block in chain:
            matrix = weight[block.row_start : block.row_stop, cols]
            kernel, channels = block_kernel(layer, block, matrix)
            y = convolve(layer, x[:, channels], kernel) * scale[cols]
            total = y if total is None else total + y
            if block is not chain[-1]:
                see(link_name(block), total)
        outputs.append(total + offset[cols])
    y = torch.cat(outputs, dim=1)
    y = F.relu(y) if layer.relu else y
    return y[:, :, 0, 0] if layer.kind == "linear" else y


G_MAX_IMAGES, G_MAX_INPUTS = 16, 512
"""Calibration images and input vectors per layer behind the g_max of every core."""

MSE_SAMPLES = 2**16
"""Values of a batch that are kept for the search of a range, evenly spaced over the batch."""


def measure_all(image: ChipImage, batches: Iterable[Tensor], spec: ChipSpec) -> Ranges:
    """Return what :func:`measure` finds, with the full scale of every block's ADCs.

    That is :func:`adc_ranges_of_cores` on the last batch, if ``core.adc.range`` asks for it.
    """
    some: list[Tensor] = []

    def noted() -> Iterator[Tensor]:
        for batch in batches:
            some[:] = [batch[:G_MAX_IMAGES]]
            yield batch

    ranges, adc = measure(image, noted(), spec), spec.core.adc
    if not some or adc.kind != "symmetric" or adc.range == "fixed":
        return ranges
    amperes = adc_ranges_of_cores(image, some[0], spec, ranges)
    return dataclasses.replace(ranges, adc_amperes=amperes)


def with_adc_ranges(
    tiles: Mapping[int, tile.TileNow], image: ChipImage, amperes: Mapping[str, float]
) -> dict[int, tile.TileNow]:
    """Return crossbars, by tile, whose ADCs have these full scales, by name of the block."""
    found = dict(tiles)
    for block in image.blocks:
        if link_name(block) in amperes:
            own = amperes[link_name(block)]
            found[block.tile] = dataclasses.replace(found[block.tile], full_scale_amperes=own)
    return found


def measure(image: ChipImage, batches: Iterable[Tensor], spec: ChipSpec) -> Ranges:
    """Return the ranges of all integers, from images.

    Parameters
    ----------
    image : ChipImage
    batches : iterable of (B, ...) float32 tensors
    spec : ChipSpec
        ``calibration.range_method`` "percentile": a range holds that share of the magnitudes of
        a batch, in %, the largest over the batches is kept, 100 is the maximum. "mse": the range
        whose rounding and clipping at the width of its integers make the smallest squared error.

    Returns
    -------
    Ranges
    """
    method = spec.calibration.range_method
    links = {link_name(block) for block in image.blocks}
    seen: dict[str, float] = {}
    kept: dict[str, list[Tensor]] = {}
    images = 0

    def see(name: str, value: Tensor) -> None:
        size = value.abs().flatten()
        if method == "mse":
            kept.setdefault(name, []).append(size[:: -(-size.numel() // MSE_SAMPLES)].clone())
        seen[name] = max(seen.get(name, 0.0), _magnitude(size, spec.calibration))

    some = None
    with torch.inference_mode():
        for batch in batches:
            images += len(batch)
            some = batch[:G_MAX_IMAGES]
            if batch.ndim == 4:
                batch = batch.contiguous(memory_format=torch.channels_last)
            float_walk(image, batch, see)
        for name, parts in kept.items():
            bits = spec.core.ldpu.link_bits if name in links else spec.core.ldpu.output_bits
            seen[name] = best_range(torch.cat(parts), seen[name], bits)
    ranges = Ranges(
        values={name: size for name, size in seen.items() if name not in links},
        links={name: size for name, size in seen.items() if name in links},
        images=images,
    )
    if spec.core.g_max_rule == "bit-line" and some is not None:
        return dataclasses.replace(ranges, g_max_siemens=g_max_of_cores(image, some, spec, ranges))
    return ranges


def _magnitude(size: Tensor, calibration: CalibrationSpec) -> float:
    """Return the magnitude that holds the wanted share of (n,) magnitudes; all of them for MSE."""
    if calibration.range_method == "mse" or calibration.percentile == 100:
        return size.max().item()
    rank = max(1, round(calibration.percentile / 100 * size.numel()))
    return size.kthvalue(rank).values.item()


def g_max_of_cores(
    image: ChipImage, images: Tensor, spec: ChipSpec, ranges: Ranges
) -> dict[str, float]:
    """Return the g_max of every block, by name, that keeps its bit-line currents in range.

    Parameters
    ----------
    image : ChipImage
    images : (B, ...) float32 tensor
        A few; up to :data:`G_MAX_INPUTS` input vectors per layer are taken from them.
    spec : ChipSpec
    ranges : Ranges
    """
    found: dict[str, float] = {}

    def use(layer: AnalogLayer, block: Block, codes: np.ndarray) -> None:
        weight = layer.weight[block.row_start : block.row_stop, block.col_start : block.col_stop]
        found[link_name(block)] = gmax.largest_siemens(weight, spec.core, codes, current="peak")

    _drive(image, images, spec, ranges, use)
    return found


def adc_ranges_of_cores(
    image: ChipImage, images: Tensor, spec: ChipSpec, ranges: Ranges
) -> dict[str, float]:
    """Return the full-scale current of every block's ADCs, by name, in amperes.

    Parameters
    ----------
    image : ChipImage
    images : (B, ...) float32 tensor
        A few; up to :data:`G_MAX_INPUTS` input vectors per layer are taken from them.
    spec : ChipSpec
        ``calibration.range_method`` chooses among the currents as for activations, see
        :func:`measure`; ``core.adc.full_scale_amperes`` is the largest full scale there is.
    ranges : Ranges

    Notes
    -----
    Currents are those of the target conductances, before any device is written: the same
    register serves every programming. What devices and wires add is not foreseen and may clip.
    """
    found: dict[str, float] = {}
    core, calibration = spec.core, spec.calibration
    limit = core.adc.full_scale_amperes

    def use(layer: AnalogLayer, block: Block, codes: np.ndarray) -> None:
        name = link_name(block)
        weight = layer.weight[block.row_start : block.row_stop, block.col_start : block.col_stop]
        targets = weights.to_targets(weight, core, ranges.g_max_siemens.get(name))
        amperes = np.abs(codes @ (weight * targets.siemens_per_weight))
        amperes *= core.read.v_read_volts / inputs.largest_drive(core.dac)
        size = torch.from_numpy(amperes.astype(np.float32)).flatten()
        largest = _magnitude(size, calibration)
        if calibration.range_method == "mse":
            codes_left = core.adc.max_code
            if codes_left is not None and inputs.reads_planes(core.dac):
                codes_left = max(1, round(codes_left * inputs.plane_share(core.dac)))
            largest = smallest_error_range(size, largest, codes_left)
        if largest == 0:  # nothing flows
            largest = limit or core.pcm.g_max_siemens * core.read.v_read_volts
        found[name] = largest if limit is None else min(largest, limit)

    _drive(image, images, spec, ranges, use)
    return found


def _drive(
    image: ChipImage, images: Tensor, spec: ChipSpec, ranges: Ranges,
    use: Callable[[AnalogLayer, Block, np.ndarray], None],
) -> None:  # fmt: skip
    """Call ``use(layer, block, codes)`` with the (N, R) input codes of every block.

    With bit-serial inputs they are those of the planes, one after the other.
    """
    quantisers = value_quantisers(image, spec, ranges)

    def enter(layer: AnalogLayer, x: Tensor) -> None:
        rows = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        rows = rows.transpose(1, 2).reshape(-1, rows.shape[1])
        rows = rows[:: -(-len(rows) // G_MAX_INPUTS)]
        held, top = quantisers[layer.source], spec.core.dac.max_code
        full = held.step * held.limit if held.rounds else float(x.abs().max()) or 1.0
        codes = (rows / full * top).clamp(-top, top)
        codes = (codes if spec.core.dac.bits is None else codes.round()).numpy()
        if inputs.reads_planes(spec.core.dac):
            codes = np.concatenate(inputs.bit_planes(codes, spec.core.dac))
        for block in layer.blocks:
            use(layer, block, codes[:, block.row_start : block.row_stop])

    with torch.inference_mode():
        float_walk(image, images, enter=enter)


def best_range(magnitudes: Tensor, largest: float, bits: int | None) -> float:
    """Return the range with the smallest mean squared error of rounding and clipping.

    Parameters
    ----------
    magnitudes : (n,) float tensor
    largest : float
        Largest magnitude there is; the range lies between a fifth of it and all of it.
    bits : int or None
        Sign and magnitude; None rounds nothing, so nothing is gained by clipping.
    """
    return smallest_error_range(magnitudes, largest, None if bits is None else 2 ** (bits - 1) - 1)


def smallest_error_range(magnitudes: Tensor, largest: float, limit: int | None) -> float:
    """Return :func:`best_range` for codes up to ``limit``."""
    if limit is None or largest == 0:
        return largest
    candidates = largest * torch.linspace(0.2, 1.0, 81, dtype=torch.float64)
    errors = [
        float((magnitudes - (magnitudes / step).round().clamp(max=limit) * step).square().mean())
        for step in (candidates / limit).tolist()
    ]
    return float(candidates[min(range(len(errors)), key=errors.__getitem__)])
