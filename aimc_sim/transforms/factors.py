"""Factors of a kernel, by singular vectors of its unfoldings; forms as in :mod:`.tensor_trains`.

All in the number format of the kernel, (O, I, 3, 3); float64 is asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sequential(kernel: Tensor, ranks: tuple[int, int, int]) -> list[Tensor]:
    """Return E, R, C, L by TT-SVD: singular vectors of one unfolding after the other."""
    outputs, inputs = kernel.shape[:2]
    p, q, r = ranks
    rest = kernel.permute(1, 2, 3, 0).reshape(inputs, -1)
    enter, rest = _cut(rest, p)
    rows, rest = _cut(rest.reshape(p * 3, -1), q)
    columns, rest = _cut(rest.reshape(q * 3, -1), r)
    return [
        enter.T, rows.reshape(p, 3, q).permute(2, 0, 1), columns.reshape(q, 3, r).permute(2, 0, 1),
        rest.reshape(r, outputs).T,
    ]  # fmt: skip


def parallel(kernel: Tensor, ranks: tuple[int, int, int]) -> list[Tensor]:
    """Return E, R, C, L of the kernel's cross; both branches have half of its centre.

    The factor 1/2 of the mean is in L, so that its twice is in R and C.
    """
    rank = ranks[0]
    up, left, centre, right, down = (
        kernel[:, :, a, b] for a, b in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    )
    cross = torch.stack([up, left, centre, right, down], -1)  # (O, I, 5)
    inside = _basis(cross.permute(1, 0, 2).reshape(cross.shape[1], -1), rank)
    outside = _basis(cross.reshape(len(cross), -1), rank)
    core = torch.einsum("oix,or,ip->rpx", cross, outside, inside)
    rows = torch.stack([2 * core[..., 0], core[..., 2], 2 * core[..., 4]], -1)
    columns = torch.stack([2 * core[..., 1], core[..., 2], 2 * core[..., 3]], -1)
    return [inside.T, rows, columns, 0.5 * outside]


def _cut(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the first left singular vectors, (rows, rank), and the rest of the matrix in them."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return _filled(u[:, :rank], rank), _filled((s[:, None] * v)[:rank].T, rank).T


def _basis(matrix: Tensor, rank: int) -> Tensor:
    """Return the first left singular vectors, (rows, rank); zeros where there are fewer."""
    return _filled(torch.linalg.svd(matrix, full_matrices=False)[0][:, :rank], rank)


def _filled(matrix: Tensor, columns: int) -> Tensor:
    """Return a matrix with columns of zeros behind its own."""
    return torch.nn.functional.pad(matrix, (0, columns - matrix.shape[1]))


def ranks_for(kernel: Tensor, error: float) -> tuple[int, int, int]:
    """Return the smallest ranks of the three cuts, each with a third of the squared error."""
    inputs = kernel.shape[1]
    most = (error * float(kernel.norm())) ** 2 / 3
    rest = kernel.permute(1, 2, 3, 0).reshape(inputs, -1)
    found: list[int] = []
    for _ in range(2):
        found.append(_smallest(rest, most))
        _, rest = _cut(rest, found[-1])
        rest = rest.reshape(found[-1] * 3, -1)
    return found[0], found[1], _smallest(rest, most)


def _smallest(matrix: Tensor, most: float) -> int:
    """Return the smallest rank of a matrix whose dropped squares sum to ``most`` at most."""
    squares = torch.linalg.svdvals(matrix).square()
    dropped = squares.flip(0).cumsum(0).flip(0)  # what a rank of 0, 1, 2, ... leaves out
    return max(1, int((dropped > most + 1e-28 * float(squares.sum())).sum()))
