"""``spec.layers``: one layer has its own devices or converters, the others change in no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from interpreter import settle
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import ChipSpec

pytestmark = pytest.mark.filterwarnings("ignore:layer")  # few images: some clip

SPEC = presets.hermes("odp")


class Three(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.other = nn.Linear(12, 10), nn.Linear(10, 9), nn.Linear(12, 9)
        self.lstm = nn.LSTM(9, 6, batch_first=True)

    def forward(self, x):
        a, c = self.first(x), self.other(x)
        return a, self.second(a), c, self.lstm(c)[0]


NAMES = ["first", "second", "other", "lstm.weight_ih_l0", "lstm.weight_hh_l0"]


def sequences():
    return torch.randn(6, 4, 12, generator=torch.Generator().manual_seed(3))


def chip_with(layers, ranges=None):
    torch.manual_seed(0)
    model = settle(Three()).eval()
    chip = aimc_sim.Chip.from_model(model, SPEC.with_(layers=layers), example=sequences())
    return chip.calibrate(sequences()).program(5)


@pytest.fixture(scope="module")
def plain():
    return chip_with(())


def devices(chip, name):
    return [chip.conductances(block.core) for block in chip.compiled.layer(name).blocks]


def same_devices(a, b):
    """Names of the layers whose devices are alike, bit by bit."""
    assert a.compiled.blocks == b.compiled.blocks
    return {
        name for name in NAMES
        if all(map(np.array_equal, devices(a, name), devices(b, name)))
    }  # fmt: skip


DEVICES = {
    "another device": {"core.pcm": presets.pcm_25_microsiemens()},
    "no error of programming": {"core.pcm.programming": None},
    "another reset": {"core.pcm.reset.std_siemens": 2e-6},
    "no read noise": {"core.pcm.read_noise": None},
    "per column": {"core.weight_scaling": "column"},
    "two devices": {"core.pcm": presets.pcm_hermes_two_devices()},
}  # fmt: skip


@pytest.mark.parametrize("case", DEVICES)
@pytest.mark.parametrize("name", ["second", "lstm.weight_hh_l0"])
def test_only_its_devices_change(case, name, plain):
    own = chip_with({name: DEVICES[case]})
    assert same_devices(plain, own) == set(NAMES) - {name}
    assert own.at("1 day") is own
    assert same_devices(plain.at("1 day"), own) == set(NAMES) - {name}
    plain.at(0)


def test_drift_of_one_layer(plain):
    own = chip_with({"second": {"core.pcm.drift": None}})
    assert same_devices(plain, own) == set(NAMES)  # nothing drifted yet
    assert same_devices(plain.at("1 year"), own.at("1 year")) == set(NAMES) - {"second"}
    plain.at(0)


CONVERTERS = {
    "ADC": {"core.adc.bits": 5}, "DAC": {"core.dac.bits": 4},
    "full scale": {"core.adc.full_scale_amperes": 5e-6}, "outputs": {"core.ldpu.output_bits": 4},
}  # fmt: skip
FEEDS = {"first": [0, 1], "other": [2, 3], "lstm.weight_hh_l0": [3]}


@pytest.mark.parametrize("case", CONVERTERS)
@pytest.mark.parametrize("name", FEEDS)
def test_only_its_results_change(case, name, plain):
    """Where the layer's result goes, numbers change; everywhere else they are equal."""
    own = chip_with({name: CONVERTERS[case]})
    assert same_devices(plain, own) == set(NAMES)
    assert own.ranges == plain.ranges
    x = sequences()
    pairs = zip(plain(x, first_image=0), own(x, first_image=0), strict=True)
    assert [i for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)] == FEEDS[name]


def test_fewer_bits_leave_fewer_numbers():
    four = chip_with({"second": {"core.ldpu.output_bits": 4}})(sequences(), first_image=0)
    assert len(four[1].unique()) <= 15
    assert len(four[0].unique()) > 15
    assert len(four[2].unique()) > 15


def test_ideal_layer_beside_a_real_one():
    """A layer with ideal devices and converters computes what torch computes."""
    ideal = presets.ideal().core
    changes = {"core.pcm": ideal.pcm, "core.adc": ideal.adc, "core.dac": ideal.dac,
               "core.ldpu": ideal.ldpu, "core.read": ideal.read}  # fmt: skip
    chip = chip_with({"first": changes})
    x = sequences()
    found, model = chip(x, first_image=0), settle(Three()).eval()
    with torch.no_grad():
        expected = model(x)
    # The input is still cut to 8 bits: another layer reads it as well.
    step = chip.ranges.values["input"] / 127
    bound = step / 2 * model.first.weight.abs().sum(1).max() * 1.01
    assert (found[0] - expected[0]).abs().max() < bound
    assert (found[2] - expected[2]).abs().max() > 2 * bound * 0.1


# --------------------------------------------------------------------------- the choice


def test_later_patterns_overrule_field_by_field():
    spec = SPEC.with_(
        layers={
            "l*": {"core.adc.bits": 6, "core.dac.bits": 7},
            "lstm.weight_hh*": {"core.adc.bits": 9},
            "*": {"core.ldpu.link_bits": 6},
        }
    )
    assert [spec.for_layer(name).core.adc.bits for name in NAMES] == [11, 11, 11, 6, 9]
    assert [spec.for_layer(name).core.dac.bits for name in NAMES] == [8, 8, 8, 7, 7]
    assert {spec.for_layer(name).core.ldpu.link_bits for name in NAMES} == {6}
    assert spec.for_layer("first").layers == ()
    only = SPEC.with_(layers={"first": {"core.adc.bits": 6}})
    assert only.for_layer("second") is only
    assert SPEC.core == spec.core


def test_kept_by_json_save_and_load(tmp_path):
    chip = chip_with({"second": {"core.adc.bits": 5, "core.pcm.drift": None}})
    text = chip.spec.model_dump_json()
    assert ChipSpec.model_validate_json(text) == chip.spec
    assert chip.spec.id() != SPEC.id()
    assert SPEC.with_(layers=()).id() == SPEC.id()
    chip.at("1 h").save(tmp_path / "chip.h5")
    back = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert back.spec == chip.spec
    for mine, theirs in zip(chip(sequences()), back(sequences()), strict=True):
        assert torch.equal(mine, theirs)
    assert same_devices(chip, back) == set(NAMES)


REFUSED = {
    "unknown field": ({"first": {"core.adc.bit": 5}}, r"'first': '(core.)?adc.bit'.*did you mean"),
    "out of range": ({"first": {"core.adc.bits": 1}}, r"bits = 1 is not allowed"),
    "rows": ({"first": {"core.rows": 128}}, r"changes 'core.rows'.*not another size of crossbar"),
    "columns": ({"*": {"core.cols": 128}}, r"'\*' changes 'core.cols'"),
    "fabric": ({"first": {"fabric.rows": 2}}, r"changes 'fabric.rows'.*below 'core'"),
    "not a mapping": (3, "layers"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    layers, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        SPEC.with_(layers=layers)


def test_unknown_pattern_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"layers: 'frist' matches no layer.*mean 'first'\? There"):
        chip_with({"frist": {"core.adc.bits": 5}})


def test_layer_whose_converters_cannot_work_is_refused():
    layers = {"first": {"core.dac.encoding": "bit-serial", "core.dac.bits": None}}
    with pytest.raises(ValueError, match="bit-serial"):
        chip_with(layers)


COSTS = {
    "ADC of 4 bits": {"core.adc.bits": 4},
    "pulses of 4 bits": {"core.dac.bits": 4},
    "slower pulses": {"core.dac.lsb_seconds": 2e-9},
    "1-phase": {"core.read.mode": "1-phase", "core.read.mvm_seconds": 133e-9,
                "core.read.polarity": None},
    "slower digital unit": {"core.ldpu.clock_hertz": 1e8},
}  # fmt: skip


@pytest.mark.parametrize("case", COSTS)
def test_a_layer_is_charged_with_its_own_converters(case):
    """Entries of the layer are those of a machine whose cores are all like that, others are not."""
    from aimc_sim.chip import ledger
    from aimc_sim.chip.ledger.energy import shared_joules

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20)).eval()
    own, all_so = SPEC.with_(layers={"1": COSTS[case]}), SPEC.with_(COSTS[case])
    compiled = aimc_sim.Chip.from_model(model, own).compiled
    pixels = {"0": 3, "1": 5}

    def entries(spec, name):
        book = ledger.ledger(compiled, spec, pixels, 1e-6)
        return [(e.component, e.events, e.busy_seconds, e.joules) for e in book.entries
                if e.layer == name and e.component != "links"]  # fmt: skip

    assert entries(own, "0") == entries(SPEC, "0") != entries(all_so, "0")
    assert entries(own, "1") == entries(all_so, "1") != entries(SPEC, "1")
    found = ledger.ledger(compiled, own, pixels, 1e-6).energies(own)
    share = 3 * shared_joules(SPEC) + 5 * shared_joules(all_so)
    assert found.published_mvm_joules - found.mvm_joules == pytest.approx(share, rel=1e-12)


def test_a_layer_is_charged_by_hand():
    """Drivers: 256 rows, two phases of each polarity, windows of 8 steps of 1 ns for 4 bits.

    An MVM takes the chip's 520 ns unless its windows are longer: 4 x 1,024 ns of 11 bits, no more.
    """
    from aimc_sim.chip import ledger

    own = SPEC.with_(layers={"1": {"core.dac.bits": 4}, "2": {"core.dac.bits": 11}})
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20), nn.Linear(20, 3)).eval()
    compiled, cost = aimc_sim.Chip.from_model(model, own).compiled, own.cost
    book = ledger.ledger(compiled, own, {"0": 3, "1": 5, "2": 1}, 1e-6)
    found = {e.layer: e for e in book.entries if e.component == "modulators"}
    for name, events, window in (("0", 3, 128e-9), ("1", 5, 8e-9), ("2", 1, 1024e-9)):
        each = cost.modulator_watts * 4 * window + 4 * cost.modulator_joules_per_pulse
        assert found[name].joules == pytest.approx(events * 256 * each, rel=1e-12)
        mvm = max(520e-9, 4 * window)
        assert found[name].busy_seconds == pytest.approx(events * mvm, rel=1e-12)


def test_pipeline_and_procedures_take_a_layers_own_times():
    from aimc_sim.analysis.performance import performance
    from aimc_sim.runtime.procedures import adaptation_cost, compensation_cost

    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20)).eval()
    change = {"core.dac.lsb_seconds": 4e-9}
    own, all_so = SPEC.with_(layers={"1": change}), SPEC.with_(change)
    compiled = aimc_sim.Chip.from_model(model, own).compiled
    mvm = {}
    for name, spec in (("own", own), ("all", all_so), ("plain", SPEC)):
        found = performance(compiled, spec, (40,), images=3)
        mvm[name] = {s.layer: s.mvm_ps for s in found.pipeline.schedule.stages if s.layer}
        roofs = {roof.layer: roof.peak_tops for roof in found.roofs}
        mvm[name] |= {("roof", layer): peak for layer, peak in roofs.items()}
    for key in ("0", ("roof", "0")):
        assert mvm["own"][key] == mvm["plain"][key] != mvm["all"][key]
    for key in ("1", ("roof", "1")):
        assert mvm["own"][key] == mvm["all"][key] != mvm["plain"][key]
    pixels = {"0": 1, "1": 1}
    a, b, c = (adaptation_cost(compiled, s, 10, pixels).joules for s in (SPEC, own, all_so))
    assert b == pytest.approx((a + c) / 2, rel=1e-12)
    a, b, c = (compensation_cost(compiled, s, "gdc").seconds for s in (SPEC, own, all_so))
    assert a < b == c  # all cores at once: the slowest sets the time


# ------------------------------------------------------------------------------- training


def prepared_with(layers, change=(), **model):
    from aimc_sim.training import TrainingSpec, prepare

    torch.manual_seed(0)
    net = Three().eval()
    spec = SPEC.with_({**dict(change), "layers": layers})
    return prepare(net, spec, TrainingSpec(weight_noise="none"), seed=1)


def shown(net):
    """Return outputs in evaluation mode after a step that fixes ranges."""
    net.train()
    net(sequences())
    net.eval()
    with torch.no_grad():
        return net(sequences())


def test_training_gives_a_layer_its_own_converters():
    """A layer's outputs are those of a machine like that for all; the others keep theirs."""
    change = {"core.dac.bits": 3, "core.adc.bits": 4}
    own, plain = shown(prepared_with({"first": change})), shown(prepared_with(()))
    every = shown(prepared_with((), change))
    assert torch.equal(own[0], every[0])
    assert not torch.equal(own[0], plain[0])
    for k in (2, 3):  # they do not read what the first one makes
        assert torch.equal(own[k], plain[k])
        assert not torch.equal(own[k], every[k])
    pattern = shown(prepared_with({"*": change}))
    assert all(map(torch.equal, pattern, every))


def test_training_gives_matrices_of_a_recurrent_layer_and_an_attention_their_own():
    from aimc_sim.training import prepare

    net = prepared_with({"lstm.weight_hh_l0": {"core.dac.bits": 3}})
    codes = {name: one.input_codes for name, one in net.lstm.analog.items()}
    assert codes == {"weight_ih_l0": 127, "weight_hh_l0": 3}
    attention = nn.MultiheadAttention(8, 2)
    spec = SPEC.with_(layers={"MultiheadAttention.out_proj": {"core.dac.bits": 3}})
    found = prepare(attention, spec)
    assert {name: one.input_codes for name, one in found.analog.items()}["out"] == 3
    assert sum(one.input_codes == 3 for _, one in found.analog.items()) == 1


def test_training_refuses_patterns_that_fit_no_layer():
    from aimc_sim.spiking import SNU
    from aimc_sim.training import prepare

    with pytest.raises(ValueError, match="layers: 'secnod' matches no layer with weights"):
        prepared_with({"secnod": {"core.dac.bits": 3}})
    with pytest.raises(ValueError, match="layers: 'second' matches no layer with weights"):
        prepare(Three(), SPEC.with_(layers={"second": {"core.dac.bits": 3}}),
                where={"second": "digital"})  # fmt: skip

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.unit, self.out = SNU(3, 4), nn.Linear(4, 2)

    two = prepare(Two(), SPEC.with_(layers={"unit": {"core.adc.bits": 4}}))  # on the chip it is one
    assert two.out.analog["weight"].input_codes == 127
