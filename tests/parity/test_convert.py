"""The plain-tensor path against the compiled one: same addresses, same numbers."""

import naive
import numpy as np
import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.runtime import chunk, convert, counts
from aimc_sim.spec import CcoAdcSpec

NETS = small_nets()
OSCILLATORS = {"core.adc": CcoAdcSpec(wrong_sign_amperes=1e-7)}


def test_normals_are_the_same_draws():
    key = np.array([11, 4_000_000_000], np.uint32)
    found = convert.normals((7 << 32) + 5 + np.arange(3), 1500, key, torch.device("cpu"))
    for i in range(3):
        expected = naive.mvm_normals(1500, (7 << 32) + 5 + i, (11, 4_000_000_000))
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("changes", [{}, {"core.ldpu.bit_true": True}, OSCILLATORS])
@pytest.mark.parametrize("preset", ["hermes-odp", "hermes-tdp-1-phase", "ideal"])
def test_both_paths_agree(name, preset, changes, monkeypatch):
    model, shape = NETS[name]
    images = torch.randn((24, *shape), generator=torch.Generator().manual_seed(6))
    spec = presets.by_name(preset).with_(changes)
    chip = aimc_sim.Chip.from_model(model, spec)
    chip.calibrate(images).program(1).at("1 h").compensate("gdc")
    compiled = chip(images, first_image=0)
    saturated = [chip.counts[layer.name].output_clipped for layer in chip.compiled.layers]
    chip.counts = counts.new_counts()
    monkeypatch.setattr(chunk, "COMPILED", convert.PLAIN)
    plain = chip(images, first_image=0)
    # one code of one ADC may round the other way; a code here is far below 1 % of the output
    error = (plain - compiled).norm() / compiled.norm()
    assert error < 0.01
    assert ((plain - compiled).abs() < 1e-5 * compiled.abs().max()).float().mean() > 0.8
    again = [chip.counts[layer.name].output_clipped for layer in chip.compiled.layers]
    assert np.abs(np.array(saturated) - again).max() <= 2


@pytest.mark.filterwarnings("ignore:layer")
def test_bit_true_equals_the_local_unit(monkeypatch):
    """One layer on one core, no noise: every INT8 code is the one of the reference unit."""
    from aimc_sim.core import converters, ldpu, tile

    model, shape = NETS["asymmetric_300x40"]
    model = model[0]  # 300 x 40: two cores, one partial sum between them
    images = torch.randn((40, *shape), generator=torch.Generator().manual_seed(8))
    spec = presets.hermes("odp").with_({"core.pcm.read_noise": None, "core.ldpu.bit_true": True})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(2)
    found = chip(images).numpy()
    plan = chip.evaluation.bare_plan(chip.compiled)
    (head, tail), core = plan.calls[0].chains[0], spec.core
    step = plan.quantisers[plan.compiled.input].step
    codes = np.clip(np.rint(images.numpy() / step), -127, 127)
    link = None
    for call in (head, tail):
        now = chip.evaluation.tiles[call.block.core]
        part = codes[:, call.block.row_start : call.block.row_stop]
        adc = tile.read(now, part, core, np.random.default_rng(0))
        unit = call.output.step
        registers = ldpu.LdpuRegisters(
            scale=call.gain.numpy() / np.float32(unit), offset=call.offset.numpy() / unit,
            link_scale=np.float32(call.link_gain) / np.float32(unit),
        )  # fmt: skip
        link, _ = ldpu.run(registers, *ldpu.split(adc), link)
    differ = (np.rint(found / unit) != link).mean()
    assert differ < 2e-3  # an ADC code may round the other way in single precision
    float_chip = aimc_sim.Chip.from_model(
        model, spec.with_({"core.ldpu.bit_true": False})
    ).calibrate(images).program(2)  # fmt: skip
    plain = float_chip(images).numpy()
    assert 0 < (np.rint(found / unit) != np.rint(plain / unit)).mean() < 0.1
    assert converters.adc(core).rounds


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


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("adc", [{}, {"core.adc.full_scale_amperes": 5e-6}], ids=["", "saturates"])
def test_one_output_of_one_image_is_the_same_in_a_batch(adc):
    """A single value was taken for an array that is not there: no noise, nothing saturated."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(40, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    x = torch.randn(30, 40)
    spec = presets.hermes("odp").with_(adc)
    chip = aimc_sim.Chip.from_model(model.eval(), spec).calibrate(x).program(0).at("1 h")
    whole = chip(x, first_image=0)
    alone = torch.cat([chip(x[i : i + 1], first_image=i) for i in range(30)])
    assert torch.equal(whole, alone)
