"""``aimc-sim learn``: files, page, refusals."""

import json

import pytest

from aimc_sim.cli import main
from aimc_sim.learning.course import TrainingCourse


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
