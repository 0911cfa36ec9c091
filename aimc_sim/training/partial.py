"""Train only the most important output channels: little to rewrite on the chip."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from aimc_sim.training.layers import PreparedLayer

Importance = Mapping[str, Tensor]
"""Of every output channel, by name of the matrix: "stage1.0.conv1.weight" to (channels,)."""


def channel_importance(
    prepared: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
) -> dict[str, Tensor]:
    """Return how much every output channel matters: |gradient x weight| summed over batches.

    Parameters
    ----------
    prepared : module
        As returned by ``prepare``. It runs in evaluation mode, without noise; its gradients and
        its mode are left as they were.
    batches : iterable
        Of whatever ``loss`` takes.
    loss : callable
        ``loss(prepared, batch)`` returns a 0-dim tensor.

    Returns
    -------
    dict of (channels,) tensors
        By name of the matrix.

    Notes
    -----
    The first-order change of the loss if a weight went to zero, as in P. Molchanov et al.,
    *Pruning convolutional neural networks for resource efficient inference*, ICLR 2017,
    arXiv:1611.06440; here summed over the weights of a channel.
    """
    modes = {module: module.training for module in prepared.modules()}
    found: dict[str, Tensor] = {}
    names = {f"{path}{name}": (w, d) for path, name, w, d, _ in _matrices(prepared)}
    prepared.eval()
    try:
        for batch in batches:
            weights = [weight for weight, _ in names.values()]
            gradients = torch.autograd.grad(loss(prepared, batch), weights, allow_unused=True)
            for (name, (weight, dim)), gradient in zip(names.items(), gradients, strict=True):
                if gradient is not None:
                    score = (gradient * weight.detach()).abs().transpose(0, dim).flatten(1).sum(1)
                    found[name] = found.get(name, 0) + score
    finally:
        for module, training in modes.items():
            module.training = training
    if not found:
        raise ValueError("no batches, or no analog layer took part: give at least one batch")
    return found


def only_important(
    prepared: nn.Module, fraction: float, importance: Importance | None = None
) -> HeldChannels:
    """Hold all but the most important output channels of every analog layer, in place.

    Weights of the other channels, and their biases, get no gradient and stay where they are,
    whatever momentum and weight decay do; normalisation and digital layers go on training.

    Parameters
    ----------
    prepared : module
        As returned by ``prepare``.
    fraction : float
        Share of the channels of every matrix that train, above 0 and at most 1; rounded up.
    importance : mapping, optional
        As returned by :func:`channel_importance`; default: |gradient x weight| with the
        gradients that the parameters hold, after ``backward`` on calibration batches.

    Returns
    -------
    HeldChannels
        ``held.remove()`` lets all channels train again; so does leaving a ``with`` block.

    Raises
    ------
    ValueError
        If the network was not prepared, the fraction is out of range, or importances are missing.
    """
    matrices = list(_matrices(prepared)) if isinstance(prepared, nn.Module) else []
    if not matrices:
        raise ValueError(
            f"only_important got {type(prepared).__name__} without analog layers: wanted what "
            "aimc_sim.training.prepare returned"
        )
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction = {fraction!r}: wanted above 0 and at most 1")
    hooks: list[RemovableHandle] = []
    for layer in {id(layer): layer for *_, layer in matrices}.values():
        layer.analog.held.clear()
    for path, name, weight, dim, layer in matrices:
        score = _score(f"{path}{name}", weight, dim, importance)
        train = score.topk(math.ceil(fraction * len(score) - 1e-9)).indices
        keep = torch.ones(len(score), dtype=torch.bool, device=weight.device)
        keep[train] = False
        held = keep.nonzero()[:, 0]
        own = [(weight, dim), *((bias, 0) for bias in layer.biases(name))]
        for parameter, d in own:
            values = parameter.detach().index_select(d, held).clone()
            layer.analog.held.append((parameter, d, held, values))
            if parameter.requires_grad:
                hooks.append(parameter.register_hook(_masked(keep, d)))
    return HeldChannels(prepared, hooks)


def _matrices(
    prepared: nn.Module,
) -> Iterator[tuple[str, str, nn.Parameter, int, PreparedLayer]]:
    """Yield (path with its dot, name, weight, dimension of the channels, layer)."""
    for path, layer in prepared.named_modules():
        if isinstance(layer, PreparedLayer):
            for name, weight in layer.matrices().items():
                yield f"{path}." if path else "", name, weight, layer.channels(name), layer


def _score(name: str, weight: Tensor, dim: int, importance: Importance | None) -> Tensor:
    if importance is None:
        if weight.grad is None:
            raise ValueError(
                f"'{name}' has no gradient to judge its channels by: run backward on calibration "
                "batches first, or give importance=channel_importance(...)"
            )
        return (weight.grad * weight.detach()).abs().transpose(0, dim).flatten(1).sum(1)
    channels = weight.shape[dim]
    if name not in importance or importance[name].shape != (channels,):
        got = "nothing" if name not in importance else f"shape {tuple(importance[name].shape)}"
        raise ValueError(f"importance of '{name}': got {got}, wanted ({channels},)")
    return importance[name].to(weight.device)


def _masked(keep: Tensor, dim: int) -> Callable[[Tensor], Tensor]:
    def mask(gradient: Tensor) -> Tensor:
        shape = [1] * gradient.ndim
        shape[dim] = -1
        return gradient.masked_fill(keep.reshape(shape), 0)

    return mask


class HeldChannels:
    """Puts held channels back after the step of any optimiser, until it is removed."""

    def __init__(self, prepared: nn.Module, hooks: list[RemovableHandle]) -> None:
        self._prepared, self._hooks = weakref.ref(prepared), hooks
        reference = self._prepared

        def after(*_: Any) -> None:
            network = reference()
            if network is not None:
                for _path, _name, _weight, _dim, layer in _matrices(network):
                    layer.analog.hold()

        self._hooks.append(register_optimizer_step_post_hook(after))
        weakref.finalize(prepared, self._hooks[-1].remove)

    def remove(self) -> None:
        """Let all channels train again."""
        for hook in self._hooks:
            hook.remove()
        network = self._prepared()
        if network is not None:
            for _path, _name, _weight, _dim, layer in _matrices(network):
                layer.analog.held.clear()

    def __enter__(self) -> HeldChannels:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()
