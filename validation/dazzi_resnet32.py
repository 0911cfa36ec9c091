"""ResNet-32 block by block, 60 cores: one hop, relays, and fewest hops on the 64-core grid."""

from __future__ import annotations

import math

import networkx as nx

from aimc_sim import presets
from aimc_sim.chip.fabric import fabric_graph
from aimc_sim.chip.program import AnalogLayer
from aimc_sim.frontend import trace
from aimc_sim.mapping.embedding import pattern_of
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.route import Flow, dataflow
from aimc_sim.mapping.shorten import place_blocks
from aimc_sim.mapping.split import split
from aimc_sim.rng import Key
from aimc_sim.spec import ChipSpec
from aimc_sim.zoo import resnet32


def flows() -> tuple[list[str], tuple[Flow, ...]]:
    """Return the names of the 60 blocks and what they send to each other."""
    steps = split(lower(trace(resnet32().eval()))[0], presets.ideal())
    layers = [step for step in steps if isinstance(step, AnalogLayer)]
    names = [f"{block.layer}[{block.row_index}]" for layer in layers for block in layer.blocks]
    return names, dataflow(steps)


def patterns() -> dict[str, nx.DiGraph]:
    """Return who needs a link, each block fed by its producer or along the chain."""
    names, found = flows()
    return {
        name: nx.relabel_nodes(
            pattern_of(len(names), found, carried=carried), dict(enumerate(names))
        )
        for name, carried in (("direct", False), ("carried", True))
    }


def hops(pattern: nx.DiGraph, spec: ChipSpec, moves: int, seed: int = 1) -> tuple[int, int]:
    """Return the hops of all edges as the mapper places them, and after annealing.

    Parameters
    ----------
    pattern : networkx.DiGraph
        Who sends to whom.
    spec : ChipSpec
        The chip.
    moves : int
        Exchanges tried.
    seed : int
        Of the annealing.
    """
    number = {node: i for i, node in enumerate(pattern)}
    edges = [(number[u], number[v]) for u, v in pattern.edges]
    lengths = dict(nx.all_pairs_shortest_path_length(fabric_graph(spec.fabric)))
    cores = place_blocks(len(number), [Flow("", "", u, v) for u, v in edges], spec)
    placed = sum(lengths[cores[u]][cores[v]] for u, v in edges)
    cores += [core for core in range(spec.fabric.cores) if core not in set(cores)]
    partners = [[b if a == i else a for a, b in edges if i in (a, b)] for i in range(len(cores))]

    def around(i: int, j: int) -> int:
        return sum(lengths[cores[k]][cores[other]] for k in (i, j) for other in partners[k])

    generator = Key(seed).generator()
    first = generator.integers(0, len(number), moves).tolist()
    second = generator.integers(0, len(cores), moves).tolist()
    chance = generator.random(moves).tolist()
    total = best = placed
    for move, (i, j) in enumerate(zip(first, second, strict=True)):
        heat = 0.4 * 0.5 ** (move / moves)
        before = around(i, j)
        cores[i], cores[j] = cores[j], cores[i]
        change = around(i, j) - before
        if change > 0 and chance[move] >= math.exp(-change / heat):
            cores[i], cores[j] = cores[j], cores[i]
        else:
            total += change
            best = min(best, total)
    return placed, best
