"""Values through the pipeline: the schedule moves the values that the executor computes.

An image goes through a program firing by firing, in the order of a simulated schedule. A block
reads nothing but its own line buffers, whose slots are really overwritten: a slot is empty from
the time at which a producer claims it until the element arrives, and a block reads when its MVM
ends, the last time at which it may. Every firing is computed by the executor's own layer, on
the one window that the buffers give.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..chip.pipeline import PipelineReport, Schedule, simulate
from ..chip.program import AnalogLayer, Block
from ..mapping.shapes import value_shapes
from ..ops.geometry import pixels
from .calls import DigitalCall, LayerCall
from .chip import Chip
from .chunk import Run, quantise
from .convert import CodedValue
from .counts import new_counts
from .images import as_input
from .plan import Plan


def run_pipelined(
    chip: Chip, images: Tensor | np.ndarray, schedule: Schedule
) -> tuple[Tensor, PipelineReport]:
    """Run images through a chip in the firing order of a pipelined schedule.

    Parameters
    ----------
    chip : Chip
        Calibrated and programmed, without fresh read noise: that noise belongs to a pixel of a
        whole map, whose place a single window does not give.
    images : (B, ...) float
        Sent through back to back.
    schedule : Schedule
        Core-level and pipelined, of the chip's own program, from
        :func:`aimc_sim.mapping.schedule.schedule`.

    Returns
    -------
    outputs : (B, outputs) float32 tensor
        The outputs of ``chip(images)``, to the rounding of sums in another order.
    report : PipelineReport
        Of the run whose order was followed.

    Raises
    ------
    RuntimeError
        If a firing reads an element that is not in its buffer: not there yet, or overwritten.
    """
    x = as_input(chip.compiled, images)
    chip(x[:1], first_image=0)  # complains where something is not ready
    plan = chip.evaluation.plan(chip.compiled)
    count = _schedule_rows(schedule) * len(x)
    report = simulate(schedule, len(x), trace=count)
    with torch.inference_mode():
        outputs = _Replay(plan, schedule, x).run(report.record.trace[: report.record.totals[2]])
    return outputs, report


def _schedule_rows(schedule: Schedule) -> int:
    """Return the rows of a full trace per image."""
    return sum(2 * s.firings for s in schedule.stages) + sum(e.elements for e in schedule.edges)


class _Buffer:
    """A line buffer: slots that hold one element each, and whose it is."""

    def __init__(self, capacity: int, channels: int) -> None:
        self.slots = torch.full((capacity, channels), torch.nan)
        self.owner = np.full(capacity, -1, np.int64)
        self.under_way: dict[int, Tensor] = {}

    def claim(self, element: int, values: Tensor) -> None:
        slot = element % len(self.owner)
        self.owner[slot], self.slots[slot] = -1, torch.nan
        self.under_way[element] = values

    def arrive(self, element: int) -> None:
        slot = element % len(self.owner)
        self.owner[slot], self.slots[slot] = element, self.under_way.pop(element)

    def image(self, image: int, elements: int, size: tuple[int, int]) -> Tensor:
        """Return one image's map (channels, rows, columns), NaN where no element is held."""
        found = torch.full((elements, self.slots.shape[1]), torch.nan)
        mine = self.owner // elements == image
        found[self.owner[mine] % elements] = self.slots[torch.from_numpy(mine)]
        return found.T.reshape(-1, *size)


class _Replay:
    def __init__(self, plan: Plan, schedule: Schedule, images: Tensor) -> None:
        self.plan, self.schedule, self.images = plan, schedule, images
        self.shapes = value_shapes(plan.compiled, images.shape[1:])
        self.calls = {(c.layer if isinstance(c, LayerCall) else c.step).name: c for c in plan.calls}
        self.worker = Run(plan, 1, 0, new_counts())
        self.worker.batch = 1
        layers = {layer.name: layer for layer in plan.compiled.layers}
        self.where: dict[int, tuple[AnalogLayer, Block]] = {}
        for layer in layers.values():
            for block in layer.blocks:
                name = layer.name
                if len(layer.blocks) > 1:
                    name += f"[{block.row_index},{block.col_index}]"
                self.where[schedule.stage(name)] = layer, block
        self.number = {(layer.name, id(block)): s for s, (layer, block) in self.where.items()}
        self.buffers = [
            _Buffer(
                edge.elements * len(images) if edge.capacity is None else edge.capacity,
                self._channels(edge.producer).stop - self._channels(edge.producer).start,
            )
            for edge in schedule.edges
        ]
        self.windows: dict[tuple[int, int], Tensor] = {}
        self.sums: dict[tuple[int, int], Tensor] = {}
        quantiser = plan.quantisers[plan.compiled.input]
        self.codes = quantise(images, quantiser).reshape(len(images), images.shape[1], -1)
        self.outputs: dict[int, Tensor] = {}

    def _channels(self, stage: int) -> slice:
        if stage not in self.where:
            return slice(0, self.images.shape[1])
        block = self.where[stage][1]
        return slice(block.col_start, block.col_stop)

    def _origin(self, stage: int) -> str:
        return self.where[stage][0].name if stage in self.where else self.plan.compiled.input

    def run(self, trace: np.ndarray) -> Tensor:
        """Follow the trace; inputs are read when MVMs end, before anything begins then."""
        pending: list[tuple[int, int, int]] = []
        for number, unit, firing, begin, end in trace.tolist():
            while pending and pending[0][0] <= begin and unit < 2:
                self._read(*heapq.heappop(pending)[1:])
            if unit == 0:
                heapq.heappush(pending, (end, number, firing))
            elif unit == 1:
                self._stream(number, firing)
            else:
                self.buffers[number].arrive(firing)
        while pending:
            self._read(*heapq.heappop(pending)[1:])
        step = self.plan.quantisers[self.plan.compiled.output].step
        return torch.stack([self.outputs[i] for i in range(len(self.images))]) * step

    # ---- reading

    def _value(self, name: str, stage: int, image: int, kinds: tuple[str, ...]) -> Tensor:
        """Return a value's codes (1, ...) from a stage's buffers; NaN where they hold none."""
        call = self.calls.get(name)
        if call is not None and not isinstance(call, LayerCall):
            assert isinstance(call, DigitalCall)  # a pipeline has no loops
            sources = {
                s: CodedValue(self._value(s, stage, image, kinds)) for s in call.step.sources
            }
            return self.worker.digital(call, sources).codes
        shape = self.shapes[name]
        codes = torch.full((shape[0], *pixels(shape)), torch.nan)
        for e, edge in enumerate(self.schedule.edges):
            mine = edge.consumer == stage and self._origin(edge.producer) == name
            if mine and edge.kind in kinds:
                held = self.buffers[e].image(image, edge.elements, pixels(shape))
                codes[self._channels(edge.producer)] = held
        return codes.reshape(1, *shape)

    def _read(self, stage: int, firing: int) -> None:
        """Take the inputs of an MVM out of the stage's buffers."""
        image, pixel = divmod(firing, self.schedule.stages[stage].firings)
        if stage in self.where:
            layer, block = self.where[stage]
            maps = self._value(layer.source, stage, image, ("activation", "input"))
            window = _window(layer, maps, self.shapes[layer.name], pixel).flatten()
            rows = window[block.row_start : block.row_stop]
            self._check(rows, stage, firing)
            self.windows[stage, firing] = rows
        elif self.schedule.stages[stage].kind == "sink":
            output = self.plan.compiled.output
            shape = self.shapes[output]
            seen = self._value(output, stage, image, ("output",))[0].reshape(shape[0], -1)[:, pixel]
            self._check(seen, stage, firing)
            maps = self.outputs.setdefault(image, torch.full(shape, torch.nan))
            maps.reshape(shape[0], -1)[:, pixel] = seen

    def _check(self, values: Tensor, stage: int, firing: int) -> None:
        missing = int(values.isnan().sum())
        if missing:
            raise RuntimeError(
                f"firing {firing} of '{self.schedule.stages[stage].name}' reads {missing} values "
                "that are not in its line buffers: the schedule does not belong to this program"
            )

    # ---- computing

    def _stream(self, stage: int, firing: int) -> None:
        image, pixel = divmod(firing, self.schedule.stages[stage].firings)
        payload = None
        if self.schedule.stages[stage].kind == "source":
            payload = self.codes[image][:, pixel]
        elif stage in self.where:
            layer, block = self.where[stage]
            chain = layer.chains[block.col_index]
            if block is chain[0] and layer.residual is not None:
                seen = self._value(layer.residual, stage, image, ("residual",))[0]
                added = seen.reshape(len(seen), -1)[block.col_start : block.col_stop, pixel]
                self._check(added, stage, firing)
                self.sums[stage, firing] = added
            if block is chain[-1]:
                payload = self._compute(layer, chain, firing)
        if payload is None:
            payload = torch.zeros(1)  # a partial sum: the executor adds the chain's charges itself
        for e, edge in enumerate(self.schedule.edges):
            if edge.producer == stage:
                self.buffers[e].claim(firing, payload)

    def _compute(self, layer: AnalogLayer, chain: tuple[Block, ...], firing: int) -> Tensor:
        """Run the executor's layer on one window; return the chain's output codes (columns,)."""
        stages = [self.number[layer.name, id(block)] for block in chain]
        rows = torch.cat([self.windows.pop((s, firing)) for s in stages])
        window = rows.reshape(1, -1, *layer.kernel_size)
        columns = slice(chain[0].col_start, chain[0].col_stop)
        is_map = layer.kind == "conv2d"
        values = {layer.source: CodedValue(window if is_map else window.flatten(1))}
        # The window is all there is: the convolution runs without padding, at one place.
        changes: dict[str, Any] = {"padding": (0, 0), "dilation": (1, 1)}
        if layer.residual is not None:
            # Under a name of its own: a layer may add its own source.
            changes["residual"] = name = f"{layer.name} adds"
            added = torch.zeros(1, layer.weight.shape[1])
            added[0, columns] = self.sums.pop((stages[0], firing))
            values[name] = CodedValue(added[:, :, None, None] if is_map else added)
        call = self.calls[layer.name]
        assert isinstance(call, LayerCall)
        alone = replace(call, layer=replace(layer, **changes))
        return self.worker.layer(alone, values).codes.reshape(-1)[columns]


def _window(layer: AnalogLayer, maps: Tensor, shape: tuple[int, ...], pixel: int) -> Tensor:
    """Return the inputs of one output pixel, (channels, kernel rows, kernel columns)."""
    if layer.kind == "linear":
        return maps[0][:, None, None]
    y, x = divmod(pixel, shape[2])
    axes = zip((y, x), maps.shape[2:], layer.kernel_size, layer.stride, layer.padding,
               layer.dilation, strict=True)  # fmt: skip
    window = maps[0]
    for axis, (place, size, k, s, p, d) in enumerate(axes, start=1):
        taps = place * s - p + d * torch.arange(k)
        inside = (taps >= 0) & (taps < size)
        window = window.index_select(axis, taps.clamp(0, size - 1))
        shape_of_mask = [1, 1, 1]
        shape_of_mask[axis] = k
        window = torch.where(inside.view(shape_of_mask), window, torch.zeros(()))
    return window
