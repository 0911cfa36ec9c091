"""Options of the core end to end: oscillator ADCs, g_max per core, resistive wires."""

import warnings

import numpy as np
import pytest
import torch
from conftest import small_nets
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.core import converters, oscillators, programming, tile, wired
from aimc_sim.core import wires as exact_wires
from aimc_sim.errors import NotProgrammedError
from aimc_sim.rng import Key
from aimc_sim.runtime import calibrate
from aimc_sim.spec import CcoAdcSpec, WireSpec

PERFECT = CcoAdcSpec(
    gain_std_fraction=0.0,
    mirror_std_fraction=0.0,
    offset_std_amperes=0.0,
    trim_std_fraction=0.0,
    nonlinearity_per_ampere=0.0,
    nonlinearity_std_fraction=0.0,
    jitter_counts=0.0,
    calibrated=False,
)


def chip_of(spec, name="asymmetric_300x40"):
    model, shape = small_nets()[name]
    images = torch.randn(48, *shape, generator=torch.Generator().manual_seed(3))
    return aimc_sim.Chip.from_model(model, spec).calibrate(images), model, images


def error(chip, model, images):
    with torch.inference_mode():
        exact = model(images)
    return float((chip(images, first_image=0) - exact).norm() / exact.norm())


def charges(now, codes):
    return tile.charge(now, codes)


@pytest.mark.parametrize("read", ["1-phase", "4-phase"])
def test_a_perfect_oscillator_is_a_plain_converter(read, rng):
    """No spread, no curvature: codes are the rounded charges, to one count."""
    core = (
        presets.hermes("odp", read).with_({"core.adc": PERFECT, "core.pcm.read_noise": None}).core
    )
    state = programming.program(rng.uniform(-1, 1, (64, 16)), core, Key(0))
    now = tile.at(state, core, 0.0, Key(0))
    codes = rng.integers(0, 128, (50, 64)).astype(float)
    step = converters.adc(core).step
    found = tile.read(now, codes, core, np.random.default_rng(0))
    bound = 0.5001 if read == "1-phase" else 1.0001  # two phases have a current: two roundings
    assert np.abs(found - charges(now, codes) / step).max() < bound
    np.testing.assert_allclose(found, np.rint(found), atol=2e-3)


def test_full_scale_of_the_plain_and_the_oscillator_adc_agree():
    """About 1,000 counts at 100 uA in both; full scale differs by the window, 128 or 127 ns."""
    plain = presets.hermes("odp").core
    cco = presets.hermes("odp").with_({"core.adc": CcoAdcSpec()}).core
    steps = converters.adc(plain).step, converters.adc(cco).step
    assert steps[1] / steps[0] == pytest.approx(1.0, abs=0.08)
    limits = [q.step * q.limit for q in map(converters.adc, (plain, cco))]
    assert limits[1] / limits[0] == pytest.approx(128 / 127, rel=1e-6)


def test_circuits_belong_to_the_core_not_to_the_programming():
    core = presets.hermes("odp").with_({"core.adc": CcoAdcSpec()}).core
    one, two, part = (
        converters.of_core(core, Key(0).child(i), n) for i, n in ((3, 40), (4, 40), (3, 8))
    )
    slope = one.table.rows[0]
    assert not np.array_equal(slope, two.table.rows[0])
    np.testing.assert_array_equal(part.table.rows[0], slope[:, :8])
    assert slope.std() / slope.mean() == pytest.approx(0.07, abs=0.03)
    # what the digital unit makes of it: charge in, charge out, to a few hundredths of a percent
    z = np.full((1, 40), 0.5 * one.limit, np.float32)
    value = one.codes(z) * oscillators.nominal_step(core)
    np.testing.assert_allclose(value, z, rtol=0.004)


@pytest.mark.filterwarnings("ignore:layer")
def test_calibration_of_the_oscillators_matters():
    errors = {}
    for name, adc in (("plain", None), ("calibrated", CcoAdcSpec()),
                      ("not", CcoAdcSpec(calibrated=False))):  # fmt: skip
        spec = presets.ideal_devices(presets.hermes("odp"))
        spec = spec if adc is None else spec.with_({"core.adc": adc})
        chip, model, images = chip_of(spec)
        errors[name] = error(chip.program(0), model, images)
    # four roundings and jitters instead of one rounding: 0.83 counts against 0.29
    assert errors["calibrated"] < 2.2 * errors["plain"]
    assert errors["not"] > 3 * errors["calibrated"]


def test_g_max_per_core_keeps_currents_in_range():
    """A tenth of the ADC's current: the rule lowers g_max until nothing saturates."""
    small = {"core.adc.full_scale_amperes": 10e-6, "core.pcm.read_noise": None}
    model, _ = small_nets()["asymmetric_300x40"]
    rule = presets.hermes("odp").with_({"core.g_max_rule": "bit-line"})
    fresh = aimc_sim.Chip.from_model(model, rule).program(0)
    with pytest.raises(NotProgrammedError, match=r"call chip\.calibrate\(batches\) first"):
        fresh.conductances(0)
    counts = {}
    for rule in ("device", "bit-line"):
        chip, _, images = chip_of(presets.hermes("odp").with_({**small, "core.g_max_rule": rule}))
        chip.program(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chip(images)
        counts[rule] = sum(seen.adc_saturated for seen in chip.counts.values())
        if rule == "bit-line":
            limits = list(chip.ranges.g_max_siemens.values())
            assert 0.2e-6 < min(limits) < 0.5 * chip.spec.core.pcm.g_max_siemens
            for block in chip.compiled.blocks:
                top = chip.state.tiles[block.core].devices.target.max()
                name = f"{block.layer}[{block.row_index},{block.col_index}]"
                assert top <= chip.ranges.g_max_siemens[name] * 1.001
    assert counts["bit-line"] == 0 < counts["device"]


@pytest.mark.filterwarnings("ignore:layer")
def test_saved_chips_keep_their_g_max(tmp_path):
    chip, _, images = chip_of(
        presets.hermes("odp").with_(
            {"core.adc": CcoAdcSpec(full_scale_amperes=20e-6), "core.g_max_rule": "bit-line"}
        )
    )
    chip.program(0)
    outputs = chip(images)
    chip.save(tmp_path / "a.h5")
    again = aimc_sim.Chip.load(tmp_path / "a.h5")
    assert torch.equal(again(images, first_image=0), outputs)
    assert again.ranges.g_max_siemens == chip.ranges.g_max_siemens
    assert torch.equal(again.program(0)(images, first_image=0), outputs)


NOTHING_ELSE = {
    "core.adc.bits": None, "core.adc.full_scale_amperes": None, "core.pcm.read_noise": None,
    "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
}  # fmt: skip


@pytest.mark.parametrize("read", ["4-phase", "1-phase"])
@pytest.mark.parametrize("idle", ["grounded", "high-impedance"])
@pytest.mark.parametrize("name", ["linear_only", "odd_conv"])
def test_wires_in_a_network_equal_the_reference(idle, read, name):
    """One core's charge, image by image, against the float64 path; signed inputs, convolutions."""
    wires = WireSpec(row_ohm=1.0, col_ohm=2.0, driver_ohm=20.0, sense_ohm=10.0, idle=idle)
    spec = presets.hermes("odp", read).with_({**NOTHING_ELSE, "core.wires": wires})
    model, shape = small_nets()[name]
    layer = model if name == "linear_only" else torch.nn.Sequential(model.a)
    images = torch.randn(12, *shape, generator=torch.Generator().manual_seed(3))
    chip = aimc_sim.Chip.from_model(layer, spec).calibrate(images).program(0)
    found = chip(images)
    plan = chip.evaluation.bare_plan(chip.compiled)
    call, image_layer = plan.calls[0], chip.compiled.layers[0]
    held = call.dac or plan.quantisers[plan.compiled.input]
    codes = held.codes(images.numpy())
    if name == "odd_conv":
        maps = torch.from_numpy(codes).float()
        codes = torch.nn.functional.unfold(
            maps, image_layer.kernel_size, 1, image_layer.padding, image_layer.stride
        ).transpose(1, 2).flatten(0, 1).numpy()  # fmt: skip
        found = found.flatten(2).transpose(1, 2).flatten(0, 1)
    wanted = np.zeros(found.shape)
    for chain in call.chains:
        for core in chain:
            b = core.block
            charge = tile.charge(chip.evaluation.tiles[b.core], codes[:, b.row_start : b.row_stop])
            y = charge * core.gain.numpy() + core.offset.numpy()
            wanted[:, b.col_start : b.col_stop] += y
    # what floating lines add is summed in bfloat16: 0.4 % of less than a percent
    bound = 3e-6 if idle == "grounded" else 1e-3
    np.testing.assert_allclose(found, wanted, atol=bound * np.abs(wanted).max())
    grounded = aimc_sim.Chip.from_model(layer, spec.with_({"core.wires.idle": "grounded"}))
    apart = (grounded.calibrate(images).program(0)(images) - chip(images)).abs().max()
    assert idle == "grounded" or apart > 2 * bound * np.abs(wanted).max()
    ideal = aimc_sim.Chip.from_model(layer, spec.with_({"core.wires": None}))
    ideal.calibrate(images).program(0)
    assert (ideal(images) - chip(images)).norm() > 0.005 * ideal(images).norm()


@pytest.mark.parametrize("idle", ["grounded", "high-impedance"])
def test_ideal_wires_change_nothing(idle):
    spec = presets.hermes("tdp").with_(NOTHING_ELSE)
    plain, _, images = chip_of(spec)
    wired, _, _ = chip_of(spec.with_({"core.wires": WireSpec(idle=idle)}))
    np.testing.assert_allclose(
        wired.program(0)(images), plain.program(0)(images), rtol=1e-4, atol=1e-4
    )


def test_a_small_block_pays_for_the_rows_behind_it():
    """Equal to the whole core with empty cells behind the block, exactly solved."""
    wires = WireSpec(row_ohm=1.0, col_ohm=3.0, driver_ohm=10.0, sense_ohm=5.0)
    spec = presets.hermes("odp").with_({"core.wires": wires, "core.rows": 40, "core.cols": 30})
    small = np.abs(np.random.default_rng(0).normal(size=(12, 8))).astype(np.float32)
    seen = wired.through(np.stack([small, 0 * small]), None, spec.core).polarities[0]
    g_max = spec.core.pcm.g_max_siemens
    whole = np.zeros((40, 30))
    whole[:12, :8] = small * g_max
    exact = exact_wires.solve(whole, np.eye(40), np.ones(40, bool), wires).output_amperes
    np.testing.assert_allclose(seen, exact[:12, :8] / g_max, rtol=1e-5)


def test_noise_is_attenuated_with_the_signal():
    core = presets.hermes("odp").core
    wired = presets.hermes("odp").with_({"core.wires": WireSpec(row_ohm=2.0, col_ohm=2.0)}).core
    weight = np.random.default_rng(0).uniform(-1, 1, (200, 100))
    state = programming.program(weight, core, Key(0))
    plain, lossy = (tile.at(state, c, 0.0, Key(0)) for c in (core, wired))
    share = lossy.variance / np.where(plain.variance > 0, plain.variance, np.nan)
    assert np.nanmax(share) < 1 + 1e-6  # RESET cells of zero noise give no share
    signal = np.abs(lossy.net).sum() / np.abs(plain.net).sum()
    assert np.nanmean(share) == pytest.approx(signal**2, rel=0.1)


@pytest.mark.parametrize(
    ("change", "text"),
    [({"counter_bits": 9}, "counts at full scale do not fit"), ({"max_hertz": 3e9}, "single ADCs")],
)
def test_what_a_network_cannot_show_is_refused(change, text):
    spec = presets.hermes("odp").with_({"core.adc": CcoAdcSpec(**change)})
    chip, _, images = chip_of(spec)
    with pytest.raises(ValueError, match=text):
        chip.program(0)(images)


def test_jitter_is_noise_of_every_conversion():
    """n = 20,000 reads: two or four jitters and roundings, to 3 %; the other number is 41 % off."""
    adc = PERFECT.with_(jitter_counts=2.0)
    core = presets.hermes("odp").with_({"core.adc": adc, "core.pcm": presets.pcm_ideal()}).core
    weight = np.tile([[0.31, -0.57], [-0.83, 0.71], [0.45, -0.29], [-0.97, 0.63]], (8, 1))
    now = tile.at(programming.program(weight, core, Key(0)), core, 0.0, Key(0))
    for codes, conversions in ((np.full(32, 90.0), 2), (np.tile([90.0, 77, -64, -99], 8), 4)):
        found = tile.read(now, np.tile(codes, (20_000, 1)), core, np.random.default_rng(1))
        expected = np.sqrt(conversions * (4.0 + 1 / 12))
        np.testing.assert_allclose(found.std(axis=0), expected, rtol=0.03)


def test_impossible_wires_are_refused():
    with pytest.raises(ValueError, match="negative resistance"):
        WireSpec(row_ohm=-1.0)
    chip, _, images = chip_of(presets.hermes().with_({"core.wires": WireSpec(row_ohm=1e9)}))
    with pytest.raises(ValueError, match="arrive"):
        chip.program(0)(images)


LOW = {"core.adc.bits": 5, "core.pcm.read_noise": None, "core.ldpu.output_bits": 10}


def sqnr(chip, model, images):
    """Signal to error power of ideal devices behind real converters, in dB."""
    return -20 * np.log10(error(chip, model, images))


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("encoding", ["pwm", "bit-serial"])
@pytest.mark.parametrize("name", ["asymmetric_300x40", "odd_conv"])
def test_a_calibrated_adc_range_gains_what_it_should(name, encoding):
    """5 bits: the currents of these nets use a few per cent of 100 uA, so that 5 dB is little."""
    spec = presets.ideal_devices(presets.hermes("odp")).with_(
        {**LOW, "core.dac.encoding": encoding, "core.dac.bit_seconds": 127e-9}
    )
    found = {}
    for method, changes in {
        "fixed": {},
        "max": {"core.adc.range": "calibrated"},
        "percentile": {"core.adc.range": "calibrated", "calibration.percentile": 99.5},
        "mse": {"core.adc.range": "calibrated", "calibration.range_method": "mse"},
    }.items():
        chip, model, images = chip_of(spec.with_(changes), name)
        found[method] = sqnr(chip.program(0), model, images)
    assert found["max"] > found["fixed"] + 6
    assert found["mse"] > found["fixed"] + 6
    assert len(set(found.values())) == 4  # the method is a knob


def test_the_calibrated_range_is_the_largest_current():
    """Against the product itself: code of 127 is the whole window, weight to the g_max it gets."""
    spec = presets.ideal_devices(presets.hermes("odp")).with_({"core.adc.range": "calibrated"})
    chip, _, images = chip_of(spec)
    images, layer = images[:16], chip.compiled.layers[0]  # what the ranges are measured on
    chip.calibrate(images).program(0)
    codes = np.clip(
        np.rint(images.numpy() / chip.ranges.values[chip.compiled.input] * 127), -127, 127
    )
    for b in layer.blocks:
        name = f"{b.layer}[{b.row_index},{b.col_index}]"
        siemens = chip.state.tiles[b.tile].siemens_per_weight
        weight = layer.weight[b.row_start : b.row_stop, b.col_start : b.col_stop] * siemens
        drive = 0.2 / 127 * codes[:, b.row_start : b.row_stop]
        amperes = max(  # of the four phases
            (np.maximum(x * drive, 0) @ np.maximum(w * weight, 0)).max()
            for x in (1, -1) for w in (1, -1)
        )  # fmt: skip
        assert chip.ranges.adc_amperes[name] == pytest.approx(amperes, rel=1e-5)
    chip(images, first_image=0)
    assert chip.counts[layer.name].adc_saturated == 0  # nothing clips, and nothing is wasted
    now = chip.evaluation.tiles[b.tile]
    found = tile.phases(now, codes[:, b.row_start : b.row_stop], chip.spec.core)
    assert max(now.converter.codes(phase.charge).max() for phase in found) == 1023


@pytest.mark.filterwarnings("ignore:layer")
def test_full_scale_bounds_the_calibrated_range(tmp_path):
    bounded = {
        **LOW, "core.adc.range": "calibrated", "core.adc.full_scale_amperes": 1e-7,
        "core.g_max_rule": "device",
    }  # fmt: skip
    chip, _, images = chip_of(presets.hermes("odp").with_(bounded))
    assert set(chip.ranges.adc_amperes.values()) == {1e-7}
    free = presets.hermes("odp").with_({**bounded, "core.adc.full_scale_amperes": None})
    chip, _, images = chip_of(free)
    assert min(chip.ranges.adc_amperes.values()) > 1e-7
    outputs = chip.program(0).at("1 h").compensate("gdc")(images)
    chip.save(tmp_path / "a.h5")
    again = aimc_sim.Chip.load(tmp_path / "a.h5")
    assert again.ranges.adc_amperes == chip.ranges.adc_amperes
    assert torch.equal(again(images, first_image=0), outputs)
    assert "converters of 3 blocks" in str(chip.report())
    bare = aimc_sim.Chip.from_model(small_nets()["asymmetric_300x40"][0], free).program(0)
    with pytest.raises(ValueError, match=r"not known before chip\.calibrate"):
        bare.compensate("gdc").effective_weights("0")
    with pytest.raises(ValueError, match="needs full_scale_amperes, or range = 'calibrated'"):
        free.with_({"core.adc.range": "fixed"})


@pytest.mark.filterwarnings("ignore:layer")
def test_what_compensation_and_adaptation_cost():
    """64 reads of 520 ns (the columns leave faster) on three cores; 48 images layer by layer."""
    chip, _, images = chip_of(presets.hermes("tdp"))
    chip.program(0)
    assert chip.report().compensation_cost is None
    assert "compensation  " not in str(chip.report())
    cost = chip.compensate("gdc-signs").report().to_dict()["compensation_cost"]
    joules = ledger.published_mvm_joules(chip.spec)
    assert cost == {
        "reads": 64, "core_mvms": 64 * 3, "seconds": pytest.approx(64 * 520e-9),
        "joules": pytest.approx(64 * 3 * joules),
    }  # fmt: skip
    assert "compensation    64 reads per core, 33.28 us, 10.14 uJ" in str(chip.report())
    more = presets.hermes("tdp").with_({"calibration.compensation_vectors": 128})
    chip, _, images = chip_of(more)
    again = chip.program(0).compensate("ls").report().compensation_cost
    assert again["joules"] == pytest.approx(2 * cost["joules"])

    chip, _, images = chip_of(presets.hermes("tdp"), "odd_conv")
    chip.program(0).adapt_batch_norm(images)
    assert "adapted on 48 images; run images for its cost" in str(chip.report())
    chip(images)
    report = chip.report()
    assert report.adapted_images == report.adaptation_cost["reads"] == 48
    assert report.adaptation_cost["core_mvms"] == 48 * report.cost["core_mvms"]
    pixels = {"a": 9 * 11, "b": 9 * 11, "c": 9 * 11, "fc": 1}
    seconds = 48 * sum(pixels.values()) * 520e-9
    assert report.adaptation_cost["seconds"] == pytest.approx(seconds)
    assert "adapted on 48 images, " in str(report)
    assert chip.program(0).report().adaptation_cost is None


@pytest.mark.parametrize("period", [7, 8, 16, 32, 64, 1024])
def test_samples_of_maps_meet_every_column(period):
    """Even steps would meet one column of the maps only, often the border."""
    places = calibrate._evenly(16 * 1024, 512)
    assert len(places) == 512
    assert (places.diff() > 0).all()
    met = torch.bincount(places % period, minlength=period)[:512]
    assert (met > 0).float().mean() > 0.25
    if period <= 64:
        assert met.min() >= 512 / period / 3
    even = torch.arange(0, 16 * 1024, 32)
    assert torch.bincount(even % 32).max() == 512  # what it replaces


@pytest.mark.filterwarnings("ignore:layer '2'")
def test_calibrated_ranges_see_what_is_inside_the_maps(monkeypatch):
    monkeypatch.setattr(calibrate, "G_MAX_INPUTS", 512)
    torch.manual_seed(4)
    images = torch.rand(16, 1, 32, 32)
    images[..., 0] = 0.05  # one dark column, and as many places as there are rows of maps
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Flatten(), nn.Linear(8 * 1024, 4))
    spec = presets.hermes("odp").with_({"core.adc.range": "calibrated"})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
    chip(images)
    seen = chip.counts["0"]
    assert seen.adc_saturated / seen.conversions < 0.02
