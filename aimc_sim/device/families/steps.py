"""Devices that pulses move step by step, on a chip: written in a closed loop of pulses, or ideally.

The laws are those of :mod:`..steps`. A state is a conductance, linear from ``low_siemens`` at the
nominal lower bound to ``g_max_siemens`` at the upper one; a state beyond them conducts accordingly,
never less than nothing. A chip's own loop writes both devices of a cell. Where a single device
learned against a fixed reference (:mod:`aimc_sim.learning.steps`), the reference is the other
element of its cell, which neither leaks nor has noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...rng import Key
from ...spec import StepSpec
from .. import steps
from ..family import Address, DeviceState, ElementsNow, Family, cycle_key, drawn_report
from ..programming_report import ProgrammingReport, error_sum
from ..request import Request, net_of


@dataclass(frozen=True)
class SteppedState(DeviceState):
    """Programmed elements of one block.

    Attributes
    ----------
    target : (E, R, C) float32, siemens
        Conductance that was asked for.
    programmed : (E, R, C) bool
        False for elements that carry nothing and stay at the lower end of the range.
    g : (E, R, C) float32, siemens
        Conductance right after writing.
    rate : (E, R, C) float32, 1/s, or None
        Rate of leakage; None: no leakage.
    fixed : (E, R, C) bool, or None
        True for elements that are fixed references of devices which learned, False for those
        devices; None: the loop of the chip wrote all elements.
    """

    rate: np.ndarray | None = None
    fixed: np.ndarray | None = None


@dataclass(frozen=True)
class _Writing:
    """Reads and pulses of a closed loop, and devices within the margin."""

    iterations: int
    pulses: int
    reached: int


class Steps(Family[StepSpec, SteppedState]):
    """Devices of :class:`~aimc_sim.spec.StepSpec`."""

    name = "steps"
    spec_class = StepSpec
    state_class = SteppedState
    array_units: ClassVar[Mapping[str, str]] = {"target": "S", "g": "S", "rate": "1/s"}

    def program(
        self, target: np.ndarray, programmed: np.ndarray, spec: StepSpec, address: Address,
        key: Key, cycle: int = 0,
    ) -> SteppedState:  # fmt: skip
        """Write elements in the loop of the specification, or without error where it has none."""
        return _written(target, programmed, spec, address, key, cycle)[0]

    def at(
        self, state: SteppedState, spec: StepSpec, t_seconds: float, address: Address, key: Key
    ) -> ElementsNow:
        """Return conductances whose states have leaked, and the noise of reads."""
        g, slope = state.g, siemens_per_weight(spec)
        if state.rate is not None:
            zero = np.float32(siemens(np.zeros(1), spec)[0])
            g = zero + (g - zero) * np.exp(-state.rate * np.float32(t_seconds))
        if not spec.read_noise:
            return ElementsNow(g, None)
        fresh = np.full(g.shape, np.float32(spec.read_noise * slope))
        if state.fixed is not None:
            fresh[state.fixed] = 0.0
        return ElementsNow(g, fresh)

    def has_fresh_noise(self, spec: StepSpec) -> bool:
        """Return whether reads have noise."""
        return spec.read_noise > 0

    def idle_siemens(self, spec: StepSpec) -> float:
        """Return the lower end of the range, in siemens."""
        return spec.low_siemens

    def lowest_siemens(self, spec: StepSpec) -> float:
        """Return the lower end of the range, in siemens."""
        return spec.low_siemens

    def writes_zeros(self, spec: StepSpec) -> bool:
        """Return True: the lower end is a level like any other."""
        return True

    def write(
        self, request: Request, spec: StepSpec, address: Address, key: Key, cycle: int = 0
    ) -> tuple[SteppedState, ProgrammingReport]:
        """Write the polarities of a block, and report pulses, time and heat of the loop."""
        target, programmed = self.allocate(request, spec)
        state, spent = _written(target, programmed, spec, address, key, cycle)
        if spent is None:
            return state, replace(drawn_report(request, state), scheme="ideal write")
        seconds, joules = steps.cost(spec)
        net = net_of(state.g, request.polarities, np.float64)
        return state, ProgrammingReport(
            "steps, closed loop", int(programmed.sum()), spent.reached, spent.iterations,
            spent.pulses, spent.pulses * seconds, spent.pulses * joules,
            *error_sum(net - request.net(), request.programmed),
        )  # fmt: skip

    def writes_again(self, state: SteppedState) -> bool:
        """Return False for devices that learned: the core's key is not that of their bounds."""
        return state.fixed is None

    def summary(self, spec: StepSpec) -> str:
        """Return form, number of steps and range of the devices."""
        written = "ideal write" if spec.programming is None else "written by pulses"
        return (
            f"steps ({spec.shape.form}), {spec.states:.0f} in {spec.low_siemens * 1e6:g} to "
            f"{spec.g_max_siemens * 1e6:g} µS, {written}"
        )


def siemens_per_weight(spec: StepSpec) -> float:
    """Return the change of conductance by a change of the state by one, in siemens."""
    return (spec.g_max_siemens - spec.low_siemens) / (spec.upper - spec.lower)


def siemens(states: np.ndarray, spec: StepSpec) -> np.ndarray:
    """Return the straight line of conductances through the nominal bounds.

    Parameters
    ----------
    states : float array of any shape, dimensionless
        States of devices.
    spec : StepSpec
        Their kind.

    Returns
    -------
    float64 array of the states' shape, siemens
        Below zero for states that no device with these conductances has.
    """
    g: np.ndarray = spec.low_siemens + (states.astype(float) - spec.lower) * siemens_per_weight(
        spec
    )
    return g


def _states(g: np.ndarray, spec: StepSpec) -> np.ndarray:
    """Return the states of conductances."""
    w = spec.lower + (g.astype(float) - spec.low_siemens) / siemens_per_weight(spec)
    return w.astype(np.float32)


def _written(
    target: np.ndarray, programmed: np.ndarray, spec: StepSpec, address: Address, key: Key,
    cycle: int,
) -> tuple[SteppedState, _Writing | None]:  # fmt: skip
    """Return written elements and the cost of the loop; None where there is no loop."""
    target = np.ascontiguousarray(target, np.float32)
    elements, rows, cols = target.shape
    width, cells = address
    own = cycle_key(key, cycle)
    g, rate = target.copy(), np.zeros_like(target)
    iterations = pulses = reached = 0
    for e in range(elements):
        # Whole rows of the core, so that addresses follow each other; unused columns stay idle.
        state = replace(steps.fresh(rows * width, spec, key, e * cells), key=own)
        wanted = np.full((rows, width), spec.lower, np.float32)
        wanted[:, :cols] = _states(target[e], spec)
        where = np.zeros((rows, width), bool)
        where[:, :cols] = programmed[e]
        steps.put(state, wanted.ravel(), ~where.ravel() if spec.programming else
                  np.ones(rows * width, bool), 0.0)  # fmt: skip
        if spec.programming is not None:
            reads, close = steps.write(state, wanted.ravel(), where.ravel(), 0.0)
            iterations, reached = iterations + int(reads.sum()), reached + int(close.sum())
            pulses += int(state.events.sum(dtype=np.int64))
        found = steps.states(state, 0.0).reshape(rows, width)[:, :cols]
        # Targets that a device takes without error keep their bits.
        exact = found == wanted[:, :cols]
        conducts = np.maximum(siemens(found, spec), 0.0).astype(np.float32)
        g[e] = np.where(exact, target[e], conducts)
        if len(state.rates) > 1:
            rate[e] = state.rates[: rows * width].reshape(rows, width)[:, :cols]
    kept = None if spec.leak is None else rate
    spent = None if spec.programming is None else _Writing(iterations, pulses, reached)
    return SteppedState(target, programmed, g, kept), spent
