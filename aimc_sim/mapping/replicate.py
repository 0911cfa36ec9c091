"""Replication: one MVM computes a patch of n x n output pixels instead of one.

A convolution with a K x K kernel and stride S has the same weights at every output pixel. A patch
of n x n pixels reads (K + (n - 1) S)^2 input pixels; written out as one matrix, it is a convolution
with that larger kernel, stride n S and n^2 times the output channels, whose results are the pixels
of the patch. So the layer needs n^2 times fewer MVMs. In a crossbar with rows to spare it costs
no core: 3 x 3 x 16 inputs are 144 rows, a 2 x 2 patch 4 x 4 x 16 = 256 rows and 4 x 16 columns.
Cells whose input pixel lies outside a pixel's own window hold the weight zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aimc_sim import patterns
from aimc_sim.chip.program import AnalogLayer, DigitalStep, with_names
from aimc_sim.mapping.lower import Step

MOST_WEIGHTS = 2**28
"""Entries of the matrix of a patch: 1 GB in float32, and the cells of 4,096 cores of 256 x 256."""


def replicate(
    steps: Sequence[Step], results: Any, patches: Sequence[tuple[str, int]]
) -> tuple[tuple[Step, ...], Any]:
    """Rewrite the convolutions that match a pattern.

    Parameters
    ----------
    steps : sequence of AnalogLayer or DigitalStep
        From :func:`aimc_sim.mapping.lower.lower`.
    results : tree
        What leaves the chip, see :class:`aimc_sim.chip.program.Program`.
    patches : sequence of (pattern, n)
        Shell patterns of layer names; the last one that matches a layer counts.

    Returns
    -------
    steps, results
        As given, with every patch layer followed by a step that puts its pixels in order.

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
        n = _patch(step, patches)
        if n == 1:
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
        A convolution, weight (inputs K K, outputs).
    n : int
        At least 1; the output map must be a multiple of it.

    Returns
    -------
    AnalogLayer
        Weight (inputs L L, outputs n n) with L = K + (n - 1) stride for dilation 1; column
        ``c n n + i n + j`` is output channel c at row i and column j of the patch.
    """
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    window = tuple(r + (n - 1) * s for r, s in zip(reach, stride, strict=True))
    columns = layer.weight.shape[1]
    size = layer.weight.shape[0] // math.prod(kernel) * math.prod(window) * columns * n * n
    if size > MOST_WEIGHTS:
        raise ValueError(
            f"mapping.replicate: {n} x {n} pixels of '{layer.name}' make a matrix of {size:,} "
            f"weights, zeros included; at most {MOST_WEIGHTS:,} fit into memory and onto the "
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

    def spread(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, n * n, axis=-1)

    return replace(
        layer,
        weight=large.reshape(len(small) * window[0] * window[1], -1),
        scale=spread(layer.scale),
        offset=spread(layer.offset),
        norm=None if layer.norm is None else spread(layer.norm),
        kernel_size=window,
        stride=(n * stride[0], n * stride[1]),
        dilation=(1, 1),
        patch=n,
        patch_macs=layer.weight.size * n * n,
    )


def _can_patch(step: Step) -> bool:
    return isinstance(step, AnalogLayer) and step.kind == "conv2d" and step.groups == 1


def _patch(step: Step, patches: Sequence[tuple[str, int]]) -> int:
    if not _can_patch(step):
        return 1
    return patterns.last(patches, step.devices or step.name, 1)


def _renamed(step: Step, names: dict[str, str]) -> Step:
    if isinstance(step, DigitalStep):
        return replace(step, sources=tuple(names.get(name, name) for name in step.sources))
    residual = step.residual
    return replace(
        step,
        source=names.get(step.source, step.source),
        residual=residual if residual is None else names.get(residual, residual),
    )
