"""Hardware-aware training of ResNet-32 at batch 128: a step as a ratio to plain torch float32.

    pytest tests/bench/test_training.py

A step is forward, backward and SGD. Plain and prepared steps run in turn, so that a machine whose
speed drifts does not move their ratio; the median of the ratios of neighbours is quoted.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch
import torch.nn.functional as F

from aimc_sim import presets
from aimc_sim.training import TrainingSpec, prepare
from aimc_sim.zoo import resnet32
from aimc_sim.zoo.aware import OPTIONS

BATCH = 128
ROUNDS = 4
LIMIT = 2.5

SETTINGS = {
    "default": TrainingSpec(),
    "all effects": TrainingSpec(
        noise_scale=2.0, drift_seconds=(1.0, 86400.0), output_range="running",
        output_noise_fraction=0.02, clip_sigma=2.5,
    ),
    "the zoo's recipe": OPTIONS["cifar", "short"],
    "learned ranges": TrainingSpec(input_range="learned", output_range="learned"),
}  # fmt: skip


def stepper(network, images, labels):
    optimizer = torch.optim.SGD(network.train().parameters(), 0.01, momentum=0.9)

    def step() -> float:
        began = time.perf_counter()
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - began

    return step


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("setting", SETTINGS)
def test_step(figure, ratio, setting, threads):
    generator = torch.Generator().manual_seed(0)
    images = torch.empty(BATCH, 3, 32, 32).normal_(generator=generator)
    labels = torch.arange(BATCH) % 10
    model = resnet32(10)
    plain = stepper(model, images, labels)
    own = stepper(prepare(model, presets.hermes("tdp"), SETTINGS[setting]), images, labels)
    plain(), own()
    times = [(plain(), own()) for _ in range(ROUNDS)]
    pairs = [b / a for a, b in times]
    figure(
        f"training, {setting}, {threads} thread(s)",
        f"{BATCH / statistics.median(b for _, b in times):.0f} images/s",
    )
    row = f"ResNet-32, batch 128, training step for the chip, {setting}"
    assert ratio(row, threads, pairs) <= LIMIT
