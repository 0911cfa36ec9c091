"""The training scripts of the zoo: changes to images, learning rates, resuming, what is written."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aimc_sim.machine.formats import training_precision
from aimc_sim.zoo import ImageSet, Text, char_lstm, char_units, train_cifar, train_ptb
from aimc_sim.zoo.augment import crop_and_flip, cutout
from aimc_sim.zoo.text import encode
from aimc_sim.zoo.training import one_cycle


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def untimed(curve):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in curve]


def same(a, b):
    return all(torch.equal(value, b[key]) for key, value in a.items())


# ------------------------------------------------------------------------------- changes


def test_crops_and_flips_are_moved_copies_of_their_images():
    images = torch.rand(200, 3, 8, 8, generator=seeded()) + 1
    changed = crop_and_flip(images, 2, seeded(1))
    assert changed.is_contiguous(memory_format=torch.channels_last)
    padded = F.pad(images, (2, 2, 2, 2))
    seen = set()
    for image, result in zip(padded, changed, strict=True):  # the slow twin: try them all
        candidates = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(
                result,
                (w := image[:, top : top + 8, left : left + 8]) if not mirrored else w.flip(2),
            )
        ]
        assert len(candidates) == 1
        seen.update(candidates)
    # 200 images over 50 outcomes: fewer than 40 of them seen is out of the question.
    assert len(seen) >= 40
    assert torch.equal(changed, crop_and_flip(images, 2, seeded(1)))


def test_cutout_blanks_one_square():
    images = torch.ones(300, 3, 8, 8)
    blank = cutout(images, 4, seeded()) == 0
    assert torch.equal(blank.all(1), blank.any(1))
    sides = torch.stack([blank[:, 0].any(axis).sum(1) for axis in (1, 2)])
    assert torch.equal(blank[:, 0].sum((1, 2)), sides.prod(0))
    # A centre at 0 ... 7 leaves 2, 3, 4, 4, 4, 4, 4 or 3 of the four rows inside.
    assert set(sides.flatten().tolist()) == {2, 3, 4}
    assert sides.float().mean().item() == pytest.approx(28 / 8, abs=0.15)  # 5 sigma of 600
    assert cutout(images, 0, seeded()) is images


def test_one_cycle_without_warm_up_starts_at_the_peak():
    assert [one_cycle(t, 4, 2.0, 0) for t in (0, 2, 4)] == pytest.approx([2, 1, 0])
    assert [one_cycle(t, 4, 2.0, 1) for t in (0, 0.5, 1, 2.5, 4)] == pytest.approx([0, 1, 2, 1, 0])


def test_paper_rate_of_the_lstm_falls_by_ten_every_50_epochs():
    paper = train_ptb.SCHEDULES["paper"]
    assert (paper.epochs, paper.batch, paper.length, paper.dropout) == (200, 128, 150, 0.25)
    rates = [train_ptb.rate(paper, progress) for progress in (0.01, 50, 50.01, 199, 200)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-5, 1e-5])


# ------------------------------------------------------------------------------ training


def coloured(split, n):
    """Images of one colour a class, with noise: learnt in a few steps."""
    generator = seeded(len(split))
    labels = torch.arange(n) % 4
    colours = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [-2, -2, -2]])
    noise = torch.empty(n, 3, 32, 32).normal_(generator=generator)
    return ImageSet(
        "colours", split, colours[labels][:, :, None, None] + noise, labels, tuple("abcd")
    )


def interrupted(monkeypatch, module, after):
    """Let ``module.set_rate`` break off the training after so many steps."""
    steps, set_rate = [], module.set_rate

    def counted(*arguments):
        steps.append(0)
        if len(steps) > after:
            raise KeyboardInterrupt
        set_rate(*arguments)

    return monkeypatch.setattr(module, "set_rate", counted)


@pytest.mark.parametrize("model", ["resnet32", "resnet9", "vit"])
def test_cifar_training_learns_and_resumes_as_if_uninterrupted(model, tmp_path, monkeypatch):
    recipe = train_cifar.CifarRecipe(epochs=2, batch=8, rate=0.02, warm_up=0.5, cutout=4)
    if model == "vit":
        recipe = replace(recipe, rate=1e-3, optimizer="adamw")
    sets = coloured("train", 27), coloured("test", 8)
    straight, curve = train_cifar.train(model, recipe, 3, *sets, tmp_path / "a.pt")
    assert [row["epoch"] for row in curve] == [1, 2]
    assert curve[1]["loss"] < curve[0]["loss"]
    with monkeypatch.context() as patch:
        interrupted(patch, train_cifar, 5)  # three steps an epoch: in the middle of the second
        with pytest.raises(KeyboardInterrupt):
            train_cifar.train(model, recipe, 3, *sets, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"belongs to a training with .*remove it to start anew"):
        train_cifar.train(model, recipe, 4, *sets, tmp_path / "b.pt")
    resumed, resumed_curve = train_cifar.train(model, recipe, 3, *sets, tmp_path / "b.pt")
    assert untimed(resumed_curve) == untimed(curve)
    assert same(straight.state_dict(), resumed.state_dict())


def test_cifar_export_writes_what_can_be_loaded(tmp_path, monkeypatch):
    sets = coloured("train", 32), coloured("test", 24)
    recipe = train_cifar.CifarRecipe(epochs=1, batch=16)
    network, curve = train_cifar.train("resnet32", recipe, 1, *sets, tmp_path / "w.pt")
    full = {key: value.clone() for key, value in network.state_dict().items()}
    run = {"command": "python", "epochs": 1}
    train_cifar.export(network, "resnet32", run, curve, sets[1], tmp_path / "w.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.json", "w.pt"]
    told = json.loads((tmp_path / "w.json").read_text())
    assert (told["stored_as"], told["curve"]) == ("float16", curve)
    state = torch.load(tmp_path / "w.pt", weights_only=True)
    halves = {key: v.half() if v.is_floating_point() else v for key, v in full.items()}
    assert same(state, halves)
    assert {value.dtype for value in state.values()} == {torch.float16, torch.int64}
    # Where rounding costs accuracy, float32 is kept.
    scores = iter([0.9, 0.8])
    monkeypatch.setattr(train_cifar, "accuracy", lambda *_: next(scores))
    train_cifar.export(network, "resnet32", run, curve, sets[1], tmp_path / "w.pt")
    assert json.loads((tmp_path / "w.json").read_text())["test_accuracy"] == 0.9
    assert same(full, torch.load(tmp_path / "w.pt", weights_only=True))


def test_cifar_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_cifar, "cifar10", lambda _folder, split, take: coloured(split, take))
    short = train_cifar.SCHEDULES["resnet9", "short"]
    monkeypatch.setitem(train_cifar.SCHEDULES, ("resnet9", "short"), replace(short, batch=16))
    arguments = "--model resnet9 --data D --threads 1 --out".split()
    out = tmp_path / "folder" / "r.pt"
    monkeypatch.setattr(
        sys, "argv", ["train", *arguments, str(out), "--epochs", "1", "--take", "32"]
    )
    train_cifar.main()
    told = json.loads(out.with_suffix(".json").read_text())
    assert (told["epochs"], told["warm_up"], told["cutout"], told["seed"]) == (1, 0.25, 4, 1)
    assert "--out r.pt --schedule short --epochs 1 --seed 1" in told["command"]
    assert str(tmp_path) not in out.with_suffix(".json").read_text()
    assert "test accuracy" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["train", *arguments, str(out), "--epochs", "0"])
    with pytest.raises(SystemExit):
        train_cifar.main()
    assert "--epochs 0: wanted at least 1" in capsys.readouterr().err
    line = ["train", *arguments, str(out), "--model", "vit", "--schedule", "paper"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        train_cifar.main()
    assert "--schedule paper: vit has only --schedule short" in capsys.readouterr().err


def test_too_few_images_or_characters(tmp_path):
    few, out = coloured("train", 15), tmp_path / "w.pt"
    with pytest.raises(ValueError, match="15 training images of 'colours': wanted at least one"):
        train_cifar.train(
            "resnet9", train_cifar.CifarRecipe(1, batch=16), 1, few, few, tmp_path / "w.pt"
        )
    text = Text("ptb", "train", encode("abc" * 100))
    with pytest.raises(ValueError, match=r"300 characters of 'ptb': wanted more than .*3 x 100"):
        train_ptb.train(train_ptb.PtbRecipe(1, 3, 100), 1, text, text, out)


def poem(split, repeats):
    return Text("ptb", split, encode("round_and_round\n" * repeats))


def test_lstm_training_learns_and_resumes_as_if_uninterrupted(tmp_path, monkeypatch):
    recipe = replace(
        train_ptb.SCHEDULES["short"], epochs=2, batch=4, length=20, precision="float32"
    )
    texts = poem("train", 40), poem("valid", 5)
    straight, curve = train_ptb.train(recipe, 3, *texts, tmp_path / "a.pt")
    # The eight letters alone are worth 2.95 bits; the start is log2(50) = 5.6.
    assert curve[1]["valid_bits"] < min(4, curve[0]["valid_bits"])
    with monkeypatch.context() as patch:
        interrupted(patch, train_ptb, 10)  # seven steps an epoch
        with pytest.raises(KeyboardInterrupt):
            train_ptb.train(recipe, 3, *texts, tmp_path / "b.pt")
    resumed, resumed_curve = train_ptb.train(recipe, 3, *texts, tmp_path / "b.pt")
    assert untimed(resumed_curve) == untimed(curve)
    assert same(straight.state_dict(), resumed.state_dict())
    assert not resumed.lstm.bias_hh_l0.any()
    train_ptb.export(resumed, {"epochs": 2}, resumed_curve, poem("test", 4), tmp_path / "b.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt.checkpoint", "b.json", "b.pt"]
    told = json.loads((tmp_path / "b.json").read_text())
    assert told["stored_as"] == "float16"
    score = train_ptb.bits_per_character(char_lstm(tmp_path / "b.pt"), poem("test", 4))
    assert told["test_bits_per_character"] == pytest.approx(score, abs=1e-4)


def test_lstm_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_ptb, "ptb_characters", lambda _folder, split: poem(split, 300))
    monkeypatch.setattr(
        train_ptb, "SCHEDULES", {"short": train_ptb.PtbRecipe(1, 8, 30, warm_up=0.1)}
    )
    out = tmp_path / "l.pt"
    monkeypatch.setattr(
        sys, "argv", ["train", *"--data D --seed 2 --threads 1 --out".split(), str(out)]
    )
    train_ptb.main()
    told = json.loads(out.with_suffix(".json").read_text())
    precision, reason = training_precision()
    assert f"training in {precision}: {reason}" in capsys.readouterr().out
    assert (told["epochs"], told["seed"], told["precision"]) == (1, 2, precision)
    assert told["test_bits_per_character"] < 3.5  # with no training: log2(50) = 5.6


@pytest.mark.parametrize("unit", ["ssnu", "ssnu-o"])
def test_training_of_soft_units(unit, tmp_path, monkeypatch, capsys):
    """The LSTM's schedule at another rate; resumed as if uninterrupted; float32 on any machine."""
    monkeypatch.setattr(train_ptb, "ptb_characters", lambda _folder, split: poem(split, 100))
    short = train_ptb.PtbRecipe(2, 8, 30, warm_up=0.1)
    monkeypatch.setattr(train_ptb, "SCHEDULES", {"short": short})
    a, b = tmp_path / "a.pt", tmp_path / "b.pt"
    line = ["train", *f"--data D --seed 2 --threads 1 --unit {unit} --out".split()]
    monkeypatch.setattr(sys, "argv", [*line, str(a)])
    train_ptb.main()
    assert "training in" not in capsys.readouterr().out  # no machine chooses the precision
    monkeypatch.setattr(sys, "argv", [*line, str(b)])
    with monkeypatch.context() as patch:
        interrupted(patch, train_ptb, 8)  # six steps an epoch
        with pytest.raises(KeyboardInterrupt):
            train_ptb.main()
    train_ptb.main()
    told, again = (json.loads(out.with_suffix(".json").read_text()) for out in (a, b))
    assert untimed(told["curve"]) == untimed(again["curve"])
    assert f"--unit {unit} --schedule short" in told["command"]
    assert (told["precision"], told["rate"]) == ("float32", train_ptb.RATES[unit])
    gated = unit == "ssnu-o"
    trained, repeated = (char_units(out, gated) for out in (a, b))
    assert same(trained.state_dict(), repeated.state_dict())
    score = train_ptb.bits_per_character(trained, poem("test", 100))
    assert told["test_bits_per_character"] == pytest.approx(score, abs=1e-4)
    assert score < 4  # with no training: log2(50) = 5.6
    with pytest.raises(ValueError, match=r"is not a character network of sSNU"):
        char_units(a, not gated)
    monkeypatch.setattr(sys, "argv", [*line, str(b), "--rate", "0.02", "--epochs", "1"])
    train_ptb.main()
    told = json.loads(b.with_suffix(".json").read_text())
    assert told["rate"] == 0.02
    assert "--epochs 1 --rate 0.02 --seed 2" in told["command"]
    c = tmp_path / "c.pt"
    more = ["--start", str(a), "--epochs", "1", "--rate", "1e-9"]
    monkeypatch.setattr(sys, "argv", [*line, str(c), *more])
    train_ptb.main()  # at no rate the weights are those that it began with
    told = json.loads(c.with_suffix(".json").read_text())
    assert told["start"]["weights"] == "a.pt"
    assert told["start"]["record"] == json.loads(a.with_suffix(".json").read_text())
    assert told["test_bits_per_character"] == pytest.approx(score, abs=1e-3)
    assert "--start a.pt --seed 2" in told["command"]
    monkeypatch.setattr(sys, "argv", ["train", *"--data D --out c.pt --start a.pt".split(),
                                      "--hardware-aware", "a.pt"])  # fmt: skip
    with pytest.raises(SystemExit):
        train_ptb.main()
    assert "--start and --hardware-aware both name first weights" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*line, str(b), "--rate", "-1"])
    with pytest.raises(SystemExit):
        train_ptb.main()
    assert "--rate -1: wanted a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize("options", ["--precision bfloat16", "--hardware-aware f.pt"])
def test_soft_units_are_trained_plainly(options, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["train", *f"--data D --out u.pt --unit ssnu {options}".split()]
    )
    with pytest.raises(SystemExit):
        train_ptb.main()
    assert "--unit ssnu: trained in float32 and without a chip" in capsys.readouterr().err


def test_precision_that_the_machine_refuses(monkeypatch, capsys):
    """Refused at once where oneDNN would stop the training in the middle."""
    monkeypatch.setattr("aimc_sim.machine.trials.lstm_refusal", lambda: "no such instructions")
    monkeypatch.setattr(sys, "argv", ["train", *"--data D --out l.pt --precision bfloat16".split()])
    with pytest.raises(SystemExit):
        train_ptb.main()
    assert "this machine cannot train in it (no such instructions)" in capsys.readouterr().err


def test_bits_per_character_of_known_networks():
    network = char_lstm()
    network.dense.weight.data.zero_()
    text = poem("test", 50)
    assert train_ptb.bits_per_character(network, text) == pytest.approx(math.log2(50))
    counts = np.bincount(text.tokens[1:], minlength=50)
    share = counts / counts.sum()
    network.dense.bias.data = torch.from_numpy(np.log(share + 1e-30)).float()
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert train_ptb.bits_per_character(network, text) == pytest.approx(entropy, rel=1e-5)


def test_bits_per_character_carries_the_state():
    network = char_lstm()
    text = Text("ptb", "test", torch.randint(50, (1201,), generator=seeded()))
    with torch.inference_mode():
        scores, _ = network(text.tokens[None, :-1])
        whole = F.cross_entropy(scores[0], text.tokens[1:]).item() / math.log(2)
    assert train_ptb.bits_per_character(network, text) == pytest.approx(whole, rel=1e-5)
    parts = [replace(text, tokens=text.tokens[i * 600 : i * 600 + 601]) for i in range(2)]
    halves = np.mean([train_ptb.bits_per_character(network, part) for part in parts])
    assert train_ptb.bits_per_character(network, text, 2) == pytest.approx(halves, rel=1e-5)
