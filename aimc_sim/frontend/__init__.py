"""From a torch module to the mapper's graph, by ``torch.export``.

Data flow one way::

    model, example --examples--> arguments --recording--> ATen graph --walk--> Network --check-->

- :mod:`.examples`: inputs for recording, given or derived from the layers
- :mod:`.recording`: the export: a copy that shares tensors, free sizes, :mod:`.conditions` on sizes
  (:mod:`.sequences`: recurrent layers stay whole; :mod:`.functional`: no effects in place)
- :mod:`.walk`: constants are computed (:mod:`.constants`), operations recognised by rules
  (:mod:`.layers`, :mod:`.recurrent`, :mod:`.cells`: operations with weights; :mod:`.forms`:
  operations that pipelines read by their attributes) that write a :mod:`.draft` of the graph;
  :mod:`.calls`: names of recorded calls; :mod:`.sizes`: sizes as trees; :mod:`.outputs`: results
- :mod:`.check`: the graph is tried against the model (:mod:`.evaluate` runs it)
- :mod:`.source`: all of that, kept for the next call; other sizes are recorded when they come
"""

from aimc_sim.frontend.source import Source, demand_layers, trace

__all__ = ["Source", "demand_layers", "trace"]
