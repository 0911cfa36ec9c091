"""Links between any two cores: the distance that placement shortens and routing keeps to."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from aimc_sim.chip.fabric.links import fabric_graph
from aimc_sim.spec import FabricSpec


@lru_cache(maxsize=2)
def distances(spec: FabricSpec) -> np.ndarray:
    """Return the links that data crosses at least, between any two cores of one chip.

    Parameters
    ----------
    spec : FabricSpec
        Topology, rows and columns of the grid.

    Returns
    -------
    (cores, cores) int16, links
        Symmetric, read-only. Two fabrics are kept: a network is placed and routed on the same one.

    Examples
    --------
    >>> from aimc_sim import presets
    >>> hops = distances(presets.hermes().fabric)
    >>> hops.shape, int(hops[0, 1]), int(hops.max())
    ((64, 64), 1, 11)
    """
    import networkx as nx
    from scipy.sparse.csgraph import shortest_path

    links = nx.to_scipy_sparse_array(fabric_graph(spec), format="csr")
    found: np.ndarray = shortest_path(links, unweighted=True).astype(np.int16)
    found.flags.writeable = False
    return found
