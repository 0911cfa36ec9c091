"""Which pixels of its input a pixel needs: the read relation of every operation.

All operations of a program read rectangles of pixels (with gaps under dilation), and the rows
read do not depend on the column. So a relation is a pair of boolean matrices, one per axis, and
following a value through several digital steps is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aimc_sim.chip.image import AnalogLayer, ChipImage, DigitalStep
from aimc_sim.mapping.shapes import WHOLE_MAP, Shape, pad_pairs, pair, pixels


@dataclass(frozen=True, eq=False)
class Reads:
    """Output pixel (y, x) reads input pixel (r, c) if ``rows[y, r]`` and ``cols[x, c]``.

    Attributes
    ----------
    rows : (output rows, input rows) bool
    cols : (output columns, input columns) bool
    """

    rows: np.ndarray
    cols: np.ndarray

    def after(self, inner: Reads) -> Reads:
        """Return the relation to the input of `inner`, whose output this relation reads."""
        return Reads(_product(self.rows, inner.rows), _product(self.cols, inner.cols))

    def last(self) -> np.ndarray:
        """Return the last input pixel that each output pixel reads, -1 for none.

        Returns
        -------
        (output pixels,) int64
            Numbers in raster order; output pixels in raster order as well.
        """
        rows, cols = (_edge(axis, last=True) for axis in (self.rows, self.cols))
        found = rows[:, None] * self.cols.shape[1] + cols
        return np.where((rows[:, None] < 0) | (cols < 0), -1, found).ravel()

    def first(self) -> np.ndarray:
        """Return the first input pixel that each output pixel reads.

        Returns
        -------
        (output pixels,) int64
            As in :meth:`last`; the number of input pixels where none is read.
        """
        rows, cols = (_edge(axis, last=False) for axis in (self.rows, self.cols))
        found = rows[:, None] * self.cols.shape[1] + cols
        none = (rows[:, None] < 0) | (cols < 0)
        return np.where(none, self.rows.shape[1] * self.cols.shape[1], found).ravel()


def _product(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    # In float32, which goes through the fast matrix product; counts below 2^24 are exact.
    return outer.astype(np.float32) @ inner.astype(np.float32) > 0


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

    Returns
    -------
    (outputs, size) bool
    """
    relation = np.zeros((outputs, size), dtype=bool)
    out, tap = np.meshgrid(np.arange(outputs), np.arange(kernel), indexing="ij")
    place = out * stride - padding + tap * dilation
    inside = (place >= 0) & (place < size)
    relation[out[inside], place[inside]] = True
    return relation


def layer_reads(layer: AnalogLayer, source: Shape, output: Shape) -> Reads:
    """Return which pixels of its source an analog layer reads for each output pixel."""
    if layer.kind == "linear":
        return Reads(np.ones((1, 1), bool), np.ones((1, 1), bool))
    geometry = zip(
        source[1:], output[1:], layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        strict=True,
    )  # fmt: skip
    return Reads(*(taps(*axis) for axis in geometry))


def step_reads(step: DigitalStep, source: Shape, output: Shape) -> Reads:
    """Return which pixels of one source a digital step reads for each output pixel.

    Parameters
    ----------
    step : DigitalStep
    source, output : Shape
        Of the value read and of the value written, from
        :func:`aimc_sim.mapping.shapes.value_shapes`.

    Returns
    -------
    Reads
    """
    ins, outs = pixels(source), pixels(output)
    if step.op in ("max_pool2d", "avg_pool2d"):
        keys = ("kernel_size", "stride", "padding")
        axes = zip(
            *(pair(step.attrs[key]) for key in keys),
            pair(step.attrs.get("dilation", 1)),
            strict=True,
        )
        return Reads(*(taps(n, m, *axis) for n, m, axis in zip(ins, outs, axes, strict=True)))
    if step.op in ("adaptive_avg_pool", "adaptive_max_pool"):
        return Reads(*(_adaptive(n, m) for n, m in zip(ins, outs, strict=True)))
    if step.op in ("upsample", "interpolate"):
        return Reads(*(_resized(n, m, step) for n, m in zip(ins, outs, strict=True)))
    if step.op in ("global_avg_pool", "flatten") or step.op in WHOLE_MAP:
        return Reads(*(np.ones((m, n), bool) for n, m in zip(ins, outs, strict=True)))
    if len(source) == 3 and step.op == "subsample":
        parts = [slice(*part) for part in [*step.attrs["slices"], [None] * 3, [None] * 3][2:4]]
        return Reads(*(np.eye(n, dtype=bool)[part] for n, part in zip(ins, parts, strict=True)))
    if len(source) == 3 and step.op == "pad":
        shifts = [before for before, _ in pad_pairs(step, 3)[1:]]
        return Reads(
            *(np.eye(m, n, -shift, dtype=bool)
              for n, m, shift in zip(ins, outs, shifts, strict=True))
        )  # fmt: skip
    if step.op in ("pixel_shuffle", "pixel_unshuffle"):
        factors = pair(step.attrs["factor"])
        if step.op == "pixel_shuffle":
            return Reads(
                *(np.repeat(np.eye(n, dtype=bool), f, 0) for n, f in zip(ins, factors, strict=True))
            )
        factor = factors[0]
        return Reads(*(np.repeat(np.eye(m, dtype=bool), factor, 1) for m in outs))
    # What is left works pixel by pixel: relu, affine, add, concat, functions; and on vectors.
    return Reads(*(np.eye(n, dtype=bool) for n in ins))


def _adaptive(size: int, outputs: int) -> np.ndarray:
    """Return (outputs, size) truth: torch's windows, floor(i n / m) to ceil((i + 1) n / m)."""
    i, pixel = np.arange(outputs)[:, None], np.arange(size)[None, :]
    return (pixel >= i * size // outputs) & (pixel < -(-(i + 1) * size // outputs))


def _resized(size: int, outputs: int, step: DigitalStep) -> np.ndarray:
    """Return (outputs, size) truth: the pixels next to a place in the smaller or larger map."""
    place = (np.arange(outputs) + 0.5) * size / outputs - 0.5
    near = 0.5 if step.op == "upsample" else 2.0  # cubic interpolation reads two on either side
    return np.abs(place[:, None] - np.arange(size)[None, :]) <= near + 1e-9


def reads_of_origins(
    image: ChipImage, shapes: Mapping[str, Shape]
) -> dict[str, dict[str, tuple[Reads, ...]]]:
    """Follow every value back to the analog layers and the input behind it.

    Parameters
    ----------
    image : ChipImage
    shapes : mapping of str to Shape
        Of every value.

    Returns
    -------
    dict of str to dict of str to tuple of Reads
        By value, then by origin (name of an analog layer or of the network's input): one
        relation for every path between them, from pixels of the value to pixels of the origin.
    """
    behind = {image.input: {image.input: (_itself(shapes[image.input]),)}}
    for step in image.steps:
        if isinstance(step, AnalogLayer):
            behind[step.name] = {step.name: (_itself(shapes[step.name]),)}
            continue
        found: dict[str, list[Reads]] = {}
        for name in step.sources:
            outer = step_reads(step, shapes[name], shapes[step.name])
            for origin, paths in behind[name].items():
                found.setdefault(origin, []).extend(outer.after(inner) for inner in paths)
        behind[step.name] = {origin: _distinct(paths) for origin, paths in found.items()}
    return behind


def _itself(shape: Shape) -> Reads:
    return Reads(*(np.eye(n, dtype=bool) for n in pixels(shape)))


def _distinct(paths: list[Reads]) -> tuple[Reads, ...]:
    return tuple({(p.rows.tobytes(), p.cols.tobytes()): p for p in paths}.values())
