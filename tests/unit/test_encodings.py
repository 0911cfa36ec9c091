"""Encodings of weights: targets and back, layout, exactness, costs, files, refusals."""

import dataclasses

import naive
import numpy as np
import pytest
import torch
from conftest import small_nets
from torch import nn

import aimc_sim
from aimc_sim import errors, presets
from aimc_sim.analysis.performance import performance
from aimc_sim.chip import ledger
from aimc_sim.chip.ledger import step_seconds
from aimc_sim.core import encodings, inputs, programming, tile, weights
from aimc_sim.mapping.split import split_for
from aimc_sim.spec import (
    BitSlicesEncoding,
    CcoAdcSpec,
    DifferentialEncoding,
    OffsetColumnEncoding,
    SeveralDevicesEncoding,
)

NETS = small_nets()
EQUAL, FILL = SeveralDevicesEncoding(devices=3), SeveralDevicesEncoding(devices=3, order="fill")
OFFSET = OffsetColumnEncoding()
FINE = BitSlicesEncoding(weight_bits=22, bits_per_cell=5)
SLICES = BitSlicesEncoding(weight_bits=8, bits_per_cell=3)
ALL = {
    "differential": DifferentialEncoding(), "equal": EQUAL, "fill": FILL, "offset": OFFSET,
    "slices": SLICES, "fine slices": FINE,
}  # fmt: skip
ODP = presets.hermes("odp")
MANY = {"differential": 1, "equal": 1, "fill": 1, "offset": 1, "slices": 3, "fine slices": 5}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


def network(name):
    if name == "lstm":
        with torch.random.fork_rng():
            torch.manual_seed(4)
            return Recurrent().eval(), (5, 8)
    return NETS[name]


def images_of(name, n=6):
    return torch.randn((n, *network(name)[1]), generator=torch.Generator().manual_seed(1))


def made(name, spec, seed=0):
    images = images_of(name)
    chip = aimc_sim.Chip.from_model(network(name)[0], spec).calibrate(images)
    return chip.program(seed), images


def with_encoding(spec, encoding, **more):
    return spec.with_({"core.encoding": encoding, **more})


# ------------------------------------------------------------------------ weights and back


@pytest.mark.parametrize("scaling", ["core", "column"])
@pytest.mark.parametrize("name", ALL)
def test_targets_stand_for_the_weights(name, scaling, rng):
    """In float64, for every element: nothing beyond the range, the nets are the weights."""
    core = with_encoding(ODP, ALL[name], **{"core.weight_scaling": scaling}).core
    encoding, block = encodings.of(core), rng.normal(0, 1, (30, 7))
    block[3, :] = 0.0
    targets = weights.to_targets(block, core)
    found = encodings.combined(targets.request.net(), encoding.groups(encoding.columns(7)))
    unit = 0.0
    if name in ("slices", "fine slices"):
        largest = np.abs(block).max(axis=0) if scaling == "column" else np.abs(block).max()
        unit = largest / ALL[name].largest
    assert np.all(np.abs(found / targets.siemens_per_weight - block) <= unit / 2 + 1e-12)
    state = programming.program(block, core, aimc_sim.rng.Key(0))
    assert state.devices.target.min() >= 0
    assert state.devices.target.max() <= core.device.g_max_siemens * (1 + 1e-6)
    assert state.devices.target.shape[1:] == (30, encoding.columns(7))
    back = weights.net(state.devices.target.astype(float), core) / state.siemens_per_weight
    assert np.all(np.abs(back - block) <= unit / 2 + 1e-5)


def test_several_devices_share_as_they_are_asked_to(rng):
    level, top = ODP.core.device.reset.mean_siemens, ODP.core.device.g_max_siemens
    block = np.array([[1.0, -0.5], [1 / 3, 0.0]])
    equal = weights.to_targets(block, with_encoding(ODP, EQUAL).core).request
    fill = weights.to_targets(block, with_encoding(ODP, FILL).core).request
    (even, even_on), (full, full_on) = equal.elements, fill.elements
    np.testing.assert_allclose(equal.g, fill.g, rtol=1e-12)
    np.testing.assert_allclose(even[:3, 0, 0], top, rtol=1e-6)
    np.testing.assert_allclose(even[3:, 0, 1], level + (top - level) / 2, rtol=1e-6)
    assert even_on[:, 0, 0].tolist() == [True] * 3 + [False] * 3
    half = level + (top - level) / 2
    np.testing.assert_allclose(full[3:, 0, 1], [top, half, level], rtol=1e-6)
    assert full_on[:, 0, 1].tolist() == [False] * 3 + [True, True, False]
    assert full_on[:, 1, 0].tolist() == [True] + [False] * 5  # exactly one device's worth
    assert not full_on[:, 1, 1].any()


def test_slices_hold_the_digits(rng):
    core = with_encoding(presets.ideal(), SLICES).core
    block = rng.normal(0, 1, (20, 4))
    g = weights.to_targets(block, core).request.net() / core.device.g_max_siemens * 7
    integers, _ = naive.quantised_weights(block, 8)
    for r, c in np.ndindex(block.shape):
        assert np.rint(g[r, c::4]).tolist() == naive.digits(integers[r, c], 3, 3)


def test_cells_of_one_polarity_lie_around_the_reference(rng):
    core = with_encoding(ODP, OFFSET).core
    block = rng.normal(0, 1, (20, 4))
    request = weights.to_targets(block, core).request
    assert request.g.shape == (1, 20, 5)
    level, top = core.device.reset.mean_siemens, core.device.g_max_siemens
    tuned = request.elements[0][0]
    np.testing.assert_allclose(tuned[:, -1], (level + top) / 2, rtol=1e-6)
    largest = np.unravel_index(np.abs(block).argmax(), block.shape)
    assert tuned[largest] == pytest.approx(top if block[largest] > 0 else level, rel=1e-6)
    assert request.elements[1][0].all()
    assert not request.elements[1][1].any()


# ----------------------------------------------------------------------------- exactness


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("net", ["odd_conv", "asymmetric_300x40", "lstm"])
@pytest.mark.parametrize("name", [name for name in ALL if name not in ("differential", "slices")])
def test_ideal_devices_and_converters_are_exact(name, net, read):
    """Weights of 22 bits: half a unit is 2.4e-7 of the largest weight."""
    spec = with_encoding(presets.ideal(), ALL[name], **{"core.read.mode": read})
    chip, images = made(net, spec)
    with torch.inference_mode():
        wanted = network(net)[0](images)
    assert (chip(images) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert (chip.at("1 day")(images) - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("layer", [nn.Linear(100, 20), nn.Conv2d(5, 9, 3, padding=1)])
def test_slices_compute_with_the_integer_weights(layer):
    """One block: exactly the product with the rounded weights, which is another one."""
    images = torch.randn((6, 100) if isinstance(layer, nn.Linear) else (6, 5, 8, 8))
    spec = with_encoding(presets.ideal(), BitSlicesEncoding(weight_bits=5, bits_per_cell=2))
    chip = aimc_sim.Chip.from_model(layer, spec).calibrate(images).program(0)
    found = chip(images)
    with torch.inference_mode():
        plain = layer(images)
        before = layer.weight.clone()
        integers, unit = naive.quantised_weights(before.double().numpy(), 5)
        layer.weight.copy_(torch.from_numpy(integers * unit))
        wanted = layer(images)
        layer.weight.copy_(before)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert (found - plain).abs().max() > 1e-2 * wanted.abs().max()
    np.testing.assert_allclose(
        chip.effective_weights("Linear" if layer.weight.ndim == 2 else "Conv2d").ravel(),
        (integers * unit).ravel(), atol=1e-6,
    )  # fmt: skip


def test_input_planes_and_weight_slices_together_are_exact():
    """8-bit integer inputs, bit after bit, on sliced weights: nothing is lost."""
    model = nn.Linear(100, 20)
    images = torch.randint(-127, 128, (30, 100), generator=torch.Generator().manual_seed(2)).float()
    images[0, 0] = 127
    serial = {"core.dac.bits": 8, "core.dac.encoding": "bit-serial"}
    for encoding in (OFFSET, FINE):
        spec = with_encoding(presets.ideal(), encoding, **serial)
        chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
        with torch.inference_mode():
            torch.testing.assert_close(chip(images), model(images), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("encoding", [OFFSET, SLICES])
def test_global_drift_compensation_undoes_a_common_drift(encoding):
    """All devices drift by one factor: the factor of the reads is its inverse."""
    drift = ODP.core.device.drift
    flat = {"a": 0.0, "b": 0.05, "low": 0.05, "high": 0.05, "knee": None, "form": "log"}
    none = {**flat, "b": 0.0, "low": 0.0, "high": 0.0}
    law = drift.with_(exponent_mean=flat, exponent_std=none)
    quiet = {
        "core.device.drift": law, "core.device.read_noise": None, "core.device.programming": None,
        "core.adc.bits": None, "core.adc.full_scale_amperes": None, "core.dac.bits": None,
        "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
    }  # fmt: skip
    reset = {"core.device.reset.mean_siemens": 0.0, "core.device.reset.std_siemens": 0.0}
    chip, images = made("asymmetric_300x40", with_encoding(ODP, encoding, **quiet, **reset))
    fresh = chip(images)
    drifted = chip.at("1 day")(images)
    assert (drifted - fresh).abs().max() > 0.1 * fresh.abs().max()
    for method in ("gdc", "column", "ls"):
        back = chip.compensate(method)(images)
        assert (back - fresh).abs().max() < 1e-4 * fresh.abs().max()


@pytest.mark.parametrize("name", ["equal", "fill", "offset", "slices"])
def test_devices_of_other_families_are_encoded_too(name):
    """Resistive memory: the weights come back within the errors of its devices, and not exactly."""
    spec = with_encoding(presets.generic_rram(), ALL[name])
    chip, _ = made("asymmetric_300x40", spec)
    wanted = NETS["asymmetric_300x40"][0][0].weight.detach().numpy()
    error = chip.effective_weights("0") - wanted
    assert 1e-3 < error.std() / np.abs(wanted).max() < 0.3


# -------------------------------------------------------------------------------- layout


def layer_of(inputs_, outputs, spec):
    image = aimc_sim.Chip.from_model(nn.Linear(inputs_, outputs), spec).compiled
    return image.layers[0], image


@pytest.mark.parametrize(
    ("name", "outputs", "blocks", "columns"),
    [("differential", 256, 1, 256), ("equal", 256, 1, 256), ("offset", 255, 1, 256),
     ("offset", 256, 2, 258), ("slices", 85, 1, 255), ("slices", 86, 2, 258),
     ("fine slices", 51, 1, 255), ("fine slices", 300, 6, 1500)],
)  # fmt: skip
def test_blocks_have_the_columns_that_their_outputs_take(name, outputs, blocks, columns):
    layer, image = layer_of(200, outputs, with_encoding(ODP, ALL[name]))
    assert len(layer.blocks) == image.cores_used == blocks
    assert sum(block.footprint[1] for block in layer.blocks) == columns
    assert all(block.footprint[1] <= 256 for block in layer.blocks)
    assert sum(block.shape[1] for block in layer.blocks) == outputs


def test_blocks_that_share_a_core_lie_beside_each_other():
    model = nn.Sequential(nn.Linear(100, 30), nn.ReLU(), nn.Linear(30, 30))
    packed = {"mapping.blocks_per_core": 4}
    slices = BitSlicesEncoding(weight_bits=8, bits_per_cell=1)  # 210 columns each
    image = aimc_sim.Chip.from_model(model, with_encoding(ODP, slices, **packed)).compiled
    first, second = image.blocks
    assert image.cores_used == 1
    assert second.row_offset >= 100 or second.col_offset >= first.footprint[1]
    chip = aimc_sim.Chip(image, with_encoding(ODP, slices, **packed))
    images = torch.randn(8, 100)
    assert chip.calibrate(images).program(0)(images).isfinite().all()


def test_a_layer_can_have_an_encoding_of_its_own():
    spec = ODP.with_({"layers": {"2": {"core.encoding": SLICES}}})
    model = nn.Sequential(nn.Linear(100, 30), nn.ReLU(), nn.Linear(30, 20)).eval()
    images = torch.randn(8, 100)
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
    first, second = chip.compiled.layers
    assert [b.footprint for b in (*first.blocks, *second.blocks)] == [(100, 30), (30, 60)]
    chip(images)
    text = str(chip.report())
    assert "differential pair: 30 columns" in text
    assert "integers of 8 bits in 3 differential columns of 3 bits: 60 columns" in text


def test_too_few_columns_for_one_output_are_refused():
    with pytest.raises(errors.CapacityError, match=r"one output .* takes 3 columns"):
        layer_of(10, 4, with_encoding(ODP, SLICES, **{"core.cols": 2}))
    with pytest.raises(ValueError, match=r"10 x 100 weights, 300 columns of cells, does not fit"):
        programming.program(
            np.ones((10, 100)), with_encoding(ODP, SLICES).core, aimc_sim.rng.Key(0)
        )


def test_explain_names_the_columns():
    text = str(aimc_sim.Chip.explain(nn.Linear(20, 30), with_encoding(ODP, SLICES)))
    assert "(20 x 30 weights in 90 columns of cells)" in text


# --------------------------------------------------------------------------------- costs


def test_conversions_and_additions_are_counted_and_paid_for():
    """Per image: columns x phases conversions; one addition per further column and output."""
    model = nn.Linear(100, 30)
    images = torch.randn(8, 100)  # of both signs: all phases are converted
    for encoding, columns, phases, additions in (
        (DifferentialEncoding(), 30, 4, 0), (OFFSET, 31, 2, 30), (SLICES, 90, 4, 60),
    ):  # fmt: skip
        spec = with_encoding(ODP, encoding)
        chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
        chip(images)
        found = chip.report().encodings[encoding.kind]
        assert found["conversions_per_input"] == columns * phases
        assert found["additions_per_input"] == additions
        assert (found["outputs"], found["columns"]) == (30, columns)
        book = ledger.ledger(chip.compiled, spec, {"Linear": 5}, 1e-3)
        added = [entry for entry in book.entries if entry.component == "shift and add"]
        assert sum(entry.events for entry in added) == 5 * additions
        joules = sum(entry.joules for entry in added)
        assert joules == pytest.approx(5 * additions * spec.cost.addition_joules)
        local = next(e for e in book.entries if e.component == "local digital unit")
        assert local.busy_seconds == pytest.approx(5 * columns / spec.core.ldpu.clock_hertz)
        assert book.joules == pytest.approx(sum(book.by("component").values()))
        used = ledger.ledger(chip.compiled, spec, {"Linear": 1}, 1e-3, {b.tile: 0.0 for b in
                             chip.compiled.blocks}).by("component")  # fmt: skip
        window = phases * inputs.window_seconds(spec.core.dac)
        assert used["converters"] == pytest.approx(columns * spec.cost.adc_watts * window)


def test_time_follows_the_columns():
    """A core with more columns than an MVM has clocks streams longer; so does the pipeline."""
    model = nn.Sequential(nn.Conv2d(3, 60, 3), nn.ReLU())
    spec = presets.hermes("odp", "1-phase")
    intervals = {}
    for encoding in (DifferentialEncoding(), BitSlicesEncoding(weight_bits=5, bits_per_cell=1)):
        own = with_encoding(spec, encoding)
        image = aimc_sim.Chip.from_model(model, own).compiled
        columns = image.blocks[0].footprint[1]
        assert step_seconds(columns, own) == max(
            inputs.mvm_seconds(own.core), columns / own.core.ldpu.clock_hertz
        )
        report = performance(image, own, (3, 12, 12), images=4)
        intervals[encoding.kind] = report.ledger.seconds
        assert report.ledger.seconds == pytest.approx(report.estimate.interval_ps * 1e-12, rel=0.02)
        shift = report.ledger.by("component").get("shift and add", 0.0)
        assert shift == pytest.approx((columns - 60) * 100 * own.cost.addition_joules)
    assert intervals["bit-slices"] == pytest.approx(100 * 240 / 400e6, rel=0.02)
    assert intervals["bit-slices"] > 1.3 * intervals["differential"]


def test_cells_of_one_polarity_need_half_of_the_windows():
    core = with_encoding(ODP, OFFSET).core
    window = inputs.window_seconds(core.dac)
    assert inputs.mvm_seconds(ODP.core) == core.read.mvm_seconds
    assert inputs.mvm_seconds(core) == pytest.approx(core.read.mvm_seconds - 2 * window)


# --------------------------------------------------------------------- converters, calibration


def test_every_slice_has_a_range_of_its_own_and_codes_add_by_shifts():
    spec = with_encoding(ODP, SLICES, **{"core.adc.range": "calibrated"})
    chip, images = made("asymmetric_300x40", spec)
    needed = chip.ranges.adc_amperes
    now = chip.evaluation.tiles
    for block in chip.compiled.blocks:
        name = aimc_sim.chip.state.link_name(block)
        own = [needed[f"{name}/{i}"] for i in range(3)]
        steps = [part.now.converter.quantiser.step for part in now[block.tile].parts]
        ratios = np.log2(np.array(steps) / max(steps))
        np.testing.assert_allclose(ratios, np.rint(ratios), atol=1e-9)
        limits = [part.now.converter.limit for part in now[block.tile].parts]
        scale = max(limits) / max(own)
        assert all(
            need <= limit / scale * (1 + 1e-9) < 2 * need
            for need, limit in zip(own, limits, strict=True)
        )
    assert len({round(x) for x in ratios}) > 1  # the last slice is nearly empty
    quiet = {
        "core.device.read_noise": None,
        "core.device.programming": None,
        "core.device.drift": None,
    }
    fine = {**quiet, "core.adc.bits": 20, "core.ldpu.output_bits": None,
            "core.ldpu.link_bits": None, "core.dac.bits": None}  # fmt: skip
    chip, images = made("asymmetric_300x40", spec.with_(fine))
    with torch.inference_mode():
        wanted = network("asymmetric_300x40")[0](images)
    assert (chip(images) - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_the_reference_has_the_range_of_the_outputs():
    spec = with_encoding(ODP, OFFSET, **{"core.adc.range": "calibrated"})
    chip, _ = made("asymmetric_300x40", spec)
    for now in chip.evaluation.tiles.values():
        first, reference = (part.now.converter.quantiser for part in now.parts)
        assert first == reference


@pytest.mark.parametrize("encoding", [OFFSET, SLICES])
def test_uneven_converters_are_those_of_the_physical_columns(encoding):
    quiet = {"core.adc": CcoAdcSpec(), "calibration.clip_warning_fraction": 1.0}
    spec = with_encoding(ODP, encoding, **quiet)
    chip, images = made("asymmetric_300x40", spec)
    block = chip.compiled.blocks[0]
    now, core = chip.evaluation.tiles[block.tile], spec.core
    whole = aimc_sim.core.converters.of_core(
        core, chip.state.key(block.tile), block.footprint[1]
    ).table.rows
    found = np.concatenate([part.now.converter.table.rows for part in now.parts], axis=2)
    np.testing.assert_array_equal(found, whole)
    assert chip(images).isfinite().all()


# ------------------------------------------------------------------------ files, programming


@pytest.mark.parametrize("name", ["fill", "offset", "slices"])
def test_a_saved_chip_goes_on_with_the_same_bits(name, tmp_path):
    quiet = {"core.adc.range": "calibrated", "calibration.clip_warning_fraction": 1.0}
    spec = with_encoding(ODP, ALL[name], **quiet)
    chip, images = made("odd_conv", spec)
    chip.at("1 day").compensate("gdc")
    chip.save(tmp_path / "chip.h5")
    again = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert again.spec == spec
    assert again.compiled.blocks == chip.compiled.blocks
    assert torch.equal(again(images, first_image=0), chip(images, first_image=0))
    core = chip.compiled.blocks[0].core
    assert (again.conductances(core) == chip.conductances(core)).all()


@pytest.mark.parametrize("scheme", ["program-and-verify", "gradient"])
def test_slices_are_written_by_pulses_too(scheme, rng, key):
    spec = with_encoding(presets.hermes("odp", programming=scheme), SLICES)
    block = rng.normal(0, 1, (12, 5))
    state = programming.program(block, spec.core, key)
    assert state.devices.g.shape == (4, 12, 15)
    back = weights.net(state.devices.g.astype(float), spec.core) / state.siemens_per_weight
    assert 0.01 < np.std(back - block) / np.abs(block).max() < 0.2


def test_g_max_follows_the_currents_of_the_cells(rng):
    """The currents of targets at the g_max that was found reach the limit and not more."""
    codes = rng.integers(-127, 128, (50, 40)).astype(float)
    block = rng.normal(0, 1, (40, 6))
    for name, encoding in ALL.items():
        core = with_encoding(ODP, encoding, **{"core.adc.full_scale_amperes": 3e-6}).core
        found = aimc_sim.core.gmax.largest_siemens(block, core, codes)
        targets = weights.to_targets(block, core, found)
        drive = codes / core.dac.max_code * core.read.v_read_volts
        most = max(
            (side @ g).max()
            for side in (np.maximum(drive, 0), np.maximum(-drive, 0))
            for g in targets.request.g
        )
        assert found < core.device.g_max_siemens, name
        assert most == pytest.approx(3e-6, rel=1e-6), name


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("spec", "encoding", "words"),
    [
        (presets.hermes("tdp"), EQUAL, "describes 2 devices of a polarity as one"),
        (presets.hermes("odp", programming="program-and-verify"), EQUAL, "two devices each"),
        (presets.hermes("odp", programming="gradient"), OFFSET, "cells of two polarities"),
        (ODP.with_({"core.device.zero_target": "programmed"}), FILL, "set it to 'reset'"),
    ],
)
def test_devices_that_do_not_fit_are_refused(spec, encoding, words):
    with pytest.raises(ValueError, match=words):
        with_encoding(spec, encoding)


def test_digits_larger_than_the_weight_are_refused():
    with pytest.raises(ValueError, match="more than the 3 magnitude bits"):
        BitSlicesEncoding(weight_bits=4, bits_per_cell=4)


def test_the_default_is_as_before():
    """The identity of a machine is what it was before there were encodings."""
    spec = presets.hermes()
    assert (spec.id(), ODP.id()) == ("946e9876ce3e1086", "2c029fd7a48aec1f")
    old = spec.model_dump(mode="json")
    del old["core"]["encoding"]
    assert type(spec).model_validate_json(__import__("json").dumps(old)) == spec
    assert with_encoding(spec, OFFSET).id() != spec.id()
    layer, _ = layer_of(300, 300, spec)
    assert split_for(layer, spec.core) == tuple(
        dataclasses.replace(b, core=-1, slot=0, row_offset=0, col_offset=0) for b in layer.blocks
    )
    now = tile.at(programming.program(np.ones((3, 2)), spec.core, aimc_sim.rng.Key(0)),
                  spec.core, 0.0, aimc_sim.rng.Key(0))  # fmt: skip
    assert now.parts == ()
