"""The drift study: its rows are what a chip gives by hand, and each chip is made once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from aimc_sim import Chip, presets
from aimc_sim.studies import drift, inputs, work

TIMES = ("0", "1 h", "1 y")
METHODS = ("none", "gdc", "column")


@dataclass
class Labelled:
    images: Tensor
    labels: Tensor


@pytest.fixture(scope="module")
def network():
    """A two-layer network whose decisions are close enough to change with drift."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 8)).eval()


@pytest.fixture(scope="module")
def images(network):
    x = torch.randn(300, 40, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        return Labelled(x, network(x).argmax(1))  # the network is always right


@pytest.fixture(scope="module")
def calibration():
    return torch.randn(64, 40, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def chip(network, calibration):
    return Chip.from_model(network, presets.hermes("odp")).calibrate(calibration)


@pytest.fixture(scope="module")
def given(network, images, calibration):
    return drift.given_of(network, images, calibration)


ODP = {"odp": presets.hermes("odp")}


def test_rows_are_what_a_chip_gives_by_hand(network, chip, images, given, calibration):
    rows = list(drift.drift_rows(given, ODP, times=TIMES, methods=METHODS, seeds=[0, 3]))
    settings = [(r["seed"], r["time_seconds"], r["compensation"]) for r in rows]
    moments = (0.0, 3600.0, 365 * 86400.0)
    assert settings == [(s, t, m) for s in (0, 3) for t in moments for m in METHODS]
    other = Chip.from_model(network, presets.hermes("odp")).calibrate(calibration)
    for row in rows:
        other.program(row["seed"]).at(row["time_seconds"]).compensate(row["compensation"])
        correct = int((other(images.images).argmax(1) == images.labels).sum())
        assert row["correct"] == correct
        assert row["accuracy"] == correct / 300
        assert (row["images"], row["spec_id"]) == (300, chip.spec.id())
    assert len({row["correct"] for row in rows}) > 4  # the settings do differ


def test_at_time_zero_every_compensation_is_exactly_one(chip, images):
    """Why the study runs the images once there."""
    chip.program(2)
    outputs = [chip.at(0).compensate(method)(images.images) for method in METHODS]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_a_study_is_repeatable_and_names_its_columns(network, images, calibration):
    specs = {"one": presets.hermes("odp"), "two": presets.generic_pcm()}
    found = [
        drift.drift_study(network, specs, images, calibration, times=["1 d"], seeds=[0, 1])
        for _ in range(2)
    ]
    assert tuple(found[0].columns) == drift.COLUMNS
    assert list(found[0]["preset"]) == ["one"] * 4 + ["two"] * 4
    pd.testing.assert_frame_equal(*(rows.drop(columns="wall_seconds") for rows in found))


def test_each_chip_is_calibrated_once_and_programmed_once_per_seed(
    monkeypatch, network, images, calibration
):
    calls = []
    for name in ("calibrate", "program"):
        original = getattr(Chip, name)

        def counted(self, *args, original=original, name=name):
            calls.append(name)
            return original(self, *args)

        monkeypatch.setattr(Chip, name, counted)
    drift.drift_study(
        network, {"a": presets.ideal()}, images, calibration, times=TIMES, seeds=[0, 1]
    )
    assert calls == ["calibrate", "program", "program"]


def test_progress_adds_up(given):
    steps = []
    rows = list(drift.drift_rows(given, ODP, times=TIMES, seeds=[0], step=steps.append))
    assert sum(steps) == 300 * len(rows)


def test_saturation_is_that_of_the_row_alone(network, images, calibration):
    spec = presets.hermes("odp").with_(
        {"core.adc.full_scale_amperes": 5e-6, "core.g_max_rule": "device"}
    )
    given = drift.given_of(network, images, calibration)
    wanted = {"times": ["0", "1 y"], "methods": ["none"], "seeds": [0]}
    (trial,) = drift.trials(given, {"low": spec}, **wanted)
    before = saturated(trial, given)
    fresh, old = drift.drift_rows(given, {"low": spec}, **wanted)
    assert fresh["adc_saturated_fraction"] > old["adc_saturated_fraction"] > 0  # currents drift
    total, conversions = saturated(trial, given) - before
    mean = (fresh["adc_saturated_fraction"] + old["adc_saturated_fraction"]) / 2
    assert mean == pytest.approx(total / conversions)


def saturated(trial, given):
    """Saturated and all conversions of a trial's chip so far."""
    work.install(given)
    counts = work.chip_of(trial).counts.values()
    return np.array([sum(c.adc_saturated for c in counts), sum(c.conversions for c in counts)])


@pytest.mark.filterwarnings("ignore:layer")
def test_references(network, images, calibration):
    spec = presets.hermes("odp").with_({"core.adc.bits": 5})
    given = drift.given_of(network, images, calibration)
    assert inputs.float_value(network, given) == 1.0
    (trial,) = drift.trials(given, {"few": spec}, seeds=[0])
    found = drift.ideal_value(given, trial)
    by_hand = Chip.from_model(network, presets.ideal_devices(spec)).calibrate(calibration)
    correct = int((by_hand.program(9)(images.images).argmax(1) == images.labels).sum())
    assert found == correct / 300
    assert found < 1.0  # five bits are felt
    (trial,) = drift.trials(given, {"exact": presets.ideal()}, seeds=[0])
    assert drift.ideal_value(given, trial) == 1.0


def test_the_float_reference_leaves_the_model_as_it_was(network, given):
    model = nn.Sequential(nn.Dropout(0.9), network).train()
    assert inputs.float_value(model, given) == 1.0
    assert model.training


def test_a_summary_of_scores_is_that_of_accuracies(given):
    """Whole rows, with every image's score, and rows of accuracies only."""
    tables = [drift.table_of(given, t) for t in drift.trials(given, ODP, times=TIMES)]
    whole = drift.summary(pd.concat(tables, ignore_index=True))
    rows = pd.DataFrame(drift.drift_rows(given, ODP, times=TIMES))
    pd.testing.assert_frame_equal(whole, drift.summarise(rows))


def test_summary_by_hand():
    base = {"spec_id": "x", "images": 100}
    rows = pd.DataFrame(
        [
            {**base, "preset": p, "compensation": c, "time_seconds": t, "seed": s, "accuracy": a}
            for p, c, t, s, a in [
                ("b", "none", 60.0, 0, 0.8),
                ("b", "none", 60.0, 1, 0.9),
                ("b", "gdc", 0.0, 0, 0.5),
                ("a", "none", 0.0, 0, 0.7),
            ]
        ]
    )
    found = drift.summarise(rows)
    assert list(found["preset"]) == ["b", "b", "a"]  # in order of appearance
    assert list(found["compensation"]) == ["none", "gdc", "none"]
    first = found.iloc[0]
    half = 12.706204736432095 * 0.05  # t, 1 degree of freedom; s / sqrt(2) = 0.05
    assert first["mean"] == pytest.approx(0.85)
    assert first["low"] == pytest.approx(0.85 - half)
    assert (first["high"], first["programmings"], first["interval"]) == (1.0, 2, "student-t")
    assert found.iloc[1]["interval"] == "wilson"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": ["-1 h"]}, "finite time >= 0"),
        ({"times": []}, "times is empty"),
        ({"methods": ["gcd"]}, "'gcd' is unknown"),
        ({"seeds": []}, "seeds is empty"),
    ],
)
def test_impossible_settings_are_refused(given, change, message):
    with pytest.raises(ValueError, match=message):
        list(drift.drift_rows(given, ODP, **change))


def test_unusable_images_are_refused(network, images, calibration):
    broken = images.images.clone()
    broken[7, 3] = float("nan")
    for wrong, words in (
        (Labelled(broken, images.labels), "image 7 holds NaN"),
        (Labelled(images.images[:, :5], images.labels), "first layer wants"),
        (Labelled(images.images, torch.full((300,), 11)), "at least 12 classes"),
    ):
        with pytest.raises(ValueError, match=words):
            drift.drift_study(network, ODP, wrong, calibration)
