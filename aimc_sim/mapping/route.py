"""Routing: which block sends to which, and over which links.

Three kinds of data leave a core. The *partial sums* of a layer run along each chain of row
blocks from head to tail. A tail holds finished outputs, the *activations*, for every block
that reads those channels. A *residual* goes to the heads of the chains that add it. Digital
steps are computed where their value is consumed, so the sender is the analog layer behind
them, and a transfer carries that layer's name. The network's input comes from the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import networkx as nx

from aimc_sim.chip.image import AnalogLayer, Block, DigitalStep, Transfer
from aimc_sim.mapping.lower import Step


class Flow(NamedTuple):
    """Data from one block to another; both are places in the list of all blocks."""

    kind: str
    value: str
    producer: int
    consumer: int


class Origin(NamedTuple):
    """An analog layer behind a value: its channel c is the value's channel c + shift.

    ``channels`` is the value's number of channels. Both are None where channels were lost
    track of, which means that every channel may hold any output of the layer.
    """

    layer: str
    shift: int | None
    channels: int | None


def dataflow(steps: Sequence[Step]) -> tuple[Flow, ...]:
    """List what the blocks send to each other.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        With blocks, placed or not.

    Returns
    -------
    tuple of Flow
        In execution order and without repetition; numbers count the blocks of all steps in
        their order.
    """
    layers = {step.name: step for step in steps if isinstance(step, AnalogLayer)}
    blocks = [block for layer in layers.values() for block in layer.blocks]
    numbers = {id(block): number for number, block in enumerate(blocks)}
    behind = origins(steps)
    flows: dict[Flow, None] = {}

    def add(kind: str, value: str, producer: Block, consumer: Block) -> None:
        flows[Flow(kind, value, numbers[id(producer)], numbers[id(consumer)])] = None

    for layer in layers.values():
        for origin in behind.get(layer.source, ()):
            for tail, block in _pairs(layers[origin.layer], layer.blocks):
                if _feeds(origin, tail, _channels_read(layer, block, origin)):
                    add("activation", origin.layer, tail, block)
        heads = [chain[0] for chain in layer.chains]
        for origin in behind.get(layer.residual or "", ()):
            for tail, head in _pairs(layers[origin.layer], heads):
                if _feeds(origin, tail, (head.col_start, head.col_stop)):
                    add("residual", origin.layer, tail, head)
        for chain in layer.chains:
            for first, second in pairwise(chain):
                add("partial_sum", layer.name, first, second)
    return tuple(flows)


def route(steps: Sequence[Step], fabric: nx.DiGraph) -> tuple[Transfer, ...]:
    """Send every flow along a shortest path of links.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        With placed blocks.
    fabric : networkx.DiGraph
        Cores and links, from :func:`aimc_sim.chip.fabric.fabric_graph`.

    Returns
    -------
    tuple of Transfer
        One per flow, in the same order; equal inputs give equal routes.
    """
    cores = [b.core for step in steps if isinstance(step, AnalogLayer) for b in step.blocks]
    transfers = []
    for flow in dataflow(steps):
        ends = cores[flow.producer], cores[flow.consumer]
        path = nx.shortest_path(fabric, *ends)
        transfers.append(Transfer(flow.kind, flow.value, *ends, tuple(path)))
    return tuple(transfers)


def origins(steps: Sequence[Step]) -> dict[str, tuple[Origin, ...]]:
    """Return the analog layers behind each value; the network's input has none."""
    behind: dict[str, tuple[Origin, ...]] = {}
    vectors: set[str] = set()
    for step in steps:
        if isinstance(step, AnalogLayer):
            behind[step.name] = (Origin(step.name, 0, step.weight.shape[1]),)
            is_vector = step.kind == "linear"
        else:
            found = (o for name in step.sources for o in behind.get(name, ()))
            is_vector = step.op == "flatten" or not vectors.isdisjoint(step.sources)
            behind[step.name] = tuple(dict.fromkeys(_through(step, o, is_vector) for o in found))
        if is_vector:
            vectors.add(step.name)
    return behind


def _through(step: DigitalStep, origin: Origin, is_vector: bool) -> Origin:
    """Follow the channels through a digital step that yields vectors or feature maps."""
    if origin.shift is None or origin.channels is None:
        return origin
    if step.op == "pad" and is_vector:
        return Origin(origin.layer, None, None)
    if step.op == "pad":
        # The list runs from the last dimension backwards; channels are third from the end
        # of a feature map. A shorter list leaves them alone.
        before, after = (*step.attrs["pad"], 0, 0, 0, 0, 0, 0)[4:6]
        return Origin(origin.layer, origin.shift + before, origin.channels + before + after)
    slices = step.attrs.get("slices", ())
    if len(slices) > 1 and slices[1] != [None, None, None]:
        return Origin(origin.layer, None, None)
    return origin


def _pairs(producer: AnalogLayer, consumers: Iterable[Block]) -> list[tuple[Block, Block]]:
    tails = [chain[-1] for chain in producer.chains]
    return [(tail, consumer) for consumer in consumers for tail in tails]


def _channels_read(layer: AnalogLayer, block: Block, origin: Origin) -> tuple[int, int]:
    """Return the range of input channels behind the rows of a block."""
    # After flattening, a channel is as many rows as its map had pixels.
    per_channel = max(1, layer.weight.shape[0] // (origin.channels or layer.weight.shape[0]))
    return block.row_start // per_channel, -(-block.row_stop // per_channel)


def _feeds(origin: Origin, tail: Block, channels: tuple[int, int]) -> bool:
    if origin.shift is None:
        return True
    start, stop = tail.col_start + origin.shift, tail.col_stop + origin.shift
    return start < channels[1] and channels[0] < stop
