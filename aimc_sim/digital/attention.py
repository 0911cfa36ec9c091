"""Attention of spikes without softmax, by counters: from binary Q, K and V to numbers.

Time steps come in blocks of S that follow each other without overlap. All tokens of all steps of a
block attend to each other, head by head::

    K^T V <- sum over the S N tokens n of the outer product of k_n and v_n    (d x d counts)
    A <- scale / S * Q (K^T V)                                                (S N x d)

S = 1 is attention over space alone, S > 1 over space and time. Products come in this order, so that
work grows with the number of tokens, not with its square, and is the same for every S. Q, K and V
are spikes, so that K^T V is counted, not multiplied: a counter goes one up where k and v both have
a spike; and Q (K^T V) is a sum of the rows of counts whose q has a spike.

Blocks of steps and the absence of overlap are those of STAtten (D. Lee et al., CVPR 2025,
arXiv:2409.19764), READ; the order of the products and the scale are RECALLED and unchecked. The
division by S is ours: spikes that are the same in every step give what S = 1 gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function


@dataclass(frozen=True)
class Attending:
    """How spikes attend to each other.

    Attributes
    ----------
    steps : int
        S, time steps of a block.
    heads : int
        Parts of the last dimension that attend by themselves.
    scale : float
        Factor of the sums.
    """

    steps: int = 1
    heads: int = 1
    scale: float = 0.25

    def attrs(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def attention(q: Tensor, k: Tensor, v: Tensor, how: Attending, batch: int = 1) -> Tensor:
    """Return the attention of spikes, block of steps by block of steps.

    A mode of torch that records functions meets this one whole (:mod:`aimc_sim.frontend`).

    Parameters
    ----------
    q, k, v : (T, B, N, D) or (B, T, N, D) tensors
        Spikes of N tokens, 0 or 1; T is a multiple of the steps of a block, D of the heads.
    how : Attending
        Blocks, heads and scale.
    batch : 0 or 1
        Dimension that counts the batch; the other one counts steps.

    Returns
    -------
    tensor of the shape of q
        ``scale / S * Q (K^T V)``; whole numbers times a factor, exact in float32 below 2**24.

    Raises
    ------
    ValueError
        If sizes are not as above.
    """
    _check(q, k, v, how, batch)
    if has_torch_function((q, k, v)):
        found: Tensor = handle_torch_function(attention, (q, k, v), q, k, v, how, batch)
        return found
    counts = keys_and_values(k, v, how, batch)
    sums = blocks(q, how, batch) @ counts
    return joined(sums * (how.scale / how.steps), q.shape, how, batch)


def _check(q: Tensor, k: Tensor, v: Tensor, how: Attending, batch: int) -> None:
    """Raise ValueError unless sizes fit each other, the blocks and the heads."""
    steps = "B, T" if batch == 0 else "T, B"
    if q.ndim != 4 or any(one.shape != q.shape for one in (k, v)):
        shapes = ", ".join(str(tuple(one.shape)) for one in (q, k, v))
        raise ValueError(
            f"attention of spikes got Q, K and V of the shapes {shapes}: wanted ({steps}, N, D) "
            "for all three"
        )
    if q.shape[1 - batch] % how.steps:
        raise ValueError(
            f"attention of spikes got {q.shape[1 - batch]} time steps: wanted whole blocks of "
            f"{how.steps}; give more steps, or choose other blocks"
        )
    if q.shape[3] % how.heads:
        raise ValueError(
            f"attention of spikes got a width of {q.shape[3]}: wanted a multiple of its "
            f"{how.heads} heads"
        )


def keys_and_values(k: Tensor, v: Tensor, how: Attending, batch: int) -> Tensor:
    """Return K^T V of every block and head, (B, T / S, heads, d, d): how often both spike."""
    return blocks(k, how, batch).transpose(-1, -2) @ blocks(v, how, batch)


def blocks(x: Tensor, how: Attending, batch: int) -> Tensor:
    """Return spikes by block and head, (B, T / S, heads, S N, d).

    Parameters
    ----------
    x : (T, B, N, D) or (B, T, N, D) tensor
        Spikes.
    how : Attending
        Blocks and heads.
    batch : 0 or 1
        Dimension that counts the batch.
    """
    x = x.movedim(batch, 0)
    images, steps, tokens, width = x.shape
    parts = x.reshape(
        images, steps // how.steps, how.steps * tokens, how.heads, width // how.heads
    )  # fmt: skip
    return parts.transpose(2, 3)


def joined(x: Tensor, shape: tuple[int, ...], how: Attending, batch: int) -> Tensor:
    """Return what :func:`blocks` took apart in its first shape."""
    x = x.transpose(2, 3)
    images, tokens = shape[batch], shape[2]
    return x.reshape(images, shape[1 - batch], tokens, shape[3]).movedim(0, batch)
