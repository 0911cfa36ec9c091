"""Control: when a core may fire, derived from the pixels that its layer reads.

Read :mod:`reads` (which pixels a pixel needs, through pooling, padding and the like), then
:mod:`tables` (need, free and unlock tables; the state machine that a core's controller runs).

The method is that of the dataflow compiler for such chips, arXiv:2003.04293: a producer's writes
and a consumer's reads are relations on iteration domains, and a table from the last element
written to the last iteration that may run drives a state machine. Here the iterations are output
pixels in raster order; stride, and which elements may be overwritten, are additions.
"""

from __future__ import annotations

from aimc_sim.mapping.control.reads import reads_of_origins, step_reads
from aimc_sim.mapping.control.tables import (
    Controller,
    NeedTable,
    conv_free,
    conv_need,
    table,
    unlocked,
)
from aimc_sim.ops.geometry import PixelReads

__all__ = [
    "Controller",
    "NeedTable",
    "PixelReads",
    "conv_free",
    "conv_need",
    "reads_of_origins",
    "step_reads",
    "table",
    "unlocked",
]
