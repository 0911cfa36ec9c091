"""Networks trained with noise on their matrices, and trained networks as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from kept import Kept
from torch import Tensor, nn

NOISE = 0.05
"""Standard deviation of the noise on a matrix, as a share of its largest weight."""


def noisy(net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the parameters of a network, matrices with Gaussian noise, for ``functional_call``."""
    return {
        name: one if one.ndim < 2 else one + NOISE * one.detach().abs().max()
        * torch.randn(one.shape, generator=generator)
        for name, one in net.named_parameters()
    }  # fmt: skip


def kept_network(
    kept: Kept, name: str, untrained: nn.Module, train: Callable[[nn.Module], Any]
) -> nn.Module:
    """Return a trained network: a kept one, or ``untrained`` after ``train``."""

    def run() -> dict[str, list]:
        train(untrained)
        return {path: one.tolist() for path, one in untrained.state_dict().items()}

    state = {path: torch.tensor(values) for path, values in kept.run(name, run).items()}
    untrained.load_state_dict(state)
    return untrained.eval()
