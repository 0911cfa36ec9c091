"""Weights of convolutions as crossbar matrices: groups, and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from aimc_sim.mapping.graph import Node

_Crop = list[list[int | None]]


def crossbar_matrix(weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """Return the matrix that a crossbar holds.

    Parameters
    ----------
    weight : (out, in / groups, ...) float32
        Weights as torch stores them, dimensionless; the dimensions behind the second are those
        of the kernel, with ``area`` pixels in all.
    groups : int
        Number of groups of channels; inputs of a group reach its own outputs only.

    Returns
    -------
    (in * area, out) float32
        Crossbar inputs as rows, outputs as columns. Block diagonal where there are groups,
        with zeros elsewhere.
    """
    outputs = weight.shape[0]
    flat = weight.reshape(outputs, -1).T
    if groups == 1:
        return np.ascontiguousarray(flat, dtype=np.float32)
    rows, cols = flat.shape[0], outputs // groups
    matrix = np.zeros((groups * rows, outputs), np.float32)
    for g in range(groups):
        own = slice(g * cols, (g + 1) * cols)
        matrix[g * rows : (g + 1) * rows, own] = flat[:, own]
    return matrix


def grouped_weight(matrix: np.ndarray, kernel_size: tuple[int, ...], groups: int) -> np.ndarray:
    """Return the weight behind a matrix: the inverse of :func:`crossbar_matrix`.

    Parameters
    ----------
    matrix : (in * area, out) float32
        Matrix that a crossbar holds, dimensionless.
    kernel_size : tuple of int
        Rows and columns of the kernel, pixels; their product is ``area``.
    groups : int
        Number of groups of channels.

    Returns
    -------
    (out, in / groups, *kernel_size) float32
        Weights as torch stores them.
    """
    outputs = matrix.shape[1]
    rows, cols = matrix.shape[0] // groups, outputs // groups
    parts = [matrix[g * rows : (g + 1) * rows, g * cols : (g + 1) * cols].T for g in range(groups)]
    return np.concatenate(parts).reshape(outputs, -1, *kernel_size)


def transposed_taps(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    output_padding: Sequence[int],
) -> list[int]:  # fmt: skip
    """Return the size of the kernel that :func:`transposed_as_convolution` makes.

    Parameters
    ----------
    kernel, stride, padding, dilation, output_padding : sequence of int, (axes,)
        Geometry of the transposed convolution along each axis of the map, pixels, with the
        meanings of ``torch.nn.ConvTranspose2d``.

    Returns
    -------
    list of int, (axes,)
        Taps of the ordinary convolution along each axis.
    """
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    return [
        ceil(max(k, k + e - p) / s)
        for k, e, p, s in zip(reach, output_padding, padding, stride, strict=True)
    ]


def transposed_as_convolution(node: Node) -> tuple[Node, list[int], _Crop]:
    """Return a transposed convolution as an ordinary one.

    Parameters
    ----------
    node : Node
        A conv_transpose2d or conv_transpose1d with a weight (in, out / groups, kh, kw) of any
        numeric type, dimensionless.

    Returns
    -------
    convolution : Node
        The ordinary convolution, with stride 1; its output channel ``(c sy + i) sx + j`` is row i
        and column j of the ``sy x sx`` pixels that lie between two inputs in channel c.
    factor : list of int, (2,)
        Rows and columns ``[sy, sx]`` of the pixel shuffle that puts these pixels in order.
    crop : list of [start, stop, step], (2,)
        Slices of rows and columns that cut the output out of the shuffled map.

    Notes
    -----
    With stride s, output ``m = s q + r`` (before cropping) is
    ``sum_j x[q - j] w[s j + r]``: for every phase r a convolution with ``ceil(k / s)`` taps. So one
    MVM per input pixel is enough, where inserting zeros would take one per output pixel.
    """
    attrs, weight = node.attrs, node.arrays["weight"]
    groups = int(attrs.get("groups", 1))
    stride, padding, dilation = (list(attrs[k]) for k in ("stride", "padding", "dilation"))
    extra = list(attrs["output_padding"])
    inputs, per_group = weight.shape[:2]
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    taps = transposed_taps(weight.shape[2:], stride, padding, dilation, extra)
    sizes = [t * s for t, s in zip(taps, stride, strict=True)]
    whole = np.zeros((inputs, per_group, *sizes), weight.dtype)
    whole[:, :, : reach[0] : dilation[0], : reach[1] : dilation[1]] = weight
    # (in, out, tap, phase) of rows and columns; taps run backwards in a convolution.
    parts = whole.reshape(inputs, per_group, taps[0], stride[0], taps[1], stride[1])
    parts = parts[:, :, ::-1, :, ::-1].reshape(groups, -1, *parts.shape[1:])
    # -> (group, out, phase row, phase column, in, tap row, tap column)
    kernel = parts.transpose(0, 2, 4, 6, 1, 3, 5)
    pixels = stride[0] * stride[1]
    kernel = kernel.reshape(groups * per_group * pixels, inputs // groups, *taps)
    arrays = {"weight": kernel}
    if "bias" in node.arrays:
        arrays["bias"] = np.repeat(node.arrays["bias"], pixels)
    convolution = replace(
        node,
        op="conv1d" if node.op.endswith("1d") else "conv2d",
        attrs={
            "stride": [1, 1],
            "padding": [t - 1 for t in taps],
            "dilation": [1, 1],
            "groups": groups,
            **({"devices": attrs["devices"]} if "devices" in attrs else {}),
        },
        arrays=arrays,
    )
    crop = [
        [p or None, -(s * t + p - k - e) or None, 1]
        for p, s, t, k, e in zip(padding, stride, taps, reach, extra, strict=True)
    ]
    return convolution, stride, crop
