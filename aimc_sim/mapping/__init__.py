"""The mapper: from a network to a program of the chip, with a core for every block of weights.

Read in the order of the flow::

    graph.Network --lower--> steps --replicate, split--> blocks --pack, place--> cores
                  --route--> Program

- :mod:`compile`: the whole flow
- :mod:`graph`: the network as named operations on numpy arrays
- :mod:`lower`: batch norm, bias, residual addition and ReLU move into the analog layers
- :mod:`replicate`: a patch of output pixels per MVM instead of one
- :mod:`split`: weights larger than a crossbar become near-equal blocks
- :mod:`pack`: small blocks share a core
- :mod:`place`: a core for every block; :mod:`task`: that question as a value, and the answers
  found so far; :mod:`shorten`: by annealing; :mod:`direct`: on direct links only
- :mod:`spikes`: layers whose inputs are spikes, and the machine with pulses of one bit for them
- :mod:`route`: the flows between blocks, and their links; :mod:`traffic`: the bytes per link

Beside the flow: :mod:`where` (which layers go on crossbars), :mod:`named` (the layouts of the chip
paper), :mod:`embedding` (one link for every flow, exactly), and for the pipeline :mod:`shapes`,
:mod:`control` (which data waits for which) and :mod:`schedule`. Nothing here imports torch.
"""

from __future__ import annotations

from aimc_sim.mapping.compile import compile_network
from aimc_sim.mapping.graph import Network, Node

__all__ = ["Network", "Node", "compile_network"]
