"""Bytes on the busiest channel of a fabric, for two placements of a layer-level network.

Layer order, unicast: layers in topological order along a walk that keeps neighbours close (a
serpentine over a grid, a Gray code over a hypercube, preorder over a tree), every edge sent on
its own, rows before columns and low bits before high bits. Annealed, multicast: layers are
exchanged until the busiest channel carries little, and a value that several layers read crosses a
link once; its busiest channel is an upper bound of what placement can reach.
"""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx

from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.mapping.shorten import serpentine
from aimc_sim.rng import Key
from aimc_sim.spec import FabricSpec

POWER = 8
"""Annealing lowers the sum of the loads to this power, which the busiest channel dominates."""


def walk(spec: FabricSpec) -> list[int]:
    """Return all cores in an order that keeps consecutive ones close."""
    if spec.topology == "hypercube":
        return [i ^ i >> 1 for i in range(spec.cores)]
    if spec.topology == "tree":
        return list(nx.dfs_preorder_nodes(fabric_graph(spec), 0))
    if spec.topology in ("mesh", "torus"):
        return serpentine(spec.rows, spec.cols)
    return list(range(spec.cores))


def routes(spec: FabricSpec) -> list[list[tuple[int, ...]]]:
    """Return the links ``a * cores + b`` on the way between any two cores."""
    paths = [[_path(a, b, spec) for b in range(spec.cores)] for a in range(spec.cores)]
    if spec.topology in ("ring", "tree"):
        found = dict(nx.all_pairs_shortest_path(fabric_graph(spec)))
        paths = [[found[a][b] for b in range(spec.cores)] for a in range(spec.cores)]
    return [[tuple(a * spec.cores + b for a, b in pairwise(p)) for p in line] for line in paths]


def _path(a: int, b: int, spec: FabricSpec) -> list[int]:
    """Return the cores passed in dimension order."""
    path = [a]
    if spec.topology == "hypercube":
        for bit in range(spec.cores.bit_length()):
            if (path[-1] ^ b) >> bit & 1:
                path.append(path[-1] ^ 1 << bit)
    elif spec.topology in ("mesh", "torus"):
        (row, col), (to_row, to_col) = divmod(a, spec.cols), divmod(b, spec.cols)
        wraps = spec.topology == "torus"
        path += [row * spec.cols + c for c in _line(col, to_col, spec.cols, wraps)]
        path += [r * spec.cols + to_col for r in _line(row, to_row, spec.rows, wraps)]
    return path


def _line(start: int, stop: int, length: int, wraps: bool) -> list[int]:
    forward = (stop - start) % length if wraps else max(stop - start, 0)
    back = (start - stop) % length if wraps else max(start - stop, 0)
    steps = range(1, forward + 1) if forward and (not back or forward <= back) else ()
    steps = steps or range(-1, -back - 1, -1)
    return [(start + step) % length for step in steps] if start != stop else []


def layer_order(graph: nx.DiGraph) -> list[str]:
    """Return the layers in topological order, the order of the definition among equals."""
    number = {node: i for i, node in enumerate(graph)}
    return list(nx.lexicographical_topological_sort(graph, key=number.get))


def unicast(graph: nx.DiGraph, spec: FabricSpec) -> int:
    """Return the bytes per image on the busiest channel, layers in order, no multicast."""
    if spec.topology == "bus":
        return sum(sent for *_, sent in graph.edges(data="bytes"))
    core = dict(zip(layer_order(graph), walk(spec), strict=False))
    between = routes(spec)
    load: dict[int, int] = {}
    for u, v, sent in graph.edges(data="bytes"):
        for link in between[core[u]][core[v]]:
            load[link] = load.get(link, 0) + sent
    return max(load.values())


def annealed(graph: nx.DiGraph, spec: FabricSpec, moves: int, seed: int = 1) -> dict[str, int]:
    """Return the core of every layer after ``moves`` exchanges were tried."""
    order = layer_order(graph)
    cores = _Annealing(graph, spec).run(moves, seed)
    return dict(zip(order, cores, strict=False))


def multicast(graph: nx.DiGraph, spec: FabricSpec, core: dict[str, int]) -> int:
    """Return the bytes per image on the busiest channel; a value crosses a link once."""
    values = {u: sent for u, _, sent in graph.edges(data="bytes")}
    if spec.topology == "bus":
        return sum(values.values())
    between = routes(spec)
    load: dict[int, int] = {}
    for node, sent in values.items():
        crossed = {link for reader in graph[node] for link in between[core[node]][core[reader]]}
        for link in crossed:
            load[link] = load.get(link, 0) + sent
    return max(load.values())


class _Annealing:
    """Placements and the load of every link; loads in units of the largest value."""

    def __init__(self, graph: nx.DiGraph, spec: FabricSpec):
        order = layer_order(graph)
        values = {u: sent for u, _, sent in graph.edges(data="bytes")}
        number = {node: i for i, node in enumerate(order)}
        self.unit = max(values.values())
        self.bytes = [values.get(node, 0) for node in order]
        self.readers = [[number[v] for v in graph.succ[node]] for node in order]
        self.senders = [[number[u] for u in graph.pred[node]] for node in order]
        self.routes = routes(spec)
        self.core = walk(spec)  # of every layer, then the free ones
        self.layers = len(order)
        self.load: dict[int, int] = {}
        for layer in range(self.layers):
            self._add(layer, 1)

    def _add(self, layer: int, sign: int) -> float:
        """Add or take away what a layer sends; return the change of the sum of powers."""
        sent, change, load = sign * self.bytes[layer], 0.0, self.load
        paths = self.routes[self.core[layer]]
        for link in {link for reader in self.readers[layer] for link in paths[self.core[reader]]}:
            before = load.get(link, 0)
            load[link] = before + sent
            change += ((before + sent) / self.unit) ** POWER - (before / self.unit) ** POWER
        return change

    def _exchange(self, a: int, b: int) -> float:
        touched = {layer for layer in (a, b) if layer < self.layers}
        touched |= {sender for layer in tuple(touched) for sender in self.senders[layer]}
        change = sum(self._add(layer, -1) for layer in touched)
        self.core[a], self.core[b] = self.core[b], self.core[a]
        return change + sum(self._add(layer, 1) for layer in touched)

    def run(self, moves: int, seed: int) -> list[int]:
        """Anneal and return the cores of the placement with the smallest busiest load seen."""
        generator = Key(seed).generator()
        first = generator.integers(0, self.layers, moves).tolist()
        second = generator.integers(0, len(self.core), moves).tolist()
        chance = generator.random(moves).tolist()
        best, kept = max(self.load.values()), list(self.core)
        for move, (a, b) in enumerate(zip(first, second, strict=True)):
            heat = 3.0 * (0.002 ** (move / moves))
            change = self._exchange(a, b)
            if change > 0 and chance[move] >= math.exp(-change / heat):
                self._exchange(a, b)
            elif change < 0 and (busiest := max(self.load.values())) < best:
                best, kept = busiest, list(self.core)
                if best == self.unit:
                    break  # some link carries the largest value in any case
        return kept
