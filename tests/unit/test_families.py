"""A family of devices of one's own, in this one file, on a whole chip; the names of core.device."""

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
import toy_study

import aimc_sim
from aimc_sim import presets, results
from aimc_sim.device import DeviceState, ElementsNow, Family, draws, family, register
from aimc_sim.rng import Purpose
from aimc_sim.spec import READ_NOISE, ChipSpec, CoreSpec, DeviceSpec, Effect, quantity
from aimc_sim.spec.family import declared
from aimc_sim.studies import attribute, inputs, pools, schema, sweep
from aimc_sim.training import TrainingSpec, prepare
from aimc_sim.training.law import weight_law

torch.manual_seed(0)
MODEL = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.ReLU(), torch.nn.Linear(12, 6))
IMAGES = torch.randn(16, 20, generator=torch.Generator().manual_seed(1))

# ------------------------------------------------------------------------- the family


class LeakySpec(DeviceSpec):
    """Charge that leaks away: every device has a time constant of its own."""

    effects: ClassVar[tuple[Effect, ...]] = (
        Effect("programming error", "error_fraction", 0.0),
        Effect("leakage", "leak_seconds", None, "leakage of charge"),
        Effect(READ_NOISE, "noise_fraction", 0.0),
    )

    family: Literal["leaky"] = quantity("-", "device family", "leaky")
    error_fraction: float = quantity("-", "standard deviation of the written g", 0.02, ge=0)
    leak_seconds: float | None = quantity("s", "median time constant", 1e6, gt=0)
    noise_fraction: float = quantity("-", "standard deviation of a read", 0.01, ge=0)
    source: str = "made up for this test"


@dataclass(frozen=True)
class LeakyState(DeviceState):
    """``rate`` is that of a device, in units of the median rate."""

    rate: np.ndarray


class Leaky(Family[LeakySpec, LeakyState]):
    name = "leaky"
    spec_class, state_class = LeakySpec, LeakyState

    def program(self, target, programmed, spec, address, key, cycle=0):
        own = family.cycle_key(key, cycle).child(Purpose.PROGRAM)
        error, rate = draws.normals(target.shape, address, own)
        g = target * (1 + np.float32(spec.error_fraction) * error)
        return LeakyState(target, programmed, g, np.exp(0.1 * rate))

    def at(self, state, spec, t_seconds, address, key):
        g = state.g
        if spec.leak_seconds is not None:
            g = g * np.exp(-state.rate * np.float32(t_seconds / spec.leak_seconds))
        fresh = np.float32(spec.noise_fraction) * g if spec.noise_fraction else None
        return ElementsNow(g, fresh)


DEVICE = LeakySpec(g_max_siemens=10e-6, t0_seconds=1.0)


@pytest.fixture(scope="module", autouse=True)
def registered():
    if "leaky" not in declared():
        register(Leaky())


# -------------------------------------------------------------------------- the tests


def machine(device=DEVICE):
    return presets.ideal().with_({"core.device": device})


def chip_of(spec):
    chip = aimc_sim.Chip.from_model(MODEL, spec)
    chip.calibrate([IMAGES])
    return chip.program(seed=4)


def distance(outputs):
    with torch.no_grad():
        exact = MODEL(IMAGES)
    return float((outputs - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def test_without_its_effects_it_is_the_ideal_chip():
    perfect = machine(DEVICE.ideal())
    assert perfect == presets.ideal_devices(machine()).with_(name="ideal")
    outputs = chip_of(perfect)(IMAGES)
    torch.testing.assert_close(outputs, chip_of(presets.ideal())(IMAGES), rtol=1e-5, atol=1e-6)
    assert distance(outputs) < 1e-6
    assert attribute.effects(perfect) == []


def test_a_network_runs_ages_and_is_compensated(tmp_path):
    chip = chip_of(machine())
    start = distance(chip(IMAGES))
    assert 0.003 < start < 0.1  # 2 % of error and 1 % of noise per device
    late = distance(chip.at(5e5)(IMAGES))
    assert 0.5 < late < 0.7  # exp(-1/2) of every one of two layers is left: 1 - exp(-1)
    assert distance(chip.compensate("gdc")(IMAGES)) < 0.2 * late
    assert chip.conductances(next(iter(chip.state.tiles))).shape[0] == 2
    again = distance(chip.at(0).compensate("none")(IMAGES))
    assert again == pytest.approx(start, rel=0.3)  # other noise, the same devices
    chip.at("1 day").compensate("gdc")
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert loaded.spec == chip.spec
    for core, tile in chip.state.tiles.items():
        other = loaded.state.tiles[core].devices
        assert isinstance(other, LeakyState)
        np.testing.assert_array_equal(other.rate, tile.devices.rate)
    torch.testing.assert_close(loaded(IMAGES), chip(IMAGES), rtol=0, atol=0)


def test_reports_say_what_it_leaves_out():
    words = "leakage of charge (core.device.leak_seconds)"
    assert words not in str(chip_of(machine()).report())
    assert words in str(chip_of(machine(DEVICE.with_(leak_seconds=None))).report())


def test_attribution_takes_its_effects_apart(tmp_path):
    study = schema.make_study(
        {
            **toy_study.STUDY, "presets": "ideal", "grid": {}, "times": "8 d",
            "changes": {"core.device": DEVICE.with_(error_fraction=0.3).model_dump()},
            "compensations": "none",
        }
    )  # fmt: skip
    whole = attribute.make(study)
    given = inputs.gather(whole)
    sweep.sweep(whole, given, pools.InProcess(given, 1), tmp_path / "out")
    rows = attribute.table(results.load(tmp_path / "out"))
    alone = rows[rows["kind"] == "alone"].set_index("effect")["difference"]
    assert set(alone.index) == {"programming error", "leakage", READ_NOISE}
    assert alone["programming error"] < -0.02  # three in ten
    assert alone[READ_NOISE] > -0.02  # one in a hundred


def test_effects_name_their_sources():
    found = attribute.sources(presets.generic_rram())
    assert list(found) == ["programming error", "relaxation", READ_NOISE]
    assert found["relaxation"].startswith("[cmo]; one place per device")
    quiet = DEVICE.with_(noise_fraction=0.0)
    assert attribute.sources(machine(quiet)) == {
        "programming error": "made up for this test", "leakage": "made up for this test",
    }  # fmt: skip


def test_training_draws_its_noise():
    core = machine(DEVICE.with_(error_fraction=0.05)).core
    small = core.with_(rows=64, cols=64)
    law = weight_law(small, read_noise=False)
    assert law.mean[0][-1] == pytest.approx(1, abs=0.01)
    assert law.std[0][-1] == pytest.approx(0.05, rel=0.15)
    assert weight_law(small).std[0][-1] == pytest.approx(np.hypot(0.05, 0.01), rel=0.15)
    layer = torch.nn.Linear(64, 64, bias=False)
    options = TrainingSpec(input_range="off", output_range="off")
    trained = prepare(layer, machine(DEVICE.with_(error_fraction=0.05)), options).train()
    with torch.no_grad():
        found = trained(torch.eye(64)).T - layer.weight
        relative = found.std() / layer.weight.square().mean().sqrt()
    assert float(relative) == pytest.approx(np.hypot(0.05, 0.01), rel=0.15)


def test_names_of_families():
    with pytest.raises(ValueError, match="'leaky' is registered already"):
        register(Leaky())

    class Other(Leaky):
        name = "other"

    with pytest.raises(ValueError, match="has the specification of 'leaky'"):
        register(Other())
    with pytest.raises(ValueError, match="no device family is named 'leaki'; did you mean 'leaky'"):
        presets.hermes().with_({"core.device": {"family": "leaki"}})


@pytest.mark.parametrize("device", [DEVICE, presets.pcm_25_microsiemens(), presets.rram_cmo_hfox()])
def test_specifications_come_back_from_files(device):
    spec = presets.hermes("odp").with_({"core.device": device, "core.g_max_rule": "device"})
    again = ChipSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.id() == spec.id()
    assert type(again.core.device) is type(device)


def test_the_former_name_of_the_device_is_accepted():
    """Identities below are those of the release before families."""
    assert presets.hermes().id() == "946e9876ce3e1086"
    spec = presets.hermes("odp").with_({"core.pcm.read_noise": None})
    assert spec == presets.hermes("odp").with_({"core.device.read_noise": None})
    assert '"pcm":{' in spec.id_text()
    assert "family" not in spec.id_text()
    kept = json.loads(spec.model_dump_json())
    kept["core"]["pcm"] = kept["core"].pop("device")
    del kept["core"]["pcm"]["family"]
    assert ChipSpec.model_validate_json(json.dumps(kept)) == spec
    layers = [presets.hermes().with_({"layers": {"a": {f"core.{n}": presets.pcm_ideal()}}})
              for n in ("pcm", "device")]  # fmt: skip
    assert layers[0] == layers[1]
    assert layers[0].id() == layers[1].id()
    assert layers[0].for_layer("a").core.device == presets.pcm_ideal()
    data = presets.hermes().core.model_dump()
    with pytest.raises(ValueError, match="'pcm' is the former name of 'device'; give one of them"):
        CoreSpec.model_validate({**data, "pcm": data["device"]})
    assert spec.core.pcm is spec.core.device
    with pytest.raises(TypeError, match="of the family 'rram', not phase-change memory"):
        _ = presets.generic_rram().core.pcm


def test_layers_of_several_families_come_back_from_a_file(tmp_path):
    own = {"core.device": presets.pcm_hermes_one_device()}  # whose laws hold lists in a file
    spec = presets.generic_rram().with_({"layers": {"0": own, "2": {"core.device": DEVICE}}})
    assert ChipSpec.model_validate_json(spec.model_dump_json()) == spec
    chip = chip_of(spec)
    states = [type(tile.devices).__name__ for tile in chip.state.tiles.values()]
    assert states == ["PcmState", "LeakyState"]
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5")
    torch.testing.assert_close(loaded(IMAGES), chip(IMAGES), rtol=0, atol=0)


def test_the_same_numbers_in_another_family_are_another_machine():
    text = machine().id_text()
    assert '"family":"leaky"' in text
    assert machine().id() != presets.ideal().id()
