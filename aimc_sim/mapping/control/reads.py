"""Which pixels of its input a pixel needs: the read relation of every operation.

The relations themselves are :mod:`aimc_sim.ops.geometry`'s; here values are followed back through
several digital steps, which is a product of relations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aimc_sim.chip.program import AnalogLayer, DigitalStep, Program
from aimc_sim.mapping import steps
from aimc_sim.ops import OPERATIONS, RECURRENT
from aimc_sim.ops.geometry import PixelReads, Shape, pixel_reads, pixels, taps


def layer_reads(layer: AnalogLayer, source: Shape, output: Shape) -> PixelReads:
    """Return which pixels of its source an analog layer reads for each output pixel.

    Parameters
    ----------
    layer : AnalogLayer
        A convolution of maps, or a linear layer of vectors.
    source, output : tuple of int
        Shape of the value read and of the value written, from
        :func:`aimc_sim.mapping.shapes.value_shapes`.

    Returns
    -------
    PixelReads
        The relation from output pixels to pixels of the source.
    """
    if isinstance(source, steps.StepShape):
        return PixelReads(*(np.eye(n, dtype=bool) for n in pixels(source)))
    if layer.kind == "linear":
        return PixelReads(np.ones((1, 1), bool), np.ones((1, 1), bool))
    geometry = zip(
        source[1:], output[1:], layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        strict=True,
    )  # fmt: skip
    return PixelReads(*(taps(*axis) for axis in geometry))


def step_reads(step: DigitalStep, source: Shape, output: Shape) -> PixelReads:
    """Return which pixels of one source a digital step reads for each output pixel.

    Parameters
    ----------
    step : DigitalStep
        The step.
    source, output : tuple of int
        Shape of the value read and of the value written, from
        :func:`aimc_sim.mapping.shapes.value_shapes`.

    Returns
    -------
    PixelReads
        The relation from output pixels to pixels of the source.
    """
    timed = steps.reads(step, source, output)
    if timed is not None:
        return timed
    rule = OPERATIONS[step.op].reads or pixel_reads
    return rule(step, source, output)


def reads_of_origins(
    compiled: Program, shapes: Mapping[str, Shape]
) -> dict[str, dict[str, tuple[PixelReads, ...]]]:
    """Follow every value back to the analog layers and the input behind it.

    Parameters
    ----------
    compiled : Program
        A program.
    shapes : mapping of str to tuple of int
        Shape of every value, from :func:`aimc_sim.mapping.shapes.value_shapes`.

    Returns
    -------
    dict of str to dict of str to tuple of PixelReads
        Relations by value, then by origin (name of an analog layer, of a recurrent step, or of the
        network's input):
        one for every path between them, from pixels of the value to pixels of the origin.
    """
    behind: dict[str, dict[str, tuple[PixelReads, ...]]] = {
        compiled.input: {compiled.input: (_itself(shapes[compiled.input]),)}
    }
    for step in compiled.steps:
        if isinstance(step, AnalogLayer) or step.op in RECURRENT:
            own = _itself(shapes[step.name])
            behind[step.name] = {step.name: (own,)}
            if isinstance(step, DigitalStep):  # states are those behind the last time step
                last = PixelReads(own.rows[-1:], own.cols)
                behind[f"{step.name}.h"] = behind[f"{step.name}.c"] = {step.name: (last,)}
            continue
        found: dict[str, list[PixelReads]] = {}
        for name in step.sources:
            outer = step_reads(step, shapes[name], shapes[step.name])
            for origin, paths in behind[name].items():
                found.setdefault(origin, []).extend(outer.after(inner) for inner in paths)
        behind[step.name] = {origin: _distinct(paths) for origin, paths in found.items()}
    return behind


def _itself(shape: Shape) -> PixelReads:
    """Return the relation of a value to itself."""
    return PixelReads(*(np.eye(n, dtype=bool) for n in pixels(shape)))


def _distinct(paths: list[PixelReads]) -> tuple[PixelReads, ...]:
    """Return the relations without repetition, in their order."""
    return tuple({(p.rows.tobytes(), p.cols.tobytes()): p for p in paths}.values())
