"""Every trained network of the zoo by one name, and the record of its training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from aimc_sim import arguments
from aimc_sim.zoo.catalogue import NAMES, NETWORKS, SHORT, listed
from aimc_sim.zoo.paper_lstm import KIND as CHAR_LSTM
from aimc_sim.zoo.paper_lstm import char_lstm
from aimc_sim.zoo.paper_resnet import KIND as RESNET9
from aimc_sim.zoo.paper_resnet import resnet9
from aimc_sim.zoo.resnet import KIND as RESNET32
from aimc_sim.zoo.resnet import resnet32
from aimc_sim.zoo.spiking_digits import KIND as SPIKING
from aimc_sim.zoo.spiking_digits import spiking_digits
from aimc_sim.zoo.spiking_text import KINDS as CHAR_UNITS
from aimc_sim.zoo.spiking_text import char_units
from aimc_sim.zoo.stored import WeightFiles


@dataclass(frozen=True)
class ZooEntry:
    """How one network is built: ``build(weights=weights)``, with the files of ``kind``."""

    build: Callable[..., nn.Module]
    kind: WeightFiles
    weights: str


_KINDS: dict[str, tuple[Callable[..., nn.Module], WeightFiles]] = {
    "resnet32": (resnet32, RESNET32),
    "resnet9": (resnet9, RESNET9),
    "lstm": (char_lstm, CHAR_LSTM),
    "ssnu": (partial(char_units, axo_axonic=False), CHAR_UNITS[False]),
    "ssnu-o": (partial(char_units, axo_axonic=True), CHAR_UNITS[True]),
    "spiking": (spiking_digits, SPIKING),
}
"""How each architecture of the catalogue is built, and its files."""

ENTRIES = {
    name: ZooEntry(*_KINDS[network.architecture], network.weights)
    for name, network in NETWORKS.items()
}
"""Name of each trained network; its weights need not be installed. "aware": hardware-aware."""


def load(name: str) -> nn.Module:
    """Return a trained network of the zoo, float32, on the CPU, in evaluation mode.

    Parameters
    ----------
    name : str
        A key of :data:`ENTRIES`, or a short name: "resnet32" is "resnet32-digits".

    Raises
    ------
    ValueError
        If there is no network of that name, or its file is damaged.
    FileNotFoundError
        If its weights are not installed; the message says how to train them.
    """
    entry = _entry(name)
    return entry.build(weights=entry.weights)


def record(name: str) -> dict[str, Any]:
    """Return how a network was trained: command, seed, epochs, final score, ``"curve"``.

    Raises
    ------
    ValueError
        If there is no network of that name.
    FileNotFoundError
        If its weights are not installed.
    """
    entry = _entry(name)
    path = entry.kind.path(entry.weights).with_suffix(".json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _entry(name: str) -> ZooEntry:
    if listed(name) is None:
        raise ValueError(arguments.unknown(f"no network '{name}' in the zoo", name, NAMES))
    return ENTRIES[SHORT.get(name, name)]
