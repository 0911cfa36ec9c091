"""How long placing a network takes (issue: ResNet-32 in 2 s, ResNet-50 in 60 s).

Run by hand: ``pytest tests/bench/test_mapping.py``.
"""

import time

import pytest
from torch import nn

from aimc_sim import presets
from aimc_sim.analysis.layout import layout
from aimc_sim.frontend import trace
from aimc_sim.chip.pipeline import estimate
from aimc_sim.mapping import compile_network
from aimc_sim.mapping.schedule import schedule
from aimc_sim.zoo import resnet32


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
              nn.MaxPool2d(3, 2, 1)]  # fmt: skip
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if i == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


@pytest.mark.parametrize(
    ("build", "changes", "shape", "seconds"),
    [
        (resnet32, {}, (3, 32, 32), 2.0),
        (resnet50, {"chips": 7}, (3, 224, 224), 60.0),
        (resnet50, {"fabric.rows": 21, "fabric.cols": 21}, (3, 224, 224), 60.0),
    ],
    ids=["resnet32", "resnet50 on 7 chips", "resnet50 on one large chip"],
)
def test_time_to_place(build, changes, shape, seconds):
    network = trace(build().eval())
    spec = presets.hermes().with_(changes)
    compile_network(trace(nn.Linear(2, 2)), spec)  # numba reads its cache
    begin = time.perf_counter()
    image = compile_network(network, spec)
    placed = time.perf_counter() - begin
    plan = schedule(image, spec, shape)
    begin = time.perf_counter()
    found = estimate(plan)
    closed = time.perf_counter() - begin
    where = layout(image, spec)
    print(
        f"\n{len(image.blocks)} blocks, {len(image.transfers)} transfers placed in {placed:.2f} s; "
        f"hops {dict(where.hops)}, off chip {where.off_chip_transfers}; closed form in "
        f"{1e3 * closed:.0f} ms: interval {found.interval_ps * 1e-9:.3f} ms"
    )
    assert placed < seconds
