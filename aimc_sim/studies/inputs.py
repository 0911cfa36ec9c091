"""The network and the images of a study, as plain arrays that any worker can be sent."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import arguments, files
from ..mapping.graph import Network
from . import identity
from .schema import DataChoice, NetworkChoice, Study


@dataclass(frozen=True, eq=False)
class Inputs:
    """What all trials of a study share.

    Attributes
    ----------
    network : Network
        The traced network: no module of the user's own is needed to run it.
    network_name, network_id : str
        As in the study; SHA-256 of its operations and weights.
    images : (N, ...) float32 array
    labels : (N,) int64 array
    calibration : (B, ...) float32 array
        Never counted.
    data_name, data_id : str
        As in the study; SHA-256 of images, labels and calibration images.
    """

    network: Network
    network_name: str
    network_id: str
    images: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray
    data_name: str
    data_id: str

    @property
    def id(self) -> str:
        """Identity of network and data together."""
        return identity.digest([self.network_id, self.data_id])


def gather(study: Study, folder: Path | None = None) -> Inputs:
    """Load the network and the images of a study.

    Parameters
    ----------
    study : Study
    folder : Path, optional
        Modules of the user's own are looked for here too, beside the present folder.

    Returns
    -------
    Inputs

    Raises
    ------
    ValueError, KeyError, TypeError, FileNotFoundError
        If something is missing or does not fit; one sentence each.
    """
    from ..frontend import trace

    for place in (str(folder) if folder is not None else "", ""):
        if place not in sys.path:
            sys.path.insert(0, place)
    network = trace(_model(study.network))
    images, labels, calibration = _data(study.data)
    arrays = {"images": images, "labels": labels, "calibration": calibration}
    return Inputs(
        network, study.network.name, identity.of_network(network), images, labels, calibration,
        study.data.name, identity.of_arrays(arrays),
    )  # fmt: skip


def _model(choice: NetworkChoice) -> Any:
    from ..zoo import ENTRIES
    from ..zoo.entries import load
    from ..zoo.stored import read_state

    if ":" not in choice.name:
        if choice.name not in ENTRIES:
            fault = f"network: no network '{choice.name}' in the zoo"
            advice = "or give package.module:callable"
            raise ValueError(arguments.unknown(fault, choice.name, ENTRIES, advice))
        if choice.weights is None:
            return load(choice.name)
        return ENTRIES[choice.name].build(weights=choice.weights)
    model = _call(_callable(choice.name, "network"), choice.name, "network")
    if choice.weights is not None:
        path = files.require_file(choice.weights, "file of weights")
        try:
            model.load_state_dict(read_state(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"network.weights: '{path}' does not fit: {reason}") from error
    return model


def _data(choice: DataChoice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from ..zoo import cifar10, digits

    if choice.name == "digits":
        test, train = digits("test"), digits("train")
    elif choice.name == "cifar10":
        if choice.folder is None:
            raise ValueError("data: cifar10 needs data.folder, where cifar-10-batches-py is")
        test = cifar10(choice.folder, "test")
        train = cifar10(choice.folder, "train", choice.calibration)
    elif ":" in choice.name:
        found = _call(_callable(choice.name, "data"), choice.name, "data")
        if not (isinstance(found, tuple) and len(found) == 3):
            raise TypeError(
                f"data: {choice.name} returns a {type(found).__name__}; wanted (images, labels, "
                "calibration_images)"
            )
        return _cut(*(np.asarray(part) for part in found), choice)
    else:
        fault, advice = f"data: no data named '{choice.name}'", "or give package.module:callable"
        raise ValueError(arguments.unknown(fault, choice.name, ("digits", "cifar10"), advice))
    return _cut(test.images.numpy(), test.labels.numpy(), train.images.numpy(), choice)


def _cut(
    images: np.ndarray, labels: np.ndarray, calibration: np.ndarray, choice: DataChoice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if len(images) != len(labels) or labels.ndim != 1:
        raise ValueError(f"data: {len(images)} images with labels of shape {labels.shape}")
    for name, wanted, there in (
        ("images", choice.images or 1, len(images)),
        ("calibration", choice.calibration, len(calibration)),
    ):
        if wanted > there:
            raise ValueError(f"data.{name} = {wanted}: '{choice.name}' has only {there}")
    n = choice.images or len(images)
    return (
        np.ascontiguousarray(images[:n], np.float32),
        np.ascontiguousarray(labels[:n], np.int64),
        np.ascontiguousarray(calibration[: choice.calibration], np.float32),
    )


def _callable(name: str, what: str) -> Callable[[], Any]:
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is read
        raise ValueError(
            f"{what}: '{module}' of '{name}' cannot be imported ({type(error).__name__}: {error}); "
            "it is looked for beside the study, in the present folder and among the installed "
            "packages"
        ) from error
    if not callable(getattr(found, attribute, None)):
        raise ValueError(f"{what}: '{module}' has no callable '{attribute}'")
    return getattr(found, attribute)


def _call(build: Callable[[], Any], name: str, what: str) -> Any:
    try:
        return build()
    except (Exception, SystemExit) as error:  # the user's own code
        raise ValueError(
            f"{what}: {name} failed when called without arguments: {type(error).__name__}: {error}"
        ) from error
