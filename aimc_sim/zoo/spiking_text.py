"""Characters by soft spiking units: the chip paper's character network with sSNU for its LSTM.

Ours, not a published network: embedding and dense layer are those of
:mod:`aimc_sim.zoo.paper_lstm`, the layer between them has 504 recurrent soft spiking neural units
(:mod:`aimc_sim.spiking`), without gate (sSNU) or with the axo-axonic one (sSNU-o). An LSTM of n
units on n inputs multiplies 8 n times per unit and step, sSNU 2 n, sSNU-o 4 n times.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.spiking import SoftSNU
from aimc_sim.spiking.units import UnitState
from aimc_sim.zoo.paper_lstm import CHARACTERS, EMBEDDING, HIDDEN
from aimc_sim.zoo.stored import WeightFiles, fill

DECAY = 0.8
"""Share of the state that is left after a step: the default of the unit read."""

KINDS = {
    gate: WeightFiles(
        name=f"character network of {unit}",
        layout="embedding, units.weight, units.recurrent_weight, units.threshold, "
        + ("units.gate_..., " if gate else "")
        + "dense",
        head="dense",
        shipped={name: f"{name.replace('-', '_')}.pt"},
        training={name: f"python -m aimc_sim.zoo.train_ptb --data DIR --unit {unit.lower()}"},
    )
    for gate, unit, name in ((False, "sSNU", "ssnu-ptb"), (True, "sSNU-o", "ssnu-o-ptb"))
}
"""The weight files of both architectures, by whether there is a gate."""

_INIT_SEED = 504
_LIMIT = 0.3
"""Of the first input weights, found in trials of 150 steps: within +- 1 / sqrt(units), sums of
inputs hardly move a sigmoid, and the first steps teach less (2.79 instead of 2.65 bits per
character, sSNU-o of 256 units)."""


class CharUnits(nn.Module):
    """Characters (N, T) int64 to scores of the next one (N, T, 50), and the state after them.

    Parameters
    ----------
    axo_axonic : bool
        Whether outputs are gated: sSNU-o.
    """

    def __init__(self, axo_axonic: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, EMBEDDING)
        self.units = SoftSNU(
            EMBEDDING, HIDDEN, DECAY, True, threshold=0.0, axo_axonic=axo_axonic, batch_first=True
        )
        self.dense = nn.Linear(HIDDEN, CHARACTERS)
        self.embedding.weight.requires_grad_(False)

    def hidden(self, tokens: Tensor, state: UnitState | None) -> tuple[Tensor, UnitState]:
        """Return the outputs of the units, (N, T, 504), and the state."""
        found: tuple[Tensor, UnitState] = self.units(self.embedding(tokens), state)
        return found

    def forward(self, tokens: Tensor, state: UnitState | None = None) -> tuple[Tensor, UnitState]:
        """Return the scores (before any softmax) and the state, from which it can go on."""
        outputs, state = self.hidden(tokens, state)
        return self.dense(outputs), state

    def redraw(self, seed: int) -> None:
        """Draw the weights from the seed, in place.

        The embedding as that of the LSTM; input weights uniform in +- 0.3, all others in
        +- 1 / sqrt(504); thresholds and biases zero.
        """
        generator = torch.Generator().manual_seed(seed)
        nn.init.orthogonal_(self.embedding.weight, EMBEDDING**0.5, generator=generator)
        units, limit = self.units.weights, HIDDEN**-0.5
        with torch.no_grad():
            for weight in units.inputs:
                weight.uniform_(-_LIMIT, _LIMIT, generator=generator)
            for weight in (*units.recurrent, self.dense.weight):
                weight.uniform_(-limit, limit, generator=generator)
            for bias in (units.threshold, units.bias, self.dense.bias):
                if bias is not None:
                    bias.zero_()


def char_units(weights: str | Path | None = None, axo_axonic: bool = True) -> CharUnits:
    """Build a character network of soft spiking units in evaluation mode.

    Parameters
    ----------
    weights : None, "ssnu-ptb", "ssnu-o-ptb" or path
        None: random, always the same draw (the global generator is left as it was). A name: the
        shipped weights of the units without or with the gate, trained on
        :func:`aimc_sim.zoo.ptb_characters`. Else the path of a state dict saved by ``torch.save``.
    axo_axonic : bool
        Whether outputs are gated: sSNU-o, else sSNU.

    Returns
    -------
    CharUnits
        A float32 network on the CPU, in evaluation mode: 662,256 weights with the gate and 343,728
        without, besides the embedding of 50 x 128.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    axo_axonic = arguments.flag(axo_axonic, "axo_axonic")
    with torch.random.fork_rng(devices=[]):
        network = CharUnits(axo_axonic)
    network.redraw(_INIT_SEED)
    if weights is not None:
        fill(network, weights, KINDS[axo_axonic])
    return network.eval()
