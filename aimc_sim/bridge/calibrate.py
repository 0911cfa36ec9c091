"""Calibration: run images through the network in float and note how large numbers become."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.image import AnalogLayer, ChipImage
from ..chip.state import Ranges, link_name
from ..core import gmax
from ..spec import ChipSpec
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
    method, percentile = spec.calibration.range_method, spec.calibration.percentile
    links = {link_name(block) for block in image.blocks}
    seen: dict[str, float] = {}
    kept: dict[str, list[Tensor]] = {}
    images = 0

    def see(name: str, value: Tensor) -> None:
        size = value.abs().flatten()
        if method == "mse":
            kept.setdefault(name, []).append(size[:: -(-size.numel() // MSE_SAMPLES)].clone())
        if method == "mse" or percentile == 100:
            largest = size.max().item()
        else:
            rank = max(1, round(percentile / 100 * size.numel()))
            largest = size.kthvalue(rank).values.item()
        seen[name] = max(seen.get(name, 0.0), largest)

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
    quantisers = value_quantisers(image, spec, ranges)

    def enter(layer: AnalogLayer, x: Tensor) -> None:
        rows = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        rows = rows.transpose(1, 2).reshape(-1, rows.shape[1])
        rows = rows[:: -(-len(rows) // G_MAX_INPUTS)]
        held, top = quantisers[layer.source], spec.core.dac.max_code
        full = held.step * held.limit if held.rounds else float(x.abs().max()) or 1.0
        codes = (rows / full * top).round().clamp(-top, top).numpy()
        for block in layer.blocks:
            part = slice(block.row_start, block.row_stop)
            weight = layer.weight[part, block.col_start : block.col_stop]
            found[link_name(block)] = gmax.largest_siemens(
                weight, spec.core, codes[:, part], current="peak"
            )

    with torch.inference_mode():
        float_walk(image, images, enter=enter)
    return found


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
    if bits is None or largest == 0:
        return largest
    limit = 2 ** (bits - 1) - 1
    candidates = largest * torch.linspace(0.2, 1.0, 81, dtype=torch.float64)
    errors = [
        float((magnitudes - (magnitudes / step).round().clamp(max=limit) * step).square().mean())
        for step in (candidates / limit).tolist()
    ]
    return float(candidates[min(range(len(errors)), key=errors.__getitem__)])
