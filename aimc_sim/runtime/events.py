"""Counts of real spikes: driven rows, silent blocks, spikes, silent neurons, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..chip.program import AnalogLayer, Block
from ..digital import attention
from .blocks import block_kernel, convolve
from .calls import LayerCall

MVMS, SILENT, DRIVEN, ROWS = range(4)
"""Columns of :func:`of_rows`: MVMs, those without a driven row, driven rows, rows."""

OUTPUTS, SPIKES, WORDS, SILENT_WORDS, SINGLE_WORDS = range(5)
"""Columns of :func:`of_neurons`: outputs, those that are spikes; words of all time steps of a
neuron, those without a spike, those with one."""

WORST, COUNTED, SUMMED, COUNTERS, ROWS_OF_Q = range(5)
"""Columns of :func:`of_attention`: additions of either product where every neuron spikes; those of
``K^T V`` and those of ``Q (K^T V)``; counters of ``K^T V`` of all blocks of steps and heads; rows
of Q, one of every token and head, which read them."""


def row_blocks(layer: AnalogLayer) -> dict[tuple[int, int], list[Block]]:
    """Return the blocks of a layer by the rows that they read, (first, behind the last)."""
    found: dict[tuple[int, int], list[Block]] = {}
    for chain in layer.chains:
        for block in chain:
            found.setdefault((block.row_start, block.row_stop), []).append(block)
    return found


def of_rows(call: LayerCall, codes: Tensor, counted: Tensor | None) -> Tensor:
    """Return what the inputs of a layer drive, block of rows by block of rows.

    Parameters
    ----------
    call : LayerCall
        A layer of binary inputs.
    codes : (B, channels, H, W) float32, 0 and 1
        Its input maps.
    counted : (B,) bool tensor or None
        Which of them count; None: all.

    Returns
    -------
    (K, 4) int64
        By blocks of rows, in the order of :func:`row_blocks`; blocks beside each other, which read
        the same rows, count once.
    """
    layer, rows = call.layer, []
    codes = codes if counted is None else codes[counted.to(codes.device)]
    for (start, stop), blocks in row_blocks(layer).items():
        ones = torch.ones(stop - start, 1)
        kernel, channels = block_kernel(layer, blocks[0], ones)
        # Sums of ones; kernels of libraries that transform their inputs miss integers by a little.
        active = convolve(layer, codes[:, channels], kernel.to(codes.device)).round()
        rows.append(
            torch.stack([
                torch.tensor(active.numel()), (active == 0).sum().cpu(),
                active.sum(dtype=torch.float64).round().long().cpu(),
                torch.tensor(active.numel() * (stop - start)),
            ])
        )  # fmt: skip
    return torch.stack(rows)


def of_neurons(outputs: Tensor, time: int) -> Tensor:
    """Return the spikes of a layer of neurons.

    Parameters
    ----------
    outputs : (B, T, ...) or (T, B, ...) float32, 0 and 1
        Of all time steps of a call.
    time : int
        Dimension that counts steps.

    Returns
    -------
    (1, 5) int64
        Their numbers; a word holds all time steps of a neuron, one bit each.
    """
    per_word = outputs.sum(time)
    found = [
        torch.tensor(outputs.numel()), per_word.sum(dtype=torch.float64).round().long().cpu(),
        torch.tensor(per_word.numel()), (per_word == 0).sum().cpu(), (per_word == 1).sum().cpu(),
    ]  # fmt: skip
    return torch.stack(found)[None]


def of_attention(values: Sequence[Tensor], attrs: Mapping[str, Any]) -> Tensor:
    """Return the additions of attention of spikes.

    Parameters
    ----------
    values : (B, T, N, D) or (T, B, N, D) float32 tensors
        Q, K and V, 0 and 1.
    attrs : mapping
        Attributes of the step "spiking_attention".

    Returns
    -------
    (1, 5) int64
        See :data:`WORST`.
    """
    how = attention.Attending(int(attrs["steps"]), int(attrs["heads"]), float(attrs["scale"]))
    axis = int(attrs["axis"])
    q, k, v = (attention.blocks(one, how, axis) for one in values)
    width = q.shape[-1]
    counted = (k.sum(-1) * v.sum(-1)).sum(dtype=torch.float64)
    summed = q.sum(dtype=torch.float64) * width
    found = [
        torch.tensor(q.numel() * width), counted.round().long().cpu(), summed.round().long().cpu(),
        torch.tensor(q[..., 0, 0].numel() * width**2), torch.tensor(q[..., 0].numel()),
    ]  # fmt: skip
    return torch.stack(found)[None]
