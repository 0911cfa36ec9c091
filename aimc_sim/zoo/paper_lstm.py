"""The character LSTM that the 64-core chip ran: 1,299,312 weights on 26 cores.

Layers: M. Le Gallo et al., *A 64-core mixed-signal in-memory compute chip based on
phase-change memory for deep neural network inference*, Nature Electronics 6, 680 (2023), Methods:
an embedding of 128 (random, orthogonal, never trained, computed off the chip), an LSTM with 504
hidden units (input gates 128 x 2016, hidden gates 504 x 2016), a dense layer 504 x 50.

The paper counts 2,066 biases: 2016 of the gates and 50 of the dense layer. torch's LSTM has two
vectors of gate biases that are only ever added; the second is held at zero and not trained.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from aimc_sim.zoo.stored import WeightFiles, fill

CHARACTERS, EMBEDDING, HIDDEN = 50, 128, 504

KIND = WeightFiles(
    name="character LSTM",
    layout="embedding, lstm.weight_ih_l0 ... lstm.bias_hh_l0, dense",
    head="dense",
    shipped={"ptb": "lstm_ptb.pt", "ptb-aware": "lstm_ptb_aware.pt"},
    training={
        "ptb": "python -m aimc_sim.zoo.train_ptb --data DIR",
        "ptb-aware": "python -m aimc_sim.zoo.train_ptb --data DIR --hardware-aware lstm_ptb.pt",
    },
)
"""The weight files of this architecture."""

_INIT_SEED = 504

LstmState = tuple[Tensor, Tensor]
"""Hidden and cell state, each (1, N, 504) float32."""


class CharLSTM(nn.Module):
    """Characters (N, T) int64 to scores of the next one (N, T, 50), and the state after them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.dense = nn.Linear(HIDDEN, CHARACTERS)
        self.embedding.weight.requires_grad_(False)
        self.lstm.bias_hh_l0.requires_grad_(False)

    def hidden(self, tokens: Tensor, state: LstmState | None) -> tuple[Tensor, LstmState]:
        """Return the outputs of the LSTM, (N, T, 504), and the state."""
        found: tuple[Tensor, LstmState] = self.lstm(self.embedding(tokens), state)
        return found

    def forward(self, tokens: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Return the scores (before any softmax) and the state, from which it can go on."""
        outputs, state = self.hidden(tokens, state)
        return self.dense(outputs), state

    def redraw(self, seed: int) -> None:
        """Draw the weights from the seed, in place; see :func:`redraw`."""
        redraw(self, seed)


def char_lstm(weights: str | Path | None = None) -> CharLSTM:
    """Build the character LSTM in evaluation mode.

    Parameters
    ----------
    weights : None, "ptb" or path
        None: random (see :func:`redraw`; always the same draw, the global generator is left as it
        was). "ptb": the shipped weights, trained on :func:`aimc_sim.zoo.ptb_characters`. Else the
        path of a state dict saved by ``torch.save``.

    Returns
    -------
    CharLSTM
        A float32 network on the CPU, in evaluation mode: 1,299,312 weights and 2,066 biases that
        are trained, besides the embedding of 50 x 128.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    with torch.random.fork_rng(devices=[]):
        network = CharLSTM()
    redraw(network, _INIT_SEED)
    if weights is not None:
        fill(network, weights, KIND)
    return network.eval()


def redraw(network: CharLSTM, seed: int) -> None:
    """Draw the weights from the seed, in place.

    The embedding gets orthogonal rows whose entries have the variance one, as torch draws them;
    with rows of length one the network starts far more slowly. Weights are uniform in
    +- 1 / sqrt(504), torch's own choice for an LSTM of this size; biases are zero, those of the
    forget gates one (R. Jozefowicz et al., ICML 2015).
    """
    generator = torch.Generator().manual_seed(seed)
    nn.init.orthogonal_(network.embedding.weight, EMBEDDING**0.5, generator=generator)
    limit = HIDDEN**-0.5
    own = network.lstm.get_parameter
    with torch.no_grad():
        for weight in (own("weight_ih_l0"), own("weight_hh_l0"), network.dense.weight):
            weight.uniform_(-limit, limit, generator=generator)
        for bias in (own("bias_ih_l0"), own("bias_hh_l0"), network.dense.bias):
            bias.zero_()
        own("bias_ih_l0")[HIDDEN : 2 * HIDDEN] = 1.0
