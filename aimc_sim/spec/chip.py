"""The whole machine: cores, fabric, digital units, host, calibration."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from .base import Spec, quantity
from .core import CoreSpec
from .cost import CostSpec, HostSpec
from .gdpu import GdpuSpec
from .mapping import MappingSpec

Topology = Literal[
    "prism_grid", "prism_strip", "mesh", "torus", "hypercube", "tree", "ring", "bus", "complete"
]


class FabricSpec(Spec):
    """Cores on a grid and the links between them."""

    topology: Topology = quantity("-", "link predicate", "prism_grid")
    rows: int = quantity("-", "rows of cores", 8, ge=1)
    cols: int = quantity("-", "columns of cores", 8, ge=1)
    link_hertz: float = quantity("Hz", "bytes per second on a link", 400e6, later=True, gt=0)
    source: str = ""

    @property
    def cores(self) -> int:
        """Number of cores of one chip."""
        return self.rows * self.cols


class CalibrationSpec(Spec):
    """How integer ranges and drift compensation are measured."""

    percentile: float = quantity(
        "%", "share of calibration values inside an activation range", 100.0, gt=50, le=100
    )
    range_method: Literal["percentile", "mse"] = quantity(
        "-", "ranges hold that share, or make the squared rounding and clipping error smallest",
        "percentile", later=True,
    )  # fmt: skip
    clip_warning_fraction: float = quantity(
        "-", "warn once if a layer clips a larger share of its outputs or conversions", 0.05,
        later=True, ge=0, le=1,
    )  # fmt: skip
    compensation_vectors: int = quantity(
        "-", "random +-full-scale inputs per core and drift-compensation read", 64, ge=1
    )
    source: str = ""


class ChipSpec(Spec):
    """The whole machine."""

    name: str = "chip"
    core: CoreSpec = quantity("-", "every core")
    fabric: FabricSpec = quantity("-", "cores and links")
    gdpu: GdpuSpec = quantity(
        "-", "global digital unit: not part of a traced network yet", GdpuSpec(), later=True
    )
    host: HostSpec = quantity("-", "what feeds the chip", HostSpec(), later=True)
    cost: CostSpec = quantity("-", "time and energy of digital work", CostSpec(), later=True)
    mapping: MappingSpec = quantity("-", "layout of a network", MappingSpec(), later=True)
    chips: int = quantity("-", "chips that share a network", 1, later=True, ge=1)
    calibration: CalibrationSpec = quantity("-", "calibration procedures")
    source: str = ""

    @model_validator(mode="after")
    def _shared_power_is_a_share(self) -> Self:
        read, cost = self.core.read, self.cost
        if cost.shared_watts * read.mvm_seconds / cost.shared_cores > read.mvm_joules:
            raise ValueError(
                "cost.shared_watts is more than all MVMs take; lower it, or raise "
                "core.read.mvm_joules, which contains it"
            )
        return self

    @property
    def cores(self) -> int:
        """Number of cores of all chips."""
        return self.chips * self.fabric.cores
