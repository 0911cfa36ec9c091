"""Networks and data to put on the chip, so that the first run needs no download.

=================  ==========================================================================
file               contents
=================  ==========================================================================
``entries``        every trained network by name: ``load("resnet32-digits")``
``resnet``         ResNet-32
``paper_resnet``   the chip paper's ResNet-9
``paper_lstm``     the chip paper's character LSTM
``stored``         reading weight files into them
``datasets``       digits (bundled with scikit-learn) and CIFAR-10 (from a folder)
``text``           Penn Treebank as characters (from a folder)
``train_digits``   ``python -m aimc_sim.zoo.train_digits``: ResNet-32 on digits
``train_cifar``    ``python -m aimc_sim.zoo.train_cifar``: ResNet-32 or ResNet-9 on CIFAR-10
``train_ptb``      ``python -m aimc_sim.zoo.train_ptb``: the LSTM on Penn Treebank
``aware``          hardware-aware fine-tuning with the last two: chip and effects
``training``       epochs, checkpoints and records of all training commands
``augment``        random changes to training images
``weights/``       the shipped weights, and beside them a record of their training
=================  ==========================================================================
"""

from aimc_sim.zoo.datasets import ImageSet, cifar10, digits, download_cifar10
from aimc_sim.zoo.entries import ENTRIES, load, record
from aimc_sim.zoo.paper_lstm import char_lstm
from aimc_sim.zoo.paper_resnet import resnet9
from aimc_sim.zoo.resnet import resnet32
from aimc_sim.zoo.text import Text, ptb_characters

__all__ = [
    "ENTRIES", "ImageSet", "Text", "char_lstm", "cifar10", "digits", "download_cifar10", "load",
    "ptb_characters", "record", "resnet9", "resnet32",
]  # fmt: skip
