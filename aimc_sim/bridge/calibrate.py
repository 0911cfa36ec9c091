"""Calibration: run images through the network in float and note how large numbers become."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.image import AnalogLayer, ChipImage
from ..chip.state import Ranges, link_name
from ..spec import ChipSpec
from . import digital
from .blocks import as_maps, block_kernel, convolve


def float_walk(image: ChipImage, x: Tensor, see=lambda name, value: None) -> Tensor:
    """Run the image's network in float32 with exact weights.

    Parameters
    ----------
    image : ChipImage
    x : (B, ...) float32 tensor
    see : callable(name, tensor), optional
        Called with every value and every partial sum that would be turned into integers.

    Returns
    -------
    (B, outputs) float32 tensor
    """
    values = {image.input: x}
    see(image.input, x)
    for step in image.steps:
        if isinstance(step, AnalogLayer):
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

    with torch.inference_mode():
        for batch in batches:
            images += len(batch)
            if batch.ndim == 4:
                batch = batch.contiguous(memory_format=torch.channels_last)
            float_walk(image, batch, see)
        for name, parts in kept.items():
            bits = spec.core.ldpu.link_bits if name in links else spec.core.ldpu.output_bits
            seen[name] = best_range(torch.cat(parts), seen[name], bits)
    return Ranges(
        values={name: size for name, size in seen.items() if name not in links},
        links={name: size for name, size in seen.items() if name in links},
        images=images,
    )


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
