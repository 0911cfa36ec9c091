"""The chip in the user's hands: knobs, compensation, report, bad input."""

import numpy as np
import pytest
import torch
from conftest import small_nets
from torch import nn

import aimc_sim
from aimc_sim import presets, units

NETS = small_nets()
MODEL, SHAPE = NETS["asymmetric_300x40"]
IMAGES = torch.randn((200, *SHAPE), generator=torch.Generator().manual_seed(2))


def error(spec, time=0, method="none", model=MODEL, images=IMAGES):
    """Relative output error of a chip against torch."""
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(images).program(0)
    with torch.inference_mode():
        expected = model(images)
    return float((chip.at(time).compensate(method)(images) - expected).norm() / expected.norm())


KNOBS = {
    "core.adc.bits": 5,
    "core.adc.full_scale_amperes": 2e-6,
    "core.dac.bits": 3,
    "core.ldpu.output_bits": 4,
    "core.ldpu.link_bits": 3,
    "core.weight_scaling": "column",
    "core.pcm.programming": None,
    "core.pcm.programming.scale": 2.0,
    "core.pcm.drift": None,
    "core.pcm.drift.scale": 2.0,
    "core.pcm.read_noise": None,
    "core.pcm.read_noise.scale": 3.0,
    "core.pcm.read_noise.band": "frozen",
    "core.pcm.read_noise.inference_seconds": 10.0,
    "core.pcm.read_noise.t_read_seconds": 1e-3,
    "core.pcm.t0_seconds": 1e4,
    "core.pcm.reset.mean_siemens": 2e-6,
    "core.pcm.reset.std_siemens": 1e-6,
    "core.pcm.zero_target": "programmed",
    "core.pcm.g_max_siemens": 6e-6,
    "core.read.v_read_volts": 0.01,
    "calibration.percentile": 90.0,
    "core.rows": 100,
    "core.cols": 16,
}


@pytest.mark.filterwarnings("ignore:layer")
@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_moves_the_output(knob):
    """Paired: same seed, same images, a day after programming; the outputs must differ."""
    model = nn.Linear(300, 40)
    with torch.no_grad():
        model.weight.copy_(torch.randn((40, 300), generator=torch.Generator().manual_seed(3)))
        model.weight[:, ::3] = 0.0
    base = presets.hermes("odp").with_({"core.g_max_rule": "device"})
    assert base.with_({knob: KNOBS[knob]}).id() != base.id()
    one, two = (
        aimc_sim.Chip.from_model(model, spec).calibrate(IMAGES).program(0).at("1 day")(IMAGES)
        for spec in (base, base.with_({knob: KNOBS[knob]}))
    )
    assert float((one - two).norm() / one.norm()) > 1e-3


def test_effects_have_the_right_sign():
    """Fewer bits, more noise, more time: larger errors; two devices beat one."""
    odp, tdp = presets.hermes("odp"), presets.hermes("tdp")
    assert error(odp) > 1.3 * error(tdp)
    assert error(odp, "1 year") > 2 * error(odp)
    converters = presets.ideal_devices(tdp)
    assert error(converters.with_({"core.adc.bits": 6})) > 3 * error(converters)
    assert error(odp.with_({"core.pcm.programming": None})) < 0.8 * error(odp)


@pytest.mark.parametrize("method", ["gdc", "column"])
def test_compensation_helps_and_is_measured(method):
    """Without spread of nu a compensation finds (t / t0)^0.049, from noisy reads, within 2 %."""
    assert error(presets.hermes("odp"), "30 d", method) < 0.65 * error(
        presets.hermes("odp"), "30 d"
    )
    flat = {"form": "log", "a": 0.0, "b": 0.049, "low": 0.0, "high": 1.0}
    spec = presets.generic_pcm().with_(
        {"core.pcm.drift.exponent_mean": flat, "core.pcm.drift.scale": 1.0,
         "core.pcm.drift.exponent_std": {**flat, "b": 0.0}}
    )  # fmt: skip
    chip = aimc_sim.Chip.from_model(MODEL, spec).calibrate(IMAGES).program(0)
    for time, factor in (("1 h", 1.29011), ("1 d", 1.50711), ("30 d", 1.78040), ("1 y", 2.01229)):
        raw = chip.at(time).compensate("none").effective_weights("0")
        fixed = chip.compensate(method).effective_weights("0")
        ratio = np.median(fixed[raw != 0] / raw[raw != 0])
        assert ratio == pytest.approx(factor, rel=0.02)


def test_compensation_vectors_are_a_knob():
    """More reads, another estimate of the factor: close to the first, not the same."""
    few, many = (
        aimc_sim.Chip.from_model(
            MODEL, presets.hermes().with_({"calibration.compensation_vectors": n})
        )
        .calibrate(IMAGES)
        .program(0)
        .at("1 d")
        .compensate("gdc-signs")
        .effective_weights("0")
        for n in (1, 64)
    )
    ratio = np.median(few[many != 0] / many[many != 0])
    assert 1e-4 < abs(ratio - 1) < 0.3


def test_gdc_at_time_zero_changes_nothing():
    chip = aimc_sim.Chip.from_model(MODEL, presets.hermes()).calibrate(IMAGES).program(0)
    plain = chip(IMAGES)
    assert torch.equal(plain, chip.compensate("gdc")(IMAGES))


def test_effective_weights_have_torchs_shape():
    model, _ = NETS["odd_conv"]
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    for name, module in (("a", model.a), ("b", model.b), ("c", model.c), ("fc", model.fc)):
        np.testing.assert_allclose(
            chip.effective_weights(name), module.weight.detach(), rtol=1e-5, atol=1e-7
        )
    with pytest.raises(KeyError, match="no analog layer named 'd'; there are: a, b, c, fc"):
        chip.effective_weights("d")


def test_conductances():
    chip = aimc_sim.Chip.from_model(MODEL, presets.hermes("tdp")).calibrate(IMAGES).program(0)
    core = chip.compiled.blocks[0].core
    g = chip.conductances(core)
    assert g.shape == (4, 150, 40)
    assert g.dtype == np.float32
    np.testing.assert_array_equal(g[0], g[1])
    assert 0 <= g.min() <= g.max() < 14e-6
    with pytest.raises(KeyError, match="core 63 holds no weights"):
        chip.conductances(63)


@pytest.mark.filterwarnings("ignore:layer")
def test_report_counts_saturations():
    spec = presets.hermes().with_(
        {"core.adc.full_scale_amperes": 1e-6, "core.g_max_rule": "device"}
    )
    chip = aimc_sim.Chip.from_model(MODEL, spec).calibrate(IMAGES).program(0)
    assert "run images first" in str(chip.report())
    chip(IMAGES)
    report = chip.report()
    assert report.layers[0].adc_saturated_fraction > 0.1
    assert report.cost["core_mvms"] == 3
    assert report.cost["macs"] == 300 * 40 + 40 * 3
    text = str(report)
    for words in (
        "cores           3 of 64",
        "not modelled",
        "model, not measurement",
        "hermes-tdp",
    ):
        assert words in text
    import json

    json.dumps(report.to_dict(), allow_nan=False)


def test_one_warning_when_not_calibrated():
    chip = aimc_sim.Chip.from_model(MODEL).program(0)
    with pytest.warns(UserWarning, match="was not calibrated: using these 200 images"):
        chip(IMAGES)
    chip(IMAGES)
    aimc_sim.Chip.from_model(MODEL, presets.ideal()).program(0)(IMAGES)


def test_models_may_be_callables_and_stay_untouched():
    def make():
        return nn.Sequential(nn.Linear(4, 3), nn.Dropout())

    assert aimc_sim.Chip.from_model(make).compiled.cores_used == 1
    model = make().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    aimc_sim.Chip.from_model(model).program(0)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_former_name_of_the_program_says_the_new_one():
    chip = aimc_sim.Chip.from_model(MODEL)
    with pytest.raises(AttributeError, match=r"chip\.compiled"):
        chip.image  # noqa: B018
    assert not hasattr(chip, "image")


BAD_IMAGES = {
    r"images have the shape \(2, 299\); .* wants \(batch, 300\)": torch.zeros(2, 299),
    r"images have the shape \(0, 300\)": torch.zeros(0, 300),
    r"image 1 holds NaN or infinity": torch.tensor([[0.0] * 300, [float("nan")] * 300]),
}


@pytest.mark.parametrize("message", BAD_IMAGES)
def test_bad_images(message):
    chip = aimc_sim.Chip.from_model(MODEL).program(0)
    with pytest.raises(ValueError, match=message):
        chip(BAD_IMAGES[message])
    with pytest.raises(ValueError, match=message):
        chip.calibrate([(BAD_IMAGES[message], None)])


def test_bad_calls():
    chip = aimc_sim.Chip.from_model(MODEL)
    with pytest.raises(aimc_sim.NotProgrammedError, match=r"call chip\.program"):
        chip(IMAGES)
    with pytest.raises(ValueError, match="compensation = 'gcd' is unknown; did you mean 'gdc'"):
        chip.compensate("gcd")
    with pytest.raises(ValueError, match="time = -1 must be a finite time >= 0"):
        chip.at(-1)
    with pytest.raises(TypeError, match="model is a int"):
        aimc_sim.Chip.from_model(3)
    with pytest.raises(TypeError, match="the class Linear, which cannot be called without arg"):
        aimc_sim.Chip.from_model(torch.nn.Linear)
    with pytest.raises(TypeError, match="model returns a int"):
        aimc_sim.Chip.from_model(int)
    with pytest.raises(TypeError, match="give a ChipSpec"):
        aimc_sim.Chip.from_model(MODEL, spec="hermes")
    with pytest.raises(ValueError, match="calibrate got no images"):
        chip.calibrate([])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1 day", 86400), ("30d", 2592000), ("1 year", 31536000), ("250 ns", 250e-9),
     ("1.5h", 5400), (7, 7), ("2e3 s", 2000), ("3 us", 3e-6)],
)  # fmt: skip
def test_times(text, seconds):
    assert units.seconds(text) == seconds


def test_bad_times():
    with pytest.raises(ValueError, match="unknown unit 'fortnight'"):
        units.seconds("1 fortnight")
    with pytest.raises(ValueError, match="cannot be read"):
        units.seconds("soon")
    with pytest.raises(ValueError, match="finite"):
        units.seconds(float("inf"))


def test_a_window_of_one_side():
    """It is the whole map only where that is square; other sizes are recorded again."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            x = self.conv(x)
            return torch.nn.functional.avg_pool2d(x, x.size(3)).flatten(1)

    model, rng = Net().eval(), torch.Generator().manual_seed(1)
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    for size in ((9, 9), (12, 9), (9, 9)):
        x = torch.randn(2, 1, *size, generator=rng)
        with torch.no_grad():
            torch.testing.assert_close(chip(x), model(x), rtol=1e-5, atol=1e-5)
    assert chip.compiled.cores_used == 1
    with pytest.raises(ValueError, match=r"sizes input \(2, 1, 9, 10\).*cannot be recorded"):
        chip(torch.randn(2, 1, 9, 10))  # torch refuses a window of 8 on 7 rows
