"""Networks of spiking units on the chip: equal to torch where all is ideal, streamed bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spiking_networks import coarse, made, spikes
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip import membranes
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.runtime.probe import Mixed, neuron_traces
from aimc_sim.spec import GdpuSpec
from aimc_sim.spiking import LIF, SNU, SoftSNU, over_time

pytestmark = pytest.mark.filterwarnings("ignore:layer")  # few sequences: some outputs clip

VARIANTS = {
    "feed-forward": {},
    "recurrent": {"recurrent": True},
    "inhibited": {"inhibition": True, "recurrent": True},
    "by subtraction": {"reset": "subtract"},
    "in the same step": {"delayed": False, "recurrent": True},
    "no reset": {"reset": "none", "transfer": "leaky"},
    "gated": {"recurrent": True, "axo_axonic": True},
    "adaptive": {"recurrent": True, "axo_somatic": 0.5},
    "gated and adaptive": {"axo_axonic": True, "axo_somatic": 0.5},
}


@pytest.mark.parametrize("kind", [SNU, SoftSNU])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ideal_chip_is_torch(variant, kind):
    """Spikes are exact: a spike too many or too few is off by a weight, 1/32 at least."""
    model, x = made(kind, **VARIANTS[variant]), spikes(8, 5, 12)
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    wanted = model(x).detach()
    assert wanted.std() > 0.01
    assert torch.allclose(chip(x), wanted, rtol=0, atol=2e-6)
    longer = spikes(13, 5, 12, seed=4)  # any number of steps
    assert torch.allclose(chip(longer), model(longer), rtol=0, atol=2e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("variant", ["feed-forward", "recurrent", "gated and adaptive"])
def test_pieces_give_the_whole_bit_by_bit(variant, batch_first):
    model = made(SNU, batch_first, **VARIANTS[variant])
    x = spikes(5, 9, 12) if batch_first else spikes(9, 5, 12)
    time = 1 if batch_first else 0
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(4)
    whole = chip(x, first_image=6)
    for lengths in ([1] * 9, [2, 5, 2], [9]):
        stream = chip.stream(first_image=6)
        parts = [stream(piece) for piece in x.split(lengths, time)]
        assert torch.equal(torch.cat(parts, time), whole)
    again = chip.stream(first_image=7)(x)
    assert not torch.equal(again, whole)  # another image has other noise


class WithState(nn.Module):
    """The state comes as an input and leaves."""

    def __init__(self, **options):
        super().__init__()
        self.unit = SNU(6, 5, threshold=0.25, decay=0.75, **options)

    def forward(self, x, *state):
        y, state = self.unit(x, state)
        return y, *state


@pytest.mark.parametrize("options", [{}, {"recurrent": True, "axo_somatic": 0.5}])
def test_states_enter_and_leave(options):
    torch.manual_seed(2)
    model = coarse(WithState(**options))
    shape = (4, 5)
    state = [torch.randint(-8, 8, shape) / 8, spikes(*shape)]
    state += [torch.randint(-8, 8, shape) / 8] * bool("axo_somatic" in options)
    inputs = (spikes(7, 4, 6), *state)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=inputs).program(0)
    for found, wanted in zip(chip(*inputs), model(*inputs), strict=True):
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, rtol=0, atol=1e-6)


class Maps(nn.Module):
    """Neurons behind a convolution, batch first."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif = nn.Conv2d(2, 5, 3), LIF(0.75, 0.25, batch_first=True)
        self.out = nn.Linear(5 * 16, 3)

    def forward(self, x):
        batch, steps = x.shape[:2]
        maps = self.conv(x.flatten(0, 1)).unflatten(0, (batch, steps))
        y, _ = self.lif(maps)
        return self.out(y.flatten(2)).mean(1)


@pytest.mark.parametrize(
    ("kind", "options", "products"),
    [
        (nn.LSTM, {}, 8), (nn.GRU, {}, 6),
        (SoftSNU, {"recurrent": True, "axo_axonic": True}, 4), (SoftSNU, {"recurrent": True}, 2),
        (SoftSNU, {}, 1), (SNU, {"recurrent": True}, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n", [5, 12])
def test_multiplications_are_those_of_the_closed_forms(kind, options, products, n):
    """Per unit and step, of n inputs and n units, whatever the steps: 8 n (LSTM) ... 1 n (sSNU)."""
    for steps in (3, 7):
        model = OneLayer(kind(n, n, batch_first=True, **options))
        chip = aimc_sim.Chip.from_model(
            model, presets.ideal(), example=torch.linspace(-1, 1, 2 * steps * n).view(2, steps, n)
        )
        assert sum(layer.macs for layer in chip.compiled.layers) == products * n * n
        chip.program(0)(torch.zeros(1, steps, n))
        assert chip.report().cost["macs"] == products * n * n * steps


class OneLayer(nn.Module):
    """The outputs of a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def test_neurons_behind_a_convolution():
    torch.manual_seed(3)
    model, x = coarse(Maps()), spikes(3, 4, 2, 6, 6)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=x).program(0)
    assert torch.allclose(chip(x), model(x), rtol=0, atol=2e-6)


def test_a_layer_off_the_cores():
    model, x = made(SNU), spikes(8, 5, 12)
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), where={"one": "digital"}).program(0)
    assert [layer.name for layer in chip.compiled.layers] == ["two", "out"]
    assert torch.allclose(chip(x), model(x), rtol=0, atol=2e-6)
    recurrent = made(SNU, recurrent=True)
    with pytest.raises(UnsupportedLayerError, match="the matrix of a recurrence runs on crossbars"):
        aimc_sim.Chip.from_model(
            recurrent, presets.ideal(), where={"one.recurrent_weight": "digital"}
        )


def test_the_same_layer_twice_has_one_set_of_devices():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.unit = SNU(6, 6, threshold=0.25, decay=0.75, recurrent=True)

        def forward(self, x):
            return self.unit(self.unit(x)[0])[0]

    torch.manual_seed(1)
    model, x = coarse(Twice()), spikes(7, 4, 6)
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    owners = [layer.owner for layer in chip.compiled.layers]
    assert owners == ["unit", "unit.recurrent_weight"] * 2
    assert torch.equal(chip(x), model(x))


def test_explanation():
    found = aimc_sim.Chip.explain(made(SNU, recurrent=True))
    fates = {row.name: row.fate for row in found.rows}
    assert fates["one"] == fates["one.recurrent_weight"] == fates["two"] == "analog"
    assert fates["one.neurons"] == "digital"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", [SNU, SoftSNU])
def test_half_precision_unit(variant, kind):
    """Every operation rounded once to float16: written down again with numpy's own halves."""
    options = VARIANTS[variant]
    neuron = kind(3, 4, decay=0.8, **options).neuron.attrs()
    generator = np.random.default_rng(7)  # of a test: addresses are not needed
    theta = generator.normal(0.3, 0.1, 4).astype("f4")
    strength = generator.normal(0.5, 0.2, 4).astype("f4")
    spec = GdpuSpec(exact_tanh=True)
    loaded = membranes.registers(neuron, theta, strength, 0.013, 0.021, 127.0, spec)
    sums = 4 * (1 + neuron["gate"] + (neuron["adaptation"] is not None))
    x = generator.integers(-127, 128, (6, sums)).astype("f4")
    fed = (
        generator.integers(-127, 128, (6, sums)).astype("f4") if options.get("recurrent") else None
    )
    sent = generator.integers(0, 2, (6, 4)).astype("f4")
    sent *= 1 if membranes.binary(neuron) else 127
    if membranes.binary(neuron):
        loaded = membranes.registers(neuron, theta, strength, 0.013, 0.021, 1.0, spec)
    state = generator.normal(0, 0.5, (6, 4 * (1 + (neuron["adaptation"] is not None))))
    after = membranes.step(neuron, loaded, x, fed, sent, state.astype("f4"), spec)
    wanted = halves(neuron, theta, strength, x, fed, sent, state)
    for found, own in zip((after.codes, after.cell), wanted, strict=True):
        assert np.array_equal(found, own.astype("f4"))


def halves(neuron, theta, strength, x, fed, sent, state):
    """Return codes and state; products and sums in double precision, rounded once each."""

    def h(value):
        return np.asarray(value, np.float64).astype(np.float16).astype(np.float64)

    def fma(a, b, c):
        return h(a * b + c)

    def sigmoid(v):
        return fma(0.5, h(np.tanh(h(0.5 * v))), 0.5)

    unit = 1.0 if neuron["output"] == "spike" and not neuron["gate"] else 127.0
    adapts = neuron["adaptation"] is not None
    theta, strength = h(theta), h(strength)
    s, *b = np.split(h(state), 1 + adapts, axis=1)
    parts = np.split(x.astype("f8"), 1 + neuron["gate"] + adapts, axis=1)
    back = [None] * len(parts) if fed is None else np.split(fed.astype("f8"), len(parts), axis=1)
    y = h(sent * h(1 / unit))
    r = y.max(1, keepdims=True) if neuron["inhibition"] else y
    left = h(h(neuron["decay"]) * s)
    if neuron["reset"] == "zero" and neuron["delayed"]:
        left = h(left * h(1 - r))
    total = fma(parts[0], h(0.013), left)
    if neuron["reset"] == "subtract" and neuron["delayed"]:
        total = fma(-r, theta, total)
    sums = [h(one * h(0.013)) for one in parts[1:]]
    if fed is not None:
        total = fma(back[0], h(0.021), total)
        sums = [fma(z, h(0.021), one) for z, one in zip(back[1:], sums, strict=True)]
    s = np.where(total > 0, total, h(h(0.1) * total)) if neuron["transfer"] == "leaky" else total
    excess = h(s - theta)
    if adapts:
        rho = h(neuron["adaptation"])
        b = [fma(rho, b[0], h(h(1 - rho) * sums[-1]))]
        excess = fma(strength, b[0], excess)
    y = (excess > 0).astype(float) if neuron["output"] == "spike" else sigmoid(excess)
    if neuron["gate"]:
        y = h(y * sigmoid(sums[0]))
    if not neuron["delayed"] and neuron["reset"] != "none":
        s = fma(-y, s, s)
    return np.clip(np.rint(h(y * unit)), -127, 127), np.concatenate([s, *b], 1)


def test_networks_of_snntorch_on_the_chip():
    snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed")
    torch.manual_seed(4)
    net = coarse(nn.Sequential(
        nn.Linear(12, 16), snntorch.Leaky(beta=0.75, init_hidden=True, threshold=0.5213),
        nn.Linear(16, 3), snntorch.Leaky(beta=0.75, init_hidden=True, threshold=0.2613),
    ))  # fmt: skip
    x = spikes(9, 4, 12)
    chip = aimc_sim.Chip.from_model(over_time(net), presets.ideal()).program(0)
    wanted = torch.stack([net(one) for one in x])
    assert 0 < wanted.mean() < 1
    assert torch.equal(chip(x), wanted)


def test_files_and_traces(tmp_path):
    """A chip from a file gives the same; the traces of its neurons are those of its outputs."""
    torch.manual_seed(3)
    model, x = coarse(Maps()), spikes(3, 4, 2, 6, 6)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"), example=x).calibrate(x).program(0)
    chip.save(tmp_path / "chip.h5")
    again = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert again.spec == chip.spec
    assert torch.equal(again(x, first_image=0), chip(x, first_image=0))
    (trace,) = neuron_traces(chip, x)
    assert trace.outputs.shape == trace.states.shape == (3, 4, 5, 4, 4)
    above = trace.states > trace.threshold.astype(np.float16)
    assert np.array_equal(trace.outputs, above.astype("f4"))  # the reset comes in the next step
    assert 0 < trace.outputs.mean() < 1
    plain = aimc_sim.Chip.from_model(nn.Sequential(nn.Linear(3, 2)), presets.ideal()).program(0)
    with pytest.raises(ValueError, match="no spiking neurons whose states could be shown"):
        neuron_traces(plain, torch.ones(1, 3))


def test_layers_of_two_chips_with_neurons():
    model, x = made(SNU), spikes(8, 5, 12)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)
    ideal = aimc_sim.Chip(chip.compiled, chip.spec)
    ideal.ranges = chip.ranges
    ideal.program(1)
    mixed = Mixed(chip, ideal, ["one", "two", "out"])
    assert torch.equal(mixed(x), chip(x, first_image=0))
