"""Networks and data to put on the chip, so that the first run needs no download.

=================  ==========================================================================
file               contents
=================  ==========================================================================
``catalogue``      names of networks and data, without torch
``entries``        every trained network by name: ``load("resnet32-digits")``
``resnet``         ResNet-32
``paper_resnet``   the chip paper's ResNet-9
``paper_lstm``     the chip paper's character LSTM
``transformers``   a transformer for characters and one for images
``spiking_digits`` a spiking network for the digits
``spiking_text``   the character LSTM with soft spiking units in its place
``small``          a perceptron that examples train
``stored``         reading weight files into them
``datasets``       digits (bundled with scikit-learn) and CIFAR-10 (from a folder)
``text``           Penn Treebank as characters (from a folder)
``train_digits``   ``python -m aimc_sim.zoo.train_digits``: ResNet-32 on digits
``train_spiking``  ``python -m aimc_sim.zoo.train_spiking``: the spiking network on digits
``train_cifar``    ``python -m aimc_sim.zoo.train_cifar``: ResNet-32, ResNet-9 or a
                   vision transformer on CIFAR-10
``train_ptb``      ``python -m aimc_sim.zoo.train_ptb``: LSTM or spiking units on Penn Treebank
``aware``          hardware-aware fine-tuning with the last two: chip and effects
``training``       epochs, checkpoints and records of all training commands
``augment``        random changes to training images
``weights/``       the shipped weights, and beside them a record of their training
=================  ==========================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time, __getattr__ loads what is used
    from aimc_sim.zoo.datasets import ImageSet, cifar10, digits, download_cifar10
    from aimc_sim.zoo.entries import ENTRIES, load, record
    from aimc_sim.zoo.paper_lstm import char_lstm
    from aimc_sim.zoo.paper_resnet import resnet9
    from aimc_sim.zoo.resnet import resnet32
    from aimc_sim.zoo.spiking_digits import spiking_digits
    from aimc_sim.zoo.spiking_text import char_units
    from aimc_sim.zoo.text import Text, ptb_characters
    from aimc_sim.zoo.transformers import char_transformer, vit

_HOMES = {
    "ENTRIES": "entries", "ImageSet": "datasets", "Text": "text", "char_lstm": "paper_lstm",
    "char_transformer": "transformers", "char_units": "spiking_text", "cifar10": "datasets",
    "digits": "datasets", "download_cifar10": "datasets", "load": "entries",
    "ptb_characters": "text",
    "record": "entries", "resnet32": "resnet", "resnet9": "paper_resnet",
    "spiking_digits": "spiking_digits", "vit": "transformers",
}  # fmt: skip
"""Public names and their modules, which load torch."""

__all__ = [
    "ENTRIES", "ImageSet", "Text", "char_lstm", "char_transformer", "char_units", "cifar10",
    "digits", "download_cifar10", "load", "ptb_characters", "record", "resnet9", "resnet32",
    "spiking_digits", "vit",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: the catalogue needs no torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"aimc_sim.zoo.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'aimc_sim.zoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
