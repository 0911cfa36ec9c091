"""Reading a core: from input codes to the codes of its converters, or to the charges before.

A core in one conversion hands its charge to the fused pass (:mod:`.convert`), which converts it.
Where several conversions make one output (bit planes, phases of a 4-phase read) they are converted
here, one after the other, and the fused pass gets the sum of their codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..chip.program import AnalogLayer
from .blocks import convolve
from .calls import CoreCall
from .convert import Passes
from .phases import SIGNS, Phases
from .survey import Survey, bit_plane, survey

_FEWEST_ROWS = 4
"""Rows added to a part of a batch where sums would depend on how many it has, see :func:`pads`."""


@dataclass(frozen=True, eq=False)
class Events:
    """Numbers of the rows of a batch of maps: the noise of an MVM belongs to its number.

    Attributes
    ----------
    numbers : (rows,) int64
        Number of every row, the address of its noise.
    counted : (rows,) bool or None
        Rows that are not padding; None: all.
    """

    numbers: np.ndarray
    counted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def count(self) -> int:
        """How many rows are not padding."""
        return len(self) if self.counted is None else int(self.counted.sum())


@dataclass(frozen=True)
class Read:
    """The result of one core before its digital unit, or before its converters.

    Attributes
    ----------
    core : CoreCall
        Converters and registers that turn ``charge`` into outputs.
    charge : (B, C, H, W) float32
        Charge, or codes where they are converted already.
    variance : (B, C, H, W) in the format of variances, or None
        Variance of the noise in the charge, charge squared.
    conversions : (B,) int64
        Conversions of a current, per row.
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


@dataclass(eq=False)
class _Sums:
    """Codes of several conversions, added up.

    Attributes
    ----------
    codes : (B, C, H, W) float32, channels last
        Of the outputs.
    saturated, conversions : (B,) int64 or None
        Counted so far, by row.
    """

    codes: Tensor
    saturated: Tensor | None = None
    conversions: Tensor | None = None

    def count(self, saturated: Tensor, conversions: Tensor) -> None:
        """Add saturations and conversions of a read, (B,) int64 each."""
        if self.saturated is None or self.conversions is None:
            self.saturated, self.conversions = saturated, conversions
            return
        self.saturated = self.saturated + saturated
        self.conversions = self.conversions + conversions

    def read(self, core: CoreCall) -> Read:
        """Return the sums as the codes of a core."""
        assert self.conversions is not None  # something was read
        return Read(core, self.codes, None, self.conversions, None, self.saturated)


class Reader:
    """Reads cores; ``passes`` is one of the two twins of :mod:`.convert`."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes

    def read(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: Events, seen: Survey,
    ) -> Read:  # fmt: skip
        """Return the charges at the converters, or their codes where they convert several times.

        ``seen`` is a survey of ``part``.
        """
        if core.parts:
            return self._in_parts(layer, core, part, squares, events, seen)
        if core.planes:
            return self._bit_serial(layer, core, part, events)
        phases = core.phases
        if phases is None:
            charge, variance = self._charge(layer, core, part, squares, events, seen)
            return Read(core, charge, variance, _per_row(charge, 1))
        rows = len(events)
        both = seen.signed[:rows]
        if phases.guard is None:
            negative = bool(seen.signed.any())
            codes, saturated = self._by_phase(layer, core, part, squares, events, negative)
            count = _per_row(codes, phases.polarities * (1 + both.long()))
            return Read(core.converted, codes, None, count, None, saturated)
        charge, variance = self._charge(layer, core, part, squares, events, seen)
        each = phases.polarities * (1 + both.long())
        conversions = _per_row(charge, each)
        extra = None if variance is None else (each - 1) * phases.rounding
        apart = None
        if phases.bounded:
            apart = self._apart(layer, core, phases, part, charge, variance, seen)
        if apart is None or not bool(apart.any()):
            return Read(core, charge, variance, conversions, extra)
        codes = torch.zeros_like(charge)
        saturated = self._add_codes(core, charge, variance, events, codes, 1.0, extra)
        chosen = apart[:rows].nonzero()[:, 0]
        some = part[chosen]
        if pads(some):  # sums must not depend on how many there are
            some = torch.nn.functional.pad(some, (0, 0, 0, 0, 0, 0, 0, _FEWEST_ROWS))
        own = Events(events.numbers[chosen.numpy(force=True)])
        negative = bool(both[chosen].any())
        found, beyond = self._by_phase(layer, core, some, None, own, negative)
        codes[chosen], saturated[chosen] = found, beyond
        return Read(core.converted, codes, None, conversions, None, saturated)

    def _apart(
        self, layer: AnalogLayer, core: CoreCall, phases: Phases, part: Tensor, charge: Tensor,
        variance: Tensor | None, seen: Survey,
    ) -> Tensor:  # fmt: skip
        """Return the (B,) bool images of which some phase may come near its limit.

        ``charge`` and ``variance`` are those of the net charges of ``part``.
        """
        guard, rows = phases.guard, len(charge)
        assert guard is not None  # of images that are converted at once where it allows
        if not guard.spikes:
            return guard.exceeded(seen.spans)
        # Of one pixel the bound over columns is as dear as the charges, and no tighter.
        one = charge[0, 0].numel() == 1
        apart = guard.exceeded(seen.spans, columns=not one)[:rows]
        chosen = apart.nonzero()[:, 0]
        if len(chosen):
            every = len(chosen) == len(part)
            some = part if every else part[chosen]
            if pads(some):
                some = torch.nn.functional.pad(some, (0, 0, 0, 0, 0, 0, 0, _FEWEST_ROWS))
            first = convolve(layer, some, phases.kernel[: charge.shape[1]])[: len(chosen)]
            net, noise = (x if every or x is None else x[chosen] for x in (charge, variance))
            apart[chosen] = guard.charged(first, net if phases.polarities == 2 else None, noise)
        if one and bool(apart.any()):  # the noise of either polarity is less than that of both
            apart[apart.clone()] = guard.exceeded(tuple(x[:rows][apart] for x in seen.spans))
        return apart

    def _by_phase(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: Events, negative: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return the sums of the codes of four phases, and how many conversions saturated.

        Both polarities read one set of inputs: one product makes the charges of two phases.
        ``negative`` says whether some code of ``part`` is below zero.
        """
        phases = core.phases
        assert phases is not None  # of a core that is read in phases
        total: Tensor | None = None
        beyond: Tensor | int = 0
        rows, columns = len(events), len(core.gain)
        for sign in (1, -1) if negative else (1,):
            # Without currents nothing is read: the codes of a converter without one cancel between
            # the polarities.
            size = channels_last((sign * part).clamp(min=0)) if negative else part
            square = None
            if phases.variance is not None:
                given = squares is not None and not negative
                square = squares if given else size.square().to(phases.variance.dtype)
            charge = convolve(layer, size, phases.kernel)
            charge, variance = channels_last(charge), None
            if phases.floating is not None:
                phases.floating.add(partial(convolve, layer), size, charge, False)
            charge = charge[:rows]
            if square is not None and phases.variance is not None:
                variance = channels_last(convolve(layer, square, phases.variance)[:rows])
            if total is None:
                total = channels_last(torch.zeros_like(charge[:, :columns]))
            for index, (of, polarity) in enumerate(SIGNS):
                if of == sign and polarity < phases.polarities:
                    beyond = beyond + self.passes.add_codes(
                        charge, variance, phases.adc, phases.noise_keys[index], events.numbers,
                        polarity * columns, sign * (1.0 - 2.0 * polarity), total,
                    )  # fmt: skip
        assert total is not None  # some phase was read
        assert isinstance(beyond, Tensor)
        return total, beyond

    def _add_codes(
        self, core: CoreCall, charge: Tensor, variance: Tensor | None, events: Events,
        total: Tensor, factor: float, extra: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """Add the codes of a core's charges to sums of codes; return the saturations by row."""
        return self.passes.add_codes(
            charge, variance, core.adc, core.noise_key, events.numbers, 0, factor, total, extra
        )

    def _in_parts(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: Events, seen: Survey,
    ) -> Read:  # fmt: skip
        """Return the sum of the codes of all groups of columns, with their factors.

        A column that all outputs share is converted once: its noise and its rounding are common
        to all of them.
        """
        sums = None
        for own in core.parts:
            read = self.read(layer, own.core, part, squares, events, seen)
            if sums is None:
                size = (len(events), len(core.gain), *read.charge.shape[2:])
                sums = _Sums(channels_last(read.charge.new_zeros(size)))
            self._add_read(read, events, sums, own.factor)
        assert sums is not None  # a core has parts, or is not read like this
        return sums.read(core)

    def _add_read(self, read: Read, events: Events, sums: _Sums, factor: float) -> None:
        """Add the codes of a read to sums of codes; a single column is added to all of them."""
        shared = read.charge.shape[1] != sums.codes.shape[1]
        own = channels_last(torch.zeros_like(read.charge)) if shared else sums.codes
        times = 1.0 if shared else factor
        if read.saturated is None:
            saturated = self._add_codes(
                read.core, read.charge, read.variance, events, own, times, read.extra
            )
        else:
            own.add_(read.charge, alpha=times)
            saturated = read.saturated
        if shared:
            sums.codes.add_(own, alpha=factor)
        sums.count(saturated, read.conversions)

    def _bit_serial(
        self, layer: AnalogLayer, core: CoreCall, codes: Tensor, events: Events
    ) -> Read:
        """Return the shifted sum of every plane's ADC codes."""
        codes = channels_last(codes)
        sums = None
        for b, analog in enumerate(core.planes):
            wide = None if analog.variance is None else analog.variance.dtype
            plane, square = bit_plane(codes, b, wide)
            wanted = analog.phases is not None and analog.phases.bounded
            seen = survey(plane, window(layer, analog) if wanted else None)
            read = self.read(layer, analog, plane, square, events, seen)
            if sums is None:
                sums = _Sums(torch.zeros_like(read.charge))
            self._add_read(read, events, sums, 2.0**b)
        assert sums is not None  # there is a plane
        return sums.read(core)

    def _charge(
        self, layer: AnalogLayer, core: CoreCall, part: Tensor, squares: Tensor | None,
        events: Events, seen: Survey,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Return the charge and the variance of its noise that one conversion of inputs makes."""
        rows = len(events)
        charge = convolve(layer, part, core.kernel)
        if core.negative is not None and bool(seen.signed.any()):
            charge = charge + convolve(layer, part.clamp(max=0), core.negative)
        charge = channels_last(charge)
        if core.floating is not None:
            negative = bool(seen.signed.any())
            core.floating.add(partial(convolve, layer), part, charge, negative)
        charge = charge[:rows]
        variance = None
        if core.variance is not None:
            assert squares is not None  # the plan asks for them where a core has noise
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


def channels_last(x: Tensor) -> Tensor:
    """Return the same numbers with channels last in memory, where there are channels."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def pads(x: Tensor) -> bool:
    """Whether sums would depend on how many images there are: elsewhere than on a processor."""
    return not x.is_cpu
