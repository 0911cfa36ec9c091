"""Hardware-aware fine-tuning by the zoo's scripts: learns, resumes, writes plain weights."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from aimc_sim.training import TrainingSpec
from aimc_sim.zoo import ImageSet, Text, char_lstm, resnet9, train_cifar, train_ptb
from aimc_sim.zoo.aware import OPTIONS, Aware
from aimc_sim.zoo.text import encode


def coloured(split, n):
    """Images of one colour a class, with noise."""
    labels = torch.arange(n) % 4
    colours = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [-2, -2, -2]])
    noise = torch.empty(n, 3, 32, 32).normal_(generator=torch.Generator().manual_seed(len(split)))
    images = colours[labels][:, :, None, None] + noise
    return ImageSet("colours", split, images, labels, tuple("abcd"))


def poem(split, repeats):
    return Text("ptb", split, encode("round_and_round\n" * repeats))


def untimed(curve):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in curve]


def interrupted(monkeypatch, module, after):
    """Let ``module.set_rate`` break off the training after so many steps."""
    steps, set_rate = [], module.set_rate

    def counted(*arguments):
        steps.append(0)
        if len(steps) > after:
            raise KeyboardInterrupt
        set_rate(*arguments)

    monkeypatch.setattr(module, "set_rate", counted)


@pytest.fixture
def start(tmp_path):
    torch.save(resnet9(4).state_dict(), tmp_path / "float.pt")
    return tmp_path / "float.pt"


def test_cifar_fine_tuning_resumes_as_if_uninterrupted(start, tmp_path, monkeypatch):
    aware = Aware(start, "hermes-tdp", OPTIONS["cifar", "short"], 8)
    recipe = train_cifar.AWARE["resnet9", "short"]
    recipe = replace(recipe, epochs=2, batch=8, rate=0.002, precision="float32")
    sets = coloured("train", 24), coloured("test", 8)

    def run(out):
        return train_cifar.train("resnet9", recipe, 3, *sets, tmp_path / out, aware=aware)

    straight, curve = run("a.pt")
    assert curve[1]["loss"] < curve[0]["loss"]
    with monkeypatch.context() as patch:
        interrupted(patch, train_cifar, 4)
        with pytest.raises(KeyboardInterrupt):
            run("b.pt")
    resumed, resumed_curve = run("b.pt")
    assert untimed(resumed_curve) == untimed(curve)
    assert list(resumed.state_dict()) == list(resnet9(4).state_dict())
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    bound = aware.options.clip_sigma
    for layer in (resumed.conv1, resumed.dense):
        assert layer.weight.detach().abs().max() <= 1.1 * bound * layer.weight.detach().std()
    other = replace(aware, options=TrainingSpec())
    with pytest.raises(ValueError, match="belongs to a training with"):
        train_cifar.train("resnet9", recipe, 3, *sets, tmp_path / "b.pt", aware=other)


def test_cifar_command_line(start, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_cifar, "cifar10", lambda _folder, split, take: coloured(split, take))
    short = replace(train_cifar.AWARE["resnet9", "short"], batch=16)
    monkeypatch.setitem(train_cifar.AWARE, ("resnet9", "short"), short)
    out = tmp_path / "r.pt"
    line = f"--model resnet9 --data D --threads 1 --epochs 1 --take 32 --hardware-aware {start}"
    monkeypatch.setattr(sys, "argv", ["train", *line.split(), "--out", str(out)])
    train_cifar.main()
    told = json.loads(out.with_suffix(".json").read_text())
    assert told["hardware_aware"]["start"] == "float.pt"
    assert told["hardware_aware"]["chip"] == "hermes-tdp"
    assert told["hardware_aware"]["clip_sigma"] == OPTIONS["cifar", "short"].clip_sigma
    assert "--hardware-aware float.pt --chip hermes-tdp" in told["command"]
    assert str(tmp_path) not in out.with_suffix(".json").read_text()
    resnet9(4, out)
    monkeypatch.setattr(sys, "argv", ["train", *line.split(), "--out", str(out), "--compile"])
    with pytest.raises(SystemExit):
        train_cifar.main()
    assert "noisy layers are not compiled" in capsys.readouterr().err


def test_lstm_fine_tuning_resumes_and_writes_plain_weights(tmp_path, monkeypatch):
    start = tmp_path / "float.pt"
    torch.save(char_lstm().state_dict(), start)
    recipe = replace(
        train_ptb.AWARE["short"], epochs=2, batch=4, length=20, precision="float32", rate=0.004
    )
    texts = poem("train", 20), poem("valid", 5)
    for schedule in ("short", "paper"):
        aware = Aware(start, "hermes-tdp", OPTIONS["ptb", schedule])
        a, b = tmp_path / f"{schedule}-a.pt", tmp_path / f"{schedule}-b.pt"
        straight, curve = train_ptb.train(recipe, 3, *texts, a, aware)
        assert curve[1]["train_bits"] < curve[0]["train_bits"]
        with monkeypatch.context() as patch:
            interrupted(patch, train_ptb, 5)
            with pytest.raises(KeyboardInterrupt):
                train_ptb.train(recipe, 3, *texts, b, aware)
        resumed, resumed_curve = train_ptb.train(recipe, 3, *texts, b, aware)
        assert untimed(resumed_curve) == untimed(curve)
        for key, value in straight.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), key
        assert not resumed.lstm.bias_hh_l0.any()
        train_ptb.export(resumed, aware.told(), curve, poem("test", 4), b)
        assert json.loads(b.with_suffix(".json").read_text())["hardware_aware"]["clip_sigma"] == 2.0
        assert list(char_lstm(b).state_dict()) == list(char_lstm().state_dict())


def test_the_chip_of_a_phase(tmp_path):
    options = TrainingSpec(noise_scale=2.0, clip_constant=1.0)
    aware = Aware(tmp_path / "f.pt", "hermes-odp", options, 8)
    assert aware.spec().core.adc.bits == 8
    assert aware.told() == {
        "hardware_aware": {
            "start": "f.pt", "chip": "hermes-odp", "adc_bits": 8, "noise_scale": 2.0,
            "clip_constant": 1.0,
        }
    }  # fmt: skip
    with pytest.raises(KeyError, match="did you mean 'hermes-tdp'"):
        replace(aware, preset="hermes-tpd").spec()
