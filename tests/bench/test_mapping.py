"""How long placing a network takes: CPU time, and the links of all its flows.

434 cores in 3 s and 1,317 cores in 10 s of a busy core are asked for, at no more links than the
search of thirty million exchanges had found. Run by hand: ``pytest tests/bench/test_mapping.py``.
"""

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis.layout import layout
from aimc_sim.chip.pipeline import estimate
from aimc_sim.frontend import trace
from aimc_sim.mapping import compile_network, shorten, task
from aimc_sim.mapping.lower import lower
from aimc_sim.mapping.route import dataflow
from aimc_sim.mapping.schedule import schedule
from aimc_sim.mapping.split import split
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


class EncoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
        x = x + self.proj(y)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViTB16(nn.Module):
    """Layers, sizes and connections of timm's vit_base_patch16_224."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 768, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 768))
        self.position = nn.Parameter(torch.zeros(1, 14 * 14 + 1, 768))
        self.blocks = nn.ModuleList(EncoderBlock(768, 12) for _ in range(12))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


SIZES = {resnet32: (3, 32, 32), resnet50: (3, 224, 224), ViTB16: (3, 224, 224)}
LARGE = {"fabric.rows": 21, "fabric.cols": 21}


@pytest.mark.parametrize(
    ("build", "changes", "seconds", "links"),
    [
        (resnet32, {}, 2.0, 117),
        (resnet50, {"chips": 7}, 3.0, 3243),
        (resnet50, LARGE, 3.0, 1314),
        (ViTB16, {"chips": 21}, 10.0, 281_737),
        (ViTB16, {"fabric.rows": 37, "fabric.cols": 37}, 10.0, 84_961),
    ],
    ids=["resnet32", "resnet50 on 7 chips", "resnet50 on one large chip", "vit on 21 chips",
         "vit on one large chip"],
)  # fmt: skip
def test_time_to_place(build, changes, seconds, links, figure):
    network = trace(build().eval(), example=torch.zeros(2, *SIZES[build]))
    spec = presets.hermes().with_(changes)
    warm_up = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    compile_network(trace(warm_up), spec)  # numba reads its cache
    task.solve.cache_clear()
    spent = []
    for _ in range(2):
        begin = time.process_time()
        compiled = compile_network(network, spec)
        spent.append(time.process_time() - begin)
    steps = split(lower(network)[0], spec)
    cores = [block.core for block in compiled.blocks]
    total = shorten.total(cores, dataflow(steps), shorten.distances(spec))
    figure(
        f"{build.__name__}, {len(cores)} blocks, {len(compiled.transfers)} transfers, {changes}",
        f"{spent[0]:.2f} s of CPU, again {spent[1]:.2f} s, {total} links in all",
    )
    assert total <= links
    assert spent[0] < seconds


def test_explain_leaves_the_placement_to_from_model(figure):
    model, spec = resnet50().eval(), presets.hermes().with_({"chips": 7})
    example = torch.zeros(2, 3, 224, 224)
    task.solve.cache_clear()
    aimc_sim.Chip.explain(model, spec, example=example)
    aimc_sim.Chip.from_model(model, spec, example=example)
    found = task.solve.cache_info()
    figure("placements for explain and from_model", f"{found.misses} found, {found.hits} kept")
    assert (found.misses, found.hits) == (1, 1)


@pytest.mark.parametrize(
    ("build", "changes"), [(resnet32, {}), (resnet50, {"chips": 7}), (resnet50, LARGE)],
    ids=["resnet32", "resnet50 on 7 chips", "resnet50 on one large chip"],
)  # fmt: skip
def test_time_of_the_closed_form(build, changes, figure):
    spec = presets.hermes().with_(changes)
    compiled = compile_network(trace(build().eval()), spec)
    plan = schedule(compiled, spec, SIZES[build])
    begin = time.process_time()
    found = estimate(plan)
    closed = time.process_time() - begin
    where = layout(compiled, spec)
    figure(
        f"closed form of {build.__name__}, {changes}",
        f"{1e3 * closed:.0f} ms: interval {found.interval_ps * 1e-9:.3f} ms, hops "
        f"{dict(where.hops)}, off chip {where.off_chip_transfers}",
    )
