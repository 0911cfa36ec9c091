"""Orthogonal matrices: Hadamard, random, and the basis of the directions of most variance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aimc_sim.rng import Key, Purpose

_BLOCKS = (1, 12, 20, 44, 60, 68, 84)
"""Orders of the Hadamard matrices that are not made by doubling: one more than a prime that leaves
the remainder 3 on division by 4 (R. E. A. C. Paley, 1933, construction I)."""


def block_order(order: int) -> int:
    """Return the order of the block from which a Hadamard matrix is made by doubling.

    Parameters
    ----------
    order : int
        Order of the matrix, >= 1.

    Returns
    -------
    int
        The block's order: 1 for powers of two; ``order`` is the block's times a power of two.

    Raises
    ------
    ValueError
        If no matrix of this order is made here.
    """
    for block in _BLOCKS:
        doublings, rest = divmod(order, block)
        if not rest and doublings > 0 and doublings & (doublings - 1) == 0:
            return block
    raise ValueError(
        f"no Hadamard matrix of order {order} is made here; expected a power of two, alone or "
        f"times one of {', '.join(map(str, _BLOCKS[1:]))}; take rotation='orthogonal'"
    )


def block_matrix(order: int) -> Tensor:
    """Return the Hadamard matrix of a block.

    Parameters
    ----------
    order : int
        1, or one more than a prime that leaves 3 on division by 4.

    Returns
    -------
    (order, order) float64 tensor
        Entries 1 and -1 (dimensionless); rows are orthogonal to each other.
    """
    if order == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    prime = order - 1
    squares = {i * i % prime for i in range(1, prime)}
    places = torch.arange(prime)
    apart = (places[:, None] - places[None, :]) % prime
    is_square = torch.tensor([1.0 if i in squares else -1.0 for i in range(prime)]).double()
    core = is_square[apart]
    core[apart == 0] = -1.0
    matrix = torch.ones(order, order, dtype=torch.float64)
    matrix[1:, 1:] = core
    return matrix


def hadamard(order: int) -> Tensor:
    """Return a Hadamard matrix: the doublings of a block, ``H_2 x ... x H_2 x block``.

    Parameters
    ----------
    order : int
        A power of two, alone or times the order of a block; see :func:`block_order`.

    Returns
    -------
    (order, order) float64 tensor
        Entries 1 and -1 (dimensionless); ``H @ H.T`` is ``order`` times the identity.

    Raises
    ------
    ValueError
        If no matrix of this order is made here.

    Examples
    --------
    >>> hadamard(2).tolist()
    [[1.0, 1.0], [1.0, -1.0]]
    """
    matrix = block_matrix(block_order(order))
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    while matrix.shape[0] < order:
        matrix = torch.kron(two, matrix)
    return matrix


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
