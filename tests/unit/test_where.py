"""``where=``: which layers go on crossbars, and that the others are torch's own numbers."""

from __future__ import annotations

import pytest
import torch
from interpreter import settle
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.chip.program import DigitalStep
from aimc_sim.mapping.where import Chosen


class Mixed(nn.Module):
    """One of each kind that may be either: maps, lines, sequences, vectors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2, groups=2)
        self.line = nn.Conv1d(4, 6, 3)
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.gru = nn.GRU(5, 4, 2, batch_first=True, bidirectional=True)
        self.rnn = nn.RNN(8, 3, batch_first=True, nonlinearity="relu")
        self.fc = nn.Linear(3, 7)

    def forward(self, x):
        x = self.up(self.conv(x)).relu()
        x = self.line(x.mean(2)).transpose(1, 2)
        x, (h, c) = self.lstm(x)
        x, _ = self.gru(x)
        return self.fc(self.rnn(x)[0]), h, c


IDEAL = presets.ideal().with_({"fabric.rows": 4, "fabric.cols": 5})  # routes in no time
NAMES = ["conv", "up", "line", "lstm", "gru", "rnn", "fc"]
ON_CROSSBARS = {
    "conv": {"conv"}, "up": {"up"}, "line": {"line"}, "fc": {"fc"},
    "lstm": {"lstm.weight_ih_l0", "lstm.weight_hh_l0"},
    "gru": {
        f"gru.weight_{k}_l{layer}{way}" for k in ("ih", "hh") for layer in (0, 1)
        for way in ("", "_reverse")
    },
    "rnn": {"rnn.weight_ih_l0", "rnn.weight_hh_l0"},
}  # fmt: skip


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(1)
    return settle(Mixed()).eval()


def images(n=3):
    return torch.randn(n, 3, 4, 5, generator=torch.Generator().manual_seed(4))


def analog(chip):
    return {layer.name for layer in chip.compiled.layers}


CHOICES = {
    "digital by name": ({"conv": "digital"}, set(NAMES) - {"conv"}),
    "digital by pattern": ({"*n*": "digital"}, {"up", "lstm", "gru", "fc"}),
    "last match wins": ({"*": "digital", "[clu]*": "analog", "lstm": "digital"},
                        {"conv", "up", "line"}),
    "first match loses": ({"lstm": "digital", "*": "analog"}, set(NAMES)),
    "list of analog ones": (["fc", "l*"], {"fc", "line", "lstm"}),
    "generator": ((n for n in ("gru",)), {"gru"}),
    "one by one": ({"rnn": "digital", "fc": "digital"}, set(NAMES) - {"rnn", "fc"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOICES)
def test_choice(case, mixed):
    where, kept = CHOICES[case]
    chip = aimc_sim.Chip.from_model(mixed, IDEAL, where=where).program(0)
    assert analog(chip) == set().union(*(ON_CROSSBARS[name] for name in kept))
    x = images()
    with torch.no_grad():
        expected = mixed(x)
    for mine, theirs in zip(chip(x), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_layer_off_the_crossbars_keeps_its_mathematics(name, mixed):
    chip = aimc_sim.Chip.from_model(mixed, IDEAL, where={name: "digital"}).program(0)
    assert analog(chip).isdisjoint(ON_CROSSBARS[name])
    x = images(2)
    with torch.no_grad():
        expected = mixed(x)
    for mine, theirs in zip(chip(x), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


class Ends(nn.Module):
    """A digital layer before an analog one, and the same layer's output returned."""

    def __init__(self, first, last):
        super().__init__()
        self.first, self.last = first, last
        self.recurrent = isinstance(first, nn.RNNBase)

    def forward(self, x):
        y = self.first(x)[0] if self.recurrent else self.first(x)
        return y, self.last(y)


EXACT = {
    "linear": (nn.Linear(6, 5), (4, 6), nn.Linear(5, 3)),
    "conv1d": (nn.Conv1d(3, 5, 3, 2, 1, 2), (3, 9), nn.Conv1d(5, 2, 1)),
    "conv2d": (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (4, 6, 5), nn.Conv2d(6, 2, 1)),
    "up1d": (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2), (4, 5), nn.Conv1d(6, 2, 1)),
    "up2d": (nn.ConvTranspose2d(4, 6, 3, 2, dilation=2), (4, 5, 3), nn.Conv2d(6, 2, 1)),
    "lstm": (nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), (5, 3), nn.Linear(8, 2)),
    "gru": (nn.GRU(3, 4, batch_first=True), (5, 3), nn.Linear(4, 2)),
    "rnn": (nn.RNN(3, 4, 2, "relu", False, batch_first=True), (5, 3), nn.Linear(4, 2)),
}


@pytest.mark.filterwarnings("ignore:layer")  # three images: some outputs clip
@pytest.mark.parametrize("case", EXACT)
def test_digital_part_is_exact_beside_noisy_devices(case):
    """The very numbers of torch on the left, the chip's errors on the right."""
    first, shape, last = EXACT[case]
    model = settle(Ends(first, last)).eval()
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(x)
    chip = aimc_sim.Chip.from_model(model, presets.hermes("odp"), where=["last"])
    mine, noisy = chip.calibrate(x).program(1)(x)
    torch.testing.assert_close(mine, expected[0], rtol=1e-6, atol=1e-6)  # at most torch's order
    error = (noisy - expected[1]).norm() / expected[1].norm()
    assert 1e-3 < error < 0.5
    both = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(1)(x)[0]
    assert (both - expected[0]).norm() > 1e-3 * expected[0].norm()  # on crossbars it is not exact


def test_batch_norm_behind_a_digital_convolution_stays():
    model = settle(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))).eval()
    chip = aimc_sim.Chip.from_model(model, IDEAL, where={"0": "digital"}).program(0)
    assert [s.op for s in chip.compiled.steps if isinstance(s, DigitalStep)] == [
        "convolution_digital", "affine"
    ]  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(chip(images()), model(images()), rtol=1e-5, atol=1e-5)


def test_digital_layers_need_no_cores(mixed):
    everything = aimc_sim.Chip.from_model(mixed, IDEAL)
    less = aimc_sim.Chip.from_model(mixed, IDEAL, where={"gru": "digital"})
    assert everything.compiled.cores_used - less.compiled.cores_used == len(ON_CROSSBARS["gru"])


def test_layer_called_twice_on_either_side():
    layer = nn.Linear(4, 4)
    model, x = nn.Sequential(layer, nn.Linear(4, 4), layer), torch.randn(3, 4)
    for where, blocks in ((None, 2), ({"0": "digital", "1": "analog"}, 1)):
        chip = aimc_sim.Chip.from_model(model, IDEAL, where=where).program(0)
        assert len(chip.compiled.blocks) == blocks
        torch.testing.assert_close(chip(x), model(x).detach(), rtol=1e-4, atol=1e-5)


REFUSED = {
    "unknown pattern": ({"convv": "digital"}, ValueError,
                        r"where: 'convv' matches no layer with weights; did you mean 'conv'\?"),
    "unknown pattern in a list": (["fc", "gru_*"], ValueError, r"where: 'gru_\*' matches no layer"),
    "unknown side": ({"fc": "optical"}, ValueError, r"where\['fc'\] = 'optical'; choose 'analog'"),
    "a text": ("fc", TypeError, r"where = 'fc': wanted a list of patterns of names"),
    "everything digital": ({"*": "digital"}, ValueError, "no Conv2d.* layer on the analog side"),
    "nothing": ([], ValueError, "layer on the analog side"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, mixed):
    where, kind, sentence = REFUSED[case]
    with pytest.raises(kind, match=sentence):
        aimc_sim.Chip.from_model(mixed, IDEAL, where=where)


def test_digital_recurrent_layers_take_no_states_or_packed_sequences():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.gru(x, torch.ones(1, x.size(0), 4))[0])

    with pytest.raises(aimc_sim.UnsupportedLayerError, match=r"'gru' \(GRU\).*choose 'analog'"):
        aimc_sim.Chip.from_model(Given(), IDEAL, where=["out"])


def test_chosen_alone():
    chosen = Chosen.of({"a*": "digital", "a.b": "analog", "*.c": "digital"})
    got = {name: chosen.analog(name) for name in ("x", "a", "a.b", "a.c", "q.c", "A")}
    assert got == {"x": True, "a": False, "a.b": True, "a.c": False, "q.c": False, "A": True}
    chosen.check()
    assert all(map(Chosen.of(None).analog, ("anything", "")))
    nine = Chosen.of({"nothing": "digital"})
    for i in range(1, 10):
        nine.analog(f"x{i}")
    with pytest.raises(ValueError, match=r"there are: x1, x2, x3, x4, x5, x6, x7, x8, \.\.\."):
        nine.check()
