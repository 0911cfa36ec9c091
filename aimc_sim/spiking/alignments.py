"""Loss of transducers (RNN-T): the probability of a sequence, over all its alignments.

A joint network scores, for frame t after u symbols, every next symbol and the blank, which stands
for the next frame. A sequence has the probability of all its alignments together::

    alpha(t, u) = alpha(t-1, u) p(blank | t-1, u) + alpha(t, u-1) p(symbol u | t, u-1)
    p(symbols)  = alpha(T-1, U) p(blank | T-1, U)

Source: A. Graves, arXiv:1211.3711 (2012), section 2.4, RECALLED; the sum over enumerated
alignments is its test.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BLANK", "transducer_loss"]

BLANK = 0
"""Place of the blank among the scores; symbols are 1 to S."""


def transducer_loss(scores: Tensor, symbols: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
    """Return the negative logarithm of the probability of every sequence, nats.

    Sums are made in the logarithm and in double precision; autograd goes through them.

    Parameters
    ----------
    scores : (B, T, U + 1, 1 + S) float tensor
        Of the joint network, before the softmax: frame t after u symbols; blank first. Those
        beyond the frames and symbols of a sequence have no effect.
    symbols : (B, U) integer tensor
        Sequences, 1 to S; padding behind their ends is not read.
    frames : (B,) integer tensor
        Frames of every sequence, 1 to T.
    lengths : (B,) integer tensor
        Symbols of every sequence, 0 to U.

    Returns
    -------
    (B,) float64 tensor
        Losses.

    Raises
    ------
    ValueError
        If shapes do not belong together, a number is outside its bounds, or a score is not finite.
    """
    _check(scores, symbols, frames, lengths)
    each = torch.log_softmax(scores.double(), -1)
    blank = each[..., BLANK]
    padding = torch.arange(symbols.shape[1], device=symbols.device) >= lengths[:, None]
    places = symbols.masked_fill(padding, BLANK)[:, None, :, None].expand(*each.shape[:2], -1, 1)
    step = each[:, :, :-1].gather(3, places)[..., 0]
    # Within a frame, alpha is a running sum over u once the symbols before u are divided out.
    before = F.pad(step.cumsum(2), (1, 0))
    alphas = [before[:, 0]]
    for t in range(1, each.shape[1]):
        moved = alphas[-1] + blank[:, t - 1] - before[:, t]
        alphas.append(moved.logcumsumexp(1) + before[:, t])
    ends = torch.stack(alphas, 1) + blank
    rows = torch.arange(len(ends), device=ends.device)
    found: Tensor = -ends[rows, frames - 1, lengths]
    return found


def _check(scores: Tensor, symbols: Tensor, frames: Tensor, lengths: Tensor) -> None:
    """Raise if the arguments of a loss do not belong together."""
    batch, steps, longest, kinds = scores.shape if scores.ndim == 4 else (0, 0, 0, 0)
    if not batch or not steps or kinds < 2 or symbols.shape != (batch, longest - 1):
        raise ValueError(
            f"transducer_loss got scores of the shape {tuple(scores.shape)} and symbols of "
            f"{tuple(symbols.shape)}: wanted (B, T, U + 1, 1 + S) and (B, U)"
        )
    for name, one, low, high in (
        ("frames", frames, 1, steps), ("lengths", lengths, 0, longest - 1)
    ):  # fmt: skip
        if one.shape != (batch,) or int(one.min()) < low or int(one.max()) > high:
            raise ValueError(
                f"transducer_loss got {name} = {one.tolist()}: wanted {batch} whole numbers from "
                f"{low} to {high}"
            )
    inside = torch.arange(steps, device=scores.device)[:, None] < frames[:, None, None]
    inside = inside & (torch.arange(longest, device=scores.device) <= lengths[:, None, None])
    if not bool(torch.isfinite(scores[inside]).all()):
        raise ValueError(
            "transducer_loss got scores that are not finite: to exclude a symbol, give it a large "
            "negative score, for example -1e4"
        )
    read = symbols[torch.arange(longest - 1, device=symbols.device) < lengths[:, None]]
    if len(read) and not 1 <= int(read.min()) <= int(read.max()) < kinds:
        raise ValueError(
            f"transducer_loss got symbols from {int(read.min())} to {int(read.max())}: wanted 1 to "
            f"{kinds - 1}; {BLANK} is the blank"
        )
