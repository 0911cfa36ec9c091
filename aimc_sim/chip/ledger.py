"""What a network costs on the chip: time and energy of the MVMs, from published constants.

A first estimate, labelled a model: the MVM constants are those of Table I of the chip paper
(arXiv:2212.02872), charged for whole arrays whatever their use; link and digital energy, static
power and stalls are not included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..spec import ChipSpec
from .image import ChipImage


@dataclass(frozen=True)
class Cost:
    """Cost of one image.

    Attributes
    ----------
    core_mvms : MVMs summed over cores.
    mvm_joules : energy of those MVMs, J.
    interval_seconds : time between two images when all layers work in a pipeline, s.
    busiest : the layer that sets the interval.
    macs : multiply-accumulates of the network itself.
    """

    core_mvms: int
    mvm_joules: float
    interval_seconds: float
    busiest: str
    macs: int

    @property
    def images_per_second(self) -> float:
        """Throughput of the pipeline, 1/s."""
        return 1 / self.interval_seconds

    @property
    def tops_per_watt(self) -> float:
        """Operations (2 per MAC) per MVM energy, in 1e12/J."""
        return 2 * self.macs / self.mvm_joules * 1e-12


def mvm_seconds(spec: ChipSpec) -> float:
    """Return the time of one MVM: the published one, or the pulses' window if that is longer."""
    core = spec.core
    phases = 4 if core.read.mode == "4-phase" else 1
    window = phases * (core.dac.max_code + 1) * core.dac.lsb_seconds
    return max(core.read.mvm_seconds, window)


def step_seconds(columns: int, spec: ChipSpec) -> float:
    """Return the time a core needs per input: its MVM, or one output per clock if longer."""
    return max(mvm_seconds(spec), columns / spec.core.ldpu.clock_hertz)


def estimate(image: ChipImage, spec: ChipSpec, pixels: Mapping[str, int]) -> Cost:
    """Return the cost of one image.

    Parameters
    ----------
    image, spec
    pixels : mapping from layer name to output pixels per image (1 for a vector)

    Notes
    -----
    One output pixel is one MVM on every core of a layer; the slowest layer, by
    ``pixels x step``, sets the interval of a pipeline without stalls. Derived here, not measured.
    """
    mvms, macs, slowest, busiest = 0, 0, 0.0, ""
    for layer in image.layers:
        count = pixels[layer.name]
        mvms += count * len(layer.blocks)
        macs += count * layer.weight.size
        step = max(step_seconds(block.shape[1], spec) for block in layer.blocks)
        if count * step > slowest:
            slowest, busiest = count * step, layer.name
    return Cost(mvms, mvms * spec.core.read.mvm_joules, slowest, busiest, macs)
