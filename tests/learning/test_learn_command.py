"""``aimc-sim learn``: files, page, refusals."""

import json

import pytest
import torch
from torch import nn

from aimc_sim import learning, presets
from aimc_sim.cli import main
from aimc_sim.learning.course import TrainingCourse, TrainingData, train


def called(*words):
    with pytest.raises(SystemExit) as done:
        main(["learn", *words])
    return done.value.code


def test_it_trains_and_writes_numbers_picture_and_page(tmp_path, capsys):
    out = tmp_path / "out"
    assert called("--epochs", "1", "--times", "0,1y", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "epoch 1:" in said
    assert "pulses per device" in said
    found = json.loads((out / "learning.json").read_text())
    assert set(TrainingCourse().to_dict()) <= set(found)
    assert len(found["accuracy"]) == 2
    assert found["accuracy"][1] > 0.5 > found["accuracy"][0]
    assert sum(found["writes"]) == 2 * (64 * 48 + 48 * 10)
    assert sum(found["weights_after"]) == 64 * 48 + 48 * 10
    assert set(found["drifted"]) == {"none", "gdc"}
    page = (out / "learning.html").read_text()
    assert "Pulses, time and energy" in page
    assert "writes of a device" in page
    assert page.count("<svg") == 1
    assert (out / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert called("--epochs", "1", "--out", str(out)) == 2  # results are there


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--update", "magic"], "--update"),
        (["--data", "cifar10"], "--data"),
        (["--rate", "0"], "--rate 0: wanted a number above 0"),
        (["--preset", "generic-rram"], "takes no devices of itself on 'generic-rram'"),
    ],
)
def test_bad_input_is_refused(words, said, tmp_path, capsys):
    assert called(*words, "--out", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err


def test_the_control_has_a_chip_of_ideal_devices(tmp_path):
    out = tmp_path / "out"
    words = ("--update", "exact", "--epochs", "1", "--batch", "200", "--times", "0,1y")
    assert called(*words, "--out", str(out)) == 0
    found = json.loads((out / "learning.json").read_text())
    assert found["drifted"]["none"][0] == found["drifted"]["none"][1]  # nothing drifts


def test_what_cannot_be_evaluated_later_is_refused_before_the_training():
    model = nn.Linear(4, 3)
    data = TrainingData(torch.ones(8, 4), torch.zeros(8, dtype=torch.int64))
    options = {"epochs": 1, "rate": 0.1, "seed": 0}
    net = learning.prepare(model, presets.hermes("odp"), learning.Exact())
    before = net.weights("")
    with pytest.raises(ValueError, match="ideal_devices"):
        train(model, net, data, data, batch=4, times=(0.0,), **options)
    assert (net.weights("") == before).all()
    with pytest.raises(ValueError, match="batch = 9 with 8 vectors"):
        train(model, net, data, data, batch=9, **options)
