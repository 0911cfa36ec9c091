"""Shared by the scripts about replay: a network, its devices, and two ways to break a replay.

``follow-another``: an element follows another trace of its level at every time it is looked at;
``never-age``: its devices stand still. A script about replay must see both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

import aimc_sim
from aimc_sim.core import tile
from aimc_sim.device.measured import replay
from aimc_sim.zoo import digits

EPOCHS = 60
MUTATIONS = ("follow-another", "never-age")


def perceptron() -> nn.Module:
    """Return a perceptron 64-48-10 trained on the digits; the same weights every time."""
    data = digits("train")
    x, y = data.images.flatten(1), data.labels
    torch.manual_seed(7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x.shape[1], 48), nn.ReLU(), nn.Linear(48, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(data.images[batch]), y[batch]).backward()
            optimiser.step()
    return model.eval()


def elements(chip: aimc_sim.Chip) -> np.ndarray:
    """Return the conductances of the elements of the first core at the chip's time, in siemens."""
    number, held = next(iter(chip.state.tiles.items()))
    key = chip.state.key(number)
    return tile.elements_at(held, chip.spec.core, chip.time_seconds, key).g.ravel()


@contextmanager
def mutated(kind: str | None) -> Iterator[None]:
    """Break the replay: elements that change their trace at every look, or that never age."""
    whole = replay.conductance

    def broken(library, target, trace, t_seconds):
        if kind == "never-age":
            return whole(library, target, trace, library.t_first_seconds)
        if t_seconds > library.t_first_seconds:
            # Another trace of the same level, another one at every time.
            shift = int(t_seconds) % 97 + 1
            starts = library.level_starts
            width = np.diff(starts)
            level = np.searchsorted(starts, trace, side="right") - 1
            moved = starts[level] + (trace - starts[level] + shift) % width[level]
            if library.neighbours:
                moved = np.minimum(trace + shift % 8 + 1, len(library) - 1)
            trace = np.where(trace < 0, trace, moved).astype(np.int32)
        return whole(library, target, trace, t_seconds)

    if kind is None:
        yield
        return
    replay.conductance = broken
    try:
        yield
    finally:
        replay.conductance = whole
