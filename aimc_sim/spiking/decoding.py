"""Sequences of symbols from a transducer, of torch or of chips, step by step."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from aimc_sim import arguments
from aimc_sim.spiking.alignments import BLANK
from aimc_sim.spiking.transducer import LayerStates

__all__ = ["TransducerParts", "greedy"]


class TransducerParts(Protocol):
    """Three networks of a transducer as functions: of torch, or of chips."""

    def encode(self, features: Tensor, /) -> Tensor:
        """Return the outputs of the encoder, (T, B, encoded).

        Parameters
        ----------
        features : (T, B, n) tensor
            Frames.
        """
        ...

    def predict(self, last: Tensor, states: LayerStates, /) -> tuple[Tensor, LayerStates]:
        """Return outputs of the prediction network, (B, predicted), and states after a symbol.

        Parameters
        ----------
        last : (B, S) tensor
            The symbols, one-hot; zeros at the start.
        states : tuple of tensors or None
            Of the symbol before, None at the start; dimension -2 counts the batch.
        """
        ...

    def join(self, encoded: Tensor, predicted: Tensor, /) -> Tensor:
        """Return scores, (B, 1 + S).

        Parameters
        ----------
        encoded, predicted : (B, outputs) tensors
            Of both networks.
        """
        ...


@torch.no_grad()
def greedy(
    parts: TransducerParts, features: Tensor, frames: Tensor, symbols: int, most: int = 3
) -> list[list[int]]:
    """Return the sequences that take the best score at every step.

    Parameters
    ----------
    parts : TransducerParts
        A :class:`Transducer`, or three chips.
    features : (T, B, n) tensor
        Frames.
    frames : (B,) integer tensor
        Frames of every sequence; later ones are not read.
    symbols : int
        S.
    most : int
        Symbols that one frame may give.

    Returns
    -------
    list of list of int
        Symbols, 1 to S.
    """
    most = arguments.whole(most, "most", 1, 2**31)
    encoded, batch = parts.encode(features), features.shape[1]
    found: list[list[int]] = [[] for _ in range(batch)]
    predicted, states = parts.predict(features.new_zeros(batch, symbols), None)
    for t, frame in enumerate(encoded):
        waiting = frames > t
        for _ in range(most):
            best = parts.join(frame, predicted).argmax(-1)
            waiting = waiting & (best != BLANK)
            if not bool(waiting.any()):
                break
            for one in waiting.nonzero().flatten().tolist():
                found[one].append(int(best[one]))
            last = F.one_hot(best, 1 + symbols)[:, 1:].to(features.dtype)
            later, states_later = parts.predict(last, states)
            moves = waiting[:, None]
            predicted = torch.where(moves, later, predicted)
            states = tuple(
                torch.where(moves, new, old) for new, old in zip(states_later, states, strict=True)
            )
    return found
