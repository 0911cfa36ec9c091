"""Replication: one MVM computes a patch of n x n output pixels instead of one.

A convolution with a K x K kernel and stride S has the same weights at every output pixel. A patch
of n x n pixels reads (K + (n - 1) S)^2 input pixels; written out in one matrix, it is a convolution
with that larger kernel, stride n S and n^2 times the output channels, whose results are the pixels
of the patch. So the layer needs n^2 times fewer MVMs. In a crossbar with rows to spare it costs
no core: 3 x 3 x 16 inputs are 144 rows, a 2 x 2 patch 4 x 4 x 16 = 256 rows and 4 x 16 columns.
Cells whose input pixel lies outside a pixel's own window hold the weight zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from aimc_sim import patterns
from aimc_sim.chip.program import AnalogLayer, DigitalStep, with_names
from aimc_sim.mapping.lower import Step

_MOST_WEIGHTS = 2**28
"""Largest number of entries in the matrix of a patch: 1 GB in float32, and the cells of 4,096
cores of 256 x 256."""


def replicate(
    steps: Sequence[Step], results: Any, patches: Sequence[tuple[str, int]]
) -> tuple[tuple[Step, ...], Any]:
    """Rewrite the convolutions that match a pattern.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        Steps of the program, from :func:`aimc_sim.mapping.lower.lower`.
    results : tree
        Values that leave the chip, see :class:`aimc_sim.chip.program.Program`.
    patches : sequence of (str, int)
        Shell patterns of layer names, and the rows (and columns) of a patch in output pixels;
        the last pattern that matches a layer counts.

    Returns
    -------
    steps : tuple of AnalogLayer or DigitalStep
        The steps, with every patch layer followed by a step that puts its pixels in order.
    results : tree
        The values that leave, under their new names.

    Raises
    ------
    ValueError
        If a pattern matches no convolution, or a patch is too large.
    """
    convolutions = [s.name for s in steps if _can_patch(s)]
    for pattern, _ in patches:
        patterns.check("mapping.replicate", pattern, convolutions, "convolution")
    done: list[Step] = []
    renamed: dict[str, str] = {}
    for step in steps:
        step = _renamed(step, renamed)
        n = _patch(step, patches) if _can_patch(step) else 1
        if not _can_patch(step) or n == 1:
            done.append(step)
            continue
        if step.residual is not None:
            parts = DigitalStep(
                f"{step.name}.residual", "pixel_unshuffle", (step.residual,), {"factor": n}
            )
            done.append(parts)
            step = replace(step, residual=parts.name)
        done.append(patch_layer(step, n))
        whole = DigitalStep(f"{step.name}.pixels", "pixel_shuffle", (step.name,), {"factor": n})
        done.append(whole)
        renamed[step.name] = whole.name
    return tuple(done), with_names(results, lambda name: renamed.get(name, name))


def patch_layer(layer: AnalogLayer, n: int) -> AnalogLayer:
    """Return the convolution that computes n x n output pixels at a time.

    Parameters
    ----------
    layer : AnalogLayer
        A convolution with a weight (inputs K K, outputs).
    n : int
        Rows and columns of the patch, output pixels, at least 1; the output map must be a
        multiple of it.

    Returns
    -------
    AnalogLayer
        The convolution with a weight (inputs L L, outputs n n), L = K + (n - 1) stride for
        dilation 1; column ``c n n + i n + j`` is output channel c at row i and column j of the
        patch.

    Raises
    ------
    ValueError
        If the matrix would have more than :data:`_MOST_WEIGHTS` entries.
    """
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    window = (reach[0] + (n - 1) * stride[0], reach[1] + (n - 1) * stride[1])
    columns = layer.weight.shape[1]
    size = layer.weight.shape[0] // math.prod(kernel) * math.prod(window) * columns * n * n
    if size > _MOST_WEIGHTS:
        raise ValueError(
            f"mapping.replicate: {n} x {n} pixels of '{layer.name}' make a matrix of {size:,} "
            f"weights, zeros included; at most {_MOST_WEIGHTS:,} fit into memory and onto the "
            "cores: give a smaller patch"
        )
    small = layer.weight.reshape(-1, *kernel, columns)
    large = np.zeros((len(small), *window, columns, n, n), np.float32)
    for i in range(n):
        for j in range(n):
            top, left = i * stride[0], j * stride[1]
            rows = slice(top, top + reach[0], dilation[0])
            cols = slice(left, left + reach[1], dilation[1])
            large[:, rows, cols, :, i, j] = small

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, n * n, axis=-1)

    return replace(
        layer,
        weight=large.reshape(len(small) * window[0] * window[1], -1),
        scale=repeated(layer.scale),
        offset=repeated(layer.offset),
        norm=None if layer.norm is None else repeated(layer.norm),
        kernel_size=window,
        stride=(n * stride[0], n * stride[1]),
        dilation=(1, 1),
        patch=n,
        patch_macs=layer.weight.size * n * n,
    )


def _can_patch(step: Step) -> TypeGuard[AnalogLayer]:
    """Return whether a step is a convolution that may compute patches."""
    return isinstance(step, AnalogLayer) and step.kind == "conv2d" and step.groups == 1


def _patch(layer: AnalogLayer, patches: Sequence[tuple[str, int]]) -> int:
    """Return the rows (and columns) of the patch that is asked for, 1 for none."""
    return patterns.last(patches, layer.devices or layer.name, 1)


def _renamed(step: Step, names: dict[str, str]) -> Step:
    """Return a step that reads values under their new names."""
    if isinstance(step, DigitalStep):
        return replace(step, sources=tuple(names.get(name, name) for name in step.sources))
    residual = step.residual
    return replace(
        step,
        source=names.get(step.source, step.source),
        residual=residual if residual is None else names.get(residual, residual),
    )
