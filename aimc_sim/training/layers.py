"""Layers with noisy weights and converters: subclasses of torch's own, with the same parameters.

``prepare`` changes the class of a layer and gives it a child ``analog``, one
:class:`~aimc_sim.training.crossbar.Crossbar` for each matrix; ``finalize`` takes both back. So
``isinstance``, parameter names, optimisers and hooks work as with the plain layer. Under
``torch.compile`` these layers run as they are and what lies between them is fused
(``_disable_dynamo`` is ``compiler.disable`` without an import of seconds).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, ItemsView, ValuesView
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from aimc_sim.spec import CoreSpec
from aimc_sim.training.crossbar import Crossbar
from aimc_sim.training.geometry import layer_layout, same_place
from aimc_sim.training.options import TrainingSpec

if TYPE_CHECKING:
    _Beside = nn.Module  # the layer of torch that stands beside it in every class
else:
    _Beside = object


class PreparedLayer(_Beside):
    """The part that all prepared layers share: bounds of the weights, and held channels."""

    aimc_prepared = True
    """Marks a layer that is prepared for training; the chip takes finalized networks."""

    analog: Crossbars
    weight: Any  # parameters of torch's layer
    bias: Any

    def matrices(self) -> dict[str, nn.Parameter]:
        """Return the parameters that lie on crossbars, by name."""
        return {"weight": self.weight}

    def biases(self, name: str) -> list[nn.Parameter]:
        """Return the biases whose entries belong to the output channels of a matrix.

        Parameters
        ----------
        name : str
            Name of the matrix.

        Returns
        -------
        list of nn.Parameter
            Biases of the shape (output channels,).
        """
        return [] if self.bias is None else [self.bias]

    def channels(self, name: str) -> int:
        """Return the dimension of a matrix that counts output channels.

        Parameters
        ----------
        name : str
            Name of the matrix.

        Returns
        -------
        int
            Dimension of the parameter.
        """
        return 0

    def settle(self) -> None:
        """Bound the weights in place, and put held channels back; before weights are read."""
        self.analog.hold()
        if self.training:
            self.bound()

    def bound(self) -> None:
        """Clip the weights in place, once after every change."""
        options = self.analog.options
        if options.clip_constant is None and options.clip_sigma is None:
            return
        for name, weight in self.matrices().items():
            if self.analog.bounded.get(name) == weight._version:
                continue
            if options.clip_constant is not None:
                weight.data.clamp_(-options.clip_constant, options.clip_constant)
            if options.clip_sigma is not None:
                bound = options.clip_sigma * weight.data.std()
                weight.data.clamp_(-bound, bound)
            self.analog.bounded[name] = weight._version
        self.analog.hold()


class Crossbars(nn.ModuleDict):
    """The crossbars of a layer by name of the matrix, with the bounds of its weights.

    Parameters
    ----------
    crossbars : dict of str to Crossbar
        Crossbars by name of the matrix.
    options : TrainingSpec
        Effects of the training.

    Attributes
    ----------
    options : TrainingSpec
        Effects of the training.
    bounded : dict of str to int
        Version of every matrix that was clipped last.
    held : list of (nn.Parameter, int, tensor, tensor)
        Channels that are held: parameter, dimension, numbers of the channels, and their values.
    """

    options: TrainingSpec
    bounded: dict[str, int]
    held: list[tuple[nn.Parameter, int, Tensor, Tensor]]

    if TYPE_CHECKING:  # the methods of torch's class, for these values

        def __getitem__(self, key: str) -> Crossbar: ...

        def values(self) -> ValuesView[Crossbar]:
            """Return the crossbars."""

        def items(self) -> ItemsView[str, Crossbar]:
            """Return names and crossbars."""

    def __init__(self, crossbars: dict[str, Crossbar], options: TrainingSpec) -> None:
        super().__init__(crossbars)
        self.options = options
        self.bounded = {}
        self.held = []

    def hold(self) -> None:
        """Put held channels back to their values: momentum and weight decay may have moved them."""
        for parameter, dimension, channels, values in self.held:
            parameter.data.index_copy_(dimension, channels, values)


class _Dense(PreparedLayer):
    spatial = 0

    if TYPE_CHECKING:

        def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            """Return the plain product."""

        def partial(self, x: Tensor, weight: Tensor, rows: slice) -> Tensor:
            """Return the product of some rows of the matrix."""

    @_disable_dynamo
    def forward(self, x: Tensor) -> Tensor:
        """Return what torch's layer returns, through the crossbar."""
        self.settle()
        crossbar = self.analog["weight"]
        weight = crossbar.weight(self.weight)
        if not crossbar.converts:
            return self.product(x, weight, self.bias)
        given = crossbar.input(x)
        if crossbar.steps_out:
            parts = [
                crossbar.behind_comparators(
                    block, self.partial(given, weight, slice(*rows)), self.spatial
                )
                for block, rows in enumerate(pairwise(crossbar.layout.row_cuts.tolist()))
            ]
            y = functools.reduce(torch.add, parts)
        else:
            y = crossbar.output(self.product(given, weight, None))
        return _plus(y, self.bias, self.spatial)


class AnalogLinear(_Dense, nn.Linear):
    """Dense layer on crossbars."""

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the plain product."""
        return nn.functional.linear(x, weight, bias)

    def partial(self, x: Tensor, weight: Tensor, rows: slice) -> Tensor:
        """Return the product of some rows of the matrix: of some inputs."""
        return nn.functional.linear(x[..., rows], weight[:, rows])


class _Convolution(_Dense):
    _conv_forward: Any  # torch's

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the plain convolution."""
        y: Tensor = self._conv_forward(x, weight, bias)
        return y

    def partial(self, x: Tensor, weight: Tensor, rows: slice) -> Tensor:
        """Return the product of some rows of the matrix, which count channels x kernel.

        A block that begins or ends inside a channel has zeros in the rest of that channel's kernel,
        as on the chip.
        """
        area = weight[0, 0].numel()
        first, last = rows.start // area, -(-rows.stop // area)
        kernel = weight[:, first:last].flatten(1)
        number = torch.arange(kernel.shape[1], device=weight.device) + first * area
        inside = (number >= rows.start) & (number < rows.stop)
        kernel = torch.where(inside, kernel, 0).reshape(-1, last - first, *weight.shape[2:])
        y: Tensor = self._conv_forward(
            x.narrow(-1 - self.spatial, first, last - first), kernel, None
        )
        return y


class AnalogConv1d(_Convolution, nn.Conv1d):
    """Convolution over one dimension on crossbars."""

    spatial = 1


class AnalogConv2d(_Convolution, nn.Conv2d):
    """Convolution over two dimensions on crossbars."""

    spatial = 2


class _Transposed(PreparedLayer):
    _output_padding: Any  # torch's

    if TYPE_CHECKING:
        stride: tuple[int, ...]
        padding: Any
        kernel_size: tuple[int, ...]
        dilation: tuple[int, ...]
        output_padding: tuple[int, ...]
        groups: int

    def channels(self, name: str) -> int:
        """Return 1: weights are stored (inputs, outputs / groups, kernel)."""
        return 1

    @_disable_dynamo
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return what torch's layer returns, through the crossbar."""
        self.settle()
        crossbar = self.analog["weight"]
        weight = crossbar.weight(self.weight)
        spatial = self.weight.ndim - 2
        padding = self._output_padding(
            x, output_size, self.stride, self.padding, self.kernel_size, spatial, self.dilation
        )
        if output_size is not None and not same_place(self, padding):
            raise ValueError(
                f"layer '{crossbar.path.removesuffix('.weight')}' is called with output_size = "
                f"{tuple(output_size)}, for which its weights lie on other crossbars: give the "
                f"layer itself output_padding = {tuple(padding)} before prepare"
            )
        rest = (self.stride, self.padding, padding, self.groups, self.dilation)
        product = getattr(nn.functional, f"conv_transpose{spatial}d")
        y: Tensor
        if not crossbar.converts:
            y = product(x, weight, self.bias, *rest)
            return y
        y = crossbar.output(product(crossbar.input(x), weight, None, *rest))
        return _plus(y, self.bias, spatial)


def _plus(y: Tensor, bias: Tensor | None, spatial: int) -> Tensor:
    """Return products with the bias of their channels, which some dimensions follow."""
    return y if bias is None else y + bias.to(y.dtype).reshape(-1, *(1,) * spatial)


class AnalogConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """Transposed convolution over one dimension on crossbars."""


class AnalogConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """Transposed convolution over two dimensions on crossbars."""


PLAIN: dict[type[nn.Module], type[PreparedLayer]] = {
    nn.Linear: AnalogLinear,
    nn.Conv1d: AnalogConv1d,
    nn.Conv2d: AnalogConv2d,
    nn.ConvTranspose1d: AnalogConvTranspose1d,
    nn.ConvTranspose2d: AnalogConvTranspose2d,
}
"""Layers with one matrix."""


def attach(
    layer: nn.Module, path: str, cores: Callable[[str], CoreSpec], options: TrainingSpec, seed: int
) -> None:
    """Turn one of the layers of :data:`PLAIN` into its analog form, in place.

    Parameters
    ----------
    layer : nn.Module
        The layer.
    path : str
        Path of the layer in the network.
    cores : callable
        From the name of a matrix to devices, converters and size of its crossbars.
    options : TrainingSpec
        Effects of the training.
    seed : int
        Seed of all noise.
    """
    core = cores("weight")
    layout = layer_layout(layer, core)
    crossbar = Crossbar(f"{path}.weight", layout, core, options, seed)
    if not issubclass(PLAIN[type(layer)], _Dense) or getattr(layer, "groups", 1) > 1:
        crossbar.refuse_levels("grouped and transposed convolutions")
    weight = layer.get_parameter("weight")
    layer.analog = Crossbars({"weight": crossbar.to(weight.device)}, options)
    layer.__class__ = PLAIN[type(layer)]
