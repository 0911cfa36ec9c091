"""Shapes of a program's values for one image, without running it.

A value is a stack of feature maps (channels, rows, columns) or a vector (features,). The output
pixels of a layer are the matrix-vector products that it makes per image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from aimc_sim.chip.image import AnalogLayer, ChipImage, DigitalStep

Shape = tuple[int, ...]
"""(channels, rows, columns) or (features,)."""


def value_shapes(image: ChipImage, input_shape: Sequence[int]) -> dict[str, Shape]:
    """Return the shape of every value of a program.

    Parameters
    ----------
    image : ChipImage
    input_shape : sequence of int
        Shape of one input without the batch: (channels, rows, columns) or (features,).

    Returns
    -------
    dict of str to tuple of int
        By name of the value, the network's input included.

    Raises
    ------
    ValueError
        If a layer or step cannot read the shape it gets; names it.
    """
    shape = tuple(int(size) for size in input_shape)
    if len(shape) not in (1, 3) or min(shape, default=0) < 1:
        raise ValueError(
            f"the input shape is {shape}; give (channels, rows, columns) or (features,) of one "
            "image, without the batch"
        )
    shapes: dict[str, Shape] = {image.input: shape}
    for step in image.steps:
        sources = [shapes[name] for name in step.sources]
        if isinstance(step, AnalogLayer):
            shapes[step.name] = _layer(step, sources)
        else:
            shapes[step.name] = _digital(step, sources)
    return shapes


def pixels(shape: Shape) -> tuple[int, int]:
    """Return rows and columns of a value; a vector is one pixel."""
    return (shape[1], shape[2]) if len(shape) == 3 else (1, 1)


def output_pixels(image: ChipImage, input_shape: Sequence[int]) -> dict[str, int]:
    """Return the output pixels per image of every analog layer: its MVMs on each of its cores.

    Parameters and errors are those of :func:`value_shapes`.
    """
    shapes = value_shapes(image, input_shape)
    return {layer.name: prod(pixels(shapes[layer.name])) for layer in image.layers}


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many windows of a convolution or pooling fit along one dimension, pixels."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pooled(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Return the windows of a pooling; ``ceil_mode`` adds one that begins inside but ends outside.

    A last window that would begin in the padding behind the map is dropped, as in torch.
    """
    if not ceil_mode:
        return windows(size, kernel, stride, padding, dilation)
    count = -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


POINTWISE = frozenset(
    "sigmoid tanh leaky_relu prelu relu6 hardtanh elu selu celu softplus softsign logsigmoid "
    "hardsigmoid silu hardswish gelu mish abs neg sqrt rsqrt exp log square clamp".split()
)
"""Functions of one value, pixel by pixel."""

WHOLE_MAP = frozenset({"group_norm", "instance_norm"})
"""Operations of which every pixel depends on all of its map."""


def _layer(layer: AnalogLayer, sources: list[Shape]) -> Shape:
    source, outputs = sources[0], layer.weight.shape[1]
    if layer.kind == "conv1d" or layer.loop is not None:
        raise _error(
            layer, "reads lines or time steps: pipelines are laid out for maps and vectors only; "
            "run inputs and print(chip.report()) for time and energy",
        )  # fmt: skip
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
    rule = _RULES.get(step.op)
    if rule is None:
        raise _error(
            step, "has no shape rule: pipelines are laid out for steps on maps and vectors only; "
            "run inputs and print(chip.report()) for time and energy",
        )  # fmt: skip
    return _positive(step, rule(step, sources), sources[0])


def _error(step: AnalogLayer | DigitalStep, what: str) -> ValueError:
    kind = step.kind if isinstance(step, AnalogLayer) else step.op
    return ValueError(f"layer '{step.name}' ({kind}) {what}")


def _positive(step: AnalogLayer | DigitalStep, shape: Shape, source: Shape) -> Shape:
    if min(shape) < 1:
        raise _error(step, f"has no output left: {source} becomes {shape}; give larger images")
    return shape


def pair(value: Any) -> tuple[int, int]:
    """Return an attribute of both dimensions, [rows, columns] or one number for both."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _maps(step: DigitalStep, source: Shape) -> Shape:
    if len(source) != 3:
        raise _error(step, f"reads the vector {source}, but it works on feature maps")
    return source


def _same(step: DigitalStep, sources: list[Shape]) -> Shape:
    if len(set(sources)) != 1:
        raise _error(step, f"reads values of different shapes: {sources}")
    return sources[0]


def _pool(step: DigitalStep, sources: list[Shape]) -> Shape:
    channels, *sizes = _maps(step, sources[0])
    keys = ("kernel_size", "stride", "padding")
    axes = zip(
        *(pair(step.attrs[key]) for key in keys), pair(step.attrs.get("dilation", 1)), strict=True
    )
    ceil_mode = bool(step.attrs["ceil_mode"])
    counts = (pooled(size, *axis, ceil_mode) for size, axis in zip(sizes, axes, strict=True))
    return (channels, *counts)


def _global_pool(step: DigitalStep, sources: list[Shape]) -> Shape:
    return (_maps(step, sources[0])[0], 1, 1)


def _flatten(step: DigitalStep, sources: list[Shape]) -> Shape:
    return (prod(sources[0]),)


def _subsample(step: DigitalStep, sources: list[Shape]) -> Shape:
    slices = [slice(*part) for part in step.attrs["slices"][1:]]
    slices += [slice(None)] * (len(sources[0]) - len(slices))
    return tuple(len(range(size)[part]) for size, part in zip(sources[0], slices, strict=True))


def pad_pairs(step: DigitalStep, dimensions: int) -> list[tuple[int, int]]:
    """Return (before, after) for each of a value's dimensions, the first one first."""
    flat = [*step.attrs["pad"], *([0] * (2 * dimensions))][: 2 * dimensions]
    return list(zip(flat[0::2], flat[1::2], strict=True))[::-1]


def _pad(step: DigitalStep, sources: list[Shape]) -> Shape:
    pairs = pad_pairs(step, len(sources[0]))
    return tuple(size + sum(pair) for size, pair in zip(sources[0], pairs, strict=True))


def _concat(step: DigitalStep, sources: list[Shape]) -> Shape:
    if int(step.attrs.get("dim", 1)) != 1:
        raise _error(step, f"joins along dimension {step.attrs['dim']}; only channels (1) do")
    if len({source[1:] for source in sources}) != 1:
        raise _error(step, f"joins maps of different sizes: {sources}")
    return (sum(source[0] for source in sources), *sources[0][1:])


def _adaptive_pool(step: DigitalStep, sources: list[Shape]) -> Shape:
    channels, *sizes = _maps(step, sources[0])
    wanted = zip(step.attrs["output_size"], sizes, strict=True)
    return (channels, *(size if new is None else new for new, size in wanted))


def _upsample(step: DigitalStep, sources: list[Shape]) -> Shape:
    channels, *sizes = _maps(step, sources[0])
    given = step.attrs.get("kwargs", {})
    if isinstance(given.get("size"), list) and all(isinstance(n, int) for n in given["size"]):
        return (channels, *given["size"])
    factor = given.get("scale_factor")
    if not isinstance(factor, int | float):
        raise _error(step, "has sizes that depend on other values; give it a scale_factor")
    return (channels, *(int(size * factor) for size in sizes))


def _shuffle(step: DigitalStep, sources: list[Shape]) -> Shape:
    channels, rows, cols = _maps(step, sources[0])
    down, across = pair(step.attrs["factor"])
    if channels % (down * across):
        raise _error(step, f"reads {channels} channels, not a multiple of {down} x {across}")
    return (channels // (down * across), rows * down, cols * across)


def _unshuffle(step: DigitalStep, sources: list[Shape]) -> Shape:
    channels, rows, cols = _maps(step, sources[0])
    factor = int(step.attrs["factor"])
    if rows % factor or cols % factor:
        raise _error(step, f"reads maps of {rows} x {cols}, not multiples of {factor}")
    return (channels * factor**2, rows // factor, cols // factor)


_RULES: dict[str, Callable[[DigitalStep, list[Shape]], Shape]] = {
    "relu": _same,
    "affine": _same,
    "add": _same,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "global_avg_pool": _global_pool,
    "flatten": _flatten,
    "subsample": _subsample,
    "pad": _pad,
    "concat": _concat,
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle,
    "adaptive_avg_pool": _adaptive_pool,
    "adaptive_max_pool": _adaptive_pool,
    "upsample": _upsample,
    "interpolate": _upsample,
    **dict.fromkeys((*POINTWISE, *WHOLE_MAP), _same),
}
