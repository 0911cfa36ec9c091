"""Sense amplifiers: one bit per column, against currents compared one by one."""

import math

import numpy as np
import pytest
import torch
from checks import assert_std
from scipy import stats
from torch import nn

import aimc_sim
from aimc_sim import learning, presets
from aimc_sim.chip import ledger
from aimc_sim.core import converters, sense, tile
from aimc_sim.core.quantise import ColumnConverters, Quantiser, StepTable
from aimc_sim.rng import Key, Purpose
from aimc_sim.runtime import calibrate, chunk, convert
from aimc_sim.spec import (
    BitSlicesEncoding,
    DifferentialEncoding,
    DriftLaw,
    SenseAmplifierSpec,
    StateCurve,
)
from aimc_sim.spiking import SNU
from aimc_sim.studies import schema, settings

SLICE = BitSlicesEncoding(weight_bits=4, bits_per_cell=3)
QUIET = {"kind": "sense-amplifier", "offset_std_amperes": 0.0, "noise_amperes": 0.0}


def machine(base=None, **changes):
    """Return cores of 16 rows with sense amplifiers and no integers between layers."""
    read = presets.hermes("odp", "1-phase").core.read.with_(polarity=None)
    spec = (base or presets.ideal()).with_({
        "core.rows": 16, "core.read": read, "core.g_max_rule": "device", "core.adc": QUIET,
        "core.ldpu.output_bits": None, "core.ldpu.link_bits": None,
    })  # fmt: skip
    return spec.with_(changes)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 5)).eval()


def images(n=48, seed=1):
    return torch.randn(n, 40, generator=torch.Generator().manual_seed(seed))


def made(spec, model=None, calibration=None):
    chip = aimc_sim.Chip.from_model(model or network(), spec)
    return chip.calibrate(images() if calibration is None else calibration).program(3)


def twin(chip, x, model, offsets=True):
    """Return outputs image by image, block by block, column by column, in amperes."""
    given = x.numpy().astype(float)
    tiles = chip.evaluation.tiles
    for layer in chip.compiled.layers:
        core = chip.spec.for_layer(layer.owner).core
        top = core.dac.max_code
        full = chip.ranges.values[layer.source]
        out = np.tile(layer.offset.astype(float), (len(given), 1))
        for block in (block for chain in layer.chains for block in chain):
            key = chip.state.key(block.tile)
            offset = core.adc.offset_std_amperes * (
                key.child(Purpose.ADC, 0).generator().standard_normal(block.shape[1])
            )
            every, name = chip.ranges.adc_amperes, chip_name(block)
            levels = every[name] if name in every else every[f"{name}/0"]
            siemens = tiles[block.tile].net.astype(float) * core.device.g_max_siemens
            scale = chip.state.tiles[block.tile].siemens_per_weight
            for n, row in enumerate(given[:, block.row_start : block.row_stop]):
                code = row / full * top
                code = np.clip(np.rint(code), -top, top) if core.dac.bits else code
                for c in range(block.shape[1]):
                    current = sum(
                        code[r] / top * core.read.v_read_volts * siemens[r, c]
                        for r in range(len(code))
                    )
                    one = current >= levels[0, c] + (offset[c] if offsets else 0.0)
                    value = levels[2, c] if one else levels[1, c]
                    weighted = value / (scale[c] * core.read.v_read_volts) * full
                    column = block.col_start + c
                    out[n, column] += weighted * layer.scale[column]
        given = np.maximum(out, 0) if layer.relu else out
    return given


def chip_name(block):
    return f"{block.layer}[{block.row_index},{block.col_index}]"


@pytest.mark.parametrize("threshold", ["zero", "mean"])
@pytest.mark.parametrize("scale", ["column", "core"])
@pytest.mark.parametrize("encoding", [DifferentialEncoding(), SLICE], ids=["pair", "slice"])
def test_a_chip_is_its_currents_compared_one_by_one(threshold, scale, encoding):
    """PCM devices after an hour, offsets of half a microampere, eight-bit pulses: the slow twin."""
    base = presets.hermes("odp", "1-phase").with_(
        {"core.device.read_noise": None, "core.encoding": encoding}
    )
    adc = QUIET | {"offset_std_amperes": 5e-7, "threshold": threshold, "scale": scale}
    chip = made(machine(base, **{"core.adc": adc})).at("1 h")
    x, model = images(12, seed=5), network()
    found = chip(x).numpy()
    np.testing.assert_allclose(found, twin(chip, x, model), rtol=2e-5, atol=2e-6)
    without = twin(chip, x, model, offsets=False)
    assert np.abs(found - without).max() > 1e-2  # offsets matter


def test_levels_are_those_of_sums_that_are_compared_before():
    """The second layer is calibrated behind the first one's comparators, as it will run."""
    model, x = network(), images()
    chip = made(machine(), model)

    def compared(x, layer, chain):
        out = layer.bias.detach().clone().expand(len(x), -1)
        for block in chain:
            rows = slice(block.row_start, block.row_stop)
            p = x[:, rows] @ layer.weight.detach()[:, rows].T
            alpha = p.abs().mean(0)
            out = out + torch.where(p >= 0, alpha, -alpha)
        return out

    first, second = (layer.chains[0] for layer in chip.compiled.layers)
    assert len(first) == 3
    assert len(second) == 2
    wanted = compared(compared(x, model[0], first).relu(), model[2], second)
    torch.testing.assert_close(chip(x), wanted, rtol=1e-5, atol=1e-6)


def test_noise_is_of_every_comparison_also_without_current():
    """Share of ones against the normal law; n = 40,000: five standard errors are 0.0125.

    Half a standard deviation from the threshold; noise 7 % larger or smaller is noticed.
    """
    core = machine(**{"core.adc": QUIET | {"noise_amperes": 1e-7}}).core
    amperes = np.array([[-0.5e-7], [-1e-6], [1e-6]]) * np.ones((1, 8))
    converter = converters.of_core(core, Key(1), 8, amperes)
    now = tile.TileNow(np.zeros((2, 16, 8), np.float32), converter=converter)
    found = tile.read(now, np.zeros((5_000, 16)), core, np.random.default_rng(0))
    share = (found > 0).mean()
    assert share == pytest.approx(stats.norm.cdf(0.5), abs=0.0125)
    assert abs(stats.norm.cdf(0.5 / 1.07) - stats.norm.cdf(0.5)) > 0.011


def test_silent_images_on_the_chip_are_noisy_too():
    """The executor's two twins: no input, a threshold at zero: half of the bits are ones."""
    spec = machine(**{"core.adc": QUIET | {"noise_amperes": 1e-7}})
    model = nn.Sequential(nn.Linear(16, 64, bias=False)).eval()
    chip = made(spec, model, torch.randn(64, 16))
    ones = (chip(torch.zeros(2_000, 16)) > 0).float().mean()
    assert float(ones) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(128_000))


def test_offsets_belong_to_the_core_and_have_their_deviation():
    """n = 4,096 columns: five standard errors are 5.5 %."""
    core = machine(**{"core.adc": QUIET | {"offset_std_amperes": 3e-7}}).core
    levels = np.array([[2e-7], [-1e-6], [1e-6]]) * np.ones((1, 4096))
    every = converters.of_core(core, Key(7), 4096, levels).table.thresholds[0]
    offsets = every / sense.charge_per_ampere(core) - 2e-7
    assert_std(offsets, 3e-7)
    with pytest.raises(AssertionError):
        assert_std(offsets * 1.12, 3e-7)
    few = converters.of_core(core, Key(7), 9, levels[:, :9]).table.thresholds[0]
    np.testing.assert_array_equal(few, every[:9])
    other = converters.of_core(core, Key(8), 9, levels[:, :9]).table.thresholds[0]
    assert not np.array_equal(other, few)


def test_signs_do_not_drift_with_devices_that_drift_alike():
    """Conductances fall to a third in a year; a threshold that is no zero does not follow them."""
    nu = StateCurve(form="power", a=0.06, b=0.0, low=0.0, high=1.0)
    drift = DriftLaw(exponent_mean=nu, exponent_std=nu.with_(a=0.0))
    found = {}
    for threshold in ("zero", "mean"):
        adc = QUIET | {"threshold": threshold}
        chip = made(machine(**{"core.device.drift": drift, "core.adc": adc}))
        before = chip.at(0.0)(images(), first_image=0)
        later = chip.at("1 year")(images(), first_image=0)
        found[threshold] = float((later - before).abs().max())
    assert found["zero"] == 0.0
    assert found["mean"] > 0.01


class Spiking(nn.Module):
    """Two layers of spiking neural units."""

    def __init__(self):
        super().__init__()
        self.first, self.second = SNU(40, 30), SNU(30, 6)

    def forward(self, x):
        return self.second(self.first(x)[0])[0]


def test_spiking_units_read_signs_and_send_spikes():
    """Of the units' own recursion on drives that are signs of blocks times the chip's scales."""
    torch.manual_seed(2)
    model, x = Spiking().eval(), (torch.rand(5, 64, 40) < 0.4).float()
    with torch.no_grad():
        model.first.weight.mul_(3)
        model.second.weight.mul_(3)
    chip = aimc_sim.Chip.from_model(model, machine(**{"core.dac.bits": 8}), example=x)
    chip.calibrate(x).program(0)

    def spikes(unit, given, layer):
        drive = torch.zeros(*given.shape[:2], unit.units)
        for block in layer.blocks:
            rows = slice(block.row_start, block.row_stop)
            core = chip.spec.for_layer(layer.owner).core
            scale = chip.state.tiles[block.tile].siemens_per_weight * core.read.v_read_volts
            full = 1.0 if core.dac.binary else chip.ranges.values[layer.source]
            alpha = torch.from_numpy(chip.ranges.adc_amperes[chip_name(block)][2] / scale * full)
            p = given[..., rows] @ unit.weight.detach()[:, rows].T
            drive += torch.where(p >= 0, alpha, -alpha).float()
        state, out = unit.start(given[0]), []
        for one in drive:
            s, y = state
            s = one + unit.decay * s * (1 - y)
            state = s, unit.output(s - unit.threshold)
            out.append(state[1])
        return torch.stack(out).detach()

    first, second = chip.compiled.layers
    wanted = spikes(model.second, spikes(model.first, x, first), second)
    found = chip(x)
    assert 0.02 < wanted.mean() < 0.98
    assert (found != wanted).float().mean() < 0.002  # of states at the threshold
    assert (model(x) != wanted).float().mean() > 0.02


@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_both_paths_agree(name, monkeypatch):
    """The compiled pass and the one of tensors: the same draws, and bits but for roundings."""
    model, x = network(), images(24)
    if name == "convolution":
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3)).eval()
        x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    spec = machine(presets.hermes("odp", "1-phase"), **{"core.adc": SenseAmplifierSpec()})
    chip = made(spec, model, x)
    compiled = chip(x, first_image=0)
    monkeypatch.setattr(chunk, "COMPILED", convert.PLAIN)
    plain = chip(x, first_image=0)
    assert ((plain - compiled).abs() < 1e-5 * compiled.abs().max()).float().mean() > 0.99


def test_results_do_not_depend_on_batches_and_survive_a_file(tmp_path):
    chip = made(machine(presets.hermes("odp", "1-phase"), **{"core.adc": SenseAmplifierSpec()}))
    x = images(30, seed=9)
    whole = chip(x, first_image=0)
    parts = [chip(x[:13], first_image=0), chip(x[13:], first_image=13)]
    assert torch.equal(torch.cat(parts), whole)
    chip.save(tmp_path / "chip.h5")
    assert torch.equal(aimc_sim.Chip.load(tmp_path / "chip.h5")(x, first_image=0), whole)
    chip.calibrate(images())
    assert torch.equal(chip(x, first_image=0), whole)
    chip.calibrate(3 * images())
    assert not torch.equal(chip(x, first_image=0), whole)


def test_levels_of_two_calibrations_are_their_mean_over_images():
    chip = made(machine())
    one, other = chip.ranges, chip.calibrate(2 * images(16)).ranges
    both = calibrate.joined(one, other)
    name = next(iter(one.adc_amperes))
    wanted = (48 * one.adc_amperes[name] + 16 * other.adc_amperes[name]) / 64
    np.testing.assert_allclose(both.adc_amperes[name], wanted)
    assert not calibrate.alike(one.adc_amperes, other.adc_amperes)
    assert calibrate.alike(one.adc_amperes, dict(one.adc_amperes))


def test_a_staircase_of_any_steps_counts_its_thresholds():
    table = StepTable(
        np.array([[-1.0, 0.0], [0.5, 0.0]], np.float32),
        np.array([[-3.0, 1.0], [0.0, 2.0], [5.0, 4.0]], np.float32),
    )
    converter = ColumnConverters(Quantiser(1.0, math.inf, False), table)
    z = np.array([[-2.0, -0.1], [-1.0, 0.0], [0.4, 3.0], [0.5, -9.0]])
    wanted = [[-3.0, 1.0], [0.0, 4.0], [0.0, 4.0], [5.0, 1.0]]
    np.testing.assert_array_equal(converter.codes(z), wanted)
    assert converter.limit == math.inf
    assert not converter.beyond(z).any()
    np.testing.assert_array_equal(
        converter.of_columns(1, 2).codes(z[:, 1:]), np.array(wanted)[:, 1:]
    )
    np.testing.assert_array_equal(converter.over(4).codes(z), 4 * np.array(wanted))


def test_energy_and_time_are_those_of_comparisons():
    """A comparison per column and MVM; the array, the modulators and the pulses stay."""
    spec = machine(presets.hermes("odp", "1-phase"))
    adc = presets.hermes("odp", "1-phase").core.adc
    plain = spec.with_({"core.adc": adc})
    one, many = ledger.mvm_parts(spec), ledger.mvm_parts(plain)
    assert one.converters == pytest.approx(256 * 67e-15)
    assert (one.array, one.modulators) == (many.array, many.modulators)
    assert many.converters > 100 * one.converters
    dearer = spec.with_({"core.adc.joules_per_comparison": 1e-12})
    assert ledger.mvm_parts(dearer).converters == pytest.approx(256e-12)
    slower = spec.with_({"core.adc.comparison_seconds": 21e-9})
    assert ledger.mvm_seconds(slower) - ledger.mvm_seconds(plain) == pytest.approx(21e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"core.read": presets.hermes().core.read}, "4-phase"),
        ({"core.dac.encoding": "bit-serial", "core.dac.bits": 8}, "bit-serial"),
        ({"core.encoding": {"kind": "offset-column"}}, "2 columns for one output"),
        (
            {"core.encoding": {"kind": "bit-slices", "weight_bits": 8, "bits_per_cell": 2}},
            "4 columns for one output",
        ),
        ({"core.g_max_rule": "saturation"}, "no full scale"),
    ],
)
def test_machines_in_which_one_bit_says_nothing_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        aimc_sim.Chip.from_model(network(), machine(**changes))


@pytest.mark.parametrize("name", ["bits", "full_scale_amperes", "range"])
def test_settings_of_adcs_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"a sense amplifier has no '{name}'"):
        SenseAmplifierSpec(**{name: 8})
    with pytest.raises(ValueError, match=f"a sense amplifier has no '{name}'"):
        presets.ideal().with_({"core.adc": QUIET | {name: 8}})


def test_drift_compensation_and_arrays_that_learn_are_refused():
    chip = made(machine())
    for method in ("gdc", "column", "gdc-signs", "ls"):
        with pytest.raises(ValueError, match="one bit has none"):
            chip.compensate(method)
    chip.compensate("none")
    with pytest.raises(ValueError, match="sense-amplifier"):
        learning.prepare(
            network(), machine(presets.hermes("odp", "1-phase")), learning.MixedPrecision(),
            device=learning.PcmPairs(),
        )  # fmt: skip


def test_a_study_that_compensates_what_has_no_size_is_refused_before_it_runs():
    changes = {
        "core.adc": {"kind": "sense-amplifier"}, "core.g_max_rule": "device",
        "core.read.polarity": None,
    }  # fmt: skip
    study = schema.make_study(
        {"network": "digits", "presets": "hermes-odp-1-phase", "changes": changes}
    )
    with pytest.raises(ValueError, match=r"setting 'hermes-odp-1-phase': compensation 'gdc'"):
        settings.check(study)
    settings.check(study.model_copy(update={"compensations": ("none",)}))


def test_levels_are_not_known_before_calibration():
    with pytest.raises(ValueError, match="thresholds and scales are not known before"):
        converters.adc(machine().core)
    with pytest.raises(ValueError, match="calibrate the chip again"):
        converters.of_core(machine().core, Key(0), 4, np.zeros((3, 5)))
