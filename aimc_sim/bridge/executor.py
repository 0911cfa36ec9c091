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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from ..chip.image import AnalogLayer
from ..core.converters import Quantiser
from . import digital
from .blocks import ALIKE_ON_CPU, add_floating_lines, as_maps, convolve_alike
from .calls import CoreCall, DigitalCall, LayerCall
from .convert import Link, Value, convert_compiled, convert_plain
from .plan import Plan

SMALLEST_BATCH = 4
"""Images per convolution at least, where :func:`.blocks.convolve_alike` cannot see to it (smaller
chunks are padded with zeros): below, torch picks kernels that sum in another order, and the last
bit of a charge would depend on the batch."""

LINEAR_BATCH = 16
"""The same for linear layers: there their batch is padded to a multiple of this."""

CHUNK_BYTES = {"cpu": 2 * 2**20, "other": 64 * 2**20}
"""Aim for the activations of one layer of a chunk: what a processor's cache holds, and on other
devices what keeps them busy."""


@dataclass
class Counts:
    """What was converted and what did not fit, per analog layer.

    ``mvms`` are those of cores; ``outputs`` what left their digital units; ``conversions`` what
    their ADCs made: as many, or one per bit plane. ``misses`` holds ADC saturations and output
    clippings, (n, 2) tensors: left on the device until somebody asks, so that counting does not
    stop a GPU.
    """

    images: int = 0
    mvms: int = 0
    outputs: int = 0
    conversions: int = 0
    misses: list[Tensor] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add what another chunk counted."""
        self.images += other.images
        self.mvms += other.mvms
        self.outputs += other.outputs
        self.conversions += other.conversions
        self.misses = [torch.cat(self.misses + other.misses).sum(0, keepdim=True)]

    def _total(self, column: int) -> int:
        return sum(int(misses[:, column].sum()) for misses in self.misses)

    @property
    def adc_saturated(self) -> int:
        """Conversions whose current was out of range."""
        return self._total(0)

    @property
    def output_clipped(self) -> int:
        """Outputs that did not fit their integer range."""
        return self._total(1)


Tally = dict[str, Counts]


def run(plan: Plan, images: Tensor, first_event: int, counts: Tally, chunk: int | None) -> Tensor:
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
    size = chunk or chunk_size(plan, images)
    starts = range(0, len(images), size)
    threads = torch.get_num_threads()

    def one(start: int) -> tuple[Tensor, Tally]:
        part = images[start : start + size]
        return _run_chunk(plan, part, first_event + start)

    if plan.device.type != "cpu" or min(threads, len(starts)) < 2:
        with torch.backends.cudnn.flags(allow_tf32=False):  # ten bits are too few for a charge
            results = [one(start) for start in starts]
    else:
        # A thread per chunk, each with single-threaded operations: nothing waits for anybody
        # between two layers, which beats threads inside operations.
        try:
            with ThreadPoolExecutor(
                threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                results = list(pool.map(one, starts))
        finally:
            torch.set_num_threads(threads)
    for _, tally in results:
        for name, seen in tally.items():
            counts[name].add(seen)
    return torch.cat([output for output, _ in results])


def _run_chunk(plan: Plan, part: Tensor, first_event: int) -> tuple[Tensor, Tally]:
    n = len(part)
    part = part.to(plan.device)
    if n < SMALLEST_BATCH and _pads(part):
        part = torch.cat([part, part.new_zeros((SMALLEST_BATCH - n, *part.shape[1:]))])
    tally = new_counts()
    with torch.inference_mode():
        output = _Run(plan, n, first_event, tally)(part)
    return output[:n].cpu(), tally


def chunk_size(plan: Plan, images: Tensor) -> int:
    """Return how many images go through at once."""
    pixels = images[0, 0].numel() if images.ndim == 4 else 1
    widest = max(call.layer.weight.shape[1] for call in plan.calls if isinstance(call, LayerCall))
    channels = min(widest, 16) if images.ndim == 4 else widest
    budget = CHUNK_BYTES.get(plan.device.type, CHUNK_BYTES["other"])
    return int(max(SMALLEST_BATCH, min(1024, budget // (4 * pixels * channels))))


class _Run:
    """One chunk on its way through the network."""

    def __init__(self, plan: Plan, n: int, first_event: int, counts: Tally) -> None:
        self.plan, self.n, self.first_event, self.counts = plan, n, first_event, counts
        on_cpu = plan.device.type == "cpu"
        self.convert = convert_compiled if on_cpu else convert_plain

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
        if call.needs_squares:
            if squares is None:
                squares = codes.square().to(torch.bfloat16)
            squares = _pad_linear(layer, as_maps(layer, squares))
        out = Value(torch.empty(0))
        for chain in call.chains:
            link = None
            if residual is not None:
                link = Link(as_maps(layer, residual), chain[0].block.col_start)
            for core in chain:
                part = x[:, core.channels]
                missed = None
                if core.planes:
                    charge, missed = self._bit_serial(layer, core, part)
                    variance = None
                else:
                    square = None if core.variance is None else squares[:, core.channels]
                    charge, variance = self._charge(layer, core, part, square)
                is_tail = core is chain[-1]
                if is_tail and out.codes.numel() == 0:
                    out = self._allocate(layer, charge)
                target = out if is_tail else Value(torch.empty_like(charge))
                column = core.block.col_start if is_tail else 0
                counts = self.convert(
                    charge, variance, link, core, self.first_event, layer.relu and is_tail,
                    target, column,
                )  # fmt: skip
                self._count(layer, charge, counts, core)
                if missed is not None:
                    self.counts[layer.name].misses.append(missed[: self.n])
                link = Link(target.codes, 0)
        if layer.kind == "linear":
            out.codes = out.codes[:, :, 0, 0]
            out.squares = None if out.squares is None else out.squares[:, :, 0, 0]
        return out

    def _allocate(self, layer: AnalogLayer, charge: Tensor) -> Value:
        shape = (len(charge), layer.weight.shape[1], *charge.shape[2:])
        squares = None
        if layer.name in self.plan.squared:
            squares = torch.empty(
                shape, dtype=torch.bfloat16, memory_format=torch.channels_last, device=charge.device
            )
        codes = torch.empty(shape, memory_format=torch.channels_last, device=charge.device)
        return Value(codes, squares)

    def _bit_serial(
        self, layer: AnalogLayer, core: CoreCall, codes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the shifted sum of every plane's ADC codes, and what the ADCs missed."""
        magnitude, sign = codes.abs().to(torch.int32), codes.sign()
        total = missed = None
        for b, analog in enumerate(core.planes):
            plane = _channels_last((magnitude >> b & 1) * sign)
            square = None if analog.variance is None else plane.square().to(torch.bfloat16)
            charge, variance = self._charge(layer, analog, plane, square)
            one = Value(torch.empty_like(charge))
            counts = self.convert(
                charge, variance, None, analog, self.first_event, False, one, 0
            )  # fmt: skip
            total = one.codes if total is None else total.add_(one.codes, alpha=2**b)
            missed = counts if missed is None else missed + counts
        return total, missed

    def _charge(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the charge and the variance of its noise that one conversion of inputs makes."""
        charge = convolve_alike(layer, part, core.kernel)
        if core.negative is not None and part.amin() < 0:
            charge = charge + convolve_alike(layer, part.clamp(max=0), core.negative)
        if core.floating is not None:
            add_floating_lines(layer, core.floating, part, charge)
        charge = self._unpadded(charge)
        variance = None
        if core.variance is not None:
            variance = convolve_alike(layer, squares, core.variance)
            variance = self._unpadded(variance)
        if core.oscillators is not None and core.oscillators.noisy:
            signed = int(part.amin() < 0)
            more = core.oscillators.rounding[signed][:, None, None].to(torch.bfloat16)
            variance = more.expand_as(charge) if variance is None else variance + more
            variance = _channels_last(variance)
        return charge, variance

    def _unpadded(self, x: Tensor) -> Tensor:
        return _channels_last(x if len(x) == self.batch else x[: self.batch])

    def _count(self, layer: AnalogLayer, charge: Tensor, counts: Tensor, core: CoreCall) -> None:
        total, (_, columns, height, width) = self.counts[layer.name], charge.shape
        outputs = self.n * columns * height * width
        total.mvms += self.n * height * width
        total.outputs += outputs
        total.conversions += outputs * max(1, len(core.planes))
        total.misses.append(counts[: self.n])


def new_counts() -> Tally:
    """Return an empty table of counts."""
    return defaultdict(Counts)


def _quantise(values: Tensor, quantiser: Quantiser) -> Tensor:
    codes = values / quantiser.step
    if quantiser.rounds:
        codes = codes.round().clamp(-quantiser.limit, quantiser.limit)
    return _channels_last(codes)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def _pads(x: Tensor) -> bool:
    """Whether sums would depend on the batch without padding."""
    return not (x.is_cpu and ALIKE_ON_CPU)


def _pad_linear(layer: AnalogLayer, x: Tensor) -> Tensor:
    """Pad the batch of a linear layer, see :data:`LINEAR_BATCH`."""
    missing = -len(x) % LINEAR_BATCH if layer.kind == "linear" and _pads(x) else 0
    return F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else x
