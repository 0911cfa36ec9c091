"""Inputs of other sizes: recorded again on the same devices, or refused with the sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets

IDEAL = presets.ideal()


class Steps(nn.Module):
    """A Python loop over time steps: the record holds as many as there were."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        total = 0
        for t in range(x.shape[1]):
            total = total + self.fc(x[:, t]).tanh() * (t + 1)
        return self.out(total) / x.shape[1]


class Branch(nn.Module):
    """Long lines take another layer."""

    def __init__(self):
        super().__init__()
        self.short, self.long = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.long(x) if x.shape[1] > 6 else self.short(x)


def made(model, *shape, spec=IDEAL):
    torch.manual_seed(2)
    model = model().eval()
    return model, aimc_sim.Chip.from_model(model, spec, example=torch.randn(*shape)).program(0)


def assert_equal(chip, model, *shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    with torch.no_grad():
        torch.testing.assert_close(chip(x), model(x), rtol=1e-5, atol=1e-5)


def test_other_lengths_are_recorded_once_each():
    model, chip = made(Steps, 2, 5, 4)
    used = chip.compiled.cores_used
    for shape, others in (((3, 5, 4), 0), ((3, 8, 4), 1), ((1, 8, 4), 1), ((2, 3, 4), 2)):
        assert_equal(chip, model, *shape)
        assert len(chip.variants.others) == others
    assert chip.compiled.cores_used == used == 2


def test_free_sizes_need_one_record():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, 2)).eval()
    chip = aimc_sim.Chip.from_model(model, IDEAL).program(0)
    for shape in ((2, 3, 8, 8), (1, 3, 13, 9), (3, 3, 7, 30)):
        assert_equal(chip, model, *shape)
    assert chip.variants.others == []


@pytest.mark.filterwarnings("ignore:layer")
def test_all_sizes_read_the_devices_that_were_programmed():
    """Programming errors and drift without read noise: the weights are what the devices hold."""
    spec = presets.hermes("odp").with_({
        "core.dac.bits": None, "core.adc.bits": None, "core.ldpu.output_bits": None,
        "core.ldpu.link_bits": None, "core.pcm.read_noise": None,
    })  # fmt: skip
    model, chip = made(Steps, 2, 5, 4, spec=spec)
    chip.calibrate([torch.randn(16, 5, 4), torch.randn(16, 8, 4)]).at("1 day")
    twin = Steps().eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name in ("fc", "out"):
            own = twin.get_submodule(name).weight
            own.copy_(torch.from_numpy(chip.effective_weights(name)))
            assert not torch.allclose(own, model.get_submodule(name).weight, rtol=1e-3)
    for length in (5, 8):
        assert_equal(chip, twin, 6, length, 4)


def test_a_calibration_of_several_sizes_holds_for_all():
    spec = presets.hermes()
    _, chip = made(Steps, 2, 5, 4, spec=spec)
    short, long = torch.randn(8, 5, 4), 3 * torch.randn(8, 9, 4)
    ranges = chip.calibrate([short, long]).ranges
    assert ranges.values["input"] >= float(long.abs().max()) * 0.999
    assert chip.calibrate([long, short]).ranges.values["input"] == ranges.values["input"]
    assert chip.calibrate([short]).ranges.values["input"] < ranges.values["input"]


def test_a_chip_from_a_file_says_which_sizes_it_takes(tmp_path):
    model, chip = made(Steps, 2, 5, 4)
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5")
    assert_equal(loaded, model, 3, 5, 4)
    with pytest.raises(ValueError, match=r"input \(3, 8, 4\).*size 1 of 'input' == 5.*from_model"):
        loaded(torch.randn(3, 8, 4))


def test_another_network_for_other_sizes_is_refused_by_layer():
    model, chip = made(Branch, 2, 5, 4)
    assert_equal(chip, model, 2, 3, 4)
    with pytest.raises(ValueError, match=r"layer 'long' is not on the chip.*sizes.*of its own"):
        chip(torch.randn(2, 9, 4))


def test_a_model_that_was_changed_is_refused_by_layer():
    model, chip = made(Steps, 2, 5, 4)
    with torch.no_grad():
        model.fc.weight.mul_(2)
    with pytest.raises(ValueError, match=r"layer 'fc' has other weights on the chip"):
        chip(torch.randn(2, 9, 4))
