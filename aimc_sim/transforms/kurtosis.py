"""Rotations learned so that activations have light tails (KurTail)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TARGET = 1.8
"""Kurtosis of the uniform law, which uses all codes of a converter alike."""

STEPS, RATE, MOST_VECTORS = 150, 0.02, 2048
"""Steps of Adam, their rate, and vectors of each reader; assumptions, sufficient for streams of a
few hundred channels."""


def kurtosis(x: Tensor) -> Tensor:
    """Return the fourth central moment over the squared variance, of all numbers together.

    Parameters
    ----------
    x : tensor of any shape
        Numbers, dimensionless.

    Returns
    -------
    scalar tensor
        3 for a normal law, 1.8 for a uniform one.

    Examples
    --------
    >>> float(kurtosis(torch.tensor([-1.0, 1.0])))
    1.0
    """
    off = x - x.mean()
    return (off**4).mean() / (off**2).mean() ** 2


def tailedness(features: Sequence[Tensor], rotation: Tensor) -> Tensor:
    """Return the sum over readers of the squared distance of the kurtosis from a uniform law's.

    Parameters
    ----------
    features : sequence of (vectors, channels) float64 tensors
        Activations that each reader gets (dimensionless).
    rotation : (channels, channels) float64 tensor
        Orthogonal matrix (dimensionless).

    Returns
    -------
    scalar float64 tensor
        The sum, dimensionless.
    """
    return torch.stack([(kurtosis(x @ rotation) - TARGET) ** 2 for x in features]).sum()


def learned(features: Sequence[Tensor], start: Tensor) -> Tensor:
    """Return a rotation behind which activations have lighter tails than behind another.

    The rotation is ``start`` times the Cayley transform ``(I - A)^-1 (I + A)`` of a skew matrix,
    so that it is orthogonal at every step.

    Parameters
    ----------
    features : sequence of (vectors, channels) float64 tensors
        Activations that each reader of the stream gets (dimensionless).
    start : (channels, channels) float64 tensor
        Orthogonal matrix to begin with (dimensionless).

    Returns
    -------
    (channels, channels) float64 tensor
        The best rotation on the way: never worse on these features than ``start``.

    Source
        "KurTail: kurtosis-based LLM quantization" (2025), arXiv:2503.01483: kurtosis
        as the measure, learned layer by layer. One rotation for the whole stream differs from it,
        as a rotation per layer would need products in the residual path.
    """
    features = [x[:: max(1, len(x) // MOST_VECTORS)] for x in features]
    order = start.shape[0]
    unit = torch.eye(order, dtype=torch.float64)
    with torch.enable_grad():
        free = torch.zeros(order, order, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([free], lr=RATE)
        best, lowest = start, float(tailedness(features, start))
        for _ in range(STEPS):
            skew = free - free.T
            rotation = start @ torch.linalg.solve(unit - skew, unit + skew)
            loss = tailedness(features, rotation)
            if loss.item() < lowest:
                best, lowest = rotation.detach(), loss.item()
            adam.zero_grad()
            loss.backward()
            adam.step()
    q, r = torch.linalg.qr(best)  # without the rounding of the last solution
    found: Tensor = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)
    return found
