"""Stochastic gradient descent by pulses: an optimiser of torch for networks on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from aimc_sim.learning.clock import Clock
from aimc_sim.learning.crossbars import ArrayWeight


class SGD(torch.optim.SGD):
    """Pulses for arrays, ordinary gradient descent for all other parameters.

    Parameters
    ----------
    params : iterable
        ``net.parameters()``, or groups of them as torch takes them.
    lr : float
        Learning rate; torch's schedulers change it.
    clip_norm : float, optional
        Bound of the Euclidean norm of all gradients together, arrays included, as of
        :func:`torch.nn.utils.clip_grad_norm_`, which cannot reach arrays.
    **options
        ``momentum``, ``weight_decay``, ... of :class:`torch.optim.SGD`, for groups of other
        parameters.

    Raises
    ------
    ValueError
        If a group holds an array and an option that pulses cannot follow.

    Notes
    -----
    Gradients of several backward passes add up until a step, as in torch, whose means over a
    batch are in the loss. A step ends the time that the network's clock is held constant.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, *, clip_norm: float | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if clip_norm is not None and not 0 < clip_norm < math.inf:
            raise ValueError(f"clip_norm = {clip_norm!r} must be > 0, or None")
        self.clip_norm = clip_norm
        super().__init__(params, lr=lr, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; refuse options that pulses cannot follow for groups with arrays."""
        super().add_param_group(param_group)
        self._check(self.param_groups[-1])

    @staticmethod
    def _check(group: dict[str, Any]) -> None:
        """Refuse a group whose arrays cannot follow its options."""
        arrays = [p for p in group["params"] if isinstance(p, ArrayWeight)]
        for name in ("momentum", "weight_decay", "dampening", "nesterov"):
            if arrays and group[name]:
                raise ValueError(
                    f"{name} = {group[name]!r} for '{arrays[0].matrix.path}': weights on arrays "
                    "change by pulses for gradients only. Put other parameters in a group of "
                    f"their own: [{{'params': net.arrays()}}, {{'params': net.digital(), '{name}': "
                    f"{group[name]!r}}}]"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Give pulses for the gradients of arrays, and step all other parameters.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the loss again, with its backward pass.

        Returns
        -------
        float or None
            The loss of the closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._check(group)  # schedulers and files change groups
        factor = self._clip()
        reading: dict[int, float] = {}
        writing: dict[int, float] = {}
        clocks: dict[int, Clock] = {}
        for group in self.param_groups:
            lr = float(group["lr"]) * (-1.0 if group["maximize"] else 1.0)
            for weight in group["params"]:
                if isinstance(weight, ArrayWeight) and weight.matrix.book.pending:
                    matrix = weight.matrix
                    at = id(matrix.clock)
                    clocks[at] = matrix.clock
                    spent = matrix.step(lr * factor)
                    reading[at] = reading.get(at, 0.0) + matrix.read_seconds()
                    writing[at] = max(writing.get(at, 0.0), spent.seconds)
        for at, clock in clocks.items():
            clock.advance(reading[at], writing[at])
        if any(not isinstance(p, ArrayWeight) for p in self._parameters()):
            super().step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, those of arrays included.

        Parameters
        ----------
        set_to_none : bool
            As of torch, for other parameters.
        """
        others = False
        for weight in self._parameters():
            if isinstance(weight, ArrayWeight):
                weight.matrix.book.pending = []
            else:
                others = True
        if others:
            super().zero_grad(set_to_none)

    def _clip(self) -> float:
        """Return the factor of array gradients, and scale those of other parameters by it."""
        if self.clip_norm is None:
            return 1.0
        total, others = 0.0, []
        for weight in self._parameters():
            if isinstance(weight, ArrayWeight):
                matrix = weight.matrix
                total += matrix.norm_squared() if matrix.book.pending else 0.0
            elif weight.grad is not None:
                gradient: Tensor = weight.grad
                others.append(gradient)
                total += float(gradient.double().square().sum())
        factor = min(1.0, self.clip_norm / (math.sqrt(total) + 1e-6))
        for gradient in others:
            gradient.mul_(factor)
        return factor

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]
