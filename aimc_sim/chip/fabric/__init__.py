"""The links between cores.

"prism_grid" and "prism_strip" are 5PP (reconstructed): the 5 Parallel Prism fabric of
arXiv:1906.03474 and doi:10.1109/TC.2021.3073255, of which only the abstracts could be read,
inferred from the labels in Extended Data Fig. 1 of the chip paper (arXiv:2212.02872): Core(3,5)
has links with (2,5), (3,3), (3,4), (3,6), (3,7), (4,5), and Core(4,5) with (3,5), (4,3), (4,4),
(4,6), (4,7), (5,5). Extending these two to every core gives 320 directed links on 8x8. The data
sheet counts 418 physical links; eight more lead from the fourth row to the global digital units,
the place of the others is not known. A strip is two rows of this grid.

- :mod:`links`: which cores are linked, for nine topologies; the graph of one chip
- :mod:`hops`: links between any two cores of one chip
- :mod:`counts`: links, degrees and cliques in closed form
- :mod:`whole`: with the global digital units, and several chips
- :mod:`combine`: the strip from copies of K_6
"""

from aimc_sim.chip.fabric.combine import combine_k6
from aimc_sim.chip.fabric.counts import (
    DATASHEET_LINKS,
    clique_number,
    describe_links,
    directed_links,
    max_degree,
    pairs,
)
from aimc_sim.chip.fabric.hops import distances
from aimc_sim.chip.fabric.links import core_label, fabric_graph
from aimc_sim.chip.fabric.whole import chips_graph, feeding_core, with_digital_units

__all__ = [
    "DATASHEET_LINKS",
    "chips_graph",
    "clique_number",
    "combine_k6",
    "core_label",
    "describe_links",
    "directed_links",
    "distances",
    "fabric_graph",
    "feeding_core",
    "max_degree",
    "pairs",
    "with_digital_units",
]
