"""Closed forms: how many links, how many per core, how large a clique.

Lines of n cores are the parts of most fabrics. With links between neighbours a path has n - 1
pairs; with links over distance two as well it has 2n - 3; a cycle has n (one for n = 2).
"""

from __future__ import annotations

from math import comb

from aimc_sim.chip.fabric.links import check_size
from aimc_sim.spec import FabricSpec

DATASHEET_LINKS = 418
"""Physical communication links of the 64-core chip, as printed (arXiv:2212.02872). No text gives
the whole list."""


def pairs(spec: FabricSpec) -> int:
    """Return the number of linked pairs of cores of one chip."""
    check_size(spec)
    rows, cols, cores = spec.rows, spec.cols, spec.cores
    match spec.topology:
        case "prism_grid" | "prism_strip":
            return rows * (_path(cols) + max(cols - 2, 0)) + cols * _path(rows)
        case "mesh":
            return rows * _path(cols) + cols * _path(rows)
        case "torus":
            return rows * _cycle(cols) + cols * _cycle(rows)
        case "hypercube":
            return cores * _dimension(cores) // 2
        case "tree":
            return cores - 1
        case "ring":
            return _cycle(cores)
        case "bus" | "complete":
            return comb(cores, 2)


def directed_links(spec: FabricSpec) -> int:
    """Return the number of directed core-to-core links of one chip, two per linked pair."""
    return 2 * pairs(spec)


def max_degree(spec: FabricSpec) -> int:
    """Return the largest number of cores that one core is linked with."""
    check_size(spec)
    rows, cols, cores = spec.rows, spec.cols, spec.cores
    match spec.topology:
        case "prism_grid" | "prism_strip":
            return min(cols - 1, 4) + min(rows - 1, 2)
        case "mesh" | "torus":
            return min(cols - 1, 2) + min(rows - 1, 2)
        case "hypercube":
            return _dimension(cores)
        case "tree":
            return min(cores - 1, 2) if cores < 5 else 3
        case "ring":
            return min(cores - 1, 2)
        case "bus" | "complete":
            return cores - 1


def clique_number(spec: FabricSpec) -> int:
    """Return the largest number of cores that are all linked with each other."""
    check_size(spec)
    rows, cols, cores = spec.rows, spec.cols, spec.cores
    match spec.topology:
        case "bus" | "complete":
            return cores
        case "prism_grid" | "prism_strip":
            triangles = cols >= 3
        case "torus":
            triangles = 3 in (rows, cols)
        case "ring":
            triangles = cores == 3
        case _:
            triangles = False
    return 3 if triangles else min(cores, 2)


def describe_links(spec: FabricSpec) -> str:
    """Return one sentence on the links that are modelled, and on those that are not known.

    Examples
    --------
    >>> describe_links(FabricSpec(topology="mesh"))
    'mesh 8x8: 224 directed core links, 8 to global digital units, 232 modelled'
    """
    core, units = directed_links(spec), spec.cols
    is_prism = spec.topology.startswith("prism")
    text = (
        f"{spec.topology} {spec.rows}x{spec.cols}{' (5PP, reconstructed)' if is_prism else ''}: "
        f"{core} directed core links, {units} to global digital units, {core + units} modelled"
    )
    if (spec.topology, spec.rows, spec.cols) == ("prism_grid", 8, 8):
        text += (
            f"; the data sheet of the chip counts {DATASHEET_LINKS}, the place of the other "
            f"{DATASHEET_LINKS - core - units} is not known"
        )
    return text


def _path(n: int) -> int:
    return n - 1


def _cycle(n: int) -> int:
    return n if n > 2 else n - 1


def _dimension(cores: int) -> int:
    return cores.bit_length() - 1
