"""A programmed chip at a moment: its crossbars, the factors of its compensation, its plans.

Everything here follows from what a chip holds (state, ranges, time, compensation, corrections, and
the device that runs images) and is computed when it is asked for. A chip whose time or compensation
changes has another moment; the crossbars of a time are looked at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ..chip import state as chip_state
from ..chip.image import ChipImage
from ..chip.state import ChipState, Ranges
from ..core import compensation, tile
from ..spec import ChipSpec
from . import adapt, plan
from .calibrate import with_adc_ranges


@dataclass(eq=False)
class Looks:
    """The crossbars of a programming, by time; the last ones are kept.

    Attributes
    ----------
    image : ChipImage
    spec : ChipSpec
    state : ChipState
    amperes : mapping from block name to float
        Full scales of ADCs that were calibrated.
    """

    image: ChipImage
    spec: ChipSpec
    state: ChipState
    amperes: Mapping[str, float]
    _kept: dict[float, Mapping[int, tile.TileNow]] = field(default_factory=dict)

    def at(self, t_seconds: float) -> Mapping[int, tile.TileNow]:
        """Return the crossbars at a time, by core."""
        if t_seconds not in self._kept:
            begin = self.state.programmed_at_seconds
            for other in [t for t in self._kept if t != begin]:
                del self._kept[other]  # memory: one time besides the reference
            tiles = chip_state.look(self.state, self.spec, t_seconds)
            self._kept[t_seconds] = with_adc_ranges(tiles, self.image, self.amperes)
        return self._kept[t_seconds]

    @cached_property
    def references(self) -> Mapping[int, np.ndarray]:
        """What drift compensation read right after programming, by core."""
        begin = self.state.programmed_at_seconds
        return chip_state.compensation_reads(self.state, self.spec, self.at(begin), begin)

    def factors(self, t_seconds: float, method: compensation.Method) -> Mapping[int, np.ndarray]:
        """Return the factors of a drift compensation at a time, by core; none means 1."""
        if method == "none":
            return {}
        first = self.references
        later = chip_state.compensation_reads(self.state, self.spec, self.at(t_seconds), t_seconds)
        return {core: compensation.factors(first[core], later[core], method) for core in later}


@dataclass(eq=False)
class Moment:
    """A programmed chip at a time.

    Attributes
    ----------
    looks : Looks
        Crossbars of the programming.
    ranges : Ranges or None
        Of all integers; None before a calibration.
    t_seconds : float
        Time on the chip's clock, s.
    method : str
        Of the drift compensation.
    corrections : mapping from layer name to Correction
        Of batch norms.
    device : torch.device
        Where images are run.
    """

    looks: Looks
    ranges: Ranges | None
    t_seconds: float
    method: compensation.Method
    corrections: Mapping[str, adapt.Correction]
    device: torch.device
    _plans: dict[int, tuple[ChipImage, plan.Plan]] = field(default_factory=dict)

    @cached_property
    def tiles(self) -> Mapping[int, tile.TileNow]:
        """The crossbars in use, by core."""
        return self.looks.at(self.t_seconds)

    @cached_property
    def factors(self) -> Mapping[int, np.ndarray]:
        """The (C,) factors of the drift compensation, by core; none means 1."""
        return self.looks.factors(self.t_seconds, self.method)

    def bare_plan(self, image: ChipImage) -> plan.Plan:
        """Return the plan of a program without the corrections of batch norms."""
        return plan.build(image, self.looks.spec, self.ranges, self.looks.state, self, self.device)

    def plan(self, image: ChipImage) -> plan.Plan:
        """Return the plan of a program; it is made once."""
        if id(image) not in self._plans:
            made = adapt.apply(self.bare_plan(image), self.corrections)
            self._plans[id(image)] = image, made
        return self._plans[id(image)][1]

    def is_like(self, other: Moment | None) -> bool:
        """Whether another moment gives the same plans."""
        return (
            other is not None
            and self.looks is other.looks
            and self.ranges is other.ranges
            and self.corrections is other.corrections
            and self.t_seconds == other.t_seconds
            and self.method == other.method
            and self.device == other.device
        )
