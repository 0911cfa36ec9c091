"""A programmed chip at an evaluation time: crossbars, factors of the compensation, plans.

An evaluation follows from a chip's state, ranges, time, compensation, corrections and torch device,
and is computed when it is asked for. A chip whose time or compensation changes has another
evaluation; the crossbars of a time are computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ..chip import state as chip_state
from ..chip.program import Program
from ..chip.state import ChipState, Ranges
from ..core import compensation, tile
from ..core.quantise import Calibrated
from ..spec import ChipSpec
from . import adapt, plan
from .calibrate import with_adc_ranges


@dataclass(eq=False)
class Evaluations:
    """The crossbars of a programming, by time; the last ones are kept.

    Attributes
    ----------
    compiled : Program
        The placed program of the chip.
    spec : ChipSpec
        The machine.
    state : ChipState
        The written devices.
    amperes : mapping from block name to Calibrated
        Ranges of converters that were calibrated.
    """

    compiled: Program
    spec: ChipSpec
    state: ChipState
    amperes: Mapping[str, Calibrated]
    _kept: dict[float, Mapping[int, tile.TileNow]] = field(default_factory=dict)
    _references: dict[str, Mapping[int, np.ndarray]] = field(default_factory=dict)

    def at(self, t_seconds: float) -> Mapping[int, tile.TileNow]:
        """Return the crossbars at a time, by core."""
        if t_seconds not in self._kept:
            begin = self.state.programmed_at_seconds
            for other in [t for t in self._kept if t != begin]:
                del self._kept[other]  # memory: one time besides the reference
            tiles = chip_state.tiles_at(self.state, self.spec, t_seconds)
            self._kept[t_seconds] = with_adc_ranges(
                tiles, self.compiled, self.spec, self.state, self.amperes
            )
        return self._kept[t_seconds]

    def references(self, method: compensation.Method) -> Mapping[int, np.ndarray]:
        """Return the references of a drift compensation, by core: reads after programming."""
        if method not in self._references:
            begin = self.at(self.state.programmed_at_seconds)
            found = chip_state.compensation_references(method, self.state, self.spec, begin)
            self._references = {method: found}
        return self._references[method]

    def factors(self, t_seconds: float, method: compensation.Method) -> Mapping[int, np.ndarray]:
        """Return the factors of a drift compensation at a time, by core; none means 1."""
        if method == "none":
            return {}
        before, now = self.references(method), self.at(t_seconds)
        later = chip_state.compensation_reads(method, self.state, self.spec, now, t_seconds)
        return {core: compensation.factors(before[core], later[core], method) for core in later}


@dataclass(eq=False)
class Evaluation:
    """A programmed chip at a time.

    Attributes
    ----------
    evaluations : Evaluations
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

    evaluations: Evaluations
    ranges: Ranges | None
    t_seconds: float
    method: compensation.Method
    corrections: Mapping[str, adapt.Correction]
    device: torch.device
    _plans: dict[int, tuple[Program, plan.Plan]] = field(default_factory=dict)

    @cached_property
    def tiles(self) -> Mapping[int, tile.TileNow]:
        """The crossbars in use, by core."""
        return self.evaluations.at(self.t_seconds)

    @cached_property
    def factors(self) -> Mapping[int, np.ndarray]:
        """The (C,) factors of the drift compensation, by core; none means 1."""
        return self.evaluations.factors(self.t_seconds, self.method)

    def bare_plan(self, compiled: Program) -> plan.Plan:
        """Return the plan of a program without the corrections of batch norms."""
        assert self.ranges is not None  # a chip calibrates before it runs
        return plan.build(
            compiled, self.evaluations.spec, self.ranges, self.evaluations.state, self, self.device
        )

    def plan(self, compiled: Program) -> plan.Plan:
        """Return the plan of a program; it is made once."""
        if id(compiled) not in self._plans:
            made = adapt.apply(self.bare_plan(compiled), self.corrections)
            self._plans[id(compiled)] = compiled, made
        return self._plans[id(compiled)][1]

    def is_like(self, other: Evaluation | None) -> bool:
        """Whether another evaluation gives the same plans."""
        return (
            other is not None
            and self.evaluations is other.evaluations
            and self.ranges is other.ranges
            and self.corrections is other.corrections
            and self.t_seconds == other.t_seconds
            and self.method == other.method
            and self.device == other.device
        )
