"""ResNet-32 for 32 x 32 images, with the parameter names that published CIFAR weights use.

Architecture: K. He et al., *Deep residual learning for image recognition*, CVPR 2016,
arXiv:1512.03385, section 4.2 (n = 5, so 6 n + 2 = 32 weight layers; option A shortcuts, which
hold no parameters: every analog weight of the network is in a convolution or in ``linear``).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim.zoo.stored import WeightFiles, classifier

__all__ = ["KIND", "BasicBlock", "PadShortcut", "ResNet32", "resnet32"]

KIND = WeightFiles(
    name="ResNet-32 with option A shortcuts",
    layout="conv1, bn1, layer1.0.conv1 ... layer3.4.bn2, linear",
    head="linear",
    shipped={
        "digits": "resnet32_digits.pt",
        "cifar10": "resnet32_cifar10.pt",
        "cifar10-aware": "resnet32_cifar10_aware.pt",
    },
    training={
        "digits": "python -m aimc_sim.zoo.train_digits",
        "cifar10": "python -m aimc_sim.zoo.train_cifar --model resnet32 --data DIR",
        "cifar10-aware": "python -m aimc_sim.zoo.train_cifar --model resnet32 --data DIR "
        "--hardware-aware resnet32_cifar10.pt",
    },
)
"""The weight files of this architecture."""

_INIT_SEED = 32


class PadShortcut(nn.Module):
    """Option A shortcut: every second pixel, new channels filled with zeros on both sides."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.before = new_channels // 2
        self.after = new_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + new_channels, ceil(H / 2), ceil(W / 2))."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, each with batch normalisation, and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if stride == 1 else PadShortcut(channels - in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        z: Tensor = self.shortcut(x)
        return F.relu(y + z)


class ResNet32(nn.Module):
    """Images (N, 3, 32, 32) to class scores (N, num_classes); traceable by ``torch.fx``."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, stride=1)
        self.layer2 = _stage(16, 32, stride=2)
        self.layer3 = _stage(32, 64, stride=2)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (before any softmax)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        y = torch.flatten(F.adaptive_avg_pool2d(y, 1), 1)
        scores: Tensor = self.linear(y)
        return scores


def resnet32(num_classes: int = 10, weights: str | Path | None = None) -> ResNet32:
    """Build a ResNet-32 in evaluation mode.

    Parameters
    ----------
    num_classes : int
        Number of outputs of the last layer, at least 1.
    weights : None, "digits", "cifar10" or path
        None: random (He normal, always the same draw; the global generator is left as it was).
        "digits", "cifar10": the shipped weights, trained on :func:`aimc_sim.zoo.digits` or
        :func:`aimc_sim.zoo.cifar10`.
        Else the path of a state dict, or of a dict that holds one under ``state_dict``, saved
        by ``torch.save``; a ``module.`` prefix of its keys is dropped.

    Returns
    -------
    ResNet32
        A float32 network on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    return classifier(ResNet32, num_classes, weights, KIND, _INIT_SEED)


def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(4)))
