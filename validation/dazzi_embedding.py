"""The rows of the embedding table: which layer-level networks fit a prism strip, one hop per edge.

A "no" holds for strips of any length: with its first node in the middle of a strip that reaches
as far as the pattern can on both sides, the pattern has no placement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import dazzi_graphs as graphs
import networkx as nx

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.mapping.embedding import Embedding, embed, insert_relays
from aimc_sim.spec import FabricSpec

TRIALS = 4_000
"""Placements tried per length of the strip."""


@dataclass(frozen=True)
class Case:
    """A row of the table: what is embedded, with how many relays from module to module."""

    name: str
    build: Callable[[], nx.DiGraph]
    cores: int
    edges: int
    fits: bool
    slots: int | None  # spanned by the placement known before
    relays: int = 0

    def pattern(self) -> nx.DiGraph:
        """Return the graph with its relays."""
        graph = self.build()
        return insert_relays(graph, graphs.gaps(graph), self.relays) if self.relays else graph


CASES = (
    Case("VGG-16", graphs.vgg16, 16, 15, True, 16),
    Case("ResNet-32, identity", graphs.resnet32, 32, 46, True, 62),
    Case("ResNet-32, projection", lambda: graphs.resnet32(True), 34, 48, True, 54),
    Case("ResNet-50", graphs.resnet50, 54, 69, True, 66),
    Case("DenseNet-121, carried", graphs.densenet121, 121, 178, True, 222),
    Case("DenseNet block, 3 layers", lambda: graphs.dense_block(3), 4, 6, False, None),
    Case("GoogLeNet, 1 module", lambda: graphs.inception("GoogLeNet", 1), 10, 12, True, 12),
    Case("GoogLeNet, 2 modules", lambda: graphs.inception("GoogLeNet", 2), 18, 23, False, None),
    Case("GoogLeNet, 9 modules", graphs.googlenet, 84, 110, True, 94, relays=1),
    Case("Inception-v3 A x3", lambda: graphs.inception("A", 3), 33, 41, True, 34, relays=2),
    Case("Inception-v3 B x4", lambda: graphs.inception("B", 4), 56, 67, True, 58, relays=2),
    Case("Inception-v3 reduction A", lambda: graphs.inception("reduction A", 1), 8, 9, True, 10),
    Case("Inception-v3 reduction B", lambda: graphs.inception("reduction B", 1), 10, 11, True, 12),
    Case("Inception-v3 C", graphs.inception_c, 15, 19, False, None),
    Case("LSTM, 1 layer", lambda: graphs.lstm(1), 7, 13, True, 10),
    Case("LSTM, 2 layers, no relay", lambda: graphs.lstm(2), 12, 25, False, None),
    Case("LSTM, 2 layers", lambda: graphs.lstm(2), 13, 26, True, 16, relays=1),
    Case("LSTM, 8 layers", lambda: graphs.lstm(8), 49, 104, True, 52, relays=1),
)  # "no relay" for the LSTM was not in the table; it was found with the others


def strip(cols: int) -> nx.DiGraph:
    """Return the links of a prism strip."""
    return fabric_graph(FabricSpec(topology="prism_strip", rows=2, cols=cols))


def anywhere(pattern: nx.Graph, seconds: float = 60.0) -> Embedding:
    """Embed a connected pattern in a strip that is long enough for every strip."""
    root = nx.center(pattern.to_undirected())[0]
    reach = 2 * nx.eccentricity(pattern.to_undirected(), root)  # two columns per edge
    # One row will do for the first node: exchanging the rows changes nothing.
    fixed = {root: reach}
    return embed(pattern, strip(2 * reach + 1), seconds, fixed=fixed, method="search")


def narrowest(
    pattern: nx.Graph, start: int = 0, method: str = "search"
) -> tuple[int, bool, Embedding, float]:
    """Embed in ever longer strips, from `start` columns or the fewest that have enough cores.

    Returns
    -------
    cols : int
        Length of the first strip with a placement.
    proved : bool
        Whether all shorter strips were ruled out.
    embedding : Embedding
    seconds : float
        Wall time with all shorter strips.
    """
    begun = monotonic()
    cols, proved = max(start, -(-len(pattern) // 2)), start == 0
    while True:
        embedding = embed(pattern, strip(cols), 180.0, method=method, trials=TRIALS)
        if embedding:
            return cols, proved, embedding, monotonic() - begun
        proved &= embedding.outcome == "impossible"
        cols += 1
