"""Shapes of values for one image, and which pixels of its input a pixel reads.

A value is a stack of feature maps (channels, rows, columns) or a vector (features,). All operations
of a program read rectangles of pixels (with gaps under dilation), and the rows read do not
depend on the column. So a read relation is a pair of boolean matrices, one per axis, and following
a value through several digital steps is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]
"""(channels, rows, columns) or (features,)."""


class ShapedStep(Protocol):
    """Shape and operation of a :class:`aimc_sim.chip.program.DigitalStep`."""

    @property
    def name(self) -> str:
        """Name of the step, for messages."""

    @property
    def op(self) -> str:
        """Name of the operation."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """JSON attributes of the operation."""


ShapeRule = Callable[[Any, list[Shape]], Shape]
"""Step, shapes of its sources -> shape of its result."""

ReadRule = Callable[[Any, Shape, Shape], "PixelReads"]
"""Step, shape of a source, shape of its result -> which pixels are read."""

_WINDOW = ("kernel_size", "stride", "padding")
"""Attributes of pooling with windows, beside the dilation."""


# --------------------------------------------------------------------------- sizes


def pixels(shape: Shape) -> tuple[int, int]:
    """Return rows and columns of a value; a vector is one pixel.

    Parameters
    ----------
    shape : tuple of int
        Shape of the value for one image.

    Returns
    -------
    (int, int)
        Rows and columns, pixels.
    """
    return (shape[1], shape[2]) if len(shape) == 3 else (1, 1)


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return the number of windows of a convolution or pooling along one dimension.

    Parameters
    ----------
    size : int
        Pixels of the input along the dimension.
    kernel, stride, padding, dilation : int
        Geometry along the dimension, pixels.

    Returns
    -------
    int
        Pixels of the output along the dimension.

    Examples
    --------
    >>> windows(32, kernel=3, stride=2, padding=1, dilation=1)
    16
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _pooled(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Return the number of windows of a pooling along one dimension.

    Parameters
    ----------
    size : int
        Pixels of the input along the dimension.
    kernel, stride, padding, dilation : int
        Geometry along the dimension, pixels.
    ceil_mode : bool
        Whether a window that begins inside the map but ends outside counts. One that would begin
        in the padding behind the map is dropped, as in torch.

    Returns
    -------
    int
        Pixels of the output along the dimension.
    """
    if not ceil_mode:
        return windows(size, kernel, stride, padding, dilation)
    count = -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def pair(value: Any) -> tuple[int, int]:
    """Return an attribute of both dimensions.

    Parameters
    ----------
    value : int or sequence of int
        [rows, columns], or one number for both.

    Returns
    -------
    (int, int)
        Rows and columns.
    """
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def error(step: ShapedStep, problem: str) -> ValueError:
    """Return the error of a step that cannot read the shape of its source.

    Parameters
    ----------
    step : ShapedStep
        The step.
    problem : str
        The rest of the sentence.

    Returns
    -------
    ValueError
        The error, to be raised.
    """
    return ValueError(f"layer '{step.name}' ({step.op}) {problem}")


def maps(step: ShapedStep, source: Shape) -> Shape:
    """Return a shape if it is that of feature maps; else raise the step's ValueError."""
    if len(source) != 3:
        raise error(step, f"reads the vector {source}, but it works on feature maps")
    return source


def same(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of a result that is made number by number."""
    if len(set(sources)) != 1:
        raise error(step, f"reads values of different shapes: {sources}")
    return sources[0]


def pool(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape after pooling with windows."""
    channels, *sizes = maps(step, sources[0])
    kernel, stride, padding = (pair(step.attrs[key]) for key in _WINDOW)
    axes = zip(sizes, kernel, stride, padding, pair(step.attrs.get("dilation", 1)), strict=True)
    ceil_mode = bool(step.attrs["ceil_mode"])
    return (channels, *(_pooled(*axis, ceil_mode) for axis in axes))


def global_pool(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape after the mean over whole maps."""
    return (maps(step, sources[0])[0], 1, 1)


def flatten(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of everything in one row."""
    if step.attrs.get("start_dim", 1) != 1 or step.attrs.get("end_dim", -1) != -1:
        raise error(step, "joins some dimensions only; pipelines are laid out for whole vectors")
    return (prod(sources[0]),)


def subsample(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of slices."""
    slices = [slice(*part) for part in step.attrs["slices"][1:]]
    slices += [slice(None)] * (len(sources[0]) - len(slices))
    return tuple(len(range(size)[part]) for size, part in zip(sources[0], slices, strict=True))


def _pad_pairs(step: ShapedStep, dimensions: int) -> list[tuple[int, int]]:
    """Return the padding of each of a value's dimensions, the first one first.

    Parameters
    ----------
    step : ShapedStep
        A step whose attribute ``pad`` runs from the last dimension backwards.
    dimensions : int
        Number of dimensions of the value for one image.

    Returns
    -------
    list of (int, int), (dimensions,)
        Numbers before and after.
    """
    flat = [*step.attrs["pad"], *([0] * (2 * dimensions))][: 2 * dimensions]
    return list(zip(flat[0::2], flat[1::2], strict=True))[::-1]


def pad(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape after padding."""
    pairs = _pad_pairs(step, len(sources[0]))
    return tuple(size + sum(one) for size, one in zip(sources[0], pairs, strict=True))


def concat(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of joined channels."""
    if int(step.attrs.get("dim", 1)) != 1:
        raise error(step, f"joins along dimension {step.attrs['dim']}; only channels (1) do")
    if len({source[1:] for source in sources}) != 1:
        raise error(step, f"joins maps of different sizes: {sources}")
    return (sum(source[0] for source in sources), *sources[0][1:])


def adaptive_pool(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape after pooling to given sizes."""
    channels, *sizes = maps(step, sources[0])
    wanted = zip(step.attrs["output_size"], sizes, strict=True)
    return (channels, *(size if new is None else new for new, size in wanted))


def resized(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape after interpolation."""
    channels, *sizes = maps(step, sources[0])
    given = step.attrs
    if isinstance(given.get("size"), list) and all(isinstance(n, int) for n in given["size"]):
        return (channels, *given["size"])
    factor = given.get("scale_factor")
    if not isinstance(factor, int | float | list):
        raise error(step, "has sizes that depend on other values; give it a scale_factor")
    factors = factor if isinstance(factor, list) else [factor] * len(sizes)
    return (channels, *(int(size * f) for size, f in zip(sizes, factors, strict=True)))


def shuffle(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of maps whose channels become pixels."""
    channels, rows, cols = maps(step, sources[0])
    down, across = pair(step.attrs["factor"])
    if channels % (down * across):
        raise error(step, f"reads {channels} channels, not a multiple of {down} x {across}")
    return (channels // (down * across), rows * down, cols * across)


def unshuffle(step: ShapedStep, sources: list[Shape]) -> Shape:
    """Return the shape of maps whose pixels become channels."""
    channels, rows, cols = maps(step, sources[0])
    factor = int(step.attrs["factor"])
    if rows % factor or cols % factor:
        raise error(step, f"reads maps of {rows} x {cols}, not multiples of {factor}")
    return (channels * factor**2, rows // factor, cols // factor)


# --------------------------------------------------------------------------- reads


@dataclass(frozen=True, eq=False)
class PixelReads:
    """Output pixel (y, x) reads input pixel (r, c) if ``rows[y, r]`` and ``cols[x, c]``.

    Attributes
    ----------
    rows : (output rows, input rows) bool
        Rows of the input that each row of the output reads.
    cols : (output columns, input columns) bool
        Columns of the input that each column of the output reads.
    """

    rows: np.ndarray
    cols: np.ndarray

    def after(self, inner: PixelReads) -> PixelReads:
        """Return the product with another relation.

        Parameters
        ----------
        inner : PixelReads
            The relation whose output this one reads.

        Returns
        -------
        PixelReads
            The relation from this one's output to the input of `inner`.
        """
        return PixelReads(_product(self.rows, inner.rows), _product(self.cols, inner.cols))

    def last(self) -> np.ndarray:
        """Return the last input pixel that each output pixel reads, -1 for none.

        Returns
        -------
        (output pixels,) int64
            Numbers of input pixels in raster order, for output pixels in raster order.
        """
        rows, cols = (_edge(axis, last=True) for axis in (self.rows, self.cols))
        found = rows[:, None] * self.cols.shape[1] + cols
        return np.where((rows[:, None] < 0) | (cols < 0), -1, found).ravel()

    def first(self) -> np.ndarray:
        """Return the first input pixel that each output pixel reads.

        Returns
        -------
        (output pixels,) int64
            Numbers of input pixels as in :meth:`last`; the count of input pixels where none is
            read.
        """
        rows, cols = (_edge(axis, last=False) for axis in (self.rows, self.cols))
        found = rows[:, None] * self.cols.shape[1] + cols
        none = (rows[:, None] < 0) | (cols < 0)
        elements = self.rows.shape[1] * self.cols.shape[1]
        first: np.ndarray = np.where(none, elements, found)
        return first.ravel()


def _product(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the product of two relations along one axis."""
    # In float32, which goes through the fast matrix product; counts below 2^24 are exact.
    counts: np.ndarray = outer.astype(np.float32) @ inner.astype(np.float32)
    return counts > 0


def _edge(axis: np.ndarray, last: bool) -> np.ndarray:
    """Return the last or first True of every row, -1 for none, int64."""
    place = axis.shape[1] - 1 - axis[:, ::-1].argmax(1) if last else axis.argmax(1)
    return np.where(axis.any(1), place, -1).astype(np.int64)


def taps(
    size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int
) -> np.ndarray:
    """Return the relation of a convolution or pooling along one axis.

    Parameters
    ----------
    size, outputs : int
        Pixels of the input and of the output along the axis.
    kernel, stride, padding, dilation : int
        Geometry along the axis, pixels.

    Returns
    -------
    (outputs, size) bool
        True where an output pixel reads an input pixel.
    """
    relation = np.zeros((outputs, size), dtype=bool)
    out, tap = np.meshgrid(np.arange(outputs), np.arange(kernel), indexing="ij")
    place = out * stride - padding + tap * dilation
    inside = (place >= 0) & (place < size)
    relation[out[inside], place[inside]] = True
    return relation


def pixel_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of an operation that works pixel by pixel, or on vectors."""
    return PixelReads(*(np.eye(n, dtype=bool) for n in pixels(source)))


def window_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of pooling with windows."""
    axes = zip(
        pixels(source), pixels(output), *(pair(step.attrs[key]) for key in _WINDOW),
        pair(step.attrs.get("dilation", 1)), strict=True,
    )  # fmt: skip
    return PixelReads(*(taps(*axis) for axis in axes))


def whole_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of an operation whose every pixel depends on all of the map."""
    both = zip(pixels(source), pixels(output), strict=True)
    return PixelReads(*(np.ones((m, n), bool) for n, m in both))


def adaptive_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of pooling to given sizes: floor(i n / m) to ceil((i + 1) n / m)."""

    def one(size: int, outputs: int) -> np.ndarray:
        i, pixel = np.arange(outputs)[:, None], np.arange(size)[None, :]
        inside: np.ndarray = (pixel >= i * size // outputs) & (
            pixel < -(-(i + 1) * size // outputs)
        )
        return inside

    return PixelReads(*(one(n, m) for n, m in zip(pixels(source), pixels(output), strict=True)))


def resized_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of interpolation: the pixels next to a place in the other map."""
    # Cubic interpolation reads two pixels on either side.
    near = 0.5 if step.op == "upsample" else 2.0

    def one(size: int, outputs: int) -> np.ndarray:
        place = (np.arange(outputs) + 0.5) * size / outputs - 0.5
        distance: np.ndarray = np.abs(place[:, None] - np.arange(size)[None, :])
        return distance <= near + 1e-9

    return PixelReads(*(one(n, m) for n, m in zip(pixels(source), pixels(output), strict=True)))


def slice_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of slices."""
    if len(source) != 3:
        return pixel_reads(step, source, output)
    parts = [slice(*part) for part in [*step.attrs["slices"], [None] * 3, [None] * 3][2:4]]
    return PixelReads(
        *(np.eye(n, dtype=bool)[part] for n, part in zip(pixels(source), parts, strict=True))
    )


def pad_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of padding with zeros, which read nothing."""
    if len(source) != 3:
        return pixel_reads(step, source, output)
    shifts = [before for before, _ in _pad_pairs(step, 3)[1:]]
    both = zip(pixels(source), pixels(output), shifts, strict=True)
    return PixelReads(*(np.eye(m, n, -shift, dtype=bool) for n, m, shift in both))


def shuffle_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of channels that become pixels."""
    factors = pair(step.attrs["factor"])
    both = zip(pixels(source), factors, strict=True)
    return PixelReads(*(np.repeat(np.eye(n, dtype=bool), f, 0) for n, f in both))


def unshuffle_reads(step: ShapedStep, source: Shape, output: Shape) -> PixelReads:
    """Return the relation of pixels that become channels."""
    factor = int(step.attrs["factor"])
    return PixelReads(*(np.repeat(np.eye(m, dtype=bool), factor, 1) for m in pixels(output)))
