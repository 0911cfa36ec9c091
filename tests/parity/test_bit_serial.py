"""Bit-serial inputs in networks: every plane has an ADC result of its own, against slow twins."""

import dataclasses

import naive
import numpy as np
import pytest
import torch
from checks import assert_independent, assert_std
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.core import converters, inputs, tile
from aimc_sim.runtime import chunk, convert
from aimc_sim.spec import CcoAdcSpec, WireSpec

NETS = small_nets()
SERIAL = {"core.dac.encoding": "bit-serial"}
QUIET = {**SERIAL, "core.pcm.read_noise": None, "core.ldpu.output_bits": None,
         "core.ldpu.link_bits": None}  # fmt: skip
WIRES = WireSpec(row_ohm=1.0, col_ohm=2.0, driver_ohm=20.0, sense_ohm=10.0)


def programmed(model, spec, images, seed=0):
    return aimc_sim.Chip.from_model(model, spec).calibrate(images).program(seed)


def images_of(name, n=10):
    return torch.randn((n, *NETS[name][1]), generator=torch.Generator().manual_seed(3))


def rows_of(layer, codes):
    """(N, R) inputs of an analog layer from (B, ...) codes."""
    if layer.kind == "linear":
        return codes.numpy()
    geometry = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    rows = torch.nn.functional.unfold(codes, *geometry)
    return rows.transpose(1, 2).flatten(0, 1).numpy()


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("wires", [None, WIRES, WIRES.with_(idle="high-impedance")])
@pytest.mark.parametrize("name", ["linear_only", "odd_conv"])
def test_a_network_equals_the_sum_over_planes(name, wires, read):
    """One layer, no noise: ``sum of 2^b clip(rint(charge_b / step))`` in float64, core by core."""
    spec = presets.hermes("odp", read).with_({**QUIET, "core.wires": wires})
    model = NETS[name][0] if name == "linear_only" else torch.nn.Sequential(NETS[name][0].a)
    images = images_of(name)
    chip = programmed(model, spec, images)
    found = chip(images).numpy()
    plan = chip.evaluation.bare_plan(chip.compiled)
    call, layer = plan.calls[0], chip.compiled.layers[0]
    codes = torch.from_numpy(call.dac.codes(images.numpy())).float()
    rows = rows_of(layer, codes)
    if name == "odd_conv":
        found = found.transpose(0, 2, 3, 1).reshape(len(rows), -1)
    quantiser = converters.adc(spec.core)
    assert quantiser.limit == 40  # 1,023 codes x 5 / 127 ns
    wanted = np.zeros(found.shape)
    for chain in call.chains:
        for core in chain:
            b = core.block
            own = rows[:, b.row_start : b.row_stop].astype(int)
            total = np.zeros((len(own), b.col_stop - b.col_start))
            for bit in range(7):
                plane = np.sign(own) * (np.abs(own) // 2**bit % 2)
                for phase in tile.phases(chip.evaluation.tiles[b.tile], plane, spec.core):
                    code = np.clip(np.rint(phase.charge / quantiser.step), -40, 40)
                    total += 2**bit * phase.sign * code
            wanted[:, b.col_start : b.col_stop] += total * core.gain.numpy() + core.offset.numpy()
    # A charge near a half code may round the other way in float32; with floating lines, whose
    # part is summed in bfloat16, a few more do: of four phases and seven planes each.
    gain = max(float(core.gain.abs().max()) for chain in call.chains for core in chain)
    wrong = np.abs(found - wanted) > 1e-4 * gain
    allowed = 0.1 if wires is not None and wires.idle == "high-impedance" else 0.005
    assert wrong.mean() < allowed
    assert np.abs(found - wanted).max() <= 64.001 * gain * len(call.chains[0])


def test_the_reference_read_does_the_same(rng):
    """Noise off: tile.read, element by element, with converters that clip."""
    core = presets.hermes("odp").with_({**QUIET, "core.adc.full_scale_amperes": 4e-6}).core
    g = rng.uniform(0, 5e-6, (2, 30, 6))
    now = tile.TileNow((g / core.pcm.g_max_siemens).astype(np.float32))
    codes = rng.integers(-127, 128, (50, 30)).astype(float)
    q = converters.adc(core)
    found = tile.read(now, codes, core, rng)
    planes = inputs.bit_planes(codes, core.dac)
    wanted = sum(
        2**b * naive.read_one_tile(
            g, np.zeros_like(g), plane, rng, q.step, q.limit, core.pcm.g_max_siemens
        )
        for b, plane in enumerate(planes)
    )  # fmt: skip
    # charges of the phase (+, +) in every plane, in units of q: some clip, some do not
    charges = [np.clip(plane, 0, None) @ g[0] / core.pcm.g_max_siemens for plane in planes]
    clipped = np.mean(np.array(charges) > (q.limit + 0.5) * q.step)
    assert 0.1 < clipped < 0.9
    assert (found == wanted).mean() > 0.97
    assert np.abs(found - wanted).max() <= 64


def test_noise_is_fresh_in_every_plane(key):
    """n = 20,000 images: variance sum of 4^b plane^2 @ var, not that of a pulse of the width."""
    fine = {**SERIAL, "core.adc.bits": 24, "core.adc.full_scale_amperes": 1e-4,
            "core.dac.bit_seconds": 127e-9, "core.ldpu.output_bits": None}  # fmt: skip
    spec = presets.hermes("odp").with_(fine)
    model = torch.nn.Linear(9, 4, bias=False)
    codes = torch.tensor([[127.0, -127, 64, 63, 1, 0, -85, 100, 37]])
    chip = programmed(model, spec, codes, key.seed).at("1 day")
    found = chip(codes.repeat(20_000, 1)).numpy()
    block = chip.compiled.blocks[0]
    now = chip.evaluation.tiles[block.tile]
    scale = spec.core.pcm.g_max_siemens / chip.state.tiles[block.tile].siemens_per_weight
    planes = inputs.bit_planes(codes.numpy(), spec.core.dac).astype(float)[:, 0]
    variance = sum(4.0**b * plane**2 @ now.variance for b, plane in enumerate(planes))
    pulse = codes.numpy()[0] ** 2 @ now.variance
    for c in range(4):
        # bfloat16 variances: 0.2 % of a spread
        assert abs(found[:, c].std() / (np.sqrt(variance[c]) * scale[c]) - 1) < 0.029
        assert abs(np.sqrt(variance[c] / pulse[c]) - 1) > 0.1  # the other law would be seen
    assert_independent(found[:, 0], found[:, 1])
    assert_independent(found[:-1, 0], found[1:, 0])
    one = {**fine, "core.dac.bits": 2}  # a single plane
    chip = programmed(model, spec.with_(one), torch.ones(1, 9), key.seed).at("1 day")
    found = chip(torch.ones(20_000, 9)).numpy()
    scale = spec.core.pcm.g_max_siemens / chip.state.tiles[block.tile].siemens_per_weight
    assert_std(
        found[:, 0] / scale[0], np.sqrt(chip.evaluation.tiles[block.tile].variance[:, 0].sum())
    )


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("adc", [None, CcoAdcSpec(wrong_sign_amperes=1e-7)])
@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("name", ["odd_conv", "asymmetric_300x40"])
def test_both_paths_agree(name, read, adc, monkeypatch):
    spec = presets.hermes("tdp", read).with_({**SERIAL, "core.ldpu.bit_true": adc is None})
    spec = spec if adc is None else spec.with_({"core.adc": adc})
    images = images_of(name, 16)
    chip = programmed(NETS[name][0], spec, images).at("1 h").compensate("gdc")
    compiled = chip(images, first_image=0)
    monkeypatch.setattr(chunk, "COMPILED", convert.PLAIN)
    plain = chip(images, first_image=0)
    # a code of the top plane is worth 64; single ones may round the other way
    assert (plain - compiled).norm() / compiled.norm() < 0.03
    assert ((plain - compiled).abs() < 1e-5 * compiled.abs().max()).float().mean() > 0.7


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("name", NETS)
def test_batches_do_not_matter(name):
    images = images_of(name, 20)
    spec = presets.hermes("odp").with_(SERIAL)
    chip = programmed(NETS[name][0], spec, images).at("1 day").compensate("column")
    whole = chip(images, first_image=0)
    parts = [chip(images[a:b], first_image=a) for a, b in ((0, 1), (1, 4), (4, 13), (13, 20))]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, chip(images, first_image=0, chunk=7))
    assert not torch.equal(whole, chip(images))


@pytest.mark.filterwarnings("ignore:layer")
def test_conversions_and_saturations_of_every_plane_are_counted():
    model, images = NETS["linear_only"][0], images_of("linear_only", 8)
    tight = {**QUIET, "core.adc.full_scale_amperes": 5e-6}
    chip = programmed(model, presets.hermes("odp").with_(tight), images)
    chip(images)
    seen = next(iter(chip.counts.values()))
    assert seen.outputs == 8 * 270 * 3  # three row blocks
    # four phases in a plane with inputs of both signs, as nearly all are
    assert 0.95 * 28 * seen.outputs < seen.conversions <= 28 * seen.outputs
    codes, core = (
        chip.evaluation.bare_plan(chip.compiled).calls[0].dac.codes(images.numpy()),
        chip.spec.core,
    )
    wanted = 0
    for b in chip.compiled.blocks:
        now = chip.evaluation.tiles[b.tile]
        for plane in inputs.bit_planes(codes[:, b.row_start : b.row_stop], core.dac):
            phases = tile.phases(now, plane, core)
            wanted += sum(now.converter.beyond(phase.charge).sum() for phase in phases)
    assert wanted > 100
    assert abs(seen.adc_saturated - wanted) <= 0.01 * wanted


def test_planes_of_a_plan_are_one_core():
    images = images_of("asymmetric_300x40")
    chip = programmed(NETS["asymmetric_300x40"][0], presets.hermes().with_(SERIAL), images)
    (core, _), = chip.evaluation.bare_plan(chip.compiled).calls[0].chains  # fmt: skip
    assert len({tuple(plane.noise_key) for plane in core.planes}) == 7
    assert all(plane.kernel is core.kernel for plane in core.planes)
    changed = dataclasses.replace(core, gain=2 * core.gain)  # as adaptation does
    assert changed.planes == core.planes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"core.dac.bits": None}, "no smallest bit that an ADC could convert"),
        ({"core.dac.bits": None, "core.adc": CcoAdcSpec()}, "no smallest bit"),
        ({"core.dac.bit_seconds": 1e-11}, "use longer bits or more core.adc.bits"),
    ],
)
def test_what_cannot_be_read_is_refused(changes, text):
    spec = presets.hermes().with_({**SERIAL, **changes})
    with pytest.raises(ValueError, match=text):
        aimc_sim.Chip.from_model(NETS["linear_only"][0], spec)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees():
    images = images_of("odd_conv", 24)
    chip = programmed(NETS["odd_conv"][0], presets.hermes("odp").with_(SERIAL), images)
    cpu = chip(images, first_image=0)
    cuda = chip.to("cuda")(images, first_image=0)
    assert (cuda - cpu).norm() / cpu.norm() < 0.05
