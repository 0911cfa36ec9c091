"""How many matrix-vector products a network makes, whatever its layers: by a dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ..chip.ledger import Factors, ImageWork
from ..chip.program import AnalogLayer, Program, WrittenProduct
from ..mapping import shapes
from ..ops import OPERATIONS, RECURRENT, charged
from .blocks import convolve
from .calibrate import float_walk
from .quantisers import as_integers


def output_pixels(compiled: Program, input_shape: Sequence[int]) -> dict[str, int]:
    """Return the matrix-vector products that every analog layer makes for one input.

    Parameters
    ----------
    compiled : Program
        Program whose layers are counted.
    input_shape : sequence of int
        Of one input without the batch, for example (3, 32, 32), (time steps, features), or
        (time steps,) for tokens. Networks with several inputs are refused.

    Returns
    -------
    dict of str to int
        By name of the layer. For networks on maps and vectors as
        :func:`aimc_sim.mapping.shapes.output_pixels`.

    Raises
    ------
    ValueError
        If the network cannot read such an input.
    """
    try:
        return shapes.output_pixels(compiled, input_shape)
    except ValueError as error:
        return _dry_run(compiled, input_shape, error)[0]


def work_of(compiled: Program, input_shape: Sequence[int]) -> tuple[dict[str, int], ImageWork]:
    """Return the matrix-vector products of every layer, and the work beside them, for one input.

    Parameters
    ----------
    compiled, input_shape
        As of :func:`output_pixels`, whose ValueError this raises too.

    Returns
    -------
    pixels : dict of str to int
        As of :func:`output_pixels`.
    work : ImageWork
        Operations of digital steps in floating point, and sizes of the matrices that are written.
    """
    reason = ValueError("no pipeline was asked for")
    pixels, sizes = _dry_run(compiled, input_shape, reason)
    operations, written = {}, {}
    for step in compiled.steps:
        if isinstance(step, AnalogLayer) or step.name not in sizes or step.op in RECURRENT:
            continue
        sources, result = [sizes[name] for name in step.sources], sizes[step.name]
        if isinstance(step, WrittenProduct):
            vectors, rows = sources[0][-2:]
            written[step.name] = Factors(prod(result[:-2]), vectors, rows, result[-1])
        elif charged(step.op):
            work = OPERATIONS[step.op].operations(sources, result, step.attrs)
            if work:
                operations[step.name] = work
    return pixels, ImageWork(operations, written)


def _dry_run(
    compiled: Program, input_shape: Sequence[int], error: ValueError
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Return the products of every layer and the sizes of all values, of one input of zeros."""
    if len(compiled.inputs) > 1:
        raise ValueError(
            f"the network has {len(compiled.inputs)} inputs; run them and use chip.report()"
        ) from error
    reason: Exception = error
    counted: Counter[str] = Counter()

    def enter(layer: AnalogLayer, x: Tensor) -> None:
        rows = x.shape[1] * prod(layer.kernel_size)
        if rows != layer.weight.shape[0]:  # of more rows the walk would pass over some
            raise ValueError(
                f"layer '{layer.name}' reads {rows} numbers at a time, its weight has "
                f"{layer.weight.shape[0]} rows"
            )
        first = x[:1] if layer.loop is None else x
        weight = x.new_zeros(1, x.shape[1], *layer.kernel_size)
        maps = convolve(layer, first, weight)
        counted[layer.name] += len(x) * maps.shape[2] * maps.shape[3]

    shape = list(input_shape)
    if compiled.axis is not None:
        shape.insert(compiled.axis, 1)
    kind = torch.float32 if as_integers(compiled, compiled.input) else torch.int64
    for dtype in dict.fromkeys((kind, torch.float32)):
        counted.clear()
        try:
            with torch.inference_mode():
                values = float_walk(compiled, torch.zeros(shape, dtype=dtype), enter=enter)
            return dict(counted), {name: tuple(value.shape) for name, value in values.items()}
        except (RuntimeError, IndexError, ValueError) as error:
            reason = error
    raise ValueError(
        f"the network cannot read inputs of the shape {tuple(input_shape)}: {reason}"
    ) from reason
