"""Networks and images to put on the chip, so that the first run needs no download.

=================  ==========================================================================
file               what is in it
=================  ==========================================================================
``resnet``         ResNet-32 and the reading of its weights
``datasets``       digits (bundled with scikit-learn) and CIFAR-10 (from a folder)
``train_digits``   ``python -m aimc_sim.zoo.train_digits``: how the shipped weights were made
``weights/``       the shipped weights, and beside them a record of their training
=================  ==========================================================================
"""

from aimc_sim.zoo.datasets import ImageSet, cifar10, digits, download_cifar10
from aimc_sim.zoo.resnet import resnet32

__all__ = ["ImageSet", "cifar10", "digits", "download_cifar10", "resnet32"]
