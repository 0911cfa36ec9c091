"""Every effect at its ideal value is exact, and leaves the other effects as they are.

First on the ideal machine, against torch: one effect after the other is switched in with the
value that should do nothing. Then on a machine that has everything, against the same machine
without the effect: both ways of having none (``None``, and the ideal value) agree, and what the
effect does not touch stays bit for bit.
"""

import functools
import warnings

import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.spec import (
    CcoAdcSpec,
    FaultSpec,
    LdpuSpec,
    PolaritySpec,
    TemperatureLaw,
    WireSpec,
)

NETS = small_nets()
LAWS = presets.hermes("odp").core.pcm
READ = presets.hermes("odp", "1-phase").core.read
COUNTERS = CcoAdcSpec(  # so many counts that their rounding is below float32
    gain_hertz_per_ampere=35e18, full_scale_amperes=1.0, counter_bits=None, jitter_counts=0.0,
    nonlinearity_per_ampere=0.0, nonlinearity_std_fraction=0.0, gain_std_fraction=0.0,
    mirror_std_fraction=0.0, offset_std_amperes=0.0, trim_std_fraction=0.0, calibrated=False,
)  # fmt: skip
NO_FAULTS = FaultSpec(stuck_set_siemens=10e-6)
WARM = TemperatureLaw(
    kelvin=300.0, activation_reset_ev=0.2, activation_set_ev=0.05, relaxation_ev=0.1
)

IDEAL = {
    "wires of 0 ohm": {"core.wires": WireSpec()},
    "wires of 0 ohm, floating": {"core.wires": WireSpec(idle="high-impedance")},
    "1-phase": {"core.read": READ.with_(polarity=None)},
    "equal polarities": {"core.read": READ.with_(polarity=PolaritySpec())},
    "no stuck cell": {"core.pcm.faults": NO_FAULTS},
    "reference temperature": {"core.pcm.temperature": WARM},
    "programming error x 0": {"core.pcm.programming": LAWS.programming.with_(scale=0.0)},
    "drift x 0": {"core.pcm.drift": LAWS.drift.with_(scale=0.0)},
    "read noise x 0": {"core.pcm.read_noise": LAWS.read_noise.with_(scale=0.0)},
    "RESET cells programmed to zero": {"core.pcm.zero_target": "programmed"},
    "RESET background, equal in both polarities": {"core.pcm.reset.mean_siemens": 1e-7},
    "bit-serial": {"core.dac.encoding": "bit-serial"},
    "bit-serial, slow": {"core.dac.encoding": "bit-serial", "core.dac.bit_seconds": 1.0},
    "ADC range beyond all currents": {"core.adc.full_scale_amperes": 1.0},
    "endless counters": {"core.adc": COUNTERS},
    "endless counters, 1-phase": {"core.adc": COUNTERS, "core.read": READ.with_(polarity=None)},
    "g_max by bit line": {"core.g_max_rule": "bit-line"},
    "weights scaled by column": {"core.weight_scaling": "column"},
    "squared-error ranges": {"calibration.range_method": "mse"},
    "one row less": {"core.rows": 255},
    "small cores": {"core.rows": 64, "core.cols": 32},
}  # fmt: skip

WORSE = {
    "wires of 0 ohm": {"core.wires": WireSpec(row_ohm=20.0, col_ohm=20.0)},
    "wires of 0 ohm, floating": {
        "core.wires": WireSpec(row_ohm=20.0, col_ohm=20.0, idle="high-impedance")
    },
    "equal polarities": {"core.read": READ.with_(polarity=PolaritySpec(mean_fraction=0.01))},
    "no stuck cell": {"core.pcm.faults": NO_FAULTS.with_(stuck_set_fraction=0.01)},
    "reference temperature": {"core.pcm.temperature": WARM.with_(kelvin=301.0)},
    "programming error x 0": {"core.pcm.programming": LAWS.programming.with_(scale=0.01)},
    "drift x 0": {"core.pcm.drift": LAWS.drift.with_(scale=0.01)},
    "read noise x 0": {"core.pcm.read_noise": LAWS.read_noise.with_(scale=0.01)},
    "RESET background, equal in both polarities": {"core.pcm.reset.mean_siemens": 1e-7,
                                                   "core.pcm.reset.std_siemens": 1e-9},
    "bit-serial": {"core.dac.encoding": "bit-serial", "core.dac.bits": 10},
    "ADC range beyond all currents": {"core.adc.full_scale_amperes": 1e-6},
    "calibrated ADC range": {"core.adc.range": "calibrated", "calibration.percentile": 95.0},
    "endless counters": {"core.adc": COUNTERS.with_(gain_hertz_per_ampere=35e13)},
    "g_max by bit line": {"core.adc.full_scale_amperes": 1e-6},
}  # fmt: skip
"""The same effects a little off their ideal value."""


def images_of(name):
    return torch.randn((12, *NETS[name][1]), generator=torch.Generator().manual_seed(1))


@functools.cache
def exact(name):
    with torch.inference_mode():
        return NETS[name][0](images_of(name))


def largest_error(name, changes):
    """Largest error of the ideal machine with some changes, in units of the largest output."""
    images = images_of(name)
    chip = aimc_sim.Chip.from_model(NETS[name][0], presets.ideal().with_(changes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what clips
        found = chip.calibrate(images).program(0).at("1 day")(images)
    return float((found - exact(name)).abs().max() / exact(name).abs().max())


TOLERANCE = 1e-5  # float32 through three layers; wires pass through float64 solves


@pytest.mark.parametrize("name", ["odd_conv", "asymmetric_300x40"])
@pytest.mark.parametrize("effect", IDEAL)
def test_an_ideal_value_is_exact(effect, name):
    assert largest_error(name, IDEAL[effect]) < TOLERANCE


@pytest.mark.parametrize("effect", WORSE)
def test_next_to_the_ideal_value_it_is_not(effect):
    assert largest_error("asymmetric_300x40", WORSE[effect]) > 3 * TOLERANCE


def test_a_calibrated_range_without_steps_is_exact_on_its_images():
    """Up to a last bit of the largest current, which may lie above the range by rounding."""
    assert largest_error("asymmetric_300x40", {"core.adc.range": "calibrated"}) < TOLERANCE


def test_integers_pass_exactly():
    """8-bit inputs that are integers already, bit after bit: nothing is lost."""
    model = torch.nn.Linear(100, 20)
    images = torch.randint(-127, 128, (30, 100), generator=torch.Generator().manual_seed(2))
    images = images.float()
    images[0, 0] = 127
    serial = {"core.dac.bits": 8, "core.dac.encoding": "bit-serial"}
    chip = aimc_sim.Chip.from_model(model, presets.ideal().with_(serial)).calibrate(images)
    with torch.inference_mode():
        torch.testing.assert_close(chip.program(0)(images), model(images), rtol=1e-5, atol=1e-4)


# ------------------------------------------------------------ on a machine that has everything

FULL = presets.hermes("odp", "1-phase").with_(
    {
        "core.pcm.faults": NO_FAULTS.with_(stuck_set_fraction=0.02, stuck_reset_fraction=0.02),
        "core.pcm.temperature": WARM.with_(kelvin=330.0),
        "core.wires": WireSpec(row_ohm=1.0, col_ohm=1.0, driver_ohm=20.0),
        "core.ldpu": LdpuSpec(output_bits=12),
        "core.adc.bits": 13,
    }
)
TWO_WAYS = {
    "wires": ({"core.wires": None}, {"core.wires": WireSpec()}),
    "faults": ({"core.pcm.faults": None}, {"core.pcm.faults": NO_FAULTS}),
    "temperature": ({"core.pcm.temperature": None}, {"core.pcm.temperature": WARM}),
    "polarity": ({"core.read.polarity": None}, {"core.read.polarity": PolaritySpec()}),
    "programming error": (
        {"core.pcm.programming": None},
        {"core.pcm.programming": LAWS.programming.with_(scale=0.0)},
    ),
    "drift": ({"core.pcm.drift": None}, {"core.pcm.drift": LAWS.drift.with_(scale=0.0)}),
    "read noise": (
        {"core.pcm.read_noise": None},
        {"core.pcm.read_noise": LAWS.read_noise.with_(scale=0.0)},
    ),
    "encoding": ({}, {"core.dac.bit_seconds": 1e-9}),  # plays no part under pulse widths
}
DEVICES = {"faults", "temperature", "programming error", "drift", "read noise"}
"""Effects that change conductances; the others only change how they are read."""


@functools.cache
def physical(effect, way):
    """Outputs and conductances of the full machine without an effect, in one of two ways."""
    changes = {} if effect is None else TWO_WAYS[effect][way]
    images = images_of("asymmetric_300x40")
    chip = aimc_sim.Chip.from_model(NETS["asymmetric_300x40"][0], FULL.with_(changes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = chip.calibrate(images).program(3).at("1 h")(images)
    return outputs, chip.conductances(chip.compiled.blocks[0].core)


@pytest.mark.parametrize("effect", TWO_WAYS)
def test_none_and_the_ideal_value_are_the_same(effect):
    (absent, devices), (ideal, same_devices) = physical(effect, 0), physical(effect, 1)
    if effect == "wires":  # solved in float64, rounded once more
        assert ((absent - ideal).abs() > 1e-5 * absent.abs().max()).float().mean() < 0.05
    else:
        assert torch.equal(absent, ideal)
    assert (devices == same_devices).all()


@pytest.mark.parametrize("effect", TWO_WAYS)
def test_only_that_effect_goes(effect):
    """Without it outputs differ; conductances differ only if they are what the effect is about."""
    (everything, devices), (without, others) = physical(None, 0), physical(effect, 0)
    if effect != "encoding":
        assert not torch.equal(everything, without)
    assert (devices != others).any() == (effect in DEVICES)


def test_without_device_effects_conductances_are_the_targets():
    spec = FULL.with_({key: value for e in DEVICES for key, value in TWO_WAYS[e][0].items()})
    spec = spec.with_({"core.g_max_rule": "device"})
    chip = aimc_sim.Chip.from_model(NETS["asymmetric_300x40"][0], spec).program(3).at("1 year")
    tile = chip.state.tiles[chip.compiled.blocks[0].core]
    found = chip.conductances(chip.compiled.blocks[0].core)
    weight = chip.compiled.layers[0].weight[:150]
    net = found[:2].sum(axis=0) - found[2:].sum(axis=0)
    torch.testing.assert_close(
        torch.from_numpy(net), torch.from_numpy(weight * tile.siemens_per_weight).float(),
        rtol=1e-5, atol=1e-12,
    )  # fmt: skip
