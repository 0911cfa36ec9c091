"""Chips of stepped devices that learned: equal weights, leakage, noise, files, refusals."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import learning, presets
from aimc_sim.core import tile
from aimc_sim.presets import STEPPED
from aimc_sim.spec import StepLeak

IDEAL, ODP = presets.ideal(), presets.hermes("odp")
LEAK = StepLeak(seconds=50.0, device_std=0.3)
X = torch.randn(24, 20, generator=torch.Generator().manual_seed(2))
LABELS = torch.randint(5, (24,), generator=torch.Generator().manual_seed(3))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 5))


def with_room(device, more=20e-6):
    """Return a device whose states below the nominal lower bound have conductances, too."""
    return device.with_(
        low_siemens=device.low_siemens + more, g_max_siemens=device.g_max_siemens + more
    )


def prepared(device, update=None, spec=IDEAL, model=None, **options):
    update = learning.StochasticPulses() if update is None else update
    return learning.prepare(
        mlp() if model is None else model, spec, update, seed=5,
        device=learning.StepDevices(device), clock=learning.Clock(seconds_per_step=1.0), **options,
    )  # fmt: skip


def trained(net, steps=8, lr=0.05):
    optimizer = learning.SGD(net.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), LABELS).backward()
        optimizer.step()
    return net.eval()


def largest_difference(chip, net, names=("0", "2"), suffix=""):
    return max(
        float(np.abs(chip.effective_weights(name + suffix) - net.weights(name)).max())
        for name in names
    )


# ----------------------------------------------------------------------- equal devices

DEVICES = {
    **{name: make() for name, make in STEPPED.items()},
    "capacitor": presets.capacitor(batch_seconds=2e-5),  # leaks within 20 s
    "reram-sb, symmetry point": presets.reram_sb(subtract_symmetry_point=True),
    "soft bounds, references": presets.soft_bounds(100, reference_std=0.2).with_(leak=LEAK),
    "dead ones": presets.reram_array_hfo2(dead_fraction=0.3),
    "leaking mosfet": presets.mosfet_synapse(leak_seconds=20.0),
    "leaking pairs": presets.pcm_step().with_(leak=LEAK),
    "write noise and leak": presets.reram_sb().with_(leak=LEAK, write_noise=100.0),
}


@pytest.mark.parametrize("name", DEVICES)
def test_a_chip_has_the_stepped_devices_that_learned(name, tmp_path):
    """Weights now and later. The conductances, float32 to 30 uS and 5 uS per unit: error 4e-7."""
    device = with_room(DEVICES[name])
    net = prepared(device)
    start = net.weights("0")
    trained(net)
    assert (net.weights("0") != start).mean() > 0.02  # devices got pulses
    net.at(net.clock.seconds + 3.0)
    chip = net.to_chip(seed=3)
    assert chip.spec.core.device == device
    assert largest_difference(chip, net) < 2e-6
    torch.testing.assert_close(chip(X), net(X).detach(), atol=2e-5, rtol=1e-5)
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5").at("1 min")
    chip.at("1 min")
    before = net.weights("0")
    net.at(net.clock.seconds + 60)
    assert largest_difference(chip, net) < 2e-6
    fell = np.abs(net.weights("0") - before).max()
    assert (fell > 0.02) == (device.leak is not None)
    np.testing.assert_array_equal(chip.effective_weights("2"), loaded.effective_weights("2"))
    assert torch.equal(chip(X, first_image=0), loaded(X, first_image=0))


@pytest.mark.parametrize(
    "device",
    [*(learning.StepDevices(DEVICES[name]) for name in DEVICES), learning.PcmPairs()],
    ids=[*DEVICES, "pairs"],
)
def test_a_converter_code_is_one_weight_in_training_and_on_the_chip(device):
    """Both reckon from a device at the largest conductance of its specification."""
    if isinstance(device, learning.StepDevices):
        device = learning.StepDevices(with_room(device.device))
    net = learning.prepare(mlp(), ODP, learning.MixedPrecision(), seed=5, device=device)
    for _, layer in net.layers():
        array = layer.array.pieces[0].synapses
        chip = device.on_chip(net.spec.core.device)
        siemens = array.elements(chip, 0.0)[1]
        assert siemens * array.full_weight == pytest.approx(chip.g_max_siemens)


@pytest.mark.parametrize("update", [
    learning.TikiTaka(version=1), learning.TikiTaka(auto_granularity=5.0),
    learning.AGAD(chopped=0.5, auto_granularity=5.0), learning.MixedPrecision(), learning.ESSOP(),
], ids=lambda update: f"{type(update).__name__} {getattr(update, 'version', '')}")  # fmt: skip
def test_the_chip_of_every_update_has_the_array_of_weights(update):
    """Of Tiki-Taka that is C; A, which the products of the network do not meet, stays behind."""
    device = with_room(presets.reram_sb(subtract_symmetry_point=True).with_(leak=LEAK))
    net = trained(prepared(device, update), 20)
    chip = net.to_chip()
    assert largest_difference(chip, net) < 2e-6
    for fast in net.model[0].array.pieces[0].engine.others:
        assert np.abs(fast.weights(net.clock.seconds)).max() > 0.01
        fast.state.p[:] = 0.7
        again = net.to_chip().effective_weights("0")
        np.testing.assert_array_equal(again, chip.effective_weights("0"))


def test_convolutions_and_biases_on_the_array():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(80, 5))
    net = prepared(presets.ecram(), model=model)
    net(torch.rand(2, 2, 4, 5)).square().sum().backward()
    learning.SGD(net.parameters(), lr=0.02).step()
    chip = net.eval().to_chip()
    found = chip.effective_weights("0").reshape(4, -1)
    np.testing.assert_allclose(found, net.weights("0"), atol=1e-6)
    x = torch.rand(3, 2, 4, 5)
    torch.testing.assert_close(chip(x), net(x).detach(), atol=1e-5, rtol=1e-5)
    net = trained(prepared(presets.pcm_step(), bias="array"))
    chip = net.to_chip()
    assert largest_difference(chip, net, suffix=".linear") < 1e-6
    torch.testing.assert_close(chip(X), net(X).detach(), atol=1e-5, rtol=1e-5)


def test_matrices_on_several_crossbars():
    """References, rates and states of every crossbar lie where the chip's own cuts put them."""
    device = with_room(presets.soft_bounds(50, reference_std=0.2).with_(leak=LEAK))
    net = prepared(device, model=nn.Linear(300, 270))
    x = torch.rand(2, 300)
    net(x).square().sum().backward()
    learning.SGD(net.parameters(), lr=0.01).step()
    assert len(net.model.array.pieces) == 4
    chip = net.eval().to_chip().at(30.0)
    net.at(net.clock.seconds + 30)
    found = chip.effective_weights("Linear")
    np.testing.assert_allclose(found, net.weights(""), atol=1e-6)
    torch.testing.assert_close(chip(x), net(x).detach(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("device", [presets.ecram(), presets.pcm_step()], ids=["single", "pairs"])
def test_noise_of_reads_is_that_of_training(device):
    """References have none: the variance is that of one device, or of the two of a pair."""
    net = trained(prepared(device.with_(read_noise=0.03)), 2)
    chip = net.to_chip()
    (core, crossbar), *_ = chip.state.tiles.items()
    now = tile.elements_at(crossbar, chip.spec.core, 0.0, chip.state.key(core))
    found = (now.fresh.astype(float) ** 2).sum(axis=0) / crossbar.siemens_per_weight**2
    wanted = net.model[0].array.pieces[0].synapses.variances(net.clock.seconds)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_drift_compensation_and_converters_of_the_chip():
    """All physics of the cores on: leakage is compensated, converters are the specification's."""
    spec = ODP.with_({"core.adc.full_scale_amperes": 20e-6})
    net = trained(prepared(presets.mosfet_synapse(leak_seconds=20.0), spec=spec))
    chip = net.to_chip().calibrate(X)
    assert chip.spec.core.adc == spec.core.adc
    assert chip.spec.core.dac == spec.core.dac
    start, exact = chip.effective_weights("0"), net(X).detach()
    assert (chip(X) - exact).square().mean() < 0.02 * exact.square().mean()
    chip.at(10.0)
    np.testing.assert_allclose(chip.effective_weights("0"), start * np.exp(-0.5), atol=1e-5)
    chip.compensate("gdc")
    # 16 reads of 20 rows: the factor is exp(0.5) but for rounding and noise.
    np.testing.assert_allclose(chip.effective_weights("0"), start, atol=0.03 * np.abs(start).max())
    report = str(chip.report())
    assert "training: 0 tuned" in report
    assert report.count("µJ") + report.count("nJ") > 0


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("encoding", [
    {"kind": "offset-column"}, {"kind": "bit-slices", "weight_bits": 5, "bits_per_cell": 2},
    {"kind": "several-devices", "devices": 2},
])  # fmt: skip
def test_other_cells_than_pairs_are_refused(encoding):
    spec = IDEAL.with_({"core.encoding": encoding})
    net = trained(prepared(presets.ecram(), spec=spec), 1)
    with pytest.raises(ValueError, match=f"layer '0': core.encoding is '{encoding['kind']}'"):
        net.to_chip()


def test_one_device_per_polarity_is_a_pair():
    spec = IDEAL.with_({"core.encoding": {"kind": "several-devices", "devices": 1}})
    net = trained(prepared(presets.ecram(), spec=spec), 1)
    assert largest_difference(net.to_chip(), net) < 1e-6


@pytest.mark.parametrize(("device", "change", "field"), [
    (learning.StepDevices(presets.ecram()), {"core.device.read_noise": 0.1}, "read_noise"),
    (learning.PcmPairs(), {"core.device.t0_seconds": 5.0}, "t0_seconds"),
])  # fmt: skip
def test_layers_with_other_devices_than_those_that_learned_are_refused(device, change, field):
    spec = IDEAL.with_({"core.device": device.device, "layers": {"2": change}})
    net = learning.prepare(mlp(), spec, device=device, weight_range=1.0).eval()
    net(X)
    with pytest.raises(ValueError, match=rf"layer '2': .*devices that learned \({field}\)"):
        net.to_chip()


def test_states_without_a_conductance_are_refused_with_the_way_out():
    device = presets.gokmen_vlasov()
    net = prepared(device, weight_range=0.1)
    net(X)  # weights beyond the range: every device begins at a bound of its own
    with pytest.raises(ValueError, match="devices are in states whose conductance") as refused:
        net.eval().to_chip()
    more = float(re.search(r"both higher by (\S+) S", str(refused.value)).group(1))
    assert 1e-6 < more < 6e-6
    other = prepared(with_room(device, more), weight_range=0.1)
    other.load_state_dict(net.state_dict())
    chip = other.eval().to_chip(example=X[:1])
    assert largest_difference(chip, net) < 1e-7
    less = prepared(with_room(device, 0.9 * more), weight_range=0.1)  # two digits, rounded up
    less.load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match="conductance would be below zero"):
        less.to_chip(example=X[:1])


def test_devices_at_a_lower_bound_without_conductance():
    """The nominal bound is no float32 number: its rounding is no conductance below zero."""
    device = presets.ecram().with_(low_siemens=0.0, variation=None)
    net = prepared(device, weight_range=0.1)
    net(X)
    for _, layer in net.layers():
        layer.array.pieces[0].synapses.state.p[:] = np.float32(device.lower)
    assert largest_difference(net.eval().to_chip(), net) < 1e-7


def test_devices_that_learned_are_not_refreshed():
    net = trained(prepared(presets.ecram()), 1)
    chip = net.to_chip().at(5.0)
    with pytest.raises(ValueError, match="layer '0' lies on devices that learned"):
        chip.refresh()
    chip.program(seed=1).calibrate(X)
    chip.refresh()  # of new devices


# ------------------------------------------------------------- devices that a message names


@pytest.mark.parametrize("update", [
    learning.StochasticPulses(), learning.TikiTaka(), learning.TikiTaka(version=1),
    learning.AGAD(), learning.MixedPrecision(), learning.ESSOP(),
], ids=lambda update: type(update).__name__)  # fmt: skip
def test_devices_that_the_message_names_work(update):
    """On resistive memory, of which no update has a law of pulses."""
    model = nn.Linear(20, 5)
    with pytest.raises(ValueError, match="whose devices are of the family 'rram'") as refused:
        learning.prepare(model, presets.generic_rram(), update)
    named = re.findall(r"device=(\S+\(.*?\)+)(?= or|$)", str(refused.value))
    assert len(named) == len(update.examples)
    for text in named:
        device = eval(text, {"learning": learning, "presets": presets})
        assert isinstance(device, learning.Device)
        net = learning.prepare(model, ODP, update, device=device)
        net(X).sum().backward()
        learning.SGD(net.parameters(), lr=0.1).step()
