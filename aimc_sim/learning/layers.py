"""Layers whose weights are arrays that learn: subclasses of torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aimc_sim.learning.clock import Clock
from aimc_sim.learning.crossbars import ArrayWeight, Matrix, through
from aimc_sim.learning.engine import Update
from aimc_sim.learning.synapses import Device
from aimc_sim.spec import CoreSpec
from aimc_sim.training.geometry import matrix_layout

BiasPlace = Literal["digital", "array"]
"""Where a bias lives: in the local digital unit, or as one more row that is driven by 1."""

if TYPE_CHECKING:
    _Beside = nn.Module  # the layer of torch that stands beside it in every class
else:
    _Beside = object


class ArrayLayer(_Beside):
    """The part that all layers on arrays share.

    Attributes
    ----------
    aimc_learning : bool
        Marks them.
    array : Matrix
        The crossbars; ``weight`` is their :class:`ArrayWeight`.
    bias_on_array : bool
        Whether the last row is the bias.
    """

    aimc_learning = True
    array: Matrix
    bias_on_array: bool
    weight: Any
    bias: Any


class ArrayLinear(ArrayLayer, nn.Linear):
    """Dense layer on arrays."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what torch's layer returns, through the arrays."""
        y = through(x.reshape(-1, self.in_features), self.weight)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


class _ArrayConvolution(ArrayLayer):
    _reversed_padding_repeated_twice: Any  # torch's
    padding_mode: Any  # torch's
    padding: Any
    kernel_size: Any
    stride: Any
    dilation: Any

    def _patches(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return the inputs of every output pixel, (B, L, R), and the shape of the output."""
        x = functional.pad(
            x, self._reversed_padding_repeated_twice,
            mode="constant" if self.padding_mode == "zeros" else self.padding_mode,
        )  # fmt: skip
        kernel, stride, dilation = self.kernel_size, self.stride, self.dilation
        sizes = tuple(
            (size - d * (k - 1) - 1) // s + 1
            for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
        )
        if x.ndim == 3:
            x, kernel, stride, dilation = (
                x.unsqueeze(2), (1, *kernel), (1, *stride), (1, *dilation)
            )  # fmt: skip
        return functional.unfold(x, kernel, dilation, 0, stride).transpose(1, 2), sizes

    def forward(self, x: Tensor) -> Tensor:
        """Return what torch's layer returns, every output pixel by one product."""
        dimensions = len(self.kernel_size)
        single = x.ndim == dimensions + 1
        patches, sizes = self._patches(x[None] if single else x)
        y = through(patches.reshape(-1, patches.shape[2]), self.weight)
        y = y.reshape(len(patches), patches.shape[1], -1)
        if self.bias is not None:
            y = y + self.bias
        y = y.transpose(1, 2).reshape(len(patches), -1, *sizes)
        return y[0] if single else y


class ArrayConv1d(_ArrayConvolution, nn.Conv1d):
    """Convolution over one dimension on arrays."""


class ArrayConv2d(_ArrayConvolution, nn.Conv2d):
    """Convolution over two dimensions on arrays."""


PLAIN: dict[type[nn.Module], type[ArrayLayer]] = {
    nn.Linear: ArrayLinear,
    nn.Conv1d: ArrayConv1d,
    nn.Conv2d: ArrayConv2d,
}
"""Layers that learn on arrays."""


def attach(
    layer: nn.Module, path: str, core: CoreSpec, device: Device, update: Update,
    bias: BiasPlace, weight_range: float, seed: int, clock: Clock,
) -> None:  # fmt: skip
    """Move the weights of a layer onto arrays, in place.

    Parameters
    ----------
    layer : nn.Module
        One of :data:`PLAIN`.
    path : str
        Path of the layer in the network.
    core : CoreSpec
        Converters, size of the crossbars, and the devices that the converters read.
    device : Device
        Devices behind the weights.
    update : Update
        From gradients to pulses.
    bias : "digital" or "array"
        Place of the bias.
    weight_range : float, dimensionless
        Weight at the end of the range of the devices.
    seed : int
        Seed of all draws.
    clock : Clock
        Of the network.
    """
    start = start_of(layer, bias)
    layout = matrix_layout(start.shape[0], start.shape[1], core)
    on_array = bias == "array" and layer.bias is not None
    made = cast(ArrayLayer, layer)
    matrix = Matrix(
        f"{path}.weight",
        start,
        layout,
        core,
        device,
        update,
        weight_range,
        seed,
        clock,
        on_array,
    )
    matrix.train(layer.training)
    learns = layer.get_parameter("weight").requires_grad
    layer.__class__ = PLAIN[type(layer)]
    if on_array:
        made.bias = None
    made.bias_on_array = on_array
    made.weight = ArrayWeight.of(matrix, learns)
    made.array = matrix


def start_of(layer: nn.Module, bias: BiasPlace) -> np.ndarray:
    """Return the matrix that a layer's arrays begin with.

    Parameters
    ----------
    layer : nn.Module
        One of :data:`PLAIN`.
    bias : "digital" or "array"
        Place of the bias: on the array it is the last input.

    Returns
    -------
    (C, R) float32 array, dimensionless
        Weights as torch stores them.
    """
    weight = layer.get_parameter("weight").detach().to("cpu", torch.float32).flatten(1)
    if bias == "array" and layer.bias is not None:
        column = layer.get_parameter("bias").detach().to("cpu", torch.float32)[:, None]
        weight = torch.cat([weight, column], dim=1)
    return np.array(weight.contiguous().numpy())
