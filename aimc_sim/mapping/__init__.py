"""Where a network goes on the chip. Knows the chip's program format, not torch.

Read in the order of the flow::

    graph.Network --lower--> steps --replicate, split--> blocks --pack, place--> cores
                  --route--> Program

- :mod:`compile`: the whole flow
- :mod:`graph`: the network as named operations on numpy arrays
- :mod:`lower`: batch norm, bias, residual addition and ReLU move into the analog layers
- :mod:`replicate`: a patch of output pixels per MVM instead of one
- :mod:`split`: weights larger than a crossbar become near-equal blocks
- :mod:`pack`: small blocks share a core
- :mod:`place`: a core for every block; :mod:`task`: what decides it, and what was found before;
  :mod:`shorten`: by annealing; :mod:`direct`: on direct links only
- :mod:`route`: who sends what to whom, over which links; :mod:`traffic`: how many bytes

Beside the flow: :mod:`where` (which layers go on crossbars), :mod:`named` (the layouts of the chip
paper), :mod:`embedding` (one link for every flow, exactly), and for the pipeline :mod:`shapes`,
:mod:`control` (which data waits for which) and :mod:`schedule`.
"""

from __future__ import annotations

from aimc_sim.mapping.compile import compile_network
from aimc_sim.mapping.graph import Network, Node

__all__ = ["Network", "Node", "compile_network"]
