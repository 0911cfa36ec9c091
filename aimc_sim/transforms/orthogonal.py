"""Orthogonal matrices: random ones, and the basis of the directions of most variance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aimc_sim.rng import Key, Purpose
from aimc_sim.transforms.hadamard import block_order, hadamard


def random_hadamard(order: int, seed: int, place: int = 0) -> Tensor:
    """Return a Hadamard matrix with random signs of its rows, scaled to be orthogonal.

    Parameters
    ----------
    order : int
        See :func:`hadamard`.
    seed : int
        Root of the random numbers.
    place : int
        Number of the rotation in the network.

    Returns
    -------
    (order, order) float64 tensor
        ``diag(+-1) H / sqrt(order)``, dimensionless.

    Source
        S. Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs" (2024),
        arXiv:2404.00456.
    """
    signs = _generator(seed, place).integers(0, 2, order) * 2.0 - 1.0
    found: Tensor = torch.from_numpy(signs)[:, None] * hadamard(order) / order**0.5
    return found


def random_orthogonal(order: int, seed: int, place: int = 0) -> Tensor:
    """Return an orthogonal matrix, uniform over all of them.

    Parameters
    ----------
    order : int
        Order of the matrix.
    seed : int
        Root of the random numbers.
    place : int
        Number of the rotation in the network.

    Returns
    -------
    (order, order) float64 tensor
        From the QR decomposition of normal numbers, with the signs of R's diagonal (dimensionless).
    """
    drawn = torch.from_numpy(_generator(seed, place).standard_normal((order, order)))
    q, r = torch.linalg.qr(drawn)
    found: Tensor = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)
    return found


def mixing(order: int, seed: int, place: int = 0) -> Tensor:
    """Return a random Hadamard matrix where there is one, else a random orthogonal one.

    Parameters
    ----------
    order : int
        Order of the matrix.
    seed : int
        Root of the random numbers.
    place : int
        Number of the rotation in the network.

    Returns
    -------
    (order, order) float64 tensor
        Orthogonal, dimensionless.
    """
    try:
        block_order(order)
    except ValueError:
        return random_orthogonal(order, seed, place)
    return random_hadamard(order, seed, place)


def principal(features: Tensor, high: int, seed: int, place: int = 0) -> Tensor:
    """Return the basis of the directions of most variance, mixed inside two subspaces.

    Parameters
    ----------
    features : (vectors, order) float64 tensor
        Activations, dimensionless.
    high : int
        Number of directions in the subspace of high variance, 0 to ``order``.
    seed : int
        Root of the random numbers.
    place : int
        Number of the rotation in the network.

    Returns
    -------
    (order, order) float64 tensor
        ``U = [U_high R_high, U_low R_low]``: eigenvectors of ``X^T X`` in falling order of their
        eigenvalues, times random rotations; the first ``high`` columns span the subspace.

    Source
        U. Saxena et al., "ResQ: mixed-precision quantization of large language models with
        low-rank residuals" (2024), arXiv:2412.14363.
    """
    order = features.shape[1]
    basis = torch.linalg.eigh(features.T @ features).eigenvectors.flip(1)
    parts = []
    for number, (first, last) in enumerate(((0, high), (high, order))):
        if last > first:
            parts.append(basis[:, first:last] @ mixing(last - first, seed, 2 * place + number))
    return torch.cat(parts, 1)


def checked(matrix: Tensor, order: int, what: str) -> Tensor:
    """Return a matrix that was given as a rotation.

    Parameters
    ----------
    matrix : (order, order) tensor
        The matrix (dimensionless).
    order : int
        Number of channels that it turns.
    what : str
        The argument's name.

    Returns
    -------
    (order, order) float64 tensor
        The matrix.

    Raises
    ------
    ValueError
        If the matrix has another shape, or is not orthogonal to 1e-9.
    """
    if tuple(matrix.shape) != (order, order) or matrix.is_complex():
        raise ValueError(
            f"{what} has the shape {tuple(matrix.shape)}, but the residual stream has {order} "
            f"channels; expected real numbers of shape ({order}, {order})"
        )
    found = matrix.detach().cpu().double()
    off = (found @ found.T - torch.eye(order, dtype=torch.float64)).abs().max().item()
    if not off <= 1e-9:
        raise ValueError(
            f"{what} is not orthogonal: Q Q^T differs from the identity by {off:.1e}, expected at "
            "most 1e-9; take the Q of torch.linalg.qr in float64"
        )
    return found


def _generator(seed: int, place: int) -> np.random.Generator:
    return Key(seed).child(Purpose.ROTATION, place).generator()
