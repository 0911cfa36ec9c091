"""Cost of drift compensation and of adapting batch norm on the chip: reads, time, energy.

A model with the constants of the ledger: energy of MVMs (array, ADC, modulators) charged for
whole arrays; the arithmetic on the results and the host's work are not included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..chip import ledger
from ..chip.program import Program
from ..spec import ChipSpec


@dataclass(frozen=True)
class ProcedureCost:
    """Cost of a procedure.

    Attributes
    ----------
    reads : int
        Input vectors per core (compensation), or images (adaptation).
    core_mvms : int
        MVMs, summed over cores.
    seconds : float
        Duration, s.
    joules : float
        Energy of the MVMs, J.
    """

    reads: int
    core_mvms: int
    seconds: float
    joules: float


def compensation_cost(compiled: Program, spec: ChipSpec, method: str) -> ProcedureCost:
    """Return the cost of one measurement of the drift compensation, on all cores at once.

    It is done twice for a compensated evaluation time: right after programming, for the
    reference, and at that time. Blocks that share a core are read one after the other. One-hot
    reads hold a row for ``calibration.compensation_windows`` windows in the phases of positive
    inputs, half of all four (the others have no current).
    """
    calibration, blocks = spec.calibration, compiled.blocks
    by_row = method in ("gdc", "column")
    reads = calibration.compensation_vectors
    if by_row:
        reads = calibration.compensation_reads * max(block.shape[0] for block in blocks)
    counted, window, joules = 0, 0.0, 0.0
    for layer in compiled.layers:
        if layer.devices is not None:  # another call of devices that are counted already
            continue
        own = spec.for_layer(layer.owner)
        half = 0.5 if own.core.read.mode == "4-phase" else 1.0
        longer = half * calibration.compensation_windows if by_row else 1.0
        for block in layer.blocks:
            clocks = block.footprint[1] / own.core.ldpu.clock_hertz
            window = max(window, longer * ledger.mvm_seconds(own), clocks)
            mvms = calibration.compensation_reads * block.shape[0] if by_row else reads
            counted += mvms
            joules += mvms * longer * ledger.published_mvm_joules(own)
    sharing = max(Counter(block.core for block in blocks).values())
    return ProcedureCost(reads, counted, reads * sharing * window, joules)


def adaptation_cost(
    compiled: Program, spec: ChipSpec, images: int, pixels: Mapping[str, int]
) -> ProcedureCost:
    """Return the cost of adapting batch norm (AdaBS) on a number of images.

    Parameters
    ----------
    compiled : Program
        The placed program.
    spec : ChipSpec
        The machine.
    images : int
        Number of calibration images.
    pixels : mapping from layer name to int
        MVMs per image and core.

    Notes
    -----
    A layer is adapted on all images before the next one reads them, so that layers work one
    after the other, the cores of a layer at once.
    """
    mvms, seconds, joules = 0, 0.0, 0.0
    for layer in compiled.layers:
        count, own = images * pixels[layer.name], spec.for_layer(layer.owner)
        mvms += count * len(layer.blocks)
        seconds += count * max(ledger.step_seconds(b.footprint[1], own) for b in layer.blocks)
        joules += count * len(layer.blocks) * ledger.published_mvm_joules(own)
    return ProcedureCost(images, mvms, seconds, joules)
