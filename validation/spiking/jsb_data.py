"""The JSB chorales as padded piano rolls, and the negative log-likelihood of the next chord.

88 keys, one row per time step; the network gets the chords up to a step and gives the probability
of every key in the next one. The likelihood of a step is that of all 88 keys together. Its mean is
taken over all steps of all pieces, or in every piece and then over the pieces: both are printed,
since sources differ in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor
from torch.nn import functional as F


class Pieces(NamedTuple):
    """Some chorales, padded to the longest.

    Attributes
    ----------
    inputs, targets : (T, N, 88) float32
        Chords of all steps but the last, and of all but the first.
    mask : (T, N) float32
        1 where there is a target.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor

    def part(self, pick: Tensor) -> Pieces:
        """Return some of the pieces, no longer than the longest of them."""
        steps = int(self.mask[:, pick].sum(0).max())
        return Pieces(*(one[:steps, pick] for one in self))


def read_chorales(folder: Path, part: str) -> Pieces:
    """Return the pieces of "train", "valid" or "test" from ``JSB_Chorales.mat``."""
    rolls = loadmat(folder / "music" / "JSB_Chorales.mat")[f"{part}data"][0]
    rolls = [torch.from_numpy(np.asarray(roll, np.float32)) for roll in rolls]
    steps = max(map(len, rolls)) - 1
    inputs, targets = torch.zeros(2, steps, len(rolls), 88)
    mask = torch.zeros(steps, len(rolls))
    for n, roll in enumerate(rolls):
        inputs[: len(roll) - 1, n], targets[: len(roll) - 1, n] = roll[:-1], roll[1:]
        mask[: len(roll) - 1, n] = 1
    return Pieces(inputs, targets, mask)


def losses(logits: Tensor, data: Pieces) -> Tensor:
    """Return the negative log-likelihood of every step, (T, N), 0 where there is no target."""
    each = F.binary_cross_entropy_with_logits(logits, data.targets, reduction="none")
    return each.sum(2) * data.mask


def averages(found: Tensor, mask: Tensor) -> tuple[float, float]:
    """Return the means over all steps, and over pieces of the means of their steps."""
    per_piece = found.double().sum(0) / mask.double().sum(0)
    return float(found.double().sum() / mask.double().sum()), float(per_piece.mean())
