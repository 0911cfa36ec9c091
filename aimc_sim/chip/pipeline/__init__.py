"""Pipelined execution: order of the firings, waiting, and duration.

Read :mod:`plan` (stages, edges and links of a schedule), :mod:`build` (how long they take),
:mod:`simulation` (events), :mod:`pipeline_report` (the result), :mod:`closed_form` (times without
events), :mod:`buffers` (how large line buffers must be), :mod:`errors` (deadlock, explained).

The rules of one firing, after the chip paper (arXiv:2212.02872, local digital unit):

1. The MVM begins when the core is idle, everything it reads has arrived, and no earlier result is
   waiting in the latch. It takes ``mvm_ps``; then the elements nobody reads again are free.
2. Its results move to the latch as soon as the stream before it has ended (until then they stay
   in the counters). So reading out overlaps with the next MVM.
3. The stream begins when its addends (partial sums, a residual) have begun to arrive and every
   consumer has a slot. One output leaves per clock; the head reaches the first link after
   ``latency_ps``, and the stream of a chain stays one latency behind the one before it.
4. A link carries one stream at a time, first come, first served; a route is cut through, so
   every further hop costs its latency only, unless it has to queue.
"""

from __future__ import annotations

from aimc_sim.chip.pipeline.buffers import enough, with_buffers
from aimc_sim.chip.pipeline.build import chain_schedule
from aimc_sim.chip.pipeline.closed_form import PipelineEstimate, estimate
from aimc_sim.chip.pipeline.errors import DeadlockError
from aimc_sim.chip.pipeline.pipeline_report import PipelineReport
from aimc_sim.chip.pipeline.plan import Edge, Link, Schedule, Stage
from aimc_sim.chip.pipeline.simulation import simulate

__all__ = [
    "DeadlockError",
    "Edge",
    "Link",
    "PipelineEstimate",
    "PipelineReport",
    "Schedule",
    "Stage",
    "chain_schedule",
    "enough",
    "estimate",
    "simulate",
    "with_buffers",
]
