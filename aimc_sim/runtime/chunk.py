"""One chunk of images on its way through a plan.

Three exact identities carry it. A layer split over row blocks is a sum of smaller convolutions.
The independent read noise of the devices of a column is one Gaussian whose variance is a second
convolution, of the squared inputs with the devices' variances (two digits are enough for it, see
:mod:`aimc_sim.machine.formats`). The steps behind the crossbar are one fused pass over the outputs.

Every random draw is addressed by the number of its image and its time step (:class:`Events`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..arguments import MOST_IMAGES
from ..chip import membranes
from ..chip.program import AnalogLayer, DigitalStep, leaves
from ..core.quantise import Quantiser
from ..digital import rounding
from ..digital.apply import apply
from ..digital.cells import State
from ..ops import OPERATIONS, Sizes
from . import events, whole
from .adc import AS_IT_IS
from .blocks import as_maps, from_maps, repeated
from .calls import DigitalCall, LayerCall, LoopCall
from .convert import COMPILED, PLAIN, ArrivingCodes, CodedValue
from .counts import Tally
from .neurons import Neurons, in_memory
from .plan import Plan
from .reading import Events, Read, Reader, channels_last, window
from .recurrent import Span, run_loop
from .survey import survey
from .written import WrittenCall
from .written import run as run_written

_TIME_STEP = 2**40
"""Event numbers between two time steps of a sequence; more images than anybody runs."""


Around = Callable[["Run", LayerCall, dict[str, CodedValue], "int | None"], CodedValue]
"""Wrapper of a layer's computation, called with the run, the layer, values by name, time step."""


class Run:
    """One chunk on its way through the network.

    Parameters
    ----------
    plan : Plan
        The network at one evaluation time.
    n : int
        Images; the rest of the batch is padding.
    first_event : int
        Number of the first image.
    counts : Tally
        Added to.
    span : Span, optional
        Where in longer sequences the inputs lie.
    around : callable, optional
        Called in place of :meth:`compute` for every layer; may call it.
    """

    def __init__(
        self, plan: Plan, n: int, first_event: int, counts: Tally,
        span: Span | None = None, around: Around | None = None,
    ) -> None:  # fmt: skip
        self.around = around
        self.plan, self.n, self.first_event, self.counts = plan, n, first_event, counts
        self.span = Span() if span is None else span
        self.sizes: dict[str, tuple[int, ...]] = {}
        on_cpu = plan.device.type == "cpu"
        self.passes = COMPILED if on_cpu else PLAIN
        self.reader = Reader(self.passes)

    def __call__(self, *images: Tensor) -> list[Tensor]:
        """Return the results of the network, in its own numbers, leaf by leaf."""
        plan = self.plan
        axis = plan.compiled.axis
        self.batch = 1 if axis is None else images[0].shape[axis]
        values = {}
        for name, x in zip(plan.compiled.inputs, images, strict=True):
            values[name] = CodedValue(quantise(x, plan.quantisers[name]))
            self.sizes[name] = tuple(x.shape)
        for index, call in enumerate(plan.calls):
            step = call.layer if isinstance(call, LayerCall) else call.step
            if isinstance(call, LayerCall):
                values[step.name] = self.layer(call, values)
            elif isinstance(call, LoopCall):
                values |= self.loop(call, values)
            elif isinstance(call, WrittenCall):
                values[step.name] = self.written(call, values)
            else:
                values[step.name] = self.digital(call, values)
            for name in step.sources:
                if plan.last_use[name] == index:
                    values.pop(name, None)  # bounded memory: a value dies with its last reader
        return [plan.real(values[name].codes, name) for name, _ in leaves(plan.compiled.results)]

    def loop(self, call: LoopCall, values: dict[str, CodedValue]) -> dict[str, CodedValue]:
        """Run a recurrent step, time step by time step."""
        step = call.step
        found = run_loop(self.plan, self.span, call, values, self.layer, self._whole(call))
        inputs = tuple(values[step.sources[0]].codes.shape)
        outputs = (*inputs[:2], step.attrs["hidden"]) if "hidden" in step.attrs else (
            tuple(found[step.name].codes.shape)
        )  # fmt: skip
        self.count(step, [inputs], outputs)
        if step.op == "spiking" and membranes.binary(step.attrs["neuron"]):
            axis = int(step.attrs.get("axis", 0))
            spikes = self._own(found[step.name].codes, axis)
            self.counts[step.name].fired.append(events.of_neurons(spikes, 1 - axis))
        return found

    def _own(self, x: Tensor, axis: int) -> Tensor:
        """Return a value without padding; a network without a batch has none."""
        return x if self.plan.compiled.axis is None else x.narrow(axis, 0, self.n)

    def _whole(self, call: LoopCall) -> Callable[..., tuple[Tensor, State]] | None:
        """Return a function that runs all time steps of a recurrent step at once, or None."""
        if self.around is not None or self.passes is not whole.PASSES:
            return None
        if self.span.traces is not None:  # of every step
            return None
        prepared = self.plan.whole(call)
        if prepared is None:
            return None
        if isinstance(prepared, Neurons):
            return lambda _, inputs, state: prepared.run(inputs, state)

        def run(call: LoopCall, inputs: Tensor, state: State) -> tuple[Tensor, State]:
            assert call.hidden is not None  # prepared with it
            start, seen = self.span.start, self.counts[call.hidden.layer.name]
            seen.images += self.n if start == 0 else 0
            return whole.run(
                prepared, call, inputs, state, self.first_event, _TIME_STEP, start, seen
            )

        return run

    def digital(self, call: DigitalCall, values: dict[str, CodedValue]) -> CodedValue:
        """Run a digital step."""
        step = call.step
        inputs = [values[name].codes for name in step.sources]
        if call.output is not None:
            named = zip(inputs, step.sources, strict=True)
            inputs = [self.plan.real(x, name) for x, name in named]
        result = apply(step.op, inputs, step.attrs, step.arrays, self.sizes)
        if result.device != self.plan.device:
            result = result.to(self.plan.device)
        self.count(step, [tuple(x.shape) for x in inputs], tuple(result.shape))
        if step.op == "spiking_attention":
            own = [self._own(x, int(step.attrs["axis"])) for x in inputs]
            self.counts[step.name].attended.append(events.of_attention(own, step.attrs))
        if call.output is None:
            # Maps of all time steps stay in the order that convolutions and neurons leave them in.
            timed = (
                self.plan.compiled.recurrent and result.ndim > 4 and in_memory(result) is not None
            )
            return CodedValue(result if timed else channels_last(result))
        return CodedValue(quantise(result, call.output))

    def written(self, call: WrittenCall, values: dict[str, CodedValue]) -> CodedValue:
        """Run a product of which one factor is written into devices, image by image."""
        step = call.step
        x, matrix = (self.plan.real(values[name].codes, name) for name in step.sources)
        y, counted = run_written(call, x, matrix, self.first_event, self.batch, self.sizes)
        seen = self.counts[step.name]
        seen.images += self.n if self.span.start == 0 else 0
        heads = y[..., 0, 0].numel() // self.batch
        sizes = heads, x.shape[-2], x.shape[-1], y.shape[-1]
        seen.factors = tuple(a + self.n * b for a, b in zip(seen.factors, sizes, strict=True))
        seen.outputs += self.n * heads * x.shape[-2] * y.shape[-1]
        saturated, conversions = (int(part) for part in counted[: self.n].sum(0))
        seen.misses.append(torch.tensor([[saturated, 0, conversions]]))
        return CodedValue(y)

    def count(self, step: DigitalStep, sources: list[Sizes], result: Sizes) -> None:
        """Count the operations of a digital step."""
        seen, share = self.counts[step.name], self.n / self.batch
        seen.images += self.n if self.span.start == 0 else 0
        seen.operations += share * OPERATIONS[step.op].operations(sources, result, step.attrs)

    def layer(
        self, call: LayerCall, values: dict[str, CodedValue], time: int | None = None
    ) -> CodedValue:
        """Run a layer; inside a loop, ``time`` is the number of the time step."""
        if self.around is not None:
            return self.around(self, call, values, time)
        return self.compute(call, values, time)

    def compute(
        self, call: LayerCall, values: dict[str, CodedValue], time: int | None = None
    ) -> CodedValue:
        """Compute a layer on its cores, as :meth:`layer` does if nothing is put around it."""
        layer = call.layer
        source = values[layer.source]
        codes, squares = source.codes, source.squares
        if call.dac is not None:
            codes = quantise(self.plan.real(codes, layer.source), call.dac)
            squares = None
        timed = time is None and self.plan.compiled.recurrent and layer.kind == "linear"
        timed = timed and codes.ndim > 2
        x = self._maps(layer, codes, timed)
        numbered = self._events(layer, codes, timed, time)
        if call.needs_squares:
            if squares is None:
                squares = codes.square().to(self.plan.formats.variance)
            squares = self._maps(layer, squares, timed)
        seen = self.counts[layer.name]
        inputs = survey(x, window(layer, call.chains[0][0]) if call.bounded else None)
        if call.binary and bool(inputs.lowest.min() < 0):
            raise ValueError(
                f"layer '{layer.name}' reads numbers below -1/2, but its inputs are binary "
                "(core.dac.binary): 0 or 1; give it spikes, or set core.dac.binary to False for it"
            )
        if call.binary:
            counted = numbered.counted
            mask = None if counted is None else torch.from_numpy(counted)
            seen.driven.append(events.of_rows(call, x, mask))
        seen.magnitudes.append(inputs.magnitude)
        seen.inputs += codes.numel() * self.n / self.batch  # padding is zero
        out = CodedValue(torch.empty(0))
        for chain in call.chains:
            link = None
            for core in chain:
                part = x[:, core.channels]
                square = None if squares is None else squares[:, core.channels]
                seen_here = inputs.of(core.channels)
                read = self.reader.read(layer, core, part, square, numbered, seen_here)
                charge = read.charge
                is_tail = core is chain[-1]
                if is_tail and out.codes.numel() == 0:
                    out = self._allocate(layer, charge)
                target = out if is_tail else CodedValue(torch.empty_like(charge))
                column = core.block.col_start if is_tail else 0
                relu = layer.relu and is_tail
                if layer.residual is not None and core is chain[0]:
                    whole = charge[:1, :1].expand(-1, layer.weight.shape[1], -1, -1)
                    wanted = self._from_maps(
                        layer, whole.expand(len(charge), -1, -1, -1), codes, timed
                    )
                    added = repeated(layer, values[layer.residual].codes, wanted.shape)
                    maps = channels_last(self._maps(layer, added, timed))
                    link = ArrivingCodes(maps, core.block.col_start)
                self._convert(read, link, relu, target, column, numbered)
                link = ArrivingCodes(target.codes, 0)
        if self.span.start == 0 and time in (None, 0):  # of a stream, the first piece
            self.counts[layer.name].images += self.n
        out.codes = self._from_maps(layer, out.codes, codes, timed)
        if out.squares is not None:
            out.squares = self._from_maps(layer, out.squares, codes, timed)
        return out

    def _maps(self, layer: AnalogLayer, x: Tensor, timed: bool) -> Tensor:
        """Return the layer's input maps; every time step is a map of its own where timed."""
        if timed:
            x = x.movedim(layer.axis, 0) if layer.axis else x
            x = x.reshape(len(x), -1, x.shape[-1]).transpose(0, 1).reshape(-1, x.shape[-1])
            maps = x[:, :, None, None]
        else:
            maps = as_maps(layer, x)
        return maps

    def _from_maps(self, layer: AnalogLayer, maps: Tensor, like: Tensor, timed: bool) -> Tensor:
        if not timed:
            return from_maps(layer, maps, like.shape)
        steps = maps[:, :, 0, 0].view(-1, like.shape[layer.axis], maps.shape[1]).transpose(0, 1)
        first = list(like.shape)
        first.insert(0, first.pop(layer.axis))
        y = steps.reshape(*first[:-1], maps.shape[1])
        return y.movedim(0, layer.axis) if layer.axis else y

    def _events(self, layer: AnalogLayer, codes: Tensor, timed: bool, time: int | None) -> Events:
        """Return the numbers of a layer's maps.

        Where a network has merged other dimensions with the batch, an image has several numbers.
        """
        if timed:
            start, batch = self.span.start, self.batch
            several = codes.numel() // codes.shape[-1] // batch  # a step may hold several rows
            start *= several // codes.shape[1 - layer.axis] if start else 1
            steps = np.arange(start, start + several)
            own = np.arange(self.first_event, self.first_event + batch)
            numbers = (steps[:, None] * _TIME_STEP + own).reshape(-1)
            counted = np.tile(np.arange(batch) < self.n, len(steps))
            return Events(numbers, None if self.n == batch else counted)
        total = codes.shape[layer.axis]
        if total % self.batch:
            raise ValueError(
                f"layer '{layer.name}' reads {total} rows for a batch of {self.batch}; a reshape "
                "before it mixes the batch with other dimensions: keep the batch first"
            )
        several = total // self.batch
        # The images of AdaBS, above all others, stay there.
        bare = self.first_event % MOST_IMAGES
        if bare * several + total > MOST_IMAGES:
            raise ValueError(
                f"first_image = {bare} with layer '{layer.name}', which reads {several} rows of an "
                f"image: wanted a number below {MOST_IMAGES // several - self.batch}"
            )
        first = self.first_event - bare + bare * several + (time or 0) * _TIME_STEP
        numbers = np.arange(first, first + total)
        return Events(
            numbers, None if self.n == self.batch else np.arange(total) < self.n * several
        )

    def _convert(
        self, read: Read, link: ArrivingCodes | None, relu: bool, target: CodedValue, column: int,
        events: Events,
    ) -> None:  # fmt: skip
        """Convert the charge of all rows and count."""
        core, charge = read.core, read.charge
        total, pixels = self.counts[core.block.layer], charge.shape[2] * charge.shape[3]
        counts = self.passes.convert(
            charge, read.variance, link, core, events.numbers, relu, target, column, read.extra
        )
        if read.saturated is not None:
            counts[:, 0] += read.saturated
        seen = torch.cat([counts, read.conversions[:, None]], dim=1)
        if events.counted is not None:
            seen = seen[torch.from_numpy(events.counted).to(seen.device)]
        total.misses.append(seen)
        mvms = pixels * events.count
        total.mvms += mvms
        total.outputs += mvms * charge.shape[1]

    def _allocate(self, layer: AnalogLayer, charge: Tensor) -> CodedValue:
        shape = (len(charge), layer.weight.shape[1], *charge.shape[2:])
        squares = None
        if layer.name in self.plan.squared:
            dtype, like = self.plan.formats.variance, charge.device
            squares = torch.empty(
                shape, dtype=dtype, memory_format=torch.channels_last, device=like
            )
        codes = torch.empty(shape, memory_format=torch.channels_last, device=charge.device)
        return CodedValue(codes, squares)


def quantise(values: Tensor, quantiser: Quantiser) -> Tensor:
    """Return the codes of real values; float tensors stay as they are where nothing rounds."""
    if quantiser is AS_IT_IS:
        return values
    return channels_last(
        rounding.codes(values, quantiser.per_step, quantiser.limit, quantiser.rounds)
    )
