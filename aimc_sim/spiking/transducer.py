"""Transducers (RNN-T): sequences of symbols from sequences of features, aligned by themselves.

An encoder reads features frame by frame, a prediction network the symbols so far, and a joint
network scores, for frame t after u symbols, every next symbol and the blank, which stands for the
next frame. A sequence has the probability of all its alignments together::

    alpha(t, u) = alpha(t-1, u) p(blank | t-1, u) + alpha(t, u-1) p(symbol u | t, u-1)
    p(symbols)  = alpha(T-1, U) p(blank | T-1, U)

Source: A. Graves, arXiv:1211.3711 (2012), section 2.4, RECALLED; the sum over enumerated
alignments is its test. With sSNU and sSNU-o units in both networks: arXiv:2110.02743 (ICASSP 2022),
abstract READ. Its sizes and its joint network are not known: the one here is ours.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aimc_sim import arguments

__all__ = [
    "BLANK", "Joint", "OneStep", "Outputs", "Parts", "Transducer", "greedy", "transducer_loss",
]  # fmt: skip

BLANK = 0
"""Place of the blank among the scores; symbols are 1 to S."""

States = Any
"""States of a recurrent layer, a tuple of tensors; None before the first step."""


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
        If shapes do not belong together, or a number is outside its bounds.
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
    read = symbols[torch.arange(longest - 1, device=symbols.device) < lengths[:, None]]
    if len(read) and not 1 <= int(read.min()) <= int(read.max()) < kinds:
        raise ValueError(
            f"transducer_loss got symbols from {int(read.min())} to {int(read.max())}: wanted 1 to "
            f"{kinds - 1}; {BLANK} is the blank"
        )


class Joint(nn.Module):
    """Scores from outputs of both networks: a dense layer on each, their sum, tanh, a dense layer.

    Parameters
    ----------
    encoded, predicted, hidden, symbols : int
        Outputs of the encoder and of the prediction network, hidden units, and symbols.
    """

    def __init__(self, encoded: int, predicted: int, hidden: int, symbols: int) -> None:
        super().__init__()
        self.of_encoder = nn.Linear(encoded, hidden)
        self.of_prediction = nn.Linear(predicted, hidden, bias=False)
        self.out = nn.Linear(hidden, 1 + arguments.whole(symbols, "symbols", 1, 2**31))

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Return scores, (..., 1 + symbols).

        Parameters
        ----------
        encoded, predicted : (..., outputs) tensors
            Of both networks; shapes are broadcast.
        """
        inner = self.of_encoder(encoded) + self.of_prediction(predicted)
        found: Tensor = self.out(torch.tanh(inner))
        return found


class Outputs(nn.Module):
    """A recurrent layer without its states, as an encoder goes on a chip.

    Parameters
    ----------
    layer : nn.Module
        From (T, B, inputs) and states to outputs and states.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (T, B, units).

        Parameters
        ----------
        x : (T, B, inputs) tensor
            Inputs, step by step.
        """
        found: Tensor = self.layer(x)[0]
        return found


class OneStep(nn.Module):
    """A single step of a recurrent layer, as a prediction network goes on a chip.

    Parameters
    ----------
    layer : nn.Module
        From (T, B, inputs) and states to outputs and states.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, (B, units), and the states behind them.

        Parameters
        ----------
        x : (B, inputs) tensor
            Inputs of the step.
        *states : tensors
            Of the step before; without any, those before the first step.
        """
        outputs, after = self.layer(x[None], states or None)
        return (outputs[0], *after)


class Parts(Protocol):
    """Three networks of a transducer as functions: of torch, or of chips."""

    def encode(self, features: Tensor, /) -> Tensor:
        """Return the outputs of the encoder, (T, B, encoded).

        Parameters
        ----------
        features : (T, B, n) tensor
            Frames.
        """
        ...

    def predict(self, last: Tensor, states: States, /) -> tuple[Tensor, States]:
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


class Transducer(nn.Module):
    """A transducer of recurrent layers; sequences have their time first.

    Parameters
    ----------
    encoder, prediction : nn.Module
        Recurrent layers, or anything with their convention: from (T, B, inputs) and states to
        outputs and states. The prediction network has one input per symbol.
    joint : nn.Module
        From outputs of both to scores, as :class:`Joint`.
    symbols : int
        S.
    """

    def __init__(
        self, encoder: nn.Module, prediction: nn.Module, joint: nn.Module, symbols: int
    ) -> None:
        super().__init__()
        self.encoder, self.prediction, self.joint = encoder, prediction, joint
        self.symbols = arguments.whole(symbols, "symbols", 1, 2**31)

    def forward(self, features: Tensor, symbols: Tensor) -> Tensor:
        """Return the scores of every frame after every number of symbols.

        Parameters
        ----------
        features : (T, B, n) tensor
            Frames.
        symbols : (B, U) integer tensor
            Sequences, 1 to S; 0 behind their ends.

        Returns
        -------
        (B, T, U + 1, 1 + S) tensor
            As :func:`transducer_loss` takes them.
        """
        read = F.one_hot(F.pad(symbols, (1, 0)), 1 + self.symbols)[..., 1:]
        predicted = self.prediction(read.to(features.dtype).transpose(0, 1))[0]
        encoded = self.encode(features).transpose(0, 1)
        found: Tensor = self.joint(encoded[:, :, None], predicted.transpose(0, 1)[:, None])
        return found

    def encode(self, features: Tensor) -> Tensor:
        """Return the outputs of the encoder, see :class:`Parts`.

        Parameters
        ----------
        features : (T, B, n) tensor
            Frames.
        """
        found: Tensor = Outputs(self.encoder)(features)
        return found

    def predict(self, last: Tensor, states: States) -> tuple[Tensor, States]:
        """Return outputs and states of the prediction network after one more symbol.

        Parameters
        ----------
        last : (B, S) tensor
            The symbols, one-hot.
        states : tuple of tensors or None
            Of the symbol before.
        """
        outputs, *after = OneStep(self.prediction)(last, *(states or ()))
        return outputs, tuple(after)

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Return scores, see :class:`Joint`.

        Parameters
        ----------
        encoded, predicted : (..., outputs) tensors
            Of both networks.
        """
        found: Tensor = self.joint(encoded, predicted)
        return found


@torch.no_grad()
def greedy(
    parts: Parts, features: Tensor, frames: Tensor, symbols: int, most: int = 3
) -> list[list[int]]:
    """Return the sequences that take the best score at every step.

    Parameters
    ----------
    parts : Parts
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
