"""Files of training: devices, accumulators, clocks, digital parameters, the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aimc_sim import arguments, files
from aimc_sim.learning.network import ArrayNetwork, layers_of

_KIND = "aimc-sim learning 1"


def save(
    net: ArrayNetwork, path: str | Path, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Write the state of a network between two steps to a file.

    Parameters
    ----------
    net : ArrayNetwork
        On arrays, without gradients that no step has used.
    path : path
        A file that is there is replaced at once, or stays as it was.
    optimizer : torch.optim.Optimizer, optional
        Its state (momenta, rates) is written too.
    """
    layers_of(net)
    state = {
        "kind": _KIND, "made": _made(net), "net": net.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
    }  # fmt: skip
    with files.replacing(arguments.path(path)) as scratch:
        torch.save(state, scratch)


def load(
    net: ArrayNetwork, path: str | Path, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Go on from a file of :func:`save`, bit for bit.

    Parameters
    ----------
    net : ArrayNetwork
        Prepared with equal model, specification, update, devices, seed and duration of a step.
    path : path
        The file.
    optimizer : torch.optim.Optimizer, optional
        Of this network, where the file holds one.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, it is another one, or of a network that was prepared otherwise.
    """
    layers_of(net)
    place = files.require_file(arguments.path(path))
    try:
        state: Any = torch.load(place, weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ...
        raise ValueError(f"{place} cannot be read as a file of learning.save: {error}") from error
    if not isinstance(state, dict) or state.get("kind") != _KIND:
        raise ValueError(f"{place} is no file of learning.save")
    for name, wanted in _made(net).items():
        if state["made"].get(name) != wanted:
            raise ValueError(
                f"{place} was written by a network with {name} = {state['made'].get(name)}, and "
                f"this one has {wanted}: prepare it in the same way"
            )
    if optimizer is not None and state["optimizer"] is None:
        raise ValueError(f"{place} holds no optimiser: load without it")
    net.load_state_dict(state["net"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])


def _made(net: ArrayNetwork) -> dict[str, str]:
    """Return how a network was prepared, in words that can be compared."""
    ranges = {path: matrix.weight_range for path, matrix in layers_of(net).items()}
    return {
        "spec": net.spec.id(), "update": repr(net.update), "device": repr(net.device),
        "seed": str(net.seed), "weight_range": repr(ranges),
        "seconds_per_step": repr(net.clock.seconds_per_step),
    }  # fmt: skip
