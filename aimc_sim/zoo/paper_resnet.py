"""ResNet-9 for CIFAR-10 as the 64-core chip ran it: 1,866,536 weights on 40 cores.

Layers and filter counts: M. Le Gallo et al., *A 64-core mixed-signal in-memory compute chip based
on phase-change memory for deep neural network inference*, Nature Electronics 6, 680 (2023),
Methods: nine weight layers, filters 56, 112, 112, 112, 224, 224, 224, 224, residual connections
around conv2-conv3 and around conv6-conv7, three 2 x 2 max pools and one 4 x 4.

Two things the paper does not print are chosen here. The pools follow conv1, conv4 and conv5
(32 -> 16 -> 8 -> 4 pixels), the 4 x 4 one comes before the dense layer; a residual then joins
maps of equal size without further layers. A residual is added after batch normalisation and
before the ReLU, as in K. He et al., CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.zoo.stored import WeightFiles, classifier

_FILTERS = (56, 112, 112, 112, 224, 224, 224, 224)
"""Output channels of conv0 to conv7."""

KIND = WeightFiles(
    name="ResNet-9",
    layout="conv0, bn0 ... conv7, bn7, dense",
    head="dense",
    shipped={"cifar10": "resnet9_cifar10.pt", "cifar10-aware": "resnet9_cifar10_aware.pt"},
    training={
        "cifar10": "python -m aimc_sim.zoo.train_cifar --model resnet9 --data DIR",
        "cifar10-aware": "python -m aimc_sim.zoo.train_cifar --model resnet9 --data DIR "
        "--hardware-aware resnet9_cifar10.pt",
    },
)
"""The weight files of this architecture."""

_INIT_SEED = 9


class ResNet9(nn.Module):
    """Images (N, 3, 32, 32) to class scores (N, num_classes); traceable by ``torch.fx``."""

    conv0: nn.Conv2d
    bn0: nn.BatchNorm2d
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    conv2: nn.Conv2d
    bn2: nn.BatchNorm2d
    conv3: nn.Conv2d
    bn3: nn.BatchNorm2d
    conv4: nn.Conv2d
    bn4: nn.BatchNorm2d
    conv5: nn.Conv2d
    bn5: nn.BatchNorm2d
    conv6: nn.Conv2d
    bn6: nn.BatchNorm2d
    conv7: nn.Conv2d
    bn7: nn.BatchNorm2d

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        before = 3
        for i, channels in enumerate(_FILTERS):
            self.add_module(f"conv{i}", nn.Conv2d(before, channels, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(channels))
            before = channels
        self.dense = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (before any softmax)."""
        y = F.relu(self.bn0(self.conv0(x)))
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(y))), 2)
        z = F.relu(self.bn2(self.conv2(y)))
        y = F.relu(self.bn3(self.conv3(z)) + y)
        y = F.max_pool2d(F.relu(self.bn4(self.conv4(y))), 2)
        y = F.max_pool2d(F.relu(self.bn5(self.conv5(y))), 2)
        z = F.relu(self.bn6(self.conv6(y)))
        y = F.relu(self.bn7(self.conv7(z)) + y)
        scores: Tensor = self.dense(torch.flatten(F.max_pool2d(y, 4), 1))
        return scores


def resnet9(num_classes: int = 10, weights: str | Path | None = None) -> ResNet9:
    """Build a ResNet-9 in evaluation mode.

    Parameters
    ----------
    num_classes : int
        Number of outputs of the last layer, at least 1.
    weights : None, "cifar10" or path
        None: random (He normal, always the same draw; the global generator is left as it was).
        "cifar10": the shipped weights, trained on :func:`aimc_sim.zoo.cifar10`.
        Else the path of a state dict saved by ``torch.save``.

    Returns
    -------
    ResNet9
        A float32 network on the CPU, in evaluation mode: 1,866,536 weights, 10 biases and 2,576
        parameters of batch normalisation, 1,869,122 in all with ten classes.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    return classifier(ResNet9, num_classes, weights, KIND, _INIT_SEED)
