"""Networks as graphs of cores at the level of layers, for the embedding and traffic tables.

One node per layer (and per split, concatenation or cell of the conventions below), one directed
edge per activation that travels. Additions, ReLU, batch norm and pooling run in the digital unit
of a core and need no node. Edge attribute ``bytes``: INT8 activations per image, where known.
The publications' own "one graph representation" could not be read; these conventions are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx


def chain(graph: nx.DiGraph, nodes: Sequence[str]) -> str:
    """Add a path and return its last node."""
    nx.add_path(graph, nodes)
    return nodes[-1]


def vgg16() -> nx.DiGraph:
    """Thirteen convolutions and three fully connected layers in a row."""
    graph = nx.DiGraph()
    chain(graph, [f"conv{i}" for i in range(1, 14)] + ["fc1", "fc2", "fc3"])
    return graph


def resnet32(projection: bool = False) -> nx.DiGraph:
    """Fifteen basic blocks; shortcuts to the second convolution, or through a 1x1 core."""
    graph = nx.DiGraph()
    x, sent = "conv1", 32 * 32 * 16
    for stage, (size, channels) in enumerate([(32, 16), (16, 32), (8, 64)], start=1):
        for block in range(5):
            name = f"{stage}.{block}"
            own = size * size * channels
            graph.add_edge(x, f"{name}a", bytes=sent)
            graph.add_edge(f"{name}a", f"{name}b", bytes=own)
            if projection and stage > 1 and block == 0:
                graph.add_edge(x, f"{name}p", bytes=sent)
                graph.add_edge(f"{name}p", f"{name}b", bytes=own)
            else:
                graph.add_edge(x, f"{name}b", bytes=sent)
            x, sent = f"{name}b", own
    graph.add_edge(x, "fc", bytes=sent)
    return graph


def resnet50() -> nx.DiGraph:
    """Sixteen bottleneck blocks, a projection in the first block of each of four stages."""
    graph = nx.DiGraph()
    x = "conv1"
    for stage, blocks in enumerate([3, 4, 6, 3], start=1):
        for block in range(blocks):
            name = f"{stage}.{block}"
            end = chain(graph, [x, f"{name}a", f"{name}b", f"{name}c"])
            chain(graph, [x, f"{name}p", end] if block == 0 else [x, end])
            x = end
    graph.add_edge(x, "fc")
    return graph


def densenet121() -> nx.DiGraph:
    """Concatenation carried along: the last core of a layer holds all channels so far."""
    graph = nx.DiGraph()
    holder, size, channels = "conv1", 56, 64  # what conv1 sends is pooled to 56 x 56
    for block, layers in enumerate([6, 12, 24, 16], start=1):
        for layer in range(layers):
            name = f"{block}.{layer}"
            carried = size * size * channels
            graph.add_edge(holder, f"{name}a", bytes=carried)
            graph.add_edge(f"{name}a", f"{name}b", bytes=size * size * 128)
            graph.add_edge(holder, f"{name}b", bytes=carried)
            holder = f"{name}b"
            channels += 32
        if block < 4:
            graph.add_edge(holder, f"transition{block}", bytes=size * size * channels)
            holder, size, channels = f"transition{block}", size // 2, channels // 2
    graph.add_edge(holder, "fc", bytes=size * size * channels)
    return graph


def dense_block(layers: int) -> nx.DiGraph:
    """Every layer reads all layers before it: a complete graph on layers + 1 cores."""
    graph = nx.DiGraph()
    graph.add_edges_from((i, j) for j in range(layers + 1) for i in range(j))
    return graph


Branches = Sequence[Sequence[str]]

INCEPTION: dict[str, Branches] = {
    "GoogLeNet": (("1x1",), ("3x3r", "3x3"), ("5x5r", "5x5"), ("pool",)),
    "A": (("1x1",), ("5x5r", "5x5"), ("3x3r", "3x3a", "3x3b"), ("pool",)),
    "B": (("1x1",), ("7r", "1x7", "7x1"), ("77r", "7x1a", "1x7a", "7x1b", "1x7b"), ("pool",)),
    "reduction A": (("3x3",), ("3x3r", "3x3a", "3x3b"), ()),
    "reduction B": (("3x3r", "3x3"), ("7r", "1x7", "7x1", "3x3s"), ()),
}
"""Branches between split and concatenation; the empty one is a pooled copy."""


def module(graph: nx.DiGraph, name: str, branches: Branches) -> tuple[str, str]:
    """Add a module, return its split and its concatenation core."""
    split, concat = f"{name}.split", f"{name}.concat"
    for branch in branches:
        chain(graph, [split, *(f"{name}.{layer}" for layer in branch), concat])
    return split, concat


def inception(kind: str, count: int, stem: Iterable[str] = ("stem",)) -> nx.DiGraph:
    """Stem, some modules of one kind one after another, and a fully connected layer."""
    graph = nx.DiGraph()
    before = chain(graph, list(stem))
    for i in range(1, count + 1):
        name = f"{i}"
        graph.add_edge(before, f"{name}.split")
        before = module(graph, name, INCEPTION[kind])[1]
    graph.add_edge(before, "fc")
    return graph


GOOGLENET = (
    # side, channels in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    (28, 192, 64, 96, 128, 16, 32, 32),
    (28, 256, 128, 128, 192, 32, 96, 64),
    (14, 480, 192, 96, 208, 16, 48, 64),
    (14, 512, 160, 112, 224, 24, 64, 64),
    (14, 512, 128, 128, 256, 24, 64, 64),
    (14, 512, 112, 144, 288, 32, 64, 64),
    (14, 528, 256, 160, 320, 32, 128, 128),
    (7, 832, 256, 160, 320, 32, 128, 128),
    (7, 832, 384, 192, 384, 48, 128, 128),
)
"""Widths of the nine modules: Szegedy et al. (2015), Table 1; arXiv:1409.4842."""


def googlenet() -> nx.DiGraph:
    """Three convolutions, nine modules, one fully connected layer; maps are pooled first."""
    graph = inception("GoogLeNet", len(GOOGLENET), ("conv1", "conv2r", "conv2"))
    sent = {"conv1": 56 * 56 * 64, "conv2r": 56 * 56 * 64, "conv2": 28 * 28 * 192}
    for i, (side, into, *widths) in enumerate(GOOGLENET, start=1):
        sent[f"{i}.split"] = side * side * into
        layers = ("1x1", "3x3r", "3x3", "5x5r", "5x5", "pool")
        for layer, width in zip(layers, widths, strict=True):
            sent[f"{i}.{layer}"] = side * side * width
        after = GOOGLENET[i] if i < len(GOOGLENET) else (7, 1024)
        sent[f"{i}.concat"] = after[0] ** 2 * after[1]
    for u, _, attributes in graph.edges(data=True):
        attributes["bytes"] = sent[u]
    return graph


def gaps(graph: nx.DiGraph) -> list[tuple[str, str]]:
    """Return the edges from module to module (or layer to layer of an LSTM)."""
    return [
        (u, v)
        for u, v in graph.edges
        if u.endswith((".concat", ".cell")) and v.endswith((".split", ".g1"))
        if u.split(".")[0] != v.split(".")[0]
    ]


def inception_c() -> nx.DiGraph:
    """One module whose branches end in pairs 1x3 + 3x1, each pair with a core that joins it."""
    graph = nx.DiGraph()
    chain(graph, ["stem", "split", "1x1", "concat", "fc"])
    chain(graph, ["split", "pool", "concat"])
    chain(graph, ["split", "ar", "a1x3", "a", "concat"])
    chain(graph, ["ar", "a3x1", "a"])
    chain(graph, ["split", "br", "b3x3", "b1x3", "b", "concat"])
    chain(graph, ["b3x3", "b3x1", "b"])
    return graph


def lstm(layers: int) -> nx.DiGraph:
    """Four gate cores and a cell core per layer; the input is forwarded from gate to gate."""
    graph = nx.DiGraph()
    before = "in"
    for layer in range(1, layers + 1):
        gates = [f"{layer}.g{i}" for i in range(1, 5)]
        chain(graph, [before, *gates])
        before = f"{layer}.cell"
        for gate in gates:
            graph.add_edges_from([(gate, before), (before, gate)])
    graph.add_edge(before, "out")
    return graph
