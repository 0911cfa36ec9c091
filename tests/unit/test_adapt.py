"""AdaBS, ranges by squared error, and warnings of what clips."""

import re
import warnings

import numpy as np
import pytest
import torch
from conftest import small_nets

import aimc_sim
from aimc_sim import presets
from aimc_sim.runtime import calibrate


@pytest.fixture
def images():
    return torch.randn(64, 3, 19, 23, generator=torch.Generator().manual_seed(5))


def programmed(spec, images, name="odd_conv"):
    model, _ = small_nets()[name]
    return aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0), model


def test_an_ideal_chip_gets_the_float_statistics_back(images):
    """No drift: the correction is what batch norm would be with statistics of these images."""
    chip, model = programmed(presets.ideal(), images)
    chip.adapt_batch_norm(images)
    with torch.inference_mode():
        before = model.a(images)
    mean, std = before.mean((0, 2, 3)), before.std((0, 2, 3), correction=0)
    bn = model.bn.requires_grad_(False)
    factor, shift = chip.corrections["a"]
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    np.testing.assert_allclose(factor, bn.weight.abs() / (gain.abs() * std), rtol=1e-4)
    adapted = (before - mean[:, None, None]) / std[:, None, None]
    wanted = adapted * bn.weight[:, None, None] + bn.bias[:, None, None]
    with torch.inference_mode():
        plain = bn(before)
    found = plain * factor[:, None, None] + shift[:, None, None]
    np.testing.assert_allclose(found, wanted.detach(), atol=2e-4)
    assert set(chip.corrections) == {"a"}  # the other layers have no batch norm


def test_a_drifted_chip_is_mended(images):
    """Drift shrinks every layer; new statistics give the scale back, better than nothing."""
    # batch norm whose statistics fit these images, as after training
    model, _ = small_nets()["odd_conv"]
    model.train()
    for _ in range(100):
        model(images)
    model.eval()
    spec = presets.hermes().with_({"core.pcm.read_noise": None, "core.pcm.programming": None})
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0).at("1 year")
    with torch.inference_mode():
        exact = model(images)

    def error():
        return float((chip(images, first_image=0) - exact).norm() / exact.norm())

    drifted = error()
    chip.adapt_batch_norm(images)
    assert error() < 0.85 * drifted  # the layers without batch norm stay as they are
    factor, _ = chip.corrections["a"]
    assert (factor > 1.3).all()  # a year: conductances fall to about 60 %
    chip.program(0)
    assert chip.corrections == {}


def test_time_steps_that_are_merged_with_the_batch():
    """Eight rows of every image: their noise has numbers of its own, which once did not fit."""
    torch.manual_seed(2)

    class Steps(torch.nn.Module):
        """A normalised layer on every time step by itself."""

        def __init__(self):
            super().__init__()
            self.a, self.bn = (
                torch.nn.Conv2d(2, 5, 3, bias=False),
                torch.nn.BatchNorm2d(5, momentum=None),
            )

        def forward(self, x):
            return self.bn(self.a(x.flatten(0, 1))).unflatten(0, x.shape[:2]).amax((1, 3, 4))

    steps = torch.randn(64, 8, 2, 5, 5)
    model = Steps()
    model(steps)
    chip = aimc_sim.Chip.from_model(model.eval(), presets.hermes(), example=steps)
    chip.calibrate(steps).program(0).at("1 year")

    def off():
        with torch.no_grad():
            return float((chip(steps, first_image=0) - model(steps)).square().mean().sqrt())

    before = off()
    assert off() == before  # the images' own noise is drawn again
    chip.adapt_batch_norm(steps)
    assert off() < 0.8 * before
    with pytest.raises(ValueError, match="which reads 8 rows of an image: wanted"):
        chip(steps, first_image=2**60)


def test_corrections_are_saved(images, tmp_path):
    chip, _ = programmed(presets.hermes(), images)
    chip.at("1 d").adapt_batch_norm(images)
    chip.save(tmp_path / "a.h5")
    again = aimc_sim.Chip.load(tmp_path / "a.h5")
    assert torch.equal(again(images, first_image=0), chip(images, first_image=0))
    chip.corrections = {}
    assert not torch.equal(again(images, first_image=0), chip(images, first_image=0))


def test_too_few_images(images):
    chip, _ = programmed(presets.ideal(), images)
    with pytest.raises(ValueError, match="2 images give no statistics; use at least 4"):
        chip.adapt_batch_norm(images[:2])


def mse(magnitudes, step, limit):
    return float(((np.rint(magnitudes / step).clip(max=limit) * step - magnitudes) ** 2).mean())


@pytest.mark.parametrize("bits", [4, 8])
def test_range_of_the_smallest_squared_error(bits, rng):
    """Gaussian values: no other candidate is better; few bits clip more."""
    size = np.abs(rng.normal(size=200_000))
    limit = 2 ** (bits - 1) - 1
    found = calibrate.best_range(torch.from_numpy(size), size.max(), bits)
    own = mse(size, found / limit, limit)
    for factor in (0.5, 0.8, 0.95, 1.05, 1.3):
        assert own <= mse(size, found * factor / limit, limit) * 1.0001
    assert 0.35 < found / size.max() < (0.7 if bits == 4 else 1.0)
    assert calibrate.best_range(torch.from_numpy(size), 3.0, None) == 3.0


def test_mse_ranges_act(images):
    """With 4-bit activations, ranges by squared error beat the maximum."""
    coarse = presets.ideal().with_({"core.ldpu.output_bits": 4, "core.ldpu.link_bits": 8})
    errors = {}
    for method in ("percentile", "mse"):
        chip, model = programmed(coarse.with_({"calibration.range_method": method}), images)
        with torch.inference_mode():
            exact = model(images)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # clipping is the point
            errors[method] = float((chip(images) - exact).norm() / exact.norm())
    assert errors["mse"] < 0.95 * errors["percentile"]


def test_clipping_is_said_once_per_layer(images):
    spec = presets.ideal_devices(presets.hermes()).with_({"calibration.percentile": 80.0})
    chip, _ = programmed(spec, images)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chip(images)
        first = [str(w.message) for w in caught]
        chip(images)
    assert any(re.match(r"layer 'a': \d+\.\d% of the outputs do not fit", text) for text in first)
    assert len(caught) == len(first) == len({text.split(":")[0] for text in first})
    quiet, _ = programmed(spec.with_({"calibration.clip_warning_fraction": 1.0}), images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet(images)


@pytest.mark.filterwarnings("ignore:layer")
def test_saturation_is_said_with_the_layer(images):
    spec = presets.hermes().with_(
        {"core.adc.full_scale_amperes": 1e-6, "core.g_max_rule": "device"}
    )
    chip, _ = programmed(spec, images)
    with pytest.warns(UserWarning, match=r"of the ADC conversions saturate; let"):
        chip(images)
