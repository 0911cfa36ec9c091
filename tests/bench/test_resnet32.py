"""ResNet-32 at batch 128: forward time as a ratio to torch float32, programming, memory.

    pytest tests/bench

Torch and the chip run in turn, so that a machine whose speed drifts does not move their ratio;
the ratio of each pair is taken and its median quoted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import BitSlicesEncoding, CcoAdcSpec, OffsetColumnEncoding, WireSpec
from aimc_sim.zoo import digits, resnet32

BATCH = 128
ROUNDS = 5

WIRES = WireSpec(row_ohm=0.35, col_ohm=0.35)
SETTINGS = {
    "full physics": presets.hermes("odp"),
    # Nothing hides the roundings of four conversions in one: every phase is converted by itself.
    "no read noise (phase by phase)": presets.hermes("odp").with_({"core.pcm.read_noise": None}),
    "frozen read noise (phase by phase)": presets.hermes("odp").with_(
        {"core.pcm.read_noise.band": "frozen"}
    ),
    "1-phase": presets.hermes("odp", "1-phase"),
    "oscillator ADCs": presets.hermes("odp").with_({"core.adc": CcoAdcSpec()}),
    "bit-true digital units": presets.hermes("odp").with_({"core.ldpu.bit_true": True}),
    "IR drop, grounded": presets.hermes("odp").with_({"core.wires": WIRES}),
    "IR drop, floating": presets.hermes("odp").with_(
        {"core.wires": WIRES.with_(idle="high-impedance")}
    ),
    "bit-serial inputs": presets.hermes("odp").with_({"core.dac.encoding": "bit-serial"}),
    "reference column": presets.hermes("odp").with_({"core.encoding": OffsetColumnEncoding()}),
    "four slices of 2 bits": presets.hermes("odp").with_(
        {"core.encoding": BitSlicesEncoding(weight_bits=8, bits_per_cell=2)}
    ),
    "resistive memory": presets.generic_rram(),
    "ideal": presets.ideal(),
}
LIMITS = {
    "oscillator ADCs": 9.0,
    "IR drop, floating": 11.0,
    "bit-serial inputs": 30.0,
    "four slices of 2 bits": 13.0,
    "reference column": 13.0,
}
"""Largest allowed ratio to torch, else 5: twice what a quiet machine needs."""


@pytest.fixture(scope="module")
def model():
    return resnet32(10, "digits")


@pytest.fixture(scope="module")
def images():
    return digits("test").images[:BATCH].contiguous()


def programmed(model, images, spec):
    return aimc_sim.Chip.from_model(model, spec).calibrate(images[:64]).program(0).at("1 day")


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.benchmark(group="forward, ResNet-32, batch 128")
@pytest.mark.filterwarnings("ignore:layer 'linear'")  # a reference column is that noisy on PCM
def test_forward(benchmark, ratio, model, images, setting, threads):
    chip = programmed(model, images, SETTINGS[setting])
    torch_times, own_times = [], []

    def torch_forward():
        began = time.perf_counter()
        with torch.inference_mode():
            model(images)
        torch_times.append(time.perf_counter() - began)

    def chip_forward():
        began = time.perf_counter()
        chip(images, first_image=0)
        own_times.append(time.perf_counter() - began)

    benchmark.pedantic(chip_forward, setup=torch_forward, rounds=ROUNDS, warmup_rounds=1)
    pairs = [own / ref for own, ref in zip(own_times, torch_times, strict=True)][1:]
    found = ratio(f"ResNet-32, batch 128, {setting}", threads, pairs)
    benchmark.extra_info["ratio_to_torch_float32"] = found
    assert found <= LIMITS.get(setting, 5)


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_one_image(ratio, in_turn, model, images, threads):
    """Batch 1: no chunks to spread over threads, and the fixed cost of every operation."""
    chip, one = programmed(model, images, SETTINGS["full physics"]), images[:1]
    pairs = in_turn(lambda: chip(one, first_image=0), lambda: model(one), rounds=50, warm_up=10)
    ratio("ResNet-32, one image, full physics", threads, pairs)


@pytest.mark.benchmark(group="preparing, ResNet-32")
def test_programming(benchmark, figure, model, images):
    chip = programmed(model, images, presets.hermes("odp"))
    benchmark.pedantic(lambda: chip.program(1), rounds=5, warmup_rounds=1)
    devices = 4 * sum(layer.weight.size for layer in chip.compiled.layers)
    seconds = statistics.median(benchmark.stats.stats.data)
    figure("program", f"{seconds * 1e3:.0f} ms for {devices:,} devices")


@pytest.mark.benchmark(group="preparing, ResNet-32")
@pytest.mark.parametrize("method", ["none", "gdc"])
def test_moving_in_time(benchmark, figure, model, images, method):
    chip = programmed(model, images, presets.hermes("odp")).compensate(method)
    one = images[:1]
    moments = iter(range(1, 1000))
    chip(one)
    benchmark.pedantic(
        lambda: chip.at(next(moments))(one, first_image=0), rounds=5, warmup_rounds=1
    )
    seconds = statistics.median(benchmark.stats.stats.data)
    figure(f"new time + 1 image, compensation {method}", f"{seconds * 1e3:.0f} ms")


MEMORY = """
import json, resource, sys, torch
from aimc_sim.zoo import digits, resnet32
torch.set_num_threads(2)
model, images = resnet32(10, "digits"), digits("test").images[:128].contiguous()
with torch.inference_mode():
    model(images)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[1] == "chip":
    import aimc_sim
    chip = aimc_sim.Chip.from_model(model, aimc_sim.presets.hermes("odp"))
    chip.calibrate(images[:64]).program(0)(images)
print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def test_peak_memory(figure):
    """Largest resident set of a whole process, with torch alone and with the chip."""
    peak = {}
    for what in ("torch", "chip"):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, what], check=True, capture_output=True, text=True
        )
        peak[what] = json.loads(done.stdout)[1] / 1024
    figure("peak memory", f"{peak['chip']:.0f} MiB; torch alone {peak['torch']:.0f} MiB")
    assert peak["chip"] < 2 * peak["torch"]
