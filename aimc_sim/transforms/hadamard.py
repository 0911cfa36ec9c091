"""Hadamard matrices: orthogonal up to a factor, with entries 1 and -1."""

from __future__ import annotations

import torch
from torch import Tensor

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
