"""Area of a placed network: published sizes of the chip's parts, scaled where a core is another.

Source: arXiv:2212.02872, Extended Data Table I (die, core, MVM part, global digital units).
"""

from __future__ import annotations

from dataclasses import dataclass

from aimc_sim.chip.program import Program
from aimc_sim.spec import ChipSpec

_CHIP_CORES, _CHIP_SIDE, _CHIP_GDPUS = 64, 256, 8
"""Of the chip whose areas are published."""


@dataclass(frozen=True)
class Area:
    """Area in mm2.

    Attributes
    ----------
    arrays : float, mm2
        Crossbars, converters and modulators of the cores in use.
    cores : float, mm2
        The other parts of these cores: digital unit, programming, links.
    gdpus : float, mm2
        Global digital units of the chips in use.
    idle : float, mm2
        Cores of these chips that hold nothing.
    rest : float, mm2
        Parts of the dies that are in none of these: pads, clocks, wiring.
    """

    arrays: float
    cores: float
    gdpus: float
    idle: float
    rest: float

    @property
    def used(self) -> float:
        """Cores in use and global digital units."""
        return self.arrays + self.cores + self.gdpus

    @property
    def dies(self) -> float:
        """Whole chips."""
        return self.used + self.idle + self.rest


def core_mm2(spec: ChipSpec) -> tuple[float, float]:
    """Return the area of a core's MVM part and of the rest of it.

    Converters grow with columns, array and modulators with cells; the rest with columns, which
    its digital unit streams. At 256 x 256 both are the published numbers.
    """
    cost, core = spec.cost, spec.core
    columns, cells = core.cols / _CHIP_SIDE, core.rows * core.cols / _CHIP_SIDE**2
    share = cost.adc_area_share
    mvm = cost.mvm_mm2 * (share * columns + (1 - share) * cells)
    return mvm, (cost.core_mm2 - cost.mvm_mm2) * columns


def area(compiled: Program, spec: ChipSpec) -> Area:
    """Return the area of a placed network: cores in use, and the whole chips they are on."""
    used = compiled.cores
    chips = len({core // spec.fabric.cores for core in used})
    cost = spec.cost
    mvm, other = core_mm2(spec)
    gdpus = spec.gdpu.slices * cost.gdpu_mm2
    around = cost.die_mm2 - _CHIP_CORES * cost.core_mm2 - _CHIP_GDPUS * cost.gdpu_mm2
    return Area(
        arrays=len(used) * mvm,
        cores=len(used) * other,
        gdpus=chips * gdpus,
        idle=(chips * spec.fabric.cores - len(used)) * (mvm + other),
        rest=chips * around * spec.fabric.cores / _CHIP_CORES,
    )
