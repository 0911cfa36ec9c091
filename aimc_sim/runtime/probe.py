"""Outputs of every layer of a chip, and chips of which only some layers are physical."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..chip.program import DigitalStep, Program
from ..machine import settings
from ..machine.products import SMALLEST_BATCH
from . import executor
from .calls import Call, LayerCall, LoopCall
from .chip import Chip
from .chunk import Run
from .convert import CodedValue
from .counts import new_counts
from .plan import Plan
from .recurrent import Span, padded


@settings.own
def layer_outputs(chip: Chip, images: Tensor | np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of every analog layer of a programmed chip at its present time.

    The errors of all layers before are in it. The chip's image numbers do not move.

    Parameters
    ----------
    chip : Chip
        Calibrated and programmed.
    images : (B, ...) float
        A few; they go through in one piece, as images 0, 1, ...

    Returns
    -------
    dict from layer name to (B, channels, ...) float32, in the network's own numbers

    Raises
    ------
    ValueError
        If images do not fit or hold NaN.
    NotProgrammedError
        If nothing is programmed.
    """
    compiled, x = _inputs(chip, images)
    return _seen(chip.evaluation.plan(compiled), x)


@dataclass(frozen=True, eq=False)
class NeuronTraces:
    """A layer of spiking neurons over time.

    Attributes
    ----------
    name : str
        Of the step.
    outputs : (B, T, units) float32
        Outputs after every step: spikes as 0 and 1.
    states : (B, T, units) float32, dimensionless
        State s after every step, as the digital unit keeps it.
    threshold : (units,) float32, dimensionless
        theta of every neuron.
    """

    name: str
    outputs: np.ndarray
    states: np.ndarray
    threshold: np.ndarray


@settings.own
def neuron_traces(chip: Chip, images: Tensor | np.ndarray) -> tuple[NeuronTraces, ...]:
    """Return outputs and states of all spiking neurons of a programmed chip, step by step.

    Parameters
    ----------
    chip : Chip
        Calibrated and programmed. Its image numbers and counts do not move.
    images : (B, ...) float
        A few; they go through in one piece, as images 0, 1, ...

    Returns
    -------
    tuple of NeuronTraces
        Layer by layer.

    Raises
    ------
    ValueError
        If images do not fit or hold NaN, or the network has no spiking neurons.
    """
    compiled, x = _inputs(chip, images)
    steps = {s.name: s for s in compiled.steps if isinstance(s, DigitalStep) and s.op == "spiking"}
    if not steps:
        raise ValueError("the network has no spiking neurons whose states could be shown")
    plan, span = chip.evaluation.plan(compiled), Span(traces={})
    n, x = _padded(plan, x)
    with torch.inference_mode():
        Run(plan, n, 0, new_counts(), span)(*(part.to(plan.device) for part in x))
    assert span.traces is not None  # as it was made
    found = []
    for name, states in span.traces.items():
        step = steps[name]
        y = torch.stack([plan.real(h[:n], name) for h, _ in states], 1).cpu().numpy()
        s = torch.stack([c[:n] for _, c in states], 1).cpu().numpy()[..., : y.shape[-1]]
        theta = np.broadcast_to(step.arrays["threshold"], y.shape[-1:])
        found.append(NeuronTraces(name, y, s, theta))
    return tuple(found)


@settings.own_methods
class Mixed:
    """A chip on which some layers have the devices of one chip and the others those of another.

    Both chips carry the same network at the same place with the same integer ranges, so that
    layers can be exchanged one by one.

    Parameters
    ----------
    chip, ideal : Chip
        Calibrated alike and programmed; read at their present times.
    layers : collection of str
        Names of the layers that ``chip`` gives; ``ideal`` gives the others.

    Raises
    ------
    KeyError
        If the network has no analog layer of such a name; lists those it has.
    ValueError
        If the two chips are not calibrated alike.
    """

    def __init__(self, chip: Chip, ideal: Chip, layers: Collection[str]) -> None:
        for name in layers:
            chip.compiled.layer(name)
        self._evaluations = chip.evaluation, ideal.evaluation
        physical, perfect = (one.plan(chip.compiled) for one in self._evaluations)
        if chip.compiled is not ideal.compiled or physical.quantisers != perfect.quantisers:
            raise ValueError(
                "the two chips hold different networks or integer ranges, so their layers cannot "
                "be exchanged; make the second one from the program and ranges of the first"
            )
        self._chip, self._layers = chip, set(layers)
        self.counts = new_counts()

    def __call__(self, images: Tensor | np.ndarray) -> Tensor:
        """Return the (B, outputs) float32 outputs of images 0, 1, ..."""
        compiled, x = _inputs(self._chip, images)
        found: Tensor = executor.run(self._plan(compiled), x, 0, self.counts, None)
        return found

    def layer_outputs(self, images: Tensor | np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of every analog layer, as :func:`layer_outputs` does of one chip."""
        compiled, x = _inputs(self._chip, images)
        return _seen(self._plan(compiled), x)

    def _plan(self, compiled: Program) -> Plan:
        """Return the plan of a program with the layers of both chips."""
        physical, perfect = (one.plan(compiled) for one in self._evaluations)
        calls = tuple(
            _chosen(one, other, self._layers)
            for one, other in zip(physical.calls, perfect.calls, strict=True)
        )
        squared = physical.squared | perfect.squared
        return dataclasses.replace(physical, calls=calls, squared=squared)


def _chosen(one: Call, other: Call, names: Collection[str]) -> Call:
    """Return the call with the layers of `one` that are named and the other layers of `other`."""
    if isinstance(one, LoopCall):
        assert isinstance(other, LoopCall)  # both plans are of one network
        pairs = zip((one.hidden, one.projection), (other.hidden, other.projection), strict=True)
        hidden, projection = (
            mine if mine is not None and mine.layer.name in names else yours
            for mine, yours in pairs
        )
        return LoopCall(one.step, hidden, projection)
    return one if isinstance(one, LayerCall) and one.layer.name in names else other


def _seen(plan: Plan, inputs: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    axis = plan.compiled.axis
    seen: dict[str, np.ndarray] = {}
    n, inputs = _padded(plan, inputs)
    batch = 1 if axis is None else inputs[0].shape[axis]

    def kept(
        run: Run, call: LayerCall, values: dict[str, CodedValue], time: int | None
    ) -> CodedValue:
        """Keep the output of a layer."""
        value = run.compute(call, values, time)
        along = 0 if time is not None else call.layer.axis
        rows = value.codes.shape[along] // batch * n
        real = run.plan.real(value.codes.narrow(along, 0, rows), call.layer.name).cpu().numpy()
        if time is not None:  # of all time steps, in the order in which they were run
            before = seen.get(call.layer.name, real[:, None][:, :0])
            real = np.concatenate([before, real[:, None]], axis=1)
        seen[call.layer.name] = real
        return value

    run = Run(plan, n, 0, new_counts(), around=kept)
    with torch.inference_mode():
        run(*(x.to(plan.device) for x in inputs))
    return seen


def _padded(plan: Plan, inputs: tuple[Tensor, ...]) -> tuple[int, tuple[Tensor, ...]]:
    """Return the number of images, and inputs padded as the executor pads small chunks."""
    axis = plan.compiled.axis
    n = 1 if axis is None else inputs[0].shape[axis]
    if axis is not None and n < SMALLEST_BATCH:
        inputs = tuple(
            x if own is None else padded(x, own, SMALLEST_BATCH - n)
            for x, own in zip(inputs, plan.compiled.axes, strict=True)
        )
    return n, inputs


def _inputs(chip: Chip, images: Tensor | np.ndarray) -> tuple[Program, tuple[Tensor, ...]]:
    x = chip.inputs_of(images)
    return chip.variants.of(x), x
