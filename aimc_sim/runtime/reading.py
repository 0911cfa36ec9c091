"""Reading a core: from input codes to what its converters make of them, or just before.

A core in one conversion hands its charge to the fused pass (:mod:`.convert`), which converts it.
Where several conversions make one output (bit planes, phases of a 4-phase read) they are converted
here, one after the other, and the fused pass gets the sum of their codes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..chip.image import AnalogLayer
from .blocks import add_floating_lines, convolve
from .calls import CoreCall
from .convert import Value
from .phases import SIGNS
from .survey import Survey, survey

FEWEST_ROWS = 4
"""Rows added to a part of a batch where sums would depend on how many it has, see :func:`pads`."""


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
    conversions : (B,) int64
    extra : (B,) float32 or None
        Variance that every charge of a row has beside that.
    saturated : (B,) int64 or None
        Conversions beyond the range, where they are converted already.
    """

    core: CoreCall
    charge: Tensor
    variance: Tensor | None
    conversions: Tensor
    extra: Tensor | None = None
    saturated: Tensor | None = None


class Reader:
    """Reads cores; ``convert`` is one of the two twins of :mod:`.convert`."""

    def __init__(self, convert: Callable[..., Tensor]) -> None:
        self.convert = convert

    def read(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: list[Event], seen: Survey,
    ) -> Read:  # fmt: skip
        """Return what reaches the converters, or what they made of it where they work often.

        ``seen`` is a survey of ``part``.
        """
        if core.planes:
            return self._bit_serial(layer, core, part, events)
        phases = core.phases
        if phases is None:
            charge, variance = self._charge(layer, core, part, squares, events)
            return Read(core, charge, variance, _per_row(charge, 1))
        rows = sum(event.rows for event in events)
        both = seen.signed[:rows]
        if phases.guard is None:
            codes, saturated = self._by_phase(layer, core, part, events)
            return Read(core.converted, codes, None, _per_row(codes, 2 + 2 * both), None, saturated)
        charge, variance = self._charge(layer, core, part, squares, events)
        conversions = _per_row(charge, 2 + 2 * both)
        extra = None if variance is None else (1 + 2 * both) * phases.rounding
        apart = phases.guard.exceeded(seen.spans) if phases.bounded else None
        if apart is None or not bool(apart.any()):
            return Read(core, charge, variance, conversions, extra)
        codes, saturated = self._codes(core.converting, charge, variance, events, extra)
        chosen = apart[:rows].nonzero()[:, 0]
        some = part[chosen]
        if pads(some):  # sums must not depend on how many there are
            some = torch.nn.functional.pad(some, (0, 0, 0, 0, 0, 0, 0, FEWEST_ROWS))
        found, beyond = self._by_phase(layer, core, some, _runs(events, chosen))
        codes[chosen], saturated[chosen] = found, beyond
        return Read(core.converted, codes, None, conversions, None, saturated)

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
            charge, variance = self._charge(layer, analog, channels_last(size), square, events)
            codes, saturated = self._codes(analog, charge, variance, events)
            codes = codes if sign == 1 - 2 * polarity else codes.neg_()
            total = codes if total is None else total.add_(codes)
            beyond = saturated if beyond is None else beyond + saturated
        return total, beyond

    def _codes(
        self, core: CoreCall, charge: Tensor, variance: Tensor | None, events: list[Event],
        extra: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return the codes of charges as they leave the converters, and the saturations by row."""
        one = Value(torch.empty_like(charge))
        counts = torch.cat([
            self.convert(
                charge[rows], None if variance is None else variance[rows], None, core,
                event.first, False, one.rows(rows), 0, None if extra is None else extra[rows],
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
            plane = channels_last((magnitude >> b & 1) * sign)
            square = None if analog.variance is None else plane.square().to(analog.variance.dtype)
            wanted = analog.phases is not None and analog.phases.bounded
            seen = survey(plane, window(layer, analog) if wanted else None)
            read = self.read(layer, analog, plane, square, events, seen)
            one, beyond = read.charge, read.saturated
            if beyond is None:
                one, beyond = self._codes(
                    read.core, read.charge, read.variance, events, read.extra
                )
            total = one if total is None else total.add_(one, alpha=2**b)
            saturated = beyond if saturated is None else saturated + beyond
            more = read.conversions
            conversions = more if conversions is None else conversions + more
        return Read(core, total, None, conversions, None, saturated)

    def _charge(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: list[Event],
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the charge and the variance of its noise that one conversion of inputs makes."""
        rows = sum(event.rows for event in events)
        charge = convolve(layer, part, core.kernel)
        if core.negative is not None and part.amin() < 0:
            charge = charge + convolve(layer, part.clamp(max=0), core.negative)
        if core.floating is not None:
            add_floating_lines(layer, core.floating, part, charge)
        charge = channels_last(charge[:rows])
        variance = None
        if core.variance is not None:
            variance = channels_last(convolve(layer, squares, core.variance)[:rows])
        return charge, variance


def window(layer: AnalogLayer, core: CoreCall) -> tuple[int, int]:
    """Return how many rows and columns of inputs an output spans."""
    rows, cols = core.kernel.shape[2:]
    return (rows - 1) * layer.dilation[0] + 1, (cols - 1) * layer.dilation[1] + 1


def _per_row(maps: Tensor, times: int | Tensor) -> Tensor:
    """Return multiples of the elements of every row, (B,) int64."""
    count = maps[0].numel() if len(maps) else 0
    if isinstance(times, Tensor):
        return times * count
    return torch.full((len(maps),), times * count, dtype=torch.int64, device=maps.device)


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


def channels_last(x: Tensor) -> Tensor:
    """Return the same numbers with channels last in memory, where there are channels."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def pads(x: Tensor) -> bool:
    """Whether sums would depend on how many images there are: elsewhere than on a processor."""
    return not x.is_cpu
