"""Routing: the flows between blocks, and the links that carry them.

Three kinds of data leave a core. The *partial sums* of a layer run along each chain of row
blocks from head to tail. A tail holds finished outputs, the *activations*, for every block
that reads those channels. A *residual* goes to the heads of the chains that add it. Digital
steps are computed where their value is consumed, so the sender is the analog layer behind
them, and a transfer carries that layer's name. The network's input comes from the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from aimc_sim.chip.fabric import distances, fabric_graph
from aimc_sim.chip.program import HOST, AnalogLayer, Block, DigitalStep, Transfer, own_blocks
from aimc_sim.kernels.ways import Links, cheapest
from aimc_sim.mapping.lower import Step
from aimc_sim.spec import ChipSpec, FabricSpec


class Flow(NamedTuple):
    """Data that one block sends to another.

    Attributes
    ----------
    kind : {"activation", "partial_sum", "residual"}
        The part that the data has in the consumer's sum.
    value : str
        Call of the layer that writes the data.
    producer, consumer : int
        Places of the two blocks in the list of all blocks.
    channels : int
        Values (bytes) per output pixel.
    reader : str
        Call of the layer that reads the data.
    """

    kind: str
    value: str
    producer: int
    consumer: int
    channels: int = 1
    reader: str = ""


class _Origin(NamedTuple):
    """An analog layer behind a value.

    Attributes
    ----------
    layer : str
        Name of the layer.
    shift : int or None
        Channel c of the layer is channel c + shift of the value; None: every channel of the
        value may hold any output of the layer.
    channels : int or None
        Channels of the value; None where ``shift`` is.
    """

    layer: str
    shift: int | None
    channels: int | None


def dataflow(steps: Sequence[Step]) -> tuple[Flow, ...]:
    """List the flows between blocks.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, whose layers have blocks, placed or not.

    Returns
    -------
    tuple of Flow
        Flows in execution order and without repetition; producer and consumer count the blocks
        of all steps in their order.
    """
    layers = {step.name: step for step in steps if isinstance(step, AnalogLayer)}
    numbers = {block: number for number, block in enumerate(own_blocks(steps))}
    behind = _origins(steps)
    flows: dict[Flow, int] = {}

    def add(
        kind: str, value: str, producer: Block, consumer: Block, channels: int, reader: str
    ) -> None:
        flow = Flow(kind, value, numbers[producer], numbers[consumer], 1, reader)
        flows[flow] = max(flows.get(flow, 0), channels)

    for layer in layers.values():
        for origin in behind.get(layer.source, ()):
            for tail, block in _pairs(layers[origin.layer], layer.blocks):
                rows = block.row_start, block.row_stop
                shared = _shared(origin, tail, _channels(rows, layer.weight.shape[0], origin))
                if shared:
                    add("activation", origin.layer, tail, block, shared, layer.name)
        heads = [chain[0] for chain in layer.chains]
        for origin in behind.get(layer.residual or "", ()):
            for tail, head in _pairs(layers[origin.layer], heads):
                columns = head.col_start, head.col_stop
                shared = _shared(origin, tail, _channels(columns, layer.weight.shape[1], origin))
                if shared:
                    add("residual", origin.layer, tail, head, shared, layer.name)
        for chain in layer.chains:
            for first, second in pairwise(chain):
                add("partial_sum", layer.name, first, second, first.shape[1], layer.name)
    return tuple(flow._replace(channels=channels) for flow, channels in flows.items())


def route(
    steps: Sequence[Step],
    spec: ChipSpec,
    paths: Mapping[tuple[int, int], tuple[int, ...]] = MappingProxyType({}),
) -> tuple[Transfer, ...]:
    """Send every flow along a shortest path, the less loaded one where there are several.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, whose layers have placed blocks.
    spec : ChipSpec
        The machine: the links of a chip and the number of chips are read.
    paths : mapping of (int, int) to tuple of int, optional
        Cores passed by the flows whose path is given beforehand, by (producer's core, consumer's
        core).

    Returns
    -------
    tuple of Transfer
        One transfer per flow, in the order of :func:`dataflow`; equal inputs give equal routes.
        Between two chips data goes through the host.
    """
    flows = dataflow(steps)
    carry = _carriers(flows) if spec.mapping.carry_inputs else {}
    cores = [block.core for block in own_blocks(steps)]
    ways = _Ways(spec, paths, sum(flow.channels for flow in flows))

    def stops(flow: Flow) -> list[int]:
        blocks = [flow.consumer]
        while flow.kind == "activation" and blocks[0] in carry:
            blocks.insert(0, carry[blocks[0]])
        return [cores[block] for block in (flow.producer, *blocks)]

    # Short ways first: they have no choice, longer ones can avoid them.
    order = sorted(range(len(flows)), key=lambda i: ways.length(stops(flows[i])))
    routes = {i: ways.through(stops(flows[i]), flows[i].channels) for i in order}
    return tuple(
        Transfer(flow.kind, flow.value, routes[i][0], routes[i][-1], routes[i], flow.channels)
        for i, flow in enumerate(flows)
    )


class _Ways:
    """Shortest paths on the links of all chips, and the bytes that the links carry so far.

    Parameters
    ----------
    spec : ChipSpec
        The machine.
    given : mapping of (int, int) to tuple of int
        Paths that are given beforehand, by their two ends.
    total : int
        Bytes of all flows together.
    """

    def __init__(
        self, spec: ChipSpec, given: Mapping[tuple[int, int], tuple[int, ...]], total: int
    ) -> None:
        self.given, self.cores = given, spec.fabric.cores
        self.hops = distances(spec.fabric)
        self.links, self.number = _listed(spec.fabric)
        self.load = np.zeros(len(self.number), np.int64)
        self.total = total

    def length(self, stops: Sequence[int]) -> int:
        """Return the links on the way over some cores; other chips are further than any core."""
        return sum(
            int(self.hops[a % self.cores, b % self.cores])
            if a // self.cores == b // self.cores
            else self.cores
            for a, b in pairwise(stops)
        )

    def through(self, stops: Sequence[int], size: int) -> tuple[int, ...]:
        """Return the path over some cores, and count `size` bytes on its links."""
        path = [stops[0]]
        for ends in pairwise(stops):
            path += self._between(*ends)[1:]
        for start, end in pairwise(path):
            if HOST not in (start, end):
                self.load[self.number[start % self.cores, end % self.cores]] += size
        return tuple(path)

    def _between(self, start: int, end: int) -> Sequence[int]:
        if (start, end) in self.given:
            return self.given[start, end]
        chip, other = start // self.cores, end // self.cores
        if chip != other:
            return start, HOST, end
        first = chip * self.cores
        path = cheapest(start - first, end - first, self.links, self.load, self.total)
        cores: list[int] = (path + first).tolist()
        return cores


def _listed(spec: FabricSpec) -> tuple[Links, dict[tuple[int, int], int]]:
    """Return the links of a chip as arrays, and the number of each, by (sender, receiver)."""
    graph = fabric_graph(spec)
    number = {link: i for i, link in enumerate(graph.edges)}
    ends = []
    for neighbours, is_out in ((graph.successors, True), (graph.predecessors, False)):
        found = [(core, other) for core in graph for other in neighbours(core)]
        at = np.cumsum([0, *(sum(1 for _ in neighbours(core)) for core in graph)])
        cores = np.array([other for _, other in found], np.int64)
        ends += [at, cores, np.array([number[e if is_out else e[::-1]] for e in found], np.int64)]
    return Links(*ends), number


def _carriers(flows: Sequence[Flow]) -> dict[int, int]:
    """Return, for each block of a chain, the block before it that receives its activations too.

    With ``mapping.carry_inputs`` a block gets its inputs from the one before it in its chain,
    which passes on the activations that it received from the producer.

    Parameters
    ----------
    flows : sequence of Flow
        Flows between blocks, from :func:`dataflow`.

    Returns
    -------
    dict of int to int
        Number of the block before, by number of the block.
    """
    before = {flow.consumer: flow.producer for flow in flows if flow.kind == "partial_sum"}
    sources: dict[int, set[int]] = {}
    for flow in flows:
        if flow.kind == "activation":
            sources.setdefault(flow.consumer, set()).add(flow.producer)
    return {
        block: previous
        for block, previous in before.items()
        if sources.get(block) and sources[block] <= sources.get(previous, set())
    }


def carried(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """Return the flows between neighbours for chains that carry their inputs.

    Parameters
    ----------
    flows : sequence of Flow
        Flows between blocks, from :func:`dataflow`.

    Returns
    -------
    tuple of Flow
        The flows in their order; an activation that the block before passes on comes from it.
    """
    carry = _carriers(flows)
    return tuple(
        flow._replace(producer=carry[flow.consumer])
        if flow.kind == "activation" and flow.consumer in carry
        else flow
        for flow in flows
    )


def _origins(steps: Sequence[Step]) -> dict[str, tuple[_Origin, ...]]:
    """Return the analog layers behind each value.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program.

    Returns
    -------
    dict of str to tuple of _Origin
        Layers by name of the value; the network's input has none and is left out.
    """
    behind: dict[str, tuple[_Origin, ...]] = {}
    vectors: set[str] = set()
    for step in steps:
        if isinstance(step, AnalogLayer):
            behind[step.name] = (_Origin(step.name, 0, step.weight.shape[1]),)
            is_vector = step.kind == "linear"
        else:
            found = _sources(step, behind)
            is_vector = step.op == "flatten" or not vectors.isdisjoint(step.sources)
            behind[step.name] = tuple(dict.fromkeys(_through(step, o, is_vector) for o in found))
        if is_vector:
            vectors.add(step.name)
    return behind


def _sources(step: DigitalStep, behind: Mapping[str, tuple[_Origin, ...]]) -> list[_Origin]:
    """Return the origins of a step's sources; those of a concatenation behind each other."""
    if step.op != "concat":
        return [origin for name in step.sources for origin in behind.get(name, ())]
    found: list[_Origin] = []
    sizes = [
        next((o.channels for o in behind.get(name, ()) if o.shift is not None), None)
        for name in step.sources
    ]
    total = sum(size or 0 for size in sizes)
    start = 0
    for name, size in zip(step.sources, sizes, strict=True):
        for origin in behind.get(name, ()):
            if None in sizes or origin.shift is None:
                found.append(_Origin(origin.layer, None, None))
            else:
                found.append(_Origin(origin.layer, origin.shift + start, total))
        start += size or 0
    return found


def _through(step: DigitalStep, origin: _Origin, is_vector: bool) -> _Origin:
    """Follow the channels through a digital step that yields vectors or feature maps."""
    if origin.shift is None or origin.channels is None:
        return origin
    if step.op == "pad" and is_vector:
        return _Origin(origin.layer, None, None)
    if step.op == "pad":
        # The list runs from the last dimension backwards; channels are third from the end
        # of a feature map. A shorter list leaves them alone.
        before, after = (*step.attrs["pad"], 0, 0, 0, 0, 0, 0)[4:6]
        return _Origin(origin.layer, origin.shift + before, origin.channels + before + after)
    if step.op == "pixel_shuffle" and origin.shift == 0:
        # Channel c of the map holds the layer's outputs c n n to (c + 1) n n - 1.
        return _Origin(origin.layer, None, None)
    slices = step.attrs.get("slices", ())
    if len(slices) > 1 and slices[1] != [None, None, None]:
        return _Origin(origin.layer, None, None)
    return origin


def _pairs(producer: AnalogLayer, consumers: Iterable[Block]) -> list[tuple[Block, Block]]:
    """Return every tail of the producer's chains with every consumer."""
    tails = [chain[-1] for chain in producer.chains]
    return [(tail, consumer) for consumer in consumers for tail in tails]


def _channels(entries: tuple[int, int], total: int, origin: _Origin) -> tuple[int, int]:
    """Return the channels behind a range of the `total` entries of a value.

    After flattening, a channel is as many entries as its map had pixels.
    """
    per_channel = max(1, total // (origin.channels or total))
    return entries[0] // per_channel, -(-entries[1] // per_channel)


def _shared(origin: _Origin, tail: Block, channels: tuple[int, int]) -> int:
    """Return the number of the tail's channels that are read."""
    if origin.shift is None:
        return tail.shape[1]
    start, stop = tail.col_start + origin.shift, tail.col_stop + origin.shift
    return max(0, min(stop, channels[1]) - max(start, channels[0]))
