"""Time steps in a pipeline: a step of an image is a task like a pixel of a map.

A value with time steps is laid out as a column of pixels, one per step, in the order in which they
run. So a layer of weights makes one MVM per step on each of its cores, steps stream from layer to
layer, and tables of needs, buffers and events are those of maps. Where outputs come back as inputs,
the MVM of a step needs the outputs of the step before (an edge of the kind "feedback").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.ops import OPERATIONS, RECURRENT
from aimc_sim.ops.geometry import PixelReads, Shape, pixels, same

_REDUCED = frozenset(("mean", "sum", "amax", "amin"))
"""Operations that make one value of all steps."""


class StepShape(tuple[int, ...]):
    """Shape (features, steps, 1) of a value with time steps.

    Attributes
    ----------
    time : int
        Dimension of the network's own value that counts steps: 1 with the batch in front, else 0.
    """

    time: int

    def __new__(cls, features: int, steps: int, time: int) -> StepShape:
        """Return the shape of some features at some steps."""
        made = super().__new__(cls, (features, steps, 1))
        made.time = time
        return made


def input_steps(compiled: Program, shape: Shape) -> StepShape | None:
    """Return the shape of a sequence (steps, features) that a recurrent program reads, or None."""
    if len(shape) != 2 or not compiled.recurrent or compiled.axis not in (0, 1):
        return None
    return StepShape(shape[1], shape[0], 1 - compiled.axis)


def of_layer(layer: AnalogLayer, source: Shape, outputs: int) -> StepShape | str:
    """Return the shape that a layer makes of steps, or a sentence about its fault."""
    assert isinstance(source, StepShape)  # who calls has looked
    if layer.kind != "linear":
        return "reads time steps: pipelines have steps of vectors only, not of maps"
    if layer.axis != 1 - source.time:
        return "has time and batch in another order than the values that it reads"
    if source[0] != layer.weight.shape[0]:
        return (
            f"reads steps of {source[0]} features, but has {layer.weight.shape[0]} weight rows; "
            "check the input shape"
        )
    return StepShape(outputs, source[1], source.time)


def of_step(step: DigitalStep, sources: list[Shape]) -> Shape | str | None:
    """Return the shape of a digital step's result where time steps are involved.

    Returns
    -------
    tuple of int, str or None
        The shape; a sentence about the fault; or None for a step that reads no steps and makes
        none.
    """
    source = sources[0]
    if step.op == "unsqueeze" and len(source) == 1:
        place = _place(step, 1)
        return StepShape(source[0], 1, place) if place in (0, 1) else "adds no dimension of steps"
    if not any(isinstance(one, StepShape) for one in sources):
        return "reads no time steps" if step.op in RECURRENT else None
    if not isinstance(source, StepShape):
        return "joins values with and without time steps"
    if step.op in RECURRENT:
        return _recurrent(step, source)
    if step.op == "expand":
        return _expanded(step, source)
    if step.op == "select" and _place(step, 1) == source.time:
        return (source[0],)
    if step.op in _REDUCED:
        return _reduced(step, source)
    if OPERATIONS[step.op].shape is same:
        features, steps, _ = same(step, [tuple(one) for one in sources])
        return StepShape(features, steps, source.time)
    return "does more to time steps than pipelines have: number by number, or one value of all"


def _place(step: DigitalStep, number: int) -> int | None:
    """Return an argument that is a dimension, or None."""
    args = step.attrs.get("args", ())
    found = args[number] if len(args) > number else step.attrs.get("kwargs", {}).get("dim")
    return found if isinstance(found, int) else None


def _recurrent(step: DigitalStep, source: StepShape) -> Shape | str:
    attrs = step.attrs
    if attrs["reverse"]:
        return "runs backwards: no step can begin before the last one is there"
    if attrs.get("lengths") or attrs.get("initial"):
        return "is given its lengths or first state, which pipelines do not carry"
    if attrs["axis"] != 1 - source.time:
        return "has time and batch in another order than the values that it reads"
    if "hr" in attrs["layers"]:
        return "has a projection, which pipelines do not carry"
    features = source[0] // _sums(step) if step.op == "spiking" else int(attrs["hidden"])
    return StepShape(features, source[1], source.time)


def _sums(step: DigitalStep) -> int:
    neuron = step.attrs["neuron"]
    return 1 + bool(neuron["gate"]) + (neuron["adaptation"] is not None)


def _expanded(step: DigitalStep, source: StepShape) -> Shape | str:
    sizes = step.attrs["args"][1]
    if (
        len(sizes) != 3
        or not isinstance(sizes[source.time], int)
        or sizes[2] not in (-1, source[0])
    ):
        return "repeats something else than a step"
    steps = source[1] if sizes[source.time] == -1 else int(sizes[source.time])
    if source[1] not in (1, steps):
        return f"repeats {source[1]} steps to {steps}"
    return StepShape(source[0], steps, source.time)


def _reduced(step: DigitalStep, source: StepShape) -> Shape | str:
    args: Any = step.attrs["args"]
    dims = args[1] if len(args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    kept = (args[2] if len(args) > 2 else step.attrs.get("kwargs", {}).get("keepdim")) or False
    if dims != [source.time] or kept:
        return "reduces something else than the time steps"
    return (source[0],)


def reads(step: DigitalStep, source: Shape, output: Shape) -> PixelReads | None:
    """Return which steps a result reads, or None where the rule of the operation says it."""
    if not isinstance(source, StepShape) and not isinstance(output, StepShape):
        return None
    (before, _), (after, _) = pixels(source), pixels(output)
    one = np.ones((1, 1), bool)
    if before == after:
        return PixelReads(np.eye(before, dtype=bool), one)
    if step.op == "select":
        found = np.zeros((1, before), bool)
        found[0, step.attrs["args"][2]] = True
        return PixelReads(found, one)
    return PixelReads(np.ones((after, before), bool), one)  # one of all, or all of one


def loops(compiled: Program) -> dict[str, DigitalStep]:
    """Return the recurrent steps of a program, spiking neurons among them, by name."""
    return {
        step.name: step for step in compiled.steps
        if isinstance(step, DigitalStep) and step.op in RECURRENT
    }  # fmt: skip
