"""Spikes as pulses of one bit: which layers, how long, how much, and what the converter makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spiking_networks import coarse, made, spikes
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import ledger
from aimc_sim.core import converters, inputs
from aimc_sim.mapping import spikes as mapping_spikes
from aimc_sim.rng import Key
from aimc_sim.spec import CcoAdcSpec
from aimc_sim.spiking import LIF, SNU, SoftSNU

pytestmark = pytest.mark.filterwarnings("ignore:layer")

QUIET = presets.ideal_devices(presets.hermes())


def chip_of(model, x, spec=QUIET):
    return aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0)


def binary(chip):
    names = [layer.owner for layer in chip.compiled.layers]
    return {name for name in names if chip.spec.for_layer(name).core.dac.binary}


@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        (SNU, {"recurrent": True}, {"one.recurrent_weight", "two", "two.recurrent_weight", "out"}),
        (SNU, {}, {"two", "out"}),
        (SNU, {"axo_axonic": True}, set()),  # a gated spike is no spike
        (SoftSNU, {"recurrent": True}, set()),
    ],
)
def test_layers_that_read_spikes(kind, options, wanted):
    model, x = made(kind, **options), spikes(6, 4, 12)
    chip = chip_of(model, x)
    assert binary(chip) == wanted
    assert mapping_spikes.machine_of(chip.compiled, chip.spec) is chip.spec
    codes = chip_of(model, x, QUIET.with_({"core.dac.spikes": "codes"}))
    assert binary(codes) == set()
    ideal = aimc_sim.Chip.from_model(model, presets.ideal())
    assert binary(ideal) == set()


def test_spikes_of_comparisons_are_found():
    class Stepwise(nn.Module):
        """Neurons written out: three steps, the batch first."""

        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(12, 10), nn.Linear(10, 3)

        def forward(self, x):
            s, total = 0.0, 0.0
            for t in range(3):
                s = 0.5 * s + self.one(x[:, t])
                y = (s > 0.2).float()
                s = s * (1 - y)
                total = total + self.two(y)
            return total

    torch.manual_seed(2)
    model, x = coarse(Stepwise()), spikes(5, 3, 12)
    chip = aimc_sim.Chip.from_model(model, QUIET, example=x).calibrate(x).program(0)
    assert binary(chip) == {"two"}


def test_pulses_are_codes_of_full_scale():
    """As long as the longest pulse, a spike brings the charge of the largest code: equal spikes."""
    model, x = made(SNU, recurrent=True), spikes(8, 6, 12)
    pulses, codes = (
        chip_of(model, x, QUIET.with_({"core.dac.spikes": how}))(x) for how in ("pulses", "codes")
    )
    assert torch.allclose(pulses, codes, rtol=0, atol=1e-5)
    assert pulses.std() > 0.05


def test_time_and_energy_of_binary_inputs():
    """Half of the phases of a 4-phase read; the overhead of an MVM stays. By hand from the spec."""
    for mode, phases, seconds in (("4-phase", 2, 8e-9), ("1-phase", 1, 5e-9)):
        spec = presets.hermes(read=mode) if mode == "1-phase" else presets.hermes()
        core = spec.core.with_({"dac.binary": True})
        assert inputs.modulations(core) == phases
        assert inputs.mvm_seconds(core) == pytest.approx(seconds + phases * 128e-9)
        short = core.with_({"dac.spike_seconds": 5e-9})
        assert inputs.mvm_seconds(short) == pytest.approx(seconds + phases * 6e-9)
        cost = spec.cost
        parts = ledger.mvm_parts(spec.with_({"core.dac.binary": True}), 10, 7, 0.0)
        assert parts.modulators == pytest.approx(
            10 * phases * (128e-9 * cost.modulator_watts + cost.modulator_joules_per_pulse)
        )
        assert parts.converters == pytest.approx(7 * phases * 128e-9 * cost.adc_watts)


def test_converter_of_short_pulses():
    """5 ns of 127: 20 of 511 codes, for the same current; a pulse of full length has them all."""
    spec = presets.hermes()
    adc = {"kind": "symmetric", "bits": 10, "full_scale_amperes": 100e-6}
    core = spec.core.with_({"adc": adc, "dac.binary": True})
    siemens = 100e-6 / core.read.v_read_volts / core.device.g_max_siemens
    whole = converters.adc(core)
    assert (whole.limit, whole.step) == (511, pytest.approx(siemens / 511))
    short = converters.adc(core.with_({"dac.spike_seconds": 5e-9}))
    assert (short.limit, short.step) == (20, pytest.approx(siemens / (511 * 5 / 127)))
    with pytest.raises(ValueError, match=r"core.dac.spike_seconds = 1e-10: full scale makes 0.4"):
        inputs.check(core.with_({"dac.spike_seconds": 1e-10}))


def test_oscillators_count_for_the_pulse_of_a_spike():
    """The circuits stay; counts per unit of current follow the window: the pulse and one step."""
    core = presets.hermes().core.with_({"adc": CcoAdcSpec()})
    pulse = core.with_({"dac.binary": True})
    short = core.with_({"dac.binary": True, "dac.spike_seconds": 31e-9})
    one, two, three = (converters.adc(c) for c in (core, pulse, short))
    assert two.limit == pytest.approx(one.limit)
    assert one.step == pytest.approx(two.step * 127)
    assert three.limit == pytest.approx(two.limit * 32 / 128)
    charge = np.linspace(0.1, 0.5, 8)[:, None] * two.limit * two.step  # codes, of full scale's
    found = [
        converters.of_core(c, Key(1).child(3), 5).codes(charge * scale) * law.step / scale
        for c, law, scale in ((core, one, 127), (pulse, two, 1))
    ]
    assert np.allclose(found[0], found[1], rtol=1e-5)  # the same oscillators


def test_binary_inputs_that_a_user_asks_for():
    """A first layer that gets spike trains; numbers become 0 and 1, negative ones are refused."""
    model, x = made(SNU), spikes(6, 4, 12)
    spec = QUIET.with_({"layers": {"one": {"core.dac.binary": True}}})
    chip = chip_of(model, x, spec)
    assert binary(chip) == {"one", "two", "out"}
    assert torch.allclose(chip(x, first_image=0), chip_of(model, x)(x), rtol=0, atol=1e-5)
    assert torch.equal(chip(0.8 * x, first_image=0), chip(x, first_image=0))
    with pytest.raises(
        ValueError, match="layer 'one' reads numbers below -1/2, but its inputs are"
    ):
        chip(-x)


def test_membranes_in_the_ledger():
    """Steps of neurons, by hand: energy per step in a local unit, that of a hidden state else."""
    model, x = made(SNU, recurrent=True), spikes(6, 4, 12)
    chip = chip_of(model, x)
    chip(x)
    pixels = {layer.name: 6 for layer in chip.compiled.layers}
    for unit, joules in (("local", 6.9e-12), ("global", 5.15e-10)):
        spec = chip.spec.with_({"cost.membrane_unit": unit})
        book = ledger.ledger(chip.compiled, spec, pixels, 1e-6)
        found = [
            e for e in book.entries
            if e.layer.endswith("recurrent_weight") and e.component == f"{unit} digital unit"
            and (unit == "global" or e.joules == pytest.approx(e.events * 6.9e-12))
        ]  # fmt: skip
        assert [e.events for e in found] == [6 * 20, 6 * 9]
        assert sum(e.joules for e in found) == pytest.approx(6 * 29 * joules)
    slow, fast = (
        ledger.estimate(chip.compiled, chip.spec.with_({"cost.membrane_latency_clocks": n}), pixels)
        for n in (2000, 1000)
    )
    added = slow.interval_seconds - fast.interval_seconds
    assert added == pytest.approx(6 * 1000 / chip.spec.core.ldpu.clock_hertz)


EVENTS = {
    "a comparison": lambda d: torch.cat([d > 0.2, d < -0.2], 1).float(),
    "a choice": lambda d: torch.where(d.abs() > 0.2, 1.0, 0.0).expand(-1, 2, -1, -1),
    "a choice of tensors": lambda d: torch.where(
        d > 0.2, torch.ones_like(d), torch.zeros_like(d)
    ).repeat(1, 2, 1, 1),
    "times one": lambda d: torch.cat([(d > 0.2) * 1.0, 1.0 * (d < -0.2)], 1),
    "heaviside": lambda d: torch.heaviside(torch.cat([d, -d], 1) - 0.2, torch.zeros(())),
    "or": lambda d: torch.cat([(d > 0.2) | (d < -0.2), (d > 0.2) ^ (d < 0.5)], 1).float(),
    "logical": lambda d: torch.cat([torch.logical_or(d > 0.2, d < 0), d.isnan()], 1).float(),
    "not": lambda d: (~torch.cat([d > 0.2, d < -0.2], 1)).float(),
    "one less": lambda d: 1 - torch.cat([d > 0.2, d < -0.2], 1).float(),
    "bool": lambda d: torch.cat([d - 0.2, -d - 0.2], 1).relu().bool().float(),
    "masked": lambda d: (d > 0.2).float().repeat(1, 2, 1, 1).masked_fill(d < 0, 0.0),
    "filled": lambda d: torch.zeros_like(d).masked_fill(d > 0.2, 1.0).expand(-1, 2, -1, -1),
    "picked": lambda d: torch.cat([d > 0.2, d < -0.2], 1).float()[:, [1, 0]],
    "largest": lambda d: torch.maximum((d > 0.2).float(), (d < 0).float()).repeat(1, 2, 1, 1),
    "beside zeros": lambda d: torch.cat([(d > 0.2).float(), torch.zeros_like(d)], 1),
    "padded": lambda d: nn.functional.pad((d > 0).float().repeat(1, 2, 1, 1), [1] * 4, value=1.0),
}
GRADED = {
    "not of integers": lambda d: (~torch.cat([d > 0.2, d < -0.2], 1).int()).float(),  # -1, -2
    "a chosen number": lambda d: torch.where(d > 0.2, d, 0.0).repeat(1, 2, 1, 1),
    "another height": lambda d: torch.where(d > 0.2, 1.0, 0.5).repeat(1, 2, 1, 1),
    "times two": lambda d: (d > 0.2).repeat(1, 2, 1, 1) * 2.0,
    "times a number": lambda d: ((d > 0.2) * d).repeat(1, 2, 1, 1),
    "heaviside of a half": lambda d: torch.heaviside(d.repeat(1, 2, 1, 1), torch.tensor(0.5)),
    "masked by -1": lambda d: (d > 0.2).float().repeat(1, 2, 1, 1).masked_fill(d < 0, -1.0),
    "two less": lambda d: 2 - torch.cat([d > 0.2, d < -0.2], 1).float(),
    "a table": lambda d: torch.tensor([[0.0, 3.0], [1.0, 2.0]])[(d[:, 0] > 0).long()].movedim(3, 1),
    "a sum": lambda d: ((d > 0.2).float() + (d > 0).float()).repeat(1, 2, 1, 1),
    "padded by two": lambda d: nn.functional.pad(
        (d > 0).float().repeat(1, 2, 1, 1), [1] * 4, value=2.0
    ),
    "places": lambda d: (d > 0.2).float().repeat(1, 2, 1, 1).cummax(2)[1].float(),
}


class TwoBranches(nn.Module):
    """A convolution of a frame, and one of events between two frames."""

    def __init__(self, events):
        super().__init__()
        torch.manual_seed(3)
        self.frame, self.event = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(2, 3, 3, 2, 1)
        self.out, self.events = nn.Linear(6, 4), events

    def forward(self, x):
        seen = self.frame(x[:, :1]).relu().mean((2, 3))
        changed = self.event(self.events(x[:, 1:] - x[:, :1])).relu().mean((2, 3))
        return self.out(torch.cat([seen, changed], 1))


@pytest.mark.parametrize("name", [*EVENTS, *GRADED])
def test_one_branch_reads_events_however_they_are_made(name):
    """Layers of 0 and 1 get pulses of one bit, all others codes: never numbers that do not fit."""
    x = torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    model = TwoBranches((EVENTS | GRADED)[name]).eval()
    network = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    with torch.no_grad():
        assert torch.allclose(network(x), model(x), rtol=0, atol=1e-6)
    wanted = ("event",) if name in EVENTS else ()
    assert mapping_spikes.spiking_layers(network.compiled) == wanted


def test_key_frames_and_residual_frames_on_one_chip():
    """Two branches, one over time: equal to torch, one bit beside eight, MVMs of both counted."""

    class Hybrid(nn.Module):
        """A frame in four by a ReLU, the changes of all others by integrate-and-fire neurons."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.frame, self.event = nn.Conv2d(1, 3, 3, 2, 1), nn.Conv2d(2, 3, 3, 2, 1)
            self.neurons, self.out = LIF(0.75, 0.25, batch_first=True), nn.Linear(6, 4)

        def forward(self, x):
            keys, d = x[:, [0, 4]], x[:, [1, 2, 3, 5, 6, 7]] - x[:, [0, 1, 2, 4, 5, 6]]
            seen = self.frame(keys.flatten(0, 1)).relu().mean((2, 3)).unflatten(0, keys.shape[:2])
            events = torch.cat([d > 0.2, d < -0.2], 2).float()
            drive = self.event(events.flatten(0, 1)).unflatten(0, events.shape[:2])
            spikes = self.neurons(drive)[0].mean((1, 3, 4))
            return self.out(torch.cat([seen.mean(1), spikes], 1))

    x = torch.rand(4, 8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model = coarse(Hybrid()).eval()
    ideal = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    assert torch.allclose(ideal(x), model(x), rtol=0, atol=2e-6)
    chip = aimc_sim.Chip.from_model(model, QUIET, example=x).calibrate(x).program(0)
    assert binary(chip) == {"event"}
    whole = chip(x, first_image=0)
    halves = torch.cat([chip(x[:2], first_image=0), chip(x[2:], first_image=2)])
    assert torch.equal(whole, halves)
    report = chip.report()
    assert report.cost["core_mvms"] == 2 * 16 + 6 * 16 + 1
    spikes = chip.spiking_report()
    assert [row.name for row in spikes.layers] == ["event"]
    assert spikes.layers[0].mvms == 6 * 16
