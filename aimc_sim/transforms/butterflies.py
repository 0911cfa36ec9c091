"""The Hadamard transform as a layer of additions, and their count."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from aimc_sim.frontend import examples


class Hadamard(nn.Module):
    """The Hadamard transform of the last dimension, by additions only.

    Parameters
    ----------
    order : int
        Numbers that are transformed together, a power of two >= 2. Longer vectors are cut into
        groups of this length.
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Return every group times the Hadamard matrix of entries 1 and -1.

        Parameters
        ----------
        x : (..., n) tensor
            Vectors (dimensionless); n is a multiple of the order.

        Returns
        -------
        (..., n) tensor
            Transformed vectors, larger than ``x`` by the square root of the order.
        """
        step = 1
        while step < self.order:
            pairs = x.unflatten(-1, (-1, 2, step))
            first, second = pairs.unbind(-2)
            x = torch.stack((first + second, first - second), -2).flatten(-3)
            step *= 2
        return x

    def additions(self, length: int) -> int:
        """Return the additions and subtractions for one vector.

        Parameters
        ----------
        length : int
            Numbers in the vector.

        Returns
        -------
        int
            ``length * log2(order)``.
        """
        return length * (self.order.bit_length() - 1)

    def extra_repr(self) -> str:
        """Return the order, for the module's text."""
        return f"order={self.order}"


def additions(model: nn.Module, example: Any) -> int:
    """Return the additions of all Hadamard transforms in one run of a network.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed.
    example : inputs of the forward method
        Inputs of the run.

    Returns
    -------
    int
        Additions and subtractions, over all vectors of the example.
    """
    plain = copy.deepcopy(model).eval()
    given = examples.given(plain, example)
    total = 0
    handles = []
    for module in plain.modules():
        if isinstance(module, Hadamard):

            def count(module: nn.Module, args: Any) -> None:
                nonlocal total
                (x,) = args
                vectors = x.numel() // x.shape[-1]
                total += vectors * module.additions(x.shape[-1])  # type: ignore[operator]

            handles.append(module.register_forward_pre_hook(count))
    with torch.no_grad():
        plain(*given.args, **given.kwargs)
    return total
