"""GRAPES: error signals modulated by how strongly a node acts on the layer behind it.

"Learning in deep neural networks using a biologically inspired optimizer", arXiv:2104.11604
(Nature Communications 13, 1885, 2022). The abstract was read: the error signal of each node is
modulated by the distribution of its weights. The equations are RECALLED (medium), not checked
against the paper::

    I_n = sum_k |W'_{kn}|          W' the matrix that reads node n, k its outputs
    M_n = 1 + I_n / max_m I_m      between 1 and 2
    d <- d M                       errors of the nodes, in the update of their own weights

The paper has a local and a propagating version, where factors multiply from layer to layer with
a damping. Here (ours) the error that travels on to earlier layers is multiplied by
``1 + damping (M - 1)``: 0 is the local version, 1 propagates in full.

Since M only raises learning rates, an honest comparison needs ``control=True``: every node of a
layer has the mean of the layer's factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.learning.network import ArrayNetwork

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Grapes:
    """Modulation of the errors of a network, on torch's layers or on arrays.

    Between ``loss.backward()`` and ``optimizer.step()`` stands ``rule.apply()``.

    Parameters
    ----------
    model : nn.Module
        Plain torch network, or one of :func:`aimc_sim.learning.prepare`.
    layers : sequence of str, optional
        Paths of the layers in the order in which they run, each of which reads the one before.
        None: all of an ``nn.Sequential``, in its order.
    damping : float
        Share of the modulation that earlier layers get as well, 0 to 1.
    control : bool
        Whether all nodes of a layer have the mean factor, a mere change of the learning rate.

    Attributes
    ----------
    layers : list of str
        Paths, in order. The last one is not modulated.

    Raises
    ------
    ValueError
        If the order of the layers is not given, a layer is of another kind, or does not fit the
        one before.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> rule, optimizer = Grapes(model), torch.optim.SGD(model.parameters(), 0.1)
    >>> model(torch.ones(1, 4)).sum().backward()
    >>> rule.apply()
    >>> optimizer.step()
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        damping: float = 0.0,
        control: bool = False,
    ) -> None:
        self.model = model
        self.damping = arguments.number(damping, "damping", 0, 1)
        self.control = arguments.flag(control, "control")
        self._inside = model.model if isinstance(model, ArrayNetwork) else model
        self.layers = self._in_order() if layers is None else list(layers)
        known = dict(self._inside.named_modules())
        for name in self.layers:
            if name not in known:
                raise ValueError(arguments.unknown(f"no layer '{name}'", name, known))
            if not isinstance(known[name], _KINDS) or getattr(known[name], "groups", 1) > 1:
                raise ValueError(
                    f"layer '{name}' is a {type(known[name]).__name__}: wanted nn.Linear, "
                    "nn.Conv1d or nn.Conv2d of one group"
                )
        if len(self.layers) < 2:
            raise ValueError(
                f"{len(self.layers)} layers: wanted two or more, since the last is not modulated"
            )
        self._modules: list[Any] = [known[name] for name in self.layers]
        for name in self.layers[:-1]:
            self.modulation(name)  # refuses sizes that do not fit
        self._hooks: list[Any] = []
        if self.damping > 0:
            self._hooks = [
                known[name].register_forward_hook(self._hook(name)) for name in self.layers[:-1]
            ]

    def modulation(self, layer: str) -> np.ndarray:
        """Return the factors of the nodes of a layer at present.

        Parameters
        ----------
        layer : str
            Path of a layer that is not the last.

        Returns
        -------
        (nodes,) float32
            M, between 1 and 2; 1 where the layer behind has no weight at all.
        """
        at = self.layers.index(layer)
        if at + 1 == len(self.layers):
            raise ValueError(f"layer '{layer}' is the last one, whose errors are not modulated")
        nodes = _nodes(self._modules[at])
        behind = self._weights(at + 1)
        if behind.shape[1] % nodes:
            raise ValueError(
                f"layer '{self.layers[at + 1]}' has {behind.shape[1]} inputs, which {nodes} nodes "
                f"of '{layer}' do not divide: name the layers in the order in which they run"
            )
        strength = np.abs(behind).reshape(len(behind), nodes, -1).sum((0, 2))
        largest = strength.max()
        factors = 1 + strength / largest if largest > 0 else np.ones(nodes)
        if self.control:
            factors = np.full(nodes, factors.mean())
        return factors.astype(np.float32)

    def apply(self) -> None:
        """Modulate the gradients that the last backward pass left, in place."""
        for name, module in zip(self.layers[:-1], self._modules, strict=False):
            factors = self.modulation(name)
            # The part that errors which travel carry already is not applied twice.
            rest = factors / (1 + np.float32(self.damping) * (factors - 1))
            array = getattr(module, "array", None)
            if array is not None:
                array.book.pending = [(x, d * rest) for x, d in array.book.pending]
            for parameter in (module.weight, module.bias):
                if array is not None and parameter is module.weight:
                    continue
                if isinstance(parameter, Tensor) and parameter.grad is not None:
                    shape = (-1,) + (1,) * (parameter.ndim - 1)
                    parameter.grad.mul_(torch.from_numpy(rest).to(parameter.grad).reshape(shape))

    def remove(self) -> None:
        """Take the hooks away from the network."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _in_order(self) -> list[str]:
        """Return the layers of a sequential network."""
        if not isinstance(self._inside, nn.Sequential) or any(
            not isinstance(one, (nn.Sequential, *_KINDS)) and list(one.children())
            for one in self._inside.modules()
        ):
            raise ValueError(
                f"{type(self._inside).__name__} does not say in which order its layers run: wanted "
                "an nn.Sequential, or layers=[...], their paths in order"
            )
        return [name for name, one in self._inside.named_modules() if isinstance(one, _KINDS)]

    def _weights(self, at: int) -> np.ndarray:
        """Return the weights of a layer, (nodes, inputs); a bias on an array is left out."""
        module = self._modules[at]
        array = getattr(module, "array", None)
        if array is None:
            found: np.ndarray = module.weight.detach().flatten(1).cpu().float().numpy()
            return found
        found = array.weights()
        return found[:, :-1] if getattr(module, "bias_on_array", False) else found

    def _hook(self, name: str) -> Any:
        """Return a forward hook that modulates the error of the outputs on its way back."""
        # Behind the nodes lie the pixels of a convolution, with or without a batch before them.
        axis = -1 - len(getattr(self._modules[self.layers.index(name)], "kernel_size", ()))

        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if output.requires_grad:
                factors = 1 + self.damping * (torch.from_numpy(self.modulation(name)) - 1)
                shape = [1] * output.ndim
                shape[axis] = -1
                factors = factors.to(output).reshape(shape)
                output.register_hook(lambda gradient: gradient * factors)

        return hook


def _nodes(module: Any) -> int:
    """Return how many outputs or channels a layer has."""
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)
