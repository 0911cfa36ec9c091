"""Transducers (RNN-T): networks that make sequences of symbols of sequences of features.

An encoder reads features frame by frame, a prediction network the symbols so far, and a joint
network scores what comes next (:mod:`aimc_sim.spiking.alignments`). With sSNU and sSNU-o units in
encoder and prediction network: arXiv:2110.02743 (ICASSP 2022), abstract READ. Its sizes and its
joint network are not known: the one here is ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aimc_sim import arguments

__all__ = ["Joint", "LayerStates", "OneStep", "Outputs", "Transducer"]

LayerStates = Any
"""LayerStates of a recurrent layer, a tuple of tensors; None before the first step."""


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
        """Return the outputs of the encoder, (T, B, encoded).

        Parameters
        ----------
        features : (T, B, n) tensor
            Frames.
        """
        found: Tensor = Outputs(self.encoder)(features)
        return found

    def predict(self, last: Tensor, states: LayerStates) -> tuple[Tensor, LayerStates]:
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
