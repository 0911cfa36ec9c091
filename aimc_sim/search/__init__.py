"""Searches: which designs are worth having, for accuracy against energy, time and cores.

Read in the order of the flow::

    search.yaml --schema--> Search --space--> proposals of Optuna --space--> designs
         --costs--> joules, seconds, cores --feed--> trials --studies.sweep--> DIR
         --front--> table, Pareto front, designs that cannot be told apart --outcome--> files

A search is a sweep whose trials are chosen on the way: :class:`.feed.SearchFeed` hands them out in
place of a grid, everything else (workers, records, identities, full disks) is that of
:mod:`aimc_sim.studies`. Optuna proposes designs in batches of a fixed size, and a batch is answered
as a whole, in order: the proposals depend on the file alone, never on the number of workers or
on which trial was faster. Nothing of Optuna is stored: started again, the same proposals are made
from the results that are in the folder, and the search goes on where those end.

==============  ==============================================================================
file            contents
==============  ==============================================================================
``schema``      a search as data: knobs, objectives, constraints
``objectives``  objectives: direction, unit
``space``       knobs as Optuna's distributions; a proposal as a design
``costs``       energy, time and cores of a machine, without images
``proposals``   Optuna, asked and told in batches
``feed``        which trial comes next
``optimise``    the search as a sweep
``front``       which designs dominate which, and how sure that is
``outcome``     the table, the front as a study to run again
==============  ==============================================================================
"""

__all__ = [
    "costs", "feed", "front", "objectives", "optimise", "outcome", "proposals", "schema",
    "space",
]  # fmt: skip
