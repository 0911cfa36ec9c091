"""Shapes of a program's values for one image, without running it.

A value is a stack of feature maps (channels, rows, columns), a vector (features,), or a vector at
each of some time steps (:mod:`.steps`). The output pixels of a layer are the matrix-vector products
that it makes per image; of time steps, one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.mapping import steps
from aimc_sim.ops import OPERATIONS, RECURRENT, charged
from aimc_sim.ops.geometry import Shape, pixels, windows


def value_shapes(compiled: Program, input_shape: Sequence[int]) -> dict[str, Shape]:
    """Return the shape of every value of a program.

    Parameters
    ----------
    compiled : Program
        A program.
    input_shape : sequence of int
        Shape of one input without the batch: (channels, rows, columns), (features,), or (steps,
        features) of a sequence.

    Returns
    -------
    dict of str to tuple of int
        Shape of every value by its name, the network's input included.

    Raises
    ------
    ValueError
        If a layer or step cannot read the shape of its source; the message names it.
    """
    shape = tuple(int(size) for size in input_shape)
    timed = steps.input_steps(compiled, shape) if min(shape, default=0) > 0 else None
    if timed is None and (len(shape) not in (1, 3) or min(shape, default=0) < 1):
        raise ValueError(
            f"the input shape is {shape}; give (channels, rows, columns) or (features,) of one "
            "image, without the batch, or (steps, features) of a sequence"
        )
    shapes: dict[str, Shape] = {compiled.input: shape if timed is None else timed}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer) and step.loop is not None:
            shapes[step.name] = _in_loop(compiled, step, shapes)
            continue
        sources = [shapes[name] for name in step.sources]
        if isinstance(step, AnalogLayer):
            shapes[step.name] = _layer(step, sources)
        else:
            shapes[step.name] = _digital(step, sources)
            if step.op in RECURRENT:  # states behind the last step
                shapes[f"{step.name}.h"] = shapes[f"{step.name}.c"] = shapes[step.name][:1]
    return shapes


def output_pixels(compiled: Program, input_shape: Sequence[int]) -> dict[str, int]:
    """Return the output pixels per image of every analog layer: its MVMs on each of its cores.

    Parameters
    ----------
    compiled : Program
        A program.
    input_shape : sequence of int
        Shape of one input without the batch: (channels, rows, columns) or (features,).

    Returns
    -------
    dict of str to int
        Output pixels by name of the layer.

    Raises
    ------
    ValueError
        If a layer or step cannot read the shape of its source; the message names it.
    """
    shapes = value_shapes(compiled, input_shape)
    return {layer.name: prod(pixels(shapes[layer.name])) for layer in compiled.layers}


def _in_loop(compiled: Program, layer: AnalogLayer, shapes: dict[str, Shape]) -> Shape:
    """Return the shape of what the matrix of a recurrence makes: one vector per step."""
    assert layer.loop is not None  # who calls has looked
    step = compiled.step(layer.loop)
    source = shapes[step.sources[0]]
    if not isinstance(source, steps.StepShape) or layer.source != layer.loop:
        raise _error(
            layer, "is a matrix of a recurrence that pipelines do not carry (a projection, or "
            "inputs without time steps); run inputs and print(chip.report()) for time and energy",
        )  # fmt: skip
    return steps.StepShape(layer.weight.shape[1], source[1], source.time)


def operations(compiled: Program, input_shape: Sequence[int]) -> dict[str, float]:
    """Return the operations in floating point per image of the digital steps that are charged.

    Parameters
    ----------
    compiled : Program
        A program.
    input_shape : sequence of int
        Shape of one input without the batch, as of :func:`value_shapes`.

    Returns
    -------
    dict of str to float
        By name of the step, see :func:`aimc_sim.ops.charged`.
    """
    shapes = value_shapes(compiled, input_shape)
    found = {}
    for step in compiled.steps:
        if isinstance(step, DigitalStep) and charged(step.op):
            sources = [(1, *shapes[name]) for name in step.sources]
            work = OPERATIONS[step.op].operations(sources, (1, *shapes[step.name]), step.attrs)
            if work:
                found[step.name] = work
    return found


def _layer(layer: AnalogLayer, sources: list[Shape]) -> Shape:
    """Return the shape of an analog layer's output."""
    source, outputs = sources[0], layer.weight.shape[1]
    if layer.kind == "conv1d":
        raise _error(
            layer, "reads lines: pipelines are laid out for maps and vectors only; "
            "run inputs and print(chip.report()) for time and energy",
        )  # fmt: skip
    if isinstance(source, steps.StepShape):
        made = steps.of_layer(layer, source, outputs)
        if isinstance(made, str):
            raise _error(layer, made)
        return made
    if layer.kind == "linear":
        shape = (outputs,)
        if len(source) != 1:
            raise _error(layer, f"reads {source}, but a linear layer reads a vector: flatten first")
        rows = source[0]
    else:
        if len(source) != 3:
            raise _error(layer, f"reads the vector {source}, but a convolution reads maps")
        geometry = zip(
            source[1:], layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True
        )
        shape = (outputs, *(windows(*axis) for axis in geometry))
        rows = source[0] * prod(layer.kernel_size)
    if layer.axis:
        raise _error(layer, "has the batch behind other dimensions; put the batch first")
    if rows != layer.weight.shape[0]:
        raise _error(layer, f"reads {source}, which is {rows} weight rows of its "
                     f"{layer.weight.shape[0]}; check the input shape")  # fmt: skip
    if layer.residual is not None and sources[1] != shape:
        raise _error(layer, f"adds a residual of shape {sources[1]} to its output {shape}")
    return _positive(layer, shape, source)


def _digital(step: DigitalStep, sources: list[Shape]) -> Shape:
    """Return the shape of a digital step's output."""
    timed = steps.of_step(step, sources)
    if isinstance(timed, str):
        raise _error(step, f"{timed}; run inputs and print(chip.report()) for time and energy")
    if timed is not None:
        return timed
    rule = OPERATIONS[step.op].shape if step.op in OPERATIONS else None
    if rule is None:
        raise _error(
            step, "has no shape rule: pipelines are laid out for steps on maps and vectors only; "
            "run inputs and print(chip.report()) for time and energy",
        )  # fmt: skip
    return _positive(step, rule(step, sources), sources[0])


def _error(step: AnalogLayer | DigitalStep, problem: str) -> ValueError:
    """Return the error of a step that cannot read the shape of its source."""
    kind = step.kind if isinstance(step, AnalogLayer) else step.op
    return ValueError(f"layer '{step.name}' ({kind}) {problem}")


def _positive(step: AnalogLayer | DigitalStep, shape: Shape, source: Shape) -> Shape:
    """Return a shape if all its sizes are above zero."""
    if min(shape) < 1:
        raise _error(step, f"has no output left: {source} becomes {shape}; give larger images")
    return shape
