"""Training for sense amplifiers: partial sums in the loop, as the chip compares them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets, zoo
from aimc_sim.core import converters, sense
from aimc_sim.core.quantise import ColumnConverters, StepTable
from aimc_sim.training import TrainingSpec, finalize, functional, prepare
from aimc_sim.training.functional import (
    ComparatorNoise,
    NoiseAddress,
    step,
    step_plainly,
    stepped,
)

QUIET = {"kind": "sense-amplifier", "offset_std_amperes": 0.0, "noise_amperes": 0.0}
STILL = TrainingSpec(weight_noise="none", input_range="off")


def machine(**changes):
    read = presets.hermes("odp", "1-phase").core.read.with_(polarity=None)
    spec = presets.ideal().with_({"core.rows": 16, "core.read": read, "core.adc": QUIET})
    return spec.with_(changes)


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Lines(nn.Module):
    """A convolution over one dimension, then a dense layer on (B, T, features)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(5, 7, 3), nn.Linear(7, 4)

    def forward(self, x):
        return self.second(self.first(x).relu().transpose(1, 2))


NETWORKS = {
    "dense": (lambda: nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 5)), (40,)),
    "blocks that end inside a channel": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3),
            nn.Flatten(), nn.ReLU(), nn.Linear(16, 5),
        ),
        (3, 8, 8),
    ),
    "lines": (Lines, (5, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "adc", [{}, {"threshold": "mean"}, {"threshold": "mean", "scale": "core"}],
    ids=["zero", "mean", "one scale"],
)  # fmt: skip
def test_a_batch_trains_with_the_levels_that_the_chip_is_calibrated_to(name, adc):
    """Batch by batch equal: the calibration images of the chip are the first batch of training."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, x = make().eval(), drawn(16, *shape)
    spec = machine(**{"core.adc": QUIET | adc})
    prepared = prepare(model, spec, STILL).train()
    trained = prepared(x)
    chip = aimc_sim.Chip.from_model(model, spec, example=x).calibrate(x).program(0)
    torch.testing.assert_close(chip(x), trained.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(prepared.eval()(x), trained)
    other = drawn(16, *shape, seed=2)
    torch.testing.assert_close(chip(other), prepared(other).detach(), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert (model(x) - trained).abs().max() > 0.01  # one bit is another function


def test_batch_normalisation_behind_comparators_is_the_affine_of_the_chip():
    """Moving means and factors of both signs: the thresholds stay those of the sums in front."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip
    spec, x = machine(**{"core.adc": QUIET | {"threshold": "mean"}}), drawn(16, 3, 8, 8)
    prepared = prepare(model, spec, STILL.with_(range_momentum=0.0)).train()
    with torch.no_grad():
        for norm in (prepared[1], prepared[4]):
            norm.weight.copy_(drawn(len(norm.weight), seed=5))
            norm.bias.copy_(drawn(len(norm.bias), seed=6))
    for _ in range(20):
        prepared(x)
    for norm in (prepared[1], prepared[4]):
        norm.eval()
    for _ in range(4):  # levels behind the running statistics, layer after layer
        prepared(x)
    net = finalize(prepared).eval()
    chip = aimc_sim.Chip.from_model(net, spec, example=x).calibrate(x).program(0)
    torch.testing.assert_close(chip(x), prepared.eval()(x).detach(), rtol=1e-4, atol=1e-4)
    assert [layer.folded for layer in chip.compiled.layers] == [("1", "2"), ("4",), ()]


class Flash:
    """A kind of converter as another file would add it: three thresholds in every column."""

    quantiser, check = staticmethod(sense.quantiser), staticmethod(sense.check)
    deviations, joules = staticmethod(sense.deviations), staticmethod(sense.joules)
    settling_seconds = staticmethod(sense.settling_seconds)

    @staticmethod
    def levels(core, sums):
        """Thresholds at the quartiles of the sums, values at the means between them."""
        cuts = np.quantile(sums, [0.25, 0.5, 0.75], axis=0)
        step = (sums >= cuts[:, None]).sum(axis=0)
        rows = [
            np.where(step == k, sums, 0).sum(0) / np.maximum(1, (step == k).sum(0))
            for k in range(4)
        ]
        return np.concatenate([cuts, rows])

    @staticmethod
    def converter(core, key, columns, calibrated=None):
        rows = sense.charge_per_ampere(core) * np.asarray(calibrated)
        table = StepTable(rows[:3].astype(np.float32), rows[3:].astype(np.float32))
        return ColumnConverters(sense.quantiser(core, calibrated), table)


@pytest.mark.parametrize("name", ["dense", "lines"])
def test_any_staircase_runs_and_trains_without_another_file(name, monkeypatch):
    """Calibration, executor and training read only what a kind of converter answers."""
    monkeypatch.setitem(converters.KINDS, "sense-amplifier", Flash)
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, x = make().eval(), drawn(64, *shape)
    prepared = prepare(model, machine(), STILL).train()
    trained = prepared(x)
    chip = aimc_sim.Chip.from_model(model, machine(), example=x).calibrate(x).program(0)
    near = ((chip(x) - trained.detach()).abs() < 1e-4).float().mean()
    assert near > 0.98  # a quartile is a sum itself: it may be on either side
    trained.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in prepared.parameters() if p.requires_grad)


def test_gradient_is_that_of_the_smooth_step():
    sums = torch.tensor([-3.0, -0.5, 0.0, 0.2, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([0.2, -0.6, 1.0], dtype=torch.float64)[:, None]  # half a step is 0.8
    weight = torch.arange(1.0, 7.0, dtype=torch.float64)
    place = (sums.detach() - 0.2) / 0.8
    for kind, slope in (("tanh", 1 - torch.tanh(place) ** 2), ("clip", (place.abs() <= 1) * 1.0)):
        sums.grad = None
        y = stepped(sums, rows, kind)
        assert y.tolist() == [-0.6, -0.6, -0.6, 1.0, 1.0, 1.0]
        (y * weight).sum().backward()
        torch.testing.assert_close(sums.grad, weight * slope)


PLACES = {
    "dense": ((40, 7), 0, None),
    "one column": ((20, 1), 0, None),
    "short runs": ((50, 7, 5, 5), 2, None),
    "long runs": ((4, 3, 3000), 1, None),
    "steps in time": ((3, 30, 2, 9, 9), 2, None),
    "channels last": ((6, 5, 20, 20), 2, torch.channels_last),
}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("place", PLACES)
def test_fused_comparisons_are_the_plain_ones(place, workers, monkeypatch):
    """Values equal; slopes up to single precision behind differences of nearly equal numbers."""
    shape, spatial, memory = PLACES[place]
    monkeypatch.setattr(functional, "CHUNK", 512)  # several parts
    monkeypatch.setattr(torch, "get_num_threads", lambda: workers)
    columns, behind = shape[-1 - spatial], (1,) * spatial
    sums = drawn(*shape)
    sums = sums if memory is None else sums.to(memory_format=memory)
    for steps in (1, 3):
        rows = drawn(2 * steps + 1, columns, seed=2)
        rows[:steps] = rows[:steps].sort(0).values
        rows[steps:] = rows[steps:].sort(0).values
        rows[:, columns // 2] = 0  # nothing to tell apart
        rows = rows.reshape(-1, columns, *behind)
        std, offset = drawn(columns, *behind, seed=3).abs(), drawn(columns, *behind, seed=4)
        for noise in (None, ComparatorNoise(std, offset, NoiseAddress(3, 4, 9 << 32))):
            for kind in ("tanh", "clip"):
                values, slope = step(sums, rows, kind, noise, True)
                wanted, wanted_slope = step_plainly(sums, rows, kind, noise, True)
                assert torch.equal(values, wanted)
                torch.testing.assert_close(slope, wanted_slope, rtol=0, atol=3e-5)
                assert step(sums, rows, kind, noise, False)[1] is None


def test_noise_in_front_of_comparators_has_its_law():
    """Share of ones against the normal law, n = 40,000: 5 standard errors are 0.0125."""
    sums, rows = torch.full((40_000, 3), 0.3), torch.tensor([0.0, -1.0, 1.0])[:, None]
    std, offset = torch.tensor([0.5, 1.0, 0.5]), torch.tensor([0.0, 0.0, 0.4])
    noise = ComparatorNoise(std, offset, NoiseAddress(1, 2, 3 << 32))
    share = (stepped(sums, rows.expand(3, 3), "tanh", noise) > 0).float().mean(0)
    wanted = torch.special.ndtr((0.3 - offset) / std)
    assert float((share - wanted).abs().max()) < 0.0125


def test_a_column_whose_values_are_one_has_no_gradient():
    sums = torch.zeros(3, requires_grad=True)
    stepped(sums, torch.zeros(3, 1), "tanh").sum().backward()
    assert sums.grad.tolist() == [0.0, 0.0, 0.0]


def test_levels_are_running_means():
    layer = prepare(nn.Linear(12, 3, bias=False), machine(), STILL.with_(range_momentum=0.8))
    one, other = drawn(50, 12), 3 * drawn(50, 12, seed=2)
    layer.train()
    layer(one), layer(other)
    scales = [(x @ layer.weight.detach().T).abs().mean(0) for x in (one, other)]
    wanted = 0.8 * scales[0] + 0.2 * scales[1]
    found = layer.analog["weight"].levels[0]
    torch.testing.assert_close(found, torch.stack([0 * wanted, -wanted, wanted]))
    layer.eval()(5 * one)
    assert torch.equal(found, layer.analog["weight"].levels[0])


def test_comparator_noise_has_the_size_that_it_has_on_the_chip():
    """Changed bits of both, column by column; n = 20,000: 5 standard errors are 0.018 at most."""
    model = nn.Linear(16, 24, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(drawn(24, 16, seed=3))
    spec = machine(**{"core.adc": QUIET | {"noise_amperes": 2e-6}})
    calibration, x = drawn(64, 16), drawn(1, 16, seed=5).expand(20_000, 16)
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(calibration).program(0)
    prepared = prepare(model, spec, STILL).train()
    prepared(calibration)
    shares = [(y > 0).float().mean(0) for y in (chip(x), prepared(x).detach())]
    assert float((shares[0] - shares[1]).abs().max()) < math.sqrt(2) * 0.018
    uncertain = (shares[0] > 0.1) & (shares[0] < 0.9)
    assert int(uncertain.sum()) >= 5  # the noise matters


def test_offsets_are_drawn_for_every_step():
    spec = machine(**{"core.adc": QUIET | {"offset_std_amperes": 2e-6}})
    prepared = prepare(nn.Linear(16, 24, bias=False), spec, STILL.with_(range_momentum=0.0)).train()
    x = drawn(200, 16)
    one, other = prepared(x), prepared(x)
    assert not torch.equal(one, other)
    again = prepare(nn.Linear(16, 24, bias=False), spec, STILL).train()
    again.load_state_dict(prepared.state_dict())
    again.analog["weight"].set_extra_state(torch.tensor([1, 0]))
    assert torch.equal(again(x), other)
    off = prepare(nn.Linear(16, 24), spec, STILL.with_(comparator_noise=False)).train()
    torch.testing.assert_close(off(x), off(x))


def test_stages_recover_what_one_bit_costs():
    """Digits, 64-32-10 on blocks of 16 rows: float, one bit without training, 150 steps with it."""
    (x, y), (seen, labels) = (
        (nn.functional.avg_pool2d(data.images.mean(1), 4).flatten(1), data.labels)
        for data in (zoo.digits("train"), zoo.digits("test"))
    )
    spec = presets.hermes("odp", "1-phase").with_({
        "core.rows": 16, "core.read.polarity": None, "core.g_max_rule": "device",
        "core.adc": {"kind": "sense-amplifier"},
    })  # fmt: skip
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def fit(net, steps):
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        draw = torch.Generator().manual_seed(1)
        for _ in range(steps):
            some = torch.randint(len(x), (64,), generator=draw)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net.train()(x[some]), y[some]).backward()
            optimiser.step()
        return net

    def on_chip(net):
        chip = aimc_sim.Chip.from_model(net.eval(), spec).calibrate(x[:256]).program(0)
        return 100 * float((chip(seen).argmax(1) == labels).float().mean())

    fit(net, 300)
    before = on_chip(net)
    after = on_chip(finalize(fit(prepare(net, spec), 150)))
    assert after > 80, (before, after)
    assert after - before > 15, (before, after)


@pytest.mark.parametrize(
    ("model", "options", "changes", "words"),
    [
        (nn.Linear(8, 4), {"output_range": "learned"}, {}, "running means"),
        (nn.Linear(8, 4), {"output_noise_fraction": 0.1}, {}, "noise_amperes"),
        (nn.Conv2d(4, 4, 3, groups=2), {}, {}, "grouped and transposed"),
        (nn.ConvTranspose2d(4, 4, 3), {}, {}, "grouped and transposed"),
        (nn.LSTM(4, 4), {}, {}, "recurrent layers"),
        (nn.MultiheadAttention(4, 2), {}, {}, "attention"),
        (nn.Linear(8, 4), {}, {"core.read": presets.hermes().core.read}, "4-phase"),
    ],
)
def test_trainings_that_would_compare_nothing_are_refused(model, options, changes, words):
    with pytest.raises(ValueError, match=words):
        prepare(model, machine(**changes), TrainingSpec(**options))
    off = {"output_range": "off", "output_noise_fraction": 0.0}
    prepare(model, machine(**changes), TrainingSpec(**options | off))
