"""Symmetries of a fabric, so that a search need not try mirror images of a failure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import product

import networkx as nx
from networkx.utils import UnionFind


def representatives(fabric: nx.DiGraph) -> int:
    """Return the mask of one core of every set of equivalent cores.

    Two cores are equivalent if a symmetry of the fabric takes one to the other; a search may let
    its first node take the first of them only. Shifts, mirror images and exchanged bits of the
    core number are tried, and each is used only after it was checked link by link, so that
    fabrics with missing cores or links are safe.

    Parameters
    ----------
    fabric : networkx.DiGraph
        From :func:`aimc_sim.chip.fabric.fabric_graph` or any other; without the attributes
        ``rows`` and ``cols`` only bits and order of the core numbers are tried.

    Returns
    -------
    int
        The mask; bit c stands for core number c in the order of the fabric's nodes.
    """
    cores = list(fabric)
    equivalent = UnionFind(cores)
    for image in _images(fabric):
        to = dict(zip(cores, image, strict=True))
        if all(fabric.has_edge(to[a], to[b]) for a, b in fabric.edges):
            for core in cores:
                equivalent.union(core, to[core])
    first: dict[Hashable, Hashable] = {}
    for core in cores:
        first.setdefault(equivalent[core], core)
    kept = set(first.values())
    return sum(1 << number for number, core in enumerate(cores) if core in kept)


def _images(fabric: nx.DiGraph) -> Iterator[list[Hashable]]:
    """Yield candidates: for every core, the core that it goes to."""
    cores: list[Hashable] = list(fabric)
    count = len(cores)
    rows, cols = fabric.graph.get("rows", 1), fabric.graph.get("cols", count)
    if rows * cols != count:
        rows, cols = 1, count
    grid = list(product(range(rows), range(cols)))
    moves: tuple[Callable[[int, int], tuple[int, int]], ...] = (
        lambda r, c: (rows - 1 - r, c),
        lambda r, c: (r, cols - 1 - c),
        lambda r, c: ((r + 1) % rows, c),
        lambda r, c: (r, (c + 1) % cols),
    )
    for move in moves:
        yield [cores[r * cols + c] for r, c in (move(*at) for at in grid)]
    if rows == cols:
        yield [cores[c * cols + r] for r, c in grid]
    yield cores[1:] + cores[:1]
    if count & (count - 1) == 0:
        for bit in range(count.bit_length() - 1):
            yield [cores[number ^ 1 << bit] for number in range(count)]
