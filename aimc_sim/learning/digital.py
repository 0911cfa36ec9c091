"""Ordinary torch training whose weight gradients are made from random bits.

No arrays and no devices: the product lands in the gradient of a plain weight, any optimiser
follows. Errors that travel back to earlier layers, biases and all other layers stay exact, as in
ESSOP (arXiv:2003.11256, abstract), which replaces the outer products only.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from aimc_sim import arguments
from aimc_sim.learning.products import StochasticProduct
from aimc_sim.rng import Key, Purpose

AnyModel = TypeVar("AnyModel", bound=nn.Module)
"""Class of a network, which is kept."""


def with_product(model: AnyModel, product: StochasticProduct, seed: int = 0) -> AnyModel:
    """Return a copy of a network whose dense layers and convolutions learn by another product.

    Parameters
    ----------
    model : module
        Untouched. Names of parameters stay; every such layer has a buffer ``steps`` more, the
        address of its next draws, so that a saved state goes on bit for bit. Only layers of
        exactly these two classes are changed: recurrent layers and attention train exactly.
    product : StochasticProduct
        How outer products are made.
    seed : int
        Of all draws.

    Returns
    -------
    module
        Of the same class.

    Raises
    ------
    ValueError
        If no layer learns by outer products, or one is grouped or pads in another way than by
        zeros: by name.
    """
    if not isinstance(product, StochasticProduct):
        raise TypeError(f"product is a {type(product).__name__}: wanted a StochasticProduct")
    key = Key(arguments.seed(seed))
    found = copy.deepcopy(model)
    layers = [(name, one) for name, one in found.named_modules() if type(one) in _LEARNS]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no nn.Linear and no nn.Conv2d to train")
    for index, (name, layer) in enumerate(layers):
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding_mode != "zeros"):
            raise ValueError(
                f"layer '{name}' has {layer.groups} groups and pads by {layer.padding_mode}: "
                "wanted one group and zeros; train it exactly, outside of with_product"
            )
        layer.__class__ = _LEARNS[type(layer)]
        layer.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        layer.product, layer.key = product, key.child(Purpose.LEARNING_UPDATE, index)
    return found


class _Learns(nn.Module):
    product: StochasticProduct
    key: Key
    steps: Tensor

    def step(self) -> int:
        """Return the number of the next step."""
        number = int(self.steps)
        self.steps += 1
        return number


class LearningLinear(_Learns, nn.Linear):
    """Dense layer whose weight gradient is made by another product."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what torch's layer returns."""
        y: Tensor = cast(Any, _DenseProduct).apply(input, self.weight, self)
        return y if self.bias is None else y + self.bias


class LearningConv2d(_Learns, nn.Conv2d):
    """Convolution whose weight gradient is made by another product, pixel by pixel."""

    _reversed_padding_repeated_twice: list[int]

    def forward(self, input: Tensor) -> Tensor:
        """Return what torch's layer returns."""
        single = input.ndim == 3
        padded = F.pad(input[None] if single else input, self._reversed_padding_repeated_twice)
        y: Tensor = cast(Any, _ConvolutionProduct).apply(padded, self.weight, self)
        y = y[0] if single else y
        return y if self.bias is None else y + self.bias[:, None, None]


_LEARNS: dict[type[nn.Module], type[_Learns]] = {
    nn.Linear: LearningLinear,
    nn.Conv2d: LearningConv2d,
}


class _DenseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: LearningLinear) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return F.linear(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (d,), (x, weight), layer = gradients, ctx.saved_tensors, ctx.layer
        back = d @ weight if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return back, None, None
        vectors = [_numbers(one.reshape(-1, one.shape[-1])) for one in (x, d)]
        found = layer.product.sum(*vectors, layer.key, layer.step())
        return back, _tensor(found.T, weight), None


class _ConvolutionProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: LearningConv2d) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return F.conv2d(x, weight, None, layer.stride, 0, layer.dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (d,), (x, weight), layer = gradients, ctx.saved_tensors, ctx.layer
        back = None
        if ctx.needs_input_grad[0]:
            back = conv2d_input(
                x.shape, weight, d, layer.stride, 0, layer.dilation
            )  # fmt: skip
        if not ctx.needs_input_grad[1]:
            return back, None, None
        maps = [_numbers(one.permute(0, 2, 3, 1)) for one in (x, d)]
        found = layer.product.patches(
            *maps, layer.kernel_size, layer.stride, layer.dilation, layer.key, layer.step()
        )
        return back, _tensor(found.transpose(0, 3, 1, 2), weight), None


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    """Return an array as a tensor of the kind of another."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(like)


def _numbers(values: Tensor) -> np.ndarray:
    """Return a tensor of any kind, on any device, as the product takes it."""
    found: np.ndarray = values.detach().to("cpu", torch.float32).contiguous().numpy()
    return found
