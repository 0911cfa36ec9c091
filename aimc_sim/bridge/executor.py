"""Run a plan on images: the fast path.

Three exact identities carry it. A layer split over row blocks is a sum of smaller convolutions.
The independent read noise of the devices of a column is one Gaussian whose variance is a second
convolution, of the squared inputs with the devices' variances (bfloat16 is enough for a
variance). What follows the crossbar is one fused pass over the outputs.

Images go through in chunks that fit a memory budget; since every random draw is addressed by
the number of its image, chunks and threads do not change a result.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.converters import Quantiser
from ..kernels.epilogue import epilogue
from . import digital
from .blocks import as_maps, convolve
from .plan import CoreCall, DigitalCall, LayerCall, Plan

SMALLEST_BATCH = 4
"""Images per convolution at least (smaller chunks are padded with zeros): below, torch picks
kernels that sum in another order, and the last bit of a charge would depend on the batch."""

LINEAR_BATCH = 16
"""The same for linear layers: their batch is padded to a multiple of this."""

CHUNK_BYTES = 8 * 2**20
"""Aim for the activations of one layer of a chunk: what a processor's cache holds."""

_NO_LINK = np.zeros((1, 1, 1), np.float32)
_NO_BITS = np.zeros((1, 1, 1), np.uint16)


@dataclass
class Value:
    """Codes of a value, (B, C, H, W) or (B, C) float32, and their squares where needed."""

    codes: Tensor
    squares: Tensor | None = None


@dataclass
class Counts:
    """What was converted and what did not fit, per analog layer."""

    images: int = 0
    mvms: int = 0
    conversions: int = 0
    adc_saturated: int = 0
    output_clipped: int = 0


def run(
    plan: Plan, images: Tensor, first_event: int, counts: dict[str, Counts], chunk: int | None
) -> Tensor:
    """Return the network's outputs, in its own numbers.

    Parameters
    ----------
    plan : Plan
    images : (B, ...) float32 tensor
    first_event : int
        Number of the first image; the noise of an image belongs to its number.
    counts : dict
        Added to, by layer name.
    chunk : int or None
        Images at a time; None chooses by :data:`CHUNK_BYTES`.

    Returns
    -------
    (B, outputs) float32 tensor
    """
    outputs = []
    with torch.inference_mode():
        size = chunk or chunk_size(plan, images)
        for start in range(0, len(images), size):
            part = images[start : start + size]
            n = len(part)
            if n < SMALLEST_BATCH:
                padding = part.new_zeros((SMALLEST_BATCH - n, *part.shape[1:]))
                part = torch.cat([part, padding])
            outputs.append(_Run(plan, n, first_event + start, counts)(part)[:n])
    return torch.cat(outputs)


def chunk_size(plan: Plan, images: Tensor) -> int:
    """Return how many images go through at once."""
    pixels = images[0, 0].numel() if images.ndim == 4 else 1
    widest = max(call.layer.weight.shape[1] for call in plan.calls if isinstance(call, LayerCall))
    channels = min(widest, 16) if images.ndim == 4 else widest
    return int(max(SMALLEST_BATCH, min(1024, CHUNK_BYTES // (4 * pixels * channels))))


class _Run:
    """One chunk on its way through the network."""

    def __init__(self, plan: Plan, n: int, first_event: int, counts: dict[str, Counts]) -> None:
        self.plan, self.n, self.first_event, self.counts = plan, n, first_event, counts
        self.adc_row = plan.adc.kernel_row()

    def __call__(self, images: Tensor) -> Tensor:
        plan, self.batch = self.plan, len(images)
        first = Value(_quantise(images, plan.quantisers[plan.image.input]))
        values = {plan.image.input: first}
        for index, call in enumerate(plan.calls):
            step = call.layer if isinstance(call, LayerCall) else call.step
            if isinstance(call, LayerCall):
                values[step.name] = self._layer(call, values)
            else:
                values[step.name] = self._digital(call, values)
            for name in step.sources:
                if plan.last_use[name] == index:
                    values.pop(name, None)  # bounded memory: a value dies with its last reader
        output = values[plan.image.output].codes
        return output * plan.quantisers[plan.image.output].step

    def _digital(self, call: DigitalCall, values: dict[str, Value]) -> Value:
        step = call.step
        inputs = [values[name].codes for name in step.sources]
        if call.output is None:
            return Value(_channels_last(digital.apply(step.op, inputs, step.attrs)))
        inputs = [
            x * self.plan.quantisers[name].step
            for x, name in zip(inputs, step.sources, strict=True)
        ]
        return Value(_quantise(digital.apply(step.op, inputs, step.attrs), call.output))

    def _layer(self, call: LayerCall, values: dict[str, Value]) -> Value:
        layer = call.layer
        self.counts[layer.name].images += self.n
        source = values[layer.source]
        codes, squares = source.codes, source.squares
        if call.dac is not None:
            codes = _quantise(codes * self.plan.quantisers[layer.source].step, call.dac)
            squares = None
        residual = values[layer.residual].codes if layer.residual is not None else None
        x = _pad_linear(layer, as_maps(layer, codes))
        if any(core.variance is not None for chain in call.chains for core in chain):
            if squares is None:
                squares = codes.square().to(torch.bfloat16)
            squares = _pad_linear(layer, as_maps(layer, squares))
        out = Value(torch.empty(0))
        for chain in call.chains:
            link = None if residual is None else _pixels(as_maps(layer, residual))
            link_column = chain[0].block.col_start
            for core in chain:
                charge, variance = self._charge(layer, core, x, squares)
                is_tail = core is chain[-1]
                if is_tail and out.codes.numel() == 0:
                    out = self._allocate(layer, charge)
                target = out if is_tail else Value(torch.empty_like(charge))
                self._convert(
                    layer, core, charge, variance, link, link_column, target,
                    relu=layer.relu and is_tail, column=core.block.col_start if is_tail else 0,
                )  # fmt: skip
                link, link_column = _pixels(target.codes), 0
        if layer.kind == "linear":
            out.codes = out.codes[:, :, 0, 0]
            out.squares = None if out.squares is None else out.squares[:, :, 0, 0]
        return out

    def _allocate(self, layer, charge: Tensor) -> Value:
        shape = (len(charge), layer.weight.shape[1], *charge.shape[2:])
        squares = None
        if layer.name in self.plan.squared:
            squares = torch.empty(
                shape, dtype=torch.bfloat16, memory_format=torch.channels_last
            )
        return Value(torch.empty(shape, memory_format=torch.channels_last), squares)

    def _charge(self, layer, core: CoreCall, x: Tensor, squares: Tensor | None):
        part = x[:, core.channels]
        charge = convolve(layer, part, core.kernel)
        if core.negative is not None and part.amin() < 0:
            charge = charge + convolve(layer, part.clamp(max=0), core.negative)
        charge = _channels_last(charge[: self.batch])
        if core.variance is None:
            return charge, None
        variance = convolve(layer, squares[:, core.channels], core.variance)
        return charge, _channels_last(variance[: self.batch])

    def _convert(
        self, layer, core: CoreCall, charge: Tensor, variance: Tensor | None,
        link: np.ndarray | None, link_column: int, target: Value, *, relu: bool, column: int,
    ) -> None:  # fmt: skip
        counts = np.zeros((len(charge), 2), np.int64)
        epilogue(
            _pixels(charge),
            _NO_BITS if variance is None else _bits(variance),
            _NO_LINK if link is None else link,
            core.gain, core.offset, self.adc_row,
            np.float32(0.0 if link is None else core.link_gain),
            relu, core.output.kernel_row(), core.noise_key,
            self.first_event, link_column, column, _pixels(target.codes),
            _NO_BITS if target.squares is None else _bits(target.squares),
            counts,
        )  # fmt: skip
        total = self.counts[layer.name]
        total.mvms += self.n * charge.shape[2] * charge.shape[3]
        total.conversions += charge[: self.n].numel()
        total.adc_saturated += int(counts[: self.n, 0].sum())
        total.output_clipped += int(counts[: self.n, 1].sum())


def new_counts() -> dict[str, Counts]:
    """Return an empty table of counts."""
    return defaultdict(Counts)


def _quantise(values: Tensor, quantiser: Quantiser) -> Tensor:
    codes = values / quantiser.step
    if quantiser.rounds:
        codes = codes.round().clamp(-quantiser.limit, quantiser.limit)
    return _channels_last(codes)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def _pad_linear(layer, x: Tensor) -> Tensor:
    """Pad the batch of a linear layer, see :data:`LINEAR_BATCH`."""
    missing = -len(x) % LINEAR_BATCH if layer.kind == "linear" else 0
    return F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else x


def _pixels(maps: Tensor) -> np.ndarray:
    """Return channels-last maps as a (B, H W, C) array that shares their memory."""
    batch, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).view(batch, height * width, channels).numpy()


def _bits(maps: Tensor) -> np.ndarray:
    """Return channels-last bfloat16 maps as (B, H W, C) uint16 that shares their memory."""
    return _pixels(maps.view(torch.int16)).view(np.uint16)
