"""Reading weight files; files that are missing or do not fit are refused in one sentence.

Every network of the zoo names its weight files in a :class:`WeightFiles` and reads them with
:func:`fill`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from aimc_sim import arguments, files
from aimc_sim.zoo import catalogue

WEIGHTS_DIR = catalogue.WEIGHTS
"""Folder of the weight files that are installed with the package."""

MOST_CLASSES = 10**6
"""Largest number of outputs of a classifier."""

_PREFIX = "module."

StoredNetwork = TypeVar("StoredNetwork", bound=nn.Module)
"""Class of the network that is built."""


@dataclass(frozen=True)
class WeightFiles:
    """The weight files of one architecture.

    Attributes
    ----------
    name : str
        Name of the architecture, for messages: "ResNet-32 with option A shortcuts".
    layout : str
        Description of its parameter names, for messages.
    head : str
        Name of the last layer, whose rows are the classes.
    shipped : mapping of str to str
        Name of each set of weights and its file in :data:`WEIGHTS_DIR`.
    training : mapping of str to str
        Name of each set of weights and the command that makes it, up to ``--out PATH``.
    """

    name: str
    layout: str
    head: str
    shipped: Mapping[str, str]
    training: Mapping[str, str]

    def path(self, weights: str | Path) -> Path:
        """Return the file of a shipped name, or the path itself.

        Parameters
        ----------
        weights : str or path
            A name of ``shipped``, or the path of a file.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        FileNotFoundError
            If there is no file; the message says which names there are, or how to train.
        """
        name = weights if isinstance(weights, str) and weights in self.shipped else None
        path = (
            arguments.path(weights, "weights") if name is None else WEIGHTS_DIR / self.shipped[name]
        )
        if path.is_file():
            return path
        if name is not None:
            raise FileNotFoundError(
                f"the weights '{name}' of {self.name} are not in this installation (no file "
                f"'{path.name}' in aimc_sim/zoo/weights): train them with '{self.training[name]}"
                f" --out {path.name}' and pass weights='{path.name}'"
            )
        here = [name for name, file in self.shipped.items() if (WEIGHTS_DIR / file).is_file()]
        choices = ", ".join(f"'{name}'" for name in here) or "none for this network"
        raise FileNotFoundError(
            f"no weight file at '{path}': give the path of a saved state dict, or one of the "
            f"shipped names ({choices})"
        )


def fill(network: nn.Module, weights: str | Path, kind: WeightFiles) -> None:
    """Read a file of weights into a network, in place.

    Parameters
    ----------
    network : nn.Module
        A float32 network of the architecture ``kind``.
    weights : str or path
        A name of ``kind.shipped`` or the path of a state dict, or of a dict that holds one under
        ``state_dict``, saved by ``torch.save``; a ``module.`` prefix of its keys is dropped and
        half precision widened.
    kind : WeightFiles
        The architecture and its files.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    path = kind.path(weights)
    state = read_state(path)
    _check_fit(state, network, path, kind)
    # Old files carry no step counters; the network's own (zero) stand in for them.
    network.load_state_dict({**network.state_dict(), **state})


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a saved state dict; nothing in the file is executed.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    dict of str to tensors
        Tensors by parameter name, without the prefix ``module.``.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file holds no state dict, or is damaged.
    """
    path = files.require_file(path, "weight file")
    _check_archive(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load answers a foreign file with many kinds of error
        raise ValueError(
            f"'{path}' cannot be read as weights ({type(error).__name__}): wanted a state dict of "
            "tensors written by torch.save; download or save the file again"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    named_tensors = isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )
    if not named_tensors:
        raise ValueError(
            f"'{path}' holds no state dict: got a {type(content).__name__}, wanted a dict from "
            "parameter name to tensor; save network.state_dict() instead"
        )
    for key, value in content.items():
        try:
            arguments.dense(value, f"'{key}' in '{path}'")
        except TypeError as error:
            raise ValueError(str(error)) from None
    return {key.removeprefix(_PREFIX): value for key, value in content.items()}


def _check_archive(path: Path) -> None:
    """Raise ValueError if a part of a weight file differs from its checksum.

    Files of torch are zip archives with a checksum of every part, which torch does not check.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # of the time before: torch reads it, or says that it cannot
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # a damaged archive answers with many kinds of error
        broken = f"its list of parts ({type(error).__name__})"
    if broken is not None:
        raise ValueError(
            f"'{path}' is damaged: {broken} is not what was written (checksum); download or save "
            "the file again"
        )


def _check_fit(
    state: Mapping[str, Tensor], network: nn.Module, path: Path, kind: WeightFiles
) -> None:
    """Raise ValueError if tensors do not fit a network by name, shape or value."""
    wanted = network.state_dict()
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in state and key not in optional]
    extra = [key for key in state if key not in wanted]
    if missing or extra:
        parts = [
            f"{len(keys)} {fault} (first '{keys[0]}')"
            for fault, keys in (("missing", missing), ("unexpected", extra))
            if keys
        ]
        raise ValueError(
            f"'{path}' is not a {kind.name}: of its parameter names {' and '.join(parts)}; wanted "
            f"{kind.layout}; rename the keys or give the weights of this architecture"
        )
    for key, value in state.items():
        got, want = tuple(value.shape), tuple(wanted[key].shape)
        if got != want:
            cure = (
                f"pass num_classes={got[0]}"
                if key.startswith(f"{kind.head}.") and got[:1] != want[:1] and got[1:] == want[1:]
                else "give the weights of this architecture"
            )
            raise ValueError(f"'{key}' in '{path}' has shape {got}, wanted {want}; {cure}")
        if not torch.isfinite(value).all():
            raise ValueError(
                f"'{key}' in '{path}' holds values that are not finite; give weights of a "
                "training that converged"
            )


def classifier(
    build: Callable[[int], StoredNetwork], num_classes: int, weights: str | Path | None,
    kind: WeightFiles, seed: int,
) -> StoredNetwork:  # fmt: skip
    """Build a network of convolutions and linear layers, random or with stored weights.

    Parameters
    ----------
    build : callable
        Function from the number of classes to the network.
    num_classes : int
        Number of classes, at least 1.
    weights : None, shipped name or path
        Stored weights; None: He-normal weights (torch's ``kaiming_normal_``), one draw per seed;
        the global generator is left as it was.
    kind : WeightFiles
        The architecture and its files.
    seed : int
        Seed of the random weights.

    Returns
    -------
    nn.Module
        A float32 network on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If there is no class, or the weights cannot be read or belong to another network.
    """
    num_classes = arguments.whole(num_classes, "num_classes", 1, MOST_CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build(num_classes)
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    if weights is not None:
        fill(network, weights, kind)
    return network.eval()
