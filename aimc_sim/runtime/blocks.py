"""A layer split over crossbars, as convolutions: no im2col, whatever the split."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..chip.program import AnalogLayer, Block
from ..kernels import threads
from ..machine import products, settings

SMALL = 2**18
"""Values of a layer's input below which one thread is faster than several."""


def block_kernel(layer: AnalogLayer, block: Block, matrix: Tensor) -> tuple[Tensor, slice]:
    """Return a block's (C, channels, kh, kw) convolution kernel and the channels it reads.

    Parameters
    ----------
    layer : AnalogLayer
        Layer that the block belongs to; gives the size of the kernel.
    block : Block
        Rows and columns of the layer's weight on one crossbar.
    matrix : (R, C) tensor
        Any quantity of the block's cells: weights, conductances, variances.

    Notes
    -----
    A layer split over rows is a sum of convolutions over groups of input channels. Where a
    block begins or ends inside a channel, the rest of that channel's kernel is zero.
    """
    kh, kw = layer.kernel_size
    area = kh * kw
    first, last = block.row_start // area, -(-block.row_stop // area)
    rows = torch.zeros((last - first) * area, matrix.shape[1], dtype=matrix.dtype)
    rows[block.row_start - first * area : block.row_stop - first * area] = matrix
    kernel = rows.T.reshape(-1, last - first, kh, kw)
    return kernel.contiguous(memory_format=torch.channels_last), slice(first, last)


def convolve(layer: AnalogLayer, x: Tensor, kernel: Tensor) -> Tensor:
    """Return the layer's convolution of (B, channels, H, W) with a block kernel.

    Summed in the same order whatever the batch, see :mod:`.products`. Linear layers are products
    of matrices.
    """
    if layer.kind == "linear":
        rows = x.permute(0, 2, 3, 1)
        return products.linear(rows, kernel[:, :, 0, 0]).permute(0, 3, 1, 2)
    if layer.patch > 1:
        layer.check_patch(*x.shape[2:])
    return products.convolution(x, kernel, None, layer.stride, layer.padding, layer.dilation)


def convolve_on_all_threads(layer: AnalogLayer, x: Tensor, kernel: Tensor) -> Tensor:
    """Return :func:`convolve`, images shared out among the user's threads."""
    if x.numel() < SMALL or layer.kind == "linear":
        return convolve(layer, x, kernel)

    def one(part: Tensor) -> Tensor:
        torch.set_num_threads(1)  # of this thread, which may be a new one
        with torch.inference_mode():
            return convolve(layer, part, kernel)

    n = settings.threads()
    return torch.cat(threads.run(one, x.split(-(-len(x) // n)), n))


def as_maps(layer: AnalogLayer, x: Tensor) -> Tensor:
    """Return the input of a layer as (N, channels, rows, columns).

    Parameters
    ----------
    layer : AnalogLayer
        Layer that reads the input.
    x : (N, channels, ...) or (N, ..., channels) tensor
        Linear layers read the last dimension: (B, ..., channels) become maps of one column, a
        vector a 1 x 1 map. One-dimensional convolutions read (N, channels, columns).
    """
    if layer.axis:
        x = x.movedim(layer.axis, 0)
    if layer.kind == "conv1d":
        return x[:, :, None, :]
    if layer.kind != "linear":
        return x
    if x.ndim == 2:
        return x[:, :, None, None]
    return x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2)[..., None]


def from_maps(layer: AnalogLayer, maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the output maps (N, channels, rows, columns) as the layer's output.

    Parameters
    ----------
    layer : AnalogLayer
        Layer that made the maps.
    maps : (N, channels, rows, columns) tensor
        Output of the layer's convolution, in codes or in the network's own numbers.
    shape : sequence of int
        Of the layer's input; matters for linear layers.
    """
    if layer.kind == "conv1d":
        y = maps[:, :, 0, :]
    elif layer.kind != "linear":
        y = maps
    elif len(shape) == 2:
        y = maps[:, :, 0, 0]
    else:
        first = list(shape)
        first.insert(0, first.pop(layer.axis))
        y = maps[..., 0].transpose(1, 2).reshape(*first[:-1], maps.shape[1])
    return y.movedim(0, layer.axis) if layer.axis else y


def repeated(layer: AnalogLayer, added: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the added value of a layer with an element for every output.

    Parameters
    ----------
    layer : AnalogLayer
        Layer with a residual; named in the error.
    added : tensor of the output's shape, or of length 1 along some dimensions
        Value that the layer adds to its output, repeated along dimensions of length 1.
    sizes : sequence of int
        Of the layer's output.

    Raises
    ------
    ValueError
        If the output would have to repeat: no core adds more than it makes. Graphs of the front
        end leave such additions to a step of their own.
    """
    fits = added.ndim == len(sizes) and all(
        n in (1, wanted) for n, wanted in zip(added.shape, sizes, strict=True)
    )
    if not fits:
        raise ValueError(
            f"layer '{layer.name}' has the output {tuple(sizes)} and adds {tuple(added.shape)}, "
            "which is larger; give the addition of the graph the attribute merge = false"
        )
    return added.expand(tuple(sizes))
