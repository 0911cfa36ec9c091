"""Scheduling: from a placed program to the stages, edges and links of its pipeline.

Two ways to run a network. "pipelined": activations go from core to core over the links, every
layer works at once, on line buffers. "host": as fabricated (arXiv:2212.02872), activations leave
the chip after every layer; the host sends each MVM its inputs, window by window; a layer
begins when the host holds its whole input, and an image when the one before it is done. Partial
sums use the links in both.

The idealised model of :func:`tick_schedule` counts ticks: one layer, one stage; one MVM, one
tick; elements written in a tick can be read at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import numpy as np

from aimc_sim import arguments
from aimc_sim.chip.pipeline import Schedule, Stage, enough, with_buffers
from aimc_sim.chip.pipeline.build import Builder, core_stage, unit_stage
from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.mapping.control import NeedTable, reads_of_origins, table
from aimc_sim.mapping.control.reads import layer_reads
from aimc_sim.mapping.route import dataflow
from aimc_sim.mapping.shapes import value_shapes
from aimc_sim.mapping.steps import loops
from aimc_sim.ops.geometry import pixels
from aimc_sim.spec import ChipSpec

Mode = Literal["pipelined", "host"]
Buffers = Literal["enough"] | None | Mapping[str, int]


def schedule(
    compiled: Program,
    spec: ChipSpec,
    input_shape: Sequence[int],
    *,
    mode: Mode = "pipelined",
    buffers: Buffers = "enough",
) -> Schedule:
    """Return the core-level schedule of a program.

    Parameters
    ----------
    compiled : Program
        A placed and routed program.
    spec : ChipSpec
        The machine: times of MVMs, digital units, links and host are read.
    input_shape : sequence of int
        Shape of one input without the batch: (channels, rows, columns), (features,), or (steps,
        features) of a sequence, whose steps stream through one after the other.
    mode : {"pipelined", "host"}
        Whether activations go from core to core, or through the host after every layer.
    buffers : {"enough", None} or mapping of str to int
        Capacity of the line buffers: just enough for full speed
        (:func:`aimc_sim.chip.pipeline.enough`); no limit; or elements by name of an edge, or of
        the layer that reads, with enough for the rest. The host's memory has no limit.

    Returns
    -------
    Schedule
        Stages and edges of the pipeline; times in ps.

    Raises
    ------
    ValueError
        If ``mode`` or ``buffers`` is none of the choices, the input does not fit the network, or
        ``buffers`` names a layer or edge that does not exist.
    """
    arguments.choice(mode, "mode", ("pipelined", "host"))
    reads = _Reads(compiled, input_shape)
    if mode == "host":
        _refuse_steps(compiled, "mode = 'host'")
    plan = (_pipelined if mode == "pipelined" else _by_host)(compiled, spec, reads)
    return plan if mode == "host" else _buffered(plan, buffers)


def tick_schedule(
    compiled: Program,
    input_shape: Sequence[int],
    *,
    pixels_per_step: int | Mapping[str, int] = 1,
    buffers: Buffers = "enough",
) -> Schedule:
    """Return the idealised layer-level schedule: one MVM is one output pixel and one tick.

    Parameters
    ----------
    compiled : Program
        A program; its blocks and places do not matter.
    input_shape : sequence of int
        Shape of one input without the batch: (channels, rows, columns) or (features,).
    pixels_per_step : int or mapping of str to int
        Largest number of output pixels that a layer computes per tick, on as many copies of its
        weights, or that number by name of the layer, 1 where a layer is left out. Each copy
        begins when its own inputs are there. The source delivers as many pixels as the layers
        that read it compute.
    buffers : {"enough", None} or mapping of str to int
        Capacity of the line buffers, elements, as for :func:`schedule`.

    Returns
    -------
    Schedule
        Stages and edges of the pipeline; times in ticks. The source's first pixel takes tick 0.

    Raises
    ------
    ValueError
        If the input does not fit the network, or ``buffers`` is none of the choices or names a
        layer or edge that does not exist.
    """
    reads = _Reads(compiled, input_shape)
    _refuse_steps(compiled, "the model of ticks")

    def lanes(name: str) -> int:
        return pixels_per_step if isinstance(pixels_per_step, int) else pixels_per_step.get(name, 1)

    build = Builder()
    first = [lanes(x.name) for x in compiled.layers if compiled.input in reads.behind[x.source]]
    source = Stage("source", "source", reads.count(compiled.input), 1, lanes=max(first, default=1))
    build.made[compiled.input] = [build.stage(source)]
    for layer in compiled.layers:
        stage = Stage(layer.name, "core", reads.count(layer.name), 1, layer=layer.name,
                      lanes=lanes(layer.name))  # fmt: skip
        number = build.stage(stage)
        build.made[layer.name] = [number]
        for origin in reads.behind[layer.source]:
            needs = reads.of_layer(layer, origin)
            build.edge(build.made[origin][0], number, "activation", needs)
        if layer.residual is not None:
            for origin in reads.behind[layer.residual]:
                needs = reads.of_value(layer.residual, origin)
                build.edge(build.made[origin][0], number, "residual", needs)
    _sink(compiled, reads, build)
    return _buffered(build.done("mvm", "tick"), buffers)


def _refuse_steps(compiled: Program, what: str) -> None:
    """Raise ValueError if a program has time steps."""
    for name in loops(compiled):
        raise ValueError(
            f"{what} has no time steps, but '{name}' has a state that goes from step to step; use "
            "mode = 'pipelined'"
        )


class _Reads:
    """Shapes of all values, and the tables between them.

    Parameters
    ----------
    compiled : Program
        A program.
    input_shape : sequence of int
        Shape of one input without the batch.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Shape of every value.
    behind : dict of str to dict of str to tuple of Reads
        Relations between every value and the layers and inputs behind it.
    loops : dict of str to DigitalStep
        Recurrent steps by name.
    """

    def __init__(self, compiled: Program, input_shape: Sequence[int]) -> None:
        self.shapes = value_shapes(compiled, input_shape)
        for layer in compiled.layers:
            if layer.patch > 1:
                layer.check_patch(*pixels(self.shapes[layer.source]))
        self.behind = reads_of_origins(compiled, self.shapes)
        self._tables: dict[tuple[str, ...], NeedTable] = {}
        self.loops = loops(compiled)

    def count(self, value: str) -> int:
        """Return the number of pixels of a value."""
        return prod(pixels(self.shapes[value]))

    def of_layer(self, layer: AnalogLayer, origin: str) -> NeedTable:
        """Return the table of the MVMs of a layer and an origin behind its source."""
        if ("", layer.name, origin) not in self._tables:
            outer = layer_reads(layer, self.shapes[layer.source], self.shapes[layer.name])
            paths = (outer.after(inner) for inner in self.behind[layer.source][origin])
            self._tables["", layer.name, origin] = table(paths)
        return self._tables["", layer.name, origin]

    def of_value(self, value: str, origin: str) -> NeedTable:
        """Return the table of the pixels of a value and an origin behind it."""
        if (value, origin) not in self._tables:
            self._tables[value, origin] = table(self.behind[value][origin])
        return self._tables[value, origin]

    def unit_behind(self, value: str, layer: str) -> str | None:
        """Return the recurrent step between a layer and a value that reads its results, or None."""
        for name in self.behind[value]:
            step = self.loops.get(name)
            if step is not None and (
                layer in self.behind[step.sources[0]]
                or self.unit_behind(step.sources[0], layer) is not None
            ):
                return name
        return None

    def step_before(self, loop: str) -> NeedTable:
        """Return the table of MVMs that read the outputs of the step before, none at the first."""
        count = self.count(loop)
        need = np.arange(count, dtype=np.int64)
        free = need.copy()
        free[-1] = count  # nobody reads the last one
        return NeedTable(count, need, free)

    def whole(self, value: str, firings: int) -> NeedTable:
        """Return the table of a consumer whose every firing needs all of a value."""
        elements = self.count(value)
        free = np.zeros(firings, np.int64)
        free[-1] = elements
        return NeedTable(elements, np.full(firings, elements, np.int64), free)


def _input_bytes(layer: AnalogLayer, rows: int) -> int:
    """Return the bytes per input pixel of a block with a number of weight rows."""
    return -(-rows // prod(layer.kernel_size))


def _pipelined(compiled: Program, spec: ChipSpec, reads: _Reads) -> Schedule:
    """Return the schedule in which all layers work at once."""
    build = Builder(spec)
    shape = reads.shapes[compiled.input]
    build.made[compiled.input] = [
        build.stage(
            Stage("source", "source", reads.count(compiled.input), outputs=shape[0],
                  output_ps=build.host_byte_ps, latency_ps=build.host_latency_ps)
        )
    ]  # fmt: skip
    _cores(compiled, spec, reads, build)
    _into_units(compiled, reads, build)
    for layer in compiled.layers:
        for block in layer.blocks if compiled.input in reads.behind[layer.source] else ():
            build.edge(0, build.numbers[layer.name, block], "input",
                       reads.of_layer(layer, compiled.input),
                       _input_bytes(layer, block.shape[0]))  # fmt: skip
        if layer.residual is not None and compiled.input in reads.behind[layer.residual]:
            needs = reads.of_value(layer.residual, compiled.input)
            for chain in layer.chains:
                build.edge(0, build.numbers[layer.name, chain[0]], "residual", needs,
                           chain[0].shape[1], joins="ldpu")  # fmt: skip
    _flows(compiled, reads, build, ("activation", "residual", "partial_sum"))
    _sink(compiled, reads, build, build.to_host)
    return build.done()


def _cores(compiled: Program, spec: ChipSpec, reads: _Reads, build: Builder) -> None:
    """Add a stage for every block, and for the digital unit of every recurrent step."""
    for step in compiled.steps:
        if not isinstance(step, AnalogLayer):
            if step.name in reads.loops:
                build.made[step.name] = [build.stage(_unit(compiled, spec, reads, build, step))]
            continue
        own = spec.for_layer(step.owner)
        for block in step.blocks:
            name, count = build.block_name(step, block), reads.count(step.name)
            stage = core_stage(
                name, own, block.shape[1], count, block.core, step.name, block.footprint[1]
            )
            build.numbers[step.name, block] = build.stage(stage)
        build.made[step.name] = [build.numbers[step.name, c[-1]] for c in step.chains]


def _unit(
    compiled: Program, spec: ChipSpec, reads: _Reads, build: Builder, step: DigitalStep
) -> Stage:
    """Return the stage of the digital unit of a recurrent step."""
    behind = reads.behind[step.sources[0]]
    widest = max(build.stages[number].outputs for name in behind for number in build.made[name])
    local = step.op == "spiking" and spec.cost.membrane_unit == "local"
    near = [layer for layer in compiled.layers if layer.loop == step.name or layer.name in behind]
    own = spec.for_layer(near[-1].owner) if local and near else spec
    outputs, count = reads.shapes[step.name][0], reads.count(step.name)
    return unit_stage(step.name, own, outputs, count, widest if local else None)


def _into_units(compiled: Program, reads: _Reads, build: Builder) -> None:
    """Add the edges of sums into the digital units of recurrent steps.

    A unit lies where the sums of its inputs end; the way to it takes no link, as in the program's
    transfers. It keeps one image's state: its matrix begins an image when the last outputs of the
    image before have come back.
    """
    layers = {layer.name: layer for layer in compiled.layers}
    for name, step in reads.loops.items():
        hidden, source = layers.get(step.attrs["layers"].get("hh", "")), step.sources[0]
        found = []
        if hidden is None or hidden.residual != source:
            found += [(origin, reads.of_value(source, origin)) for origin in reads.behind[source]]
        if hidden is not None:
            found.append((hidden.name, reads.of_value(hidden.name, hidden.name)))
        for origin, needs in found:
            for producer in build.made[origin]:
                build.edge(producer, build.made[name][0], "partial_sum", needs, joins="ldpu")


def _flows(compiled: Program, reads: _Reads, build: Builder, kinds: Sequence[str]) -> None:
    """Add the edges between blocks, over the links of the program's transfers."""
    layers = {layer.name: layer for layer in compiled.layers}
    blocks = compiled.blocks
    for flow, transfer in zip(dataflow(compiled.steps), compiled.transfers, strict=True):
        if flow.kind not in kinds:
            continue
        producer, consumer = blocks[flow.producer], blocks[flow.consumer]
        layer = layers[flow.reader]
        if flow.kind == "activation" and layer.loop is not None:
            build.edge(
                build.made[layer.loop][0], build.numbers[flow.reader, consumer], "feedback",
                reads.step_before(layer.loop), flow.channels, build.links_of(transfer.route),
            )  # fmt: skip
            continue
        if flow.kind == "activation":
            unit = reads.unit_behind(layer.source, flow.value)
            if unit is not None:
                build.edge(
                    build.made[unit][0], build.numbers[flow.reader, consumer], flow.kind,
                    reads.of_layer(layer, unit), flow.channels, build.links_of(transfer.route),
                )  # fmt: skip
                continue
            needs = reads.of_layer(layer, flow.value)
        elif flow.kind == "residual":
            assert layer.residual is not None  # the flow was made for it
            needs = reads.of_value(layer.residual, flow.value)
        else:
            needs = reads.of_value(layer.name, layer.name)
        build.edge(
            build.numbers[flow.value, producer], build.numbers[flow.reader, consumer],
            flow.kind, needs,
            flow.channels, build.links_of(transfer.route),
            "mvm" if flow.kind == "activation" else "ldpu",
        )  # fmt: skip


def _sink(compiled: Program, reads: _Reads, build: Builder, route: Sequence[int] = ()) -> None:
    """Collect the network's output; digital steps behind the last layer cost no time."""
    sink = build.stage(Stage("sink", "sink", reads.count(compiled.output)))
    for origin in reads.behind[compiled.output]:
        for producer in build.made[origin]:
            size = max(1, build.stages[producer].outputs)
            needs = reads.of_value(compiled.output, origin)
            build.edge(producer, sink, "output", needs, size,
                       route if origin != compiled.input else ())  # fmt: skip


def _by_host(compiled: Program, spec: ChipSpec, reads: _Reads) -> Schedule:
    """Return the schedule in which layers work in turn, with inputs from the host."""
    build = Builder(spec)
    source = build.stage(Stage("source", "source", reads.count(compiled.input)))
    build.made[compiled.input] = [source]
    for layer in compiled.layers:
        firings = reads.count(layer.name)
        host = build.stage(Stage(f"host > {layer.name}", "host", firings))
        for origin in {**reads.behind[layer.source], **reads.behind.get(layer.residual or "", {})}:
            for producer in build.made[origin]:
                size = max(1, build.stages[producer].outputs)
                build.edge(producer, host, "activation", reads.whole(origin, firings), size,
                           build.to_host if producer != source else ())  # fmt: skip
        for block in layer.blocks:
            name = build.block_name(layer, block)
            stage = core_stage(
                name,
                spec.for_layer(layer.owner),
                block.shape[1],
                firings,
                block.core,
                layer.name,
                block.footprint[1],
            )
            build.numbers[layer.name, block] = build.stage(stage)
        one_by_one = reads.of_value(layer.name, layer.name)
        for block in layer.blocks:
            build.edge(host, build.numbers[layer.name, block], "input", one_by_one, block.shape[0],
                       build.from_host)  # fmt: skip
        for chain in layer.chains if layer.residual is not None else ():
            build.edge(host, build.numbers[layer.name, chain[0]], "residual", one_by_one,
                       chain[0].shape[1],
                       build.from_host, "ldpu")  # fmt: skip
        build.made[layer.name] = [build.numbers[layer.name, c[-1]] for c in layer.chains]
    _flows(compiled, reads, build, ("partial_sum",))
    _sink(compiled, reads, build, build.to_host)
    return build.done(sequential=True)


def _buffered(plan: Schedule, buffers: Buffers) -> Schedule:
    """Return a schedule with capacities of its line buffers."""
    if buffers is None:
        return plan
    if buffers == "enough":
        return with_buffers(plan, enough(plan))
    if not isinstance(buffers, Mapping):
        raise ValueError(f"buffers = {buffers!r}; give 'enough', None or elements by name")
    given: dict[int, int | None] = {}
    for name, capacity in buffers.items():
        found = [
            number
            for number, edge in enumerate(plan.edges)
            if plan.edge_name(number) == name
            or (plan.stages[edge.consumer].layer == name and edge.kind in ("activation", "input"))
        ]
        if not found:
            raise ValueError(
                f"buffers names '{name}', which is no layer and no edge; an edge is named like "
                f"'{plan.edge_name(0)}'"
            )
        given.update(dict.fromkeys(found, capacity))
    return with_buffers(with_buffers(plan, enough(plan)), given)
