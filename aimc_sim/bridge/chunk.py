"""One chunk of images on its way through a plan.

Three exact identities carry it. A layer split over row blocks is a sum of smaller convolutions.
The independent read noise of the devices of a column is one Gaussian whose variance is a second
convolution, of the squared inputs with the devices' variances (bfloat16 is enough for a
variance). What follows the crossbar is one fused pass over the outputs.

Every random draw is addressed by the number of its image and its time step (:class:`Event`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ..chip.image import AnalogLayer, DigitalStep, leaves
from ..chip.operations import OPERATIONS, Sizes
from ..core.converters import Quantiser
from . import digital
from .blocks import ALIKE_ON_CPU, add_floating_lines, as_maps, convolve_alike, from_maps, repeated
from .calls import AS_IT_IS, CoreCall, DigitalCall, LayerCall, LoopCall
from .convert import Link, Value, convert_compiled, convert_plain
from .counts import Tally
from .phases import SIGNS, largest_codes, signed
from .plan import Plan
from .recurrent import Span, run_loop

FEWEST_ROWS = 4
"""Rows added to a part of a batch where sums would depend on how many it has, see :func:`pads`."""

TIME_STEP = 2**40
"""Event numbers between two time steps of a sequence; more images than anybody runs."""


@dataclass(frozen=True)
class Event:
    """Rows of a batch of maps whose event numbers follow each other.

    Attributes
    ----------
    start, rows : int
        First row, and rows.
    counted : int
        Rows that are not padding.
    first : int
        Event number of the first row.
    """

    start: int
    rows: int
    counted: int
    first: int


@dataclass(frozen=True)
class Read:
    """What one core makes of inputs before its digital unit, or before its converters.

    Attributes
    ----------
    core : CoreCall
        What turns ``charge`` into outputs.
    charge : (B, C, H, W) float32
        Charge, or codes where they are converted already.
    variance : the same shape or None
        Of the noise in the charge.
    saturated : (B,) int64 or None
        Conversions beyond the range, where they are converted already.
    conversions : (B,) int64
    """

    core: CoreCall
    charge: Tensor
    variance: Tensor | None
    saturated: Tensor | None = None
    conversions: Tensor | None = None


class Run:
    """One chunk on its way through the network."""

    def __init__(
        self, plan: Plan, n: int, first_event: int, counts: Tally,
        span: Span | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.n, self.first_event, self.counts = plan, n, first_event, counts
        self.span = Span() if span is None else span
        self.sizes: dict[str, tuple[int, ...]] = {}
        on_cpu = plan.device.type == "cpu"
        self.convert = convert_compiled if on_cpu else convert_plain

    def __call__(self, *images: Tensor) -> list[Tensor]:
        """Return what leaves the network, in its own numbers, leaf by leaf."""
        plan = self.plan
        self.batch = images[0].shape[plan.image.axis]
        values = {}
        for name, x in zip(plan.image.inputs, images, strict=True):
            values[name] = Value(quantise(x, plan.quantisers[name]))
            self.sizes[name] = tuple(x.shape)
        for index, call in enumerate(plan.calls):
            step = call.layer if isinstance(call, LayerCall) else call.step
            if isinstance(call, LayerCall):
                values[step.name] = self.layer(call, values)
            elif isinstance(call, LoopCall):
                values |= run_loop(self, call, values)
            else:
                values[step.name] = self.digital(call, values)
            self.sizes[step.name] = tuple(values[step.name].codes.shape)
            for name in step.sources:
                if plan.last_use[name] == index:
                    values.pop(name, None)  # bounded memory: a value dies with its last reader
        return [self.real(values[name].codes, name) for name, _ in leaves(plan.image.results)]

    def real(self, codes: Tensor, name: str) -> Tensor:
        """Return codes of a value in the network's own numbers."""
        step = self.plan.quantisers[name].step
        return codes if step == 1.0 else codes * step

    def digital(self, call: DigitalCall, values: dict[str, Value]) -> Value:
        """Run a digital step."""
        step = call.step
        inputs = [values[name].codes for name in step.sources]
        if call.output is not None:
            inputs = [self.real(x, name) for x, name in zip(inputs, step.sources, strict=True)]
        result = digital.apply(step.op, inputs, step.attrs, step.arrays, self.sizes)
        if result.device != self.plan.device:
            result = result.to(self.plan.device)
        self.count(step, [tuple(x.shape) for x in inputs], tuple(result.shape))
        if call.output is None:
            return Value(_channels_last(result))
        return Value(quantise(result, call.output))

    def count(self, step: DigitalStep, sources: list[Sizes], result: Sizes) -> None:
        """Count the operations of a digital step."""
        seen, share = self.counts[step.name], self.n / self.batch
        seen.images += self.n if self.span.start == 0 else 0
        seen.operations += share * OPERATIONS[step.op].operations(sources, result, step.attrs)

    def layer(self, call: LayerCall, values: dict[str, Value], time: int | None = None) -> Value:
        """Run a layer; inside a loop, ``time`` is the number of the time step."""
        layer = call.layer
        source = values[layer.source]
        codes, squares = source.codes, source.squares
        if call.dac is not None:
            codes = quantise(self.real(codes, layer.source), call.dac)
            squares = None
        timed = time is None and self.plan.image.recurrent and layer.kind == "linear"
        timed = timed and codes.ndim > 2
        x = self._maps(layer, codes, timed)
        events = self._events(layer, codes, x, timed, time)
        if call.needs_squares:
            if squares is None:
                squares = codes.square().to(torch.bfloat16)
            squares = self._maps(layer, squares, timed)
        seen = self.counts[layer.name]
        seen.magnitudes.append(codes.abs().sum(dtype=torch.float64))
        seen.inputs += codes.numel() * self.n / self.batch  # padding is zero
        out = Value(torch.empty(0))
        spans = largest_codes(x, _window(layer, call.chains[0][0])) if call.in_phases else ()
        for chain in call.chains:
            link = None
            for core in chain:
                part = x[:, core.channels]
                square = None if squares is None else squares[:, core.channels]
                own = tuple(codes[..., core.channels] for codes in spans)
                read = self._read(layer, core, part, square, events, own)
                charge = read.charge
                is_tail = core is chain[-1]
                if is_tail and out.codes.numel() == 0:
                    out = self._allocate(layer, charge)
                target = out if is_tail else Value(torch.empty_like(charge))
                column = core.block.col_start if is_tail else 0
                relu = layer.relu and is_tail
                if layer.residual is not None and core is chain[0]:
                    whole = charge[:1, :1].expand(-1, layer.weight.shape[1], -1, -1)
                    wanted = self._from_maps(
                        layer, whole.expand(len(charge), -1, -1, -1), codes, timed
                    )
                    added = repeated(values[layer.residual].codes, wanted.shape)
                    if added is None:
                        return self._added_behind(call, values, time)
                    maps = _channels_last(self._maps(layer, added, timed))
                    link = Link(maps, core.block.col_start)
                self._convert(read, link, relu, target, column, events)
                link = Link(target.codes, 0)
        if self.span.start == 0 and time in (None, 0):  # of a stream, the first piece
            self.counts[layer.name].images += self.n
        out.codes = self._from_maps(layer, out.codes, codes, timed)
        if out.squares is not None:
            out.squares = self._from_maps(layer, out.squares, codes, timed)
        return out

    def _added_behind(self, call: LayerCall, values: dict[str, Value], time: int | None) -> Value:
        """Run a layer whose output is repeated in the addition: no core adds more than it makes."""
        layer = call.layer
        chains = tuple(
            (*chain[:-1], dataclasses.replace(chain[-1], output=AS_IT_IS)) for chain in call.chains
        )
        alone = dataclasses.replace(layer, residual=None, relu=False)
        y = self.layer(dataclasses.replace(call, layer=alone, chains=chains), values, time).codes
        y = y + self.real(values[layer.residual].codes, layer.residual)
        return Value(
            quantise(y.clamp(min=0) if layer.relu else y, self.plan.quantisers[layer.name])
        )

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
        steps = maps[:, :, 0, 0].view(-1, self.batch, maps.shape[1]).transpose(0, 1)
        first = list(like.shape)
        first.insert(0, first.pop(layer.axis))
        y = steps.reshape(*first[:-1], maps.shape[1])
        return y.movedim(0, layer.axis) if layer.axis else y

    def _events(
        self, layer: AnalogLayer, codes: Tensor, x: Tensor, timed: bool, time: int | None
    ) -> list[Event]:
        """Return which maps belong to which event numbers; the noise of an MVM follows these.

        Where a network has merged other dimensions with the batch, an image has several numbers.
        """
        if timed:
            start, batch = self.span.start, self.batch
            count = codes.numel() // codes.shape[-1] // batch
            return [
                Event(t * batch, batch, self.n, self.first_event + (start + t) * TIME_STEP)
                for t in range(count)
            ]
        total = codes.shape[layer.axis]
        if total % self.batch:
            raise ValueError(
                f"layer '{layer.name}' reads {total} rows for a batch of {self.batch}; a reshape "
                "before it mixes the batch with other dimensions: keep the batch first"
            )
        several = total // self.batch
        first = self.first_event * several + (time or 0) * TIME_STEP
        return [Event(0, total, self.n * several, first)]

    def _convert(
        self, read: Read, link: Link | None, relu: bool, target: Value, column: int,
        events: list[Event],
    ) -> None:  # fmt: skip
        """Convert the charge of all events and count."""
        core, charge, variance = read.core, read.charge, read.variance
        total, pixels = self.counts[core.block.layer], charge.shape[2] * charge.shape[3]
        for event in events:
            rows = slice(event.start, event.start + event.rows)
            counts = self.convert(
                charge[rows], None if variance is None else variance[rows],
                None if link is None else Link(link.codes[rows], link.column), core,
                event.first, relu, target.rows(rows), column,
            )  # fmt: skip
            if read.saturated is not None:
                counts[:, 0] += read.saturated[rows]
            seen = torch.cat([counts, read.conversions[rows, None]], dim=1)
            total.misses.append(seen[: event.counted])
        mvms = pixels * sum(event.counted for event in events)
        total.mvms += mvms
        total.outputs += mvms * charge.shape[1]

    def _allocate(self, layer: AnalogLayer, charge: Tensor) -> Value:
        shape = (len(charge), layer.weight.shape[1], *charge.shape[2:])
        squares = None
        if layer.name in self.plan.squared:
            squares = torch.empty(
                shape, dtype=torch.bfloat16, memory_format=torch.channels_last, device=charge.device
            )
        codes = torch.empty(shape, memory_format=torch.channels_last, device=charge.device)
        return Value(codes, squares)

    def _read(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: list[Event], spans: tuple[Tensor, ...],
    ) -> Read:  # fmt: skip
        """Return what reaches the converters, or what they made of it where they work often."""
        if core.planes:
            return self._bit_serial(layer, core, part, events)
        if core.phases is None:
            charge, variance = self._charge(layer, core, part, squares, events)
            return Read(core, charge, variance, conversions=_per_row(charge, 1))
        apart = torch.ones(len(spans[0]), dtype=torch.bool, device=part.device)
        if core.phases.guard is not None:
            apart = core.phases.guard.exceeded(spans)
        both = signed(spans)
        rows = sum(event.rows for event in events)
        if not bool(apart.all()):
            charge, variance = self._charge(layer, core, part, squares, events)
            if variance is not None:
                hidden = (1 + 2 * both[:rows].float()) * core.phases.rounding
                variance = _channels_last(variance + hidden[:, None, None, None].to(variance.dtype))
            conversions = _per_row(charge, 2) * (1 + both[:rows].long())
            if not bool(apart.any()):
                return Read(core, charge, variance, conversions=conversions)
            codes, saturated = self._codes(core.converting, charge, variance, events)
            chosen = apart[:rows].nonzero()[:, 0]
            some = part[chosen]
            if pads(some):  # sums must not depend on how many there are
                some = torch.nn.functional.pad(some, (0, 0, 0, 0, 0, 0, 0, FEWEST_ROWS))
            found, beyond = self._by_phase(layer, core, some, _runs(events, chosen))
            codes[chosen], saturated[chosen] = found, beyond
        else:
            codes, saturated = self._by_phase(layer, core, part, events)
            conversions = _per_row(codes, 2) * (1 + both[:rows].long())
        return Read(core.converted, codes, None, saturated, conversions)

    def _by_phase(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, events: list[Event]
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of the codes of four phases, and how many conversions saturated."""
        phases, total, beyond = core.phases, None, None
        floating = phases.floating or (None, None)
        for index, (sign, polarity) in enumerate(SIGNS):
            size = (sign * part).clamp(min=0)
            if sign < 0 and not bool(size.any()):
                continue  # no current; what a converter makes of none cancels between the two
            square = None
            if phases.variances is not None:
                square = size.square().to(phases.variances[polarity].dtype)
            analog = dataclasses.replace(
                core.of_phases[index], kernel=phases.kernels[polarity],
                variance=phases.variances and phases.variances[polarity],
                floating=floating[polarity],
            )  # fmt: skip
            charge, variance = self._charge(layer, analog, _channels_last(size), square, events)
            codes, saturated = self._codes(analog, charge, variance, events)
            codes = codes if sign == 1 - 2 * polarity else codes.neg_()
            total = codes if total is None else total.add_(codes)
            beyond = saturated if beyond is None else beyond + saturated
        return total, beyond

    def _codes(
        self, core: CoreCall, charge: Tensor, variance: Tensor | None, events: list[Event]
    ) -> tuple[Tensor, Tensor]:
        """Return the codes of charges as they leave the converters, and the saturations by row."""
        one = Value(torch.empty_like(charge))
        counts = torch.cat([
            self.convert(
                charge[rows], None if variance is None else variance[rows], None, core,
                event.first, False, one.rows(rows), 0,
            )
            for event in events
            for rows in [slice(event.start, event.start + event.rows)]
        ])  # fmt: skip
        return one.codes, counts[:, 0]

    def _bit_serial(
        self, layer: AnalogLayer, core: CoreCall, codes: Tensor, events: list[Event]
    ) -> Read:
        """Return the shifted sum of every plane's ADC codes."""
        magnitude, sign = codes.abs().to(torch.int32), codes.sign()
        total = saturated = conversions = None
        for b, analog in enumerate(core.planes):
            plane = _channels_last((magnitude >> b & 1) * sign)
            square = None if analog.variance is None else plane.square().to(torch.bfloat16)
            window = _window(layer, analog)
            spans = largest_codes(plane, window) if analog.phases is not None else ()
            read = self._read(layer, analog, plane, square, events, spans)
            one, beyond = read.charge, read.saturated
            if beyond is None:
                one, beyond = self._codes(read.core, read.charge, read.variance, events)
            total = one if total is None else total.add_(one, alpha=2**b)
            saturated = beyond if saturated is None else saturated + beyond
            more = read.conversions
            conversions = more if conversions is None else conversions + more
        return Read(core, total, None, saturated, conversions)

    def _charge(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: list[Event],
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the charge and the variance of its noise that one conversion of inputs makes."""
        rows = sum(event.rows for event in events)
        charge = convolve_alike(layer, part, core.kernel)
        if core.negative is not None and part.amin() < 0:
            charge = charge + convolve_alike(layer, part.clamp(max=0), core.negative)
        if core.floating is not None:
            add_floating_lines(layer, core.floating, part, charge)
        charge = _channels_last(charge[:rows])
        variance = None
        if core.variance is not None:
            variance = _channels_last(convolve_alike(layer, squares, core.variance)[:rows])
        if core.adc.jitter is not None:
            more = core.adc.jitter[:, None, None] * (charge != 0)
            variance = more if variance is None else variance + more
            variance = _channels_last(variance.to(torch.bfloat16))
        return charge, variance


def _window(layer: AnalogLayer, core: CoreCall) -> tuple[int, int]:
    """Return how many rows and columns of inputs an output spans."""
    rows, cols = core.kernel.shape[2:]
    return (rows - 1) * layer.dilation[0] + 1, (cols - 1) * layer.dilation[1] + 1


def _per_row(maps: Tensor, times: int) -> Tensor:
    """Return a multiple of the elements of every row, (B,) int64."""
    count = times * maps[0].numel() if len(maps) else 0
    return torch.full((len(maps),), count, dtype=torch.int64, device=maps.device)


def _runs(events: list[Event], chosen: Tensor) -> list[Event]:
    """Return the events of chosen rows, which lie one after the other: runs of consecutive ones."""
    found: list[Event] = []
    for place, row in enumerate(chosen.tolist()):
        event = next(e for e in events if e.start <= row < e.start + e.rows)
        number = event.first + row - event.start
        last = found[-1] if found else None
        if last is not None and number == last.first + last.rows:
            found[-1] = dataclasses.replace(last, rows=last.rows + 1, counted=last.rows + 1)
        else:
            found.append(Event(place, 1, 1, number))
    return found


def quantise(values: Tensor, quantiser: Quantiser) -> Tensor:
    """Return the codes of real values; float tensors stay as they are where nothing rounds."""
    if quantiser is AS_IT_IS:
        return values
    codes = values / quantiser.step
    if quantiser.rounds:
        codes = codes.round().clamp(-quantiser.limit, quantiser.limit)
    return _channels_last(codes)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def pads(x: Tensor) -> bool:
    """Whether sums would depend on the batch without padding."""
    return not (x.is_cpu and ALIKE_ON_CPU)
