"""The plain-tensor path against the compiled one: same addresses, same numbers."""

import naive
import numpy as np
import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.bridge import convert, executor

NETS = small_nets()


def test_normals_are_the_same_draws():
    key = np.array([11, 4_000_000_000], np.uint32)
    found = convert.normals(3, 1500, (7 << 32) + 5, key, torch.device("cpu"))
    for i in range(3):
        expected = naive.mvm_normals(1500, (7 << 32) + 5 + i, (11, 4_000_000_000))
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("preset", ["hermes-odp", "hermes-tdp-1-phase", "ideal"])
def test_both_paths_agree(name, preset, monkeypatch):
    model, shape = NETS[name]
    images = torch.randn((24, *shape), generator=torch.Generator().manual_seed(6))
    chip = aimc_sim.Chip.from_model(model, presets.by_name(preset))
    chip.calibrate(images).program(1).at("1 h").compensate("gdc")
    compiled = chip(images, first_image=0)
    saturated = [chip.counts[layer.name].output_clipped for layer in chip.image.layers]
    chip.counts = executor.new_counts()
    monkeypatch.setattr(executor, "convert_compiled", convert.convert_plain)
    plain = chip(images, first_image=0)
    # one code of one ADC may round the other way; a code here is far below 1 % of the output
    error = (plain - compiled).norm() / compiled.norm()
    assert error < 0.01
    assert ((plain - compiled).abs() < 1e-5 * compiled.abs().max()).float().mean() > 0.8
    again = [chip.counts[layer.name].output_clipped for layer in chip.image.layers]
    assert np.abs(np.array(saturated) - again).max() <= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", NETS)
def test_cuda_agrees(name):
    model, shape = NETS[name]
    images = torch.randn((24, *shape), generator=torch.Generator().manual_seed(6))
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"))
    chip.calibrate(images).program(1).at("1 h")
    cpu = chip(images, first_image=0)
    cuda = chip.to("cuda")(images, first_image=0)
    assert (cuda - cpu).norm() / cpu.norm() < 0.02
