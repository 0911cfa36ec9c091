"""Names of networks and data, without torch: for help, completion, lists and messages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """Data that have a name.

    Attributes
    ----------
    shape : tuple of int
        Of one input, without the batch.
    metric : str
        Name of the metric that they are scored by unless told otherwise.
    about : str
        Contents, in words.
    file : str
        Name in the folder that the user gives; "" for data that are always at hand.
    """

    shape: tuple[int, ...]
    metric: str
    about: str
    file: str = ""


@dataclass(frozen=True)
class ListedNetwork:
    """A trained network of the zoo.

    Attributes
    ----------
    architecture : str
        Name of the class of networks, see :mod:`aimc_sim.zoo.entries`.
    weights : str
        Name of the set of weights.
    data : str
        A key of :data:`DATA`: the data of its training and test.
    """

    architecture: str
    weights: str
    data: str


DATA = {
    "digits": DataSet((3, 32, 32), "accuracy", "handwritten digits of scikit-learn: 500 to test"),
    "cifar10": DataSet((3, 32, 32), "accuracy", "CIFAR-10: 10,000 to test", "cifar-10-batches-py"),
    "ptb": DataSet(
        (150,), "bits-per-character", "Penn Treebank as characters", "ptb.char.test.txt"
    ),
}  # fmt: skip
"""Data that have a name."""

NETWORKS = {
    "resnet32-digits": ListedNetwork("resnet32", "digits", "digits"),
    "resnet32-cifar10": ListedNetwork("resnet32", "cifar10", "cifar10"),
    "resnet32-cifar10-aware": ListedNetwork("resnet32", "cifar10-aware", "cifar10"),
    "resnet9-cifar10": ListedNetwork("resnet9", "cifar10", "cifar10"),
    "resnet9-cifar10-aware": ListedNetwork("resnet9", "cifar10-aware", "cifar10"),
    "spiking-digits": ListedNetwork("spiking", "digits", "digits"),
    "lstm-ptb": ListedNetwork("lstm", "ptb", "ptb"),
    "lstm-ptb-aware": ListedNetwork("lstm", "ptb-aware", "ptb"),
    "ssnu-ptb": ListedNetwork("ssnu", "ssnu-ptb", "ptb"),
    "ssnu-o-ptb": ListedNetwork("ssnu-o", "ssnu-o-ptb", "ptb"),
}
"""Trained networks; their weights need not be installed. "aware": hardware-aware."""

SHORT = {"resnet32": "resnet32-digits", "resnet9": "resnet9-cifar10", "lstm": "lstm-ptb",
         "spiking": "spiking-digits"}  # fmt: skip
"""Names of architectures, and the trained network that each stands for."""

NAMES = (*SHORT, *NETWORKS)
"""All names of networks."""

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the weight files that are installed with the package, and of their records."""


def listed(name: str) -> ListedNetwork | None:
    """Return the trained network of a name, long or short; None for any other text."""
    return NETWORKS.get(SHORT.get(name, name))


def score(name: str) -> tuple[str, float] | None:
    """Return the metric and value of a trained network on its test data, in floating point.

    None if its record is not installed.

    Parameters
    ----------
    name : str
        A key of :data:`NETWORKS`.
    """
    try:
        text = (WEIGHTS / f"{name.replace('-', '_')}.json").read_text(encoding="utf-8")
    except OSError:
        return None
    record = json.loads(text)
    metric = DATA[NETWORKS[name].data].metric
    return metric, float(record[f"test_{metric.replace('-', '_')}"])
