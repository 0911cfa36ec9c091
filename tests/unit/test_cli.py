"""The command line: what it writes, and one clear line for every kind of bad input."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.analysis import drift
from aimc_sim.cli import info, main
from aimc_sim.cli.run import FILES
from aimc_sim.spec import Spec

ROOT = Path(__file__).resolve().parents[2]

NETWORK = """
import torch
from torch import nn

def build(channels=3):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)
        )

def grey(): return build(1)
def tanh(): return nn.Sequential(build(), nn.Softsign())
def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 2048), nn.Linear(2048, 10))
def small(): return nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(63, 10))
def few(): return nn.Sequential(build(), nn.Linear(10, 5))
def broken(): raise RuntimeError("out of luck")
def nothing(): return None
number = 3
"""

QUICK = ["--model", "toy_network:build", "--images", "8", "--seeds", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a network of the user's own."""
    (tmp_path / "toy_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "toy_network", raising=False)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Run the command; return exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return run


def quick(*more):
    return ["run", *QUICK, "--preset", "ideal", "--times", "0,1h", "--out", "out", *more]


# ----------------------------------------------------------------------------------- run


def test_a_run_writes_everything_and_only_that(folder, call):
    code, out, _ = call(
        "run", *QUICK[:-1], 2, "--preset", "hermes-odp,ideal", "--times", "1h,0",
        "--set", "core.adc.bits=9", "--out", "a/b",
    )  # fmt: skip
    assert code == 0
    assert sorted(p.name for p in (folder / "a/b").iterdir()) == sorted(FILES)
    rows = pd.read_csv(folder / "a/b/results.csv")
    assert tuple(rows.columns) == drift.COLUMNS
    assert len(rows) == 2 * 2 * 2 * 2  # presets, seeds, times, compensations
    spec = presets.hermes("odp").with_({"core.adc.bits": 9})
    assert rows["spec_id"][0] == spec.id()
    report = json.loads((folder / "a/b/report.json").read_text())
    assert report["command"].startswith("aimc-sim run --model toy_network:build")
    assert report["settings"] == {"core.adc.bits": 9}
    assert report["calibration_images"] == 256
    assert report["chips"]["ideal"]["preset"] == "ideal"
    ideal = [r for r in report["summary"] if r["preset"] == "ideal"]
    assert {r["mean"] for r in ideal} == {report["references"]["float_accuracy"]}
    chip = aimc_sim.Chip.load(folder / "a/b/chip.h5")
    held = report["chip_h5"]
    assert (held["preset"], held["seed"], held["time_seconds"]) == ("ideal", 1, 3600.0)
    assert (chip.spec.name, chip.state.seed, chip.time_seconds) == ("ideal", 1, 3600.0)
    for text in ("hermes-odp", "now", "1 h", "float", "no compensation", "gdc", "chip.h5 holds"):
        assert text in out


def test_the_shipped_network_runs_by_default(folder, call):
    code, out, _ = call(
        "run", "--images", 8, "--seeds", 1, "--times", "0", "--preset", "hermes-tdp",
        "--compensation", "gdc",
    )  # fmt: skip
    assert code == 0
    assert sorted(p.name for p in (folder / "aimc_sim_results").iterdir()) == sorted(FILES)
    report = json.loads((folder / "aimc_sim_results/report.json").read_text())
    assert report["weights"] == "digits"
    assert report["chips"]["hermes-tdp"]["cores_used"] == 60
    assert report["references"]["float_accuracy"] >= 7 / 8
    assert "8-bit ideal" in out


def test_weights_of_the_users_own_network_are_loaded(folder, call):
    sys.path.insert(0, "")
    import toy_network

    model = toy_network.build()
    torch.nn.init.zeros_(model[3].weight)
    model[3].bias.data = torch.eye(10)[4]  # always answers 4
    torch.save(model.state_dict(), "four.pt")
    assert call(*quick("--weights", "four.pt"))[0] == 0
    report = json.loads(Path("out/report.json").read_text())
    labels = aimc_sim.zoo.digits("test").take(8).labels
    assert report["references"]["float_accuracy"] == float((labels == 4).float().mean())


def test_results_are_replaced_only_with_force(folder, call):
    assert call(*quick())[0] == 0
    before = (folder / "out/report.json").read_text()
    code, out, err = call(*quick("--compensation", "gdc"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "already holds results.csv" in err
    assert "--force" in err
    assert (folder / "out/report.json").read_text() == before
    assert call(*quick("--compensation", "gdc", "--force"))[0] == 0
    assert set(pd.read_csv(folder / "out/results.csv")["compensation"]) == {"gdc"}


# ----------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--preset", "hermes-opd"], ["'hermes-opd'", "did you mean 'hermes-odp'"]),
        (["--set", "core.adc.bit=9"], ["'core.adc.bit'", "did you mean 'bits'"]),
        (["--set", "core.adc.bits=99"], ["core.adc.bits", "99"]),
        (["--set", "core.adc.bits=many"], ["core.adc.bits", "many"]),
        (["--set", "core.adc.bits"], ["key=value"]),
        (["--set", "core.rows=9", "--set", "core.rows=8"], ["core.rows", "twice"]),
        (["--times", "0,-1h"], ["-1h", ">= 0"]),
        (["--times", "soon"], ["soon", "1 day"]),
        (["--times", "1h,,1d"], ["--times", "empty"]),
        (["--compensation", "gcd"], ["'gcd'", "did you mean 'gdc'"]),
        (["--seeds", "0"], ["--seeds", "0"]),
        (["--images", "501"], ["501", "500"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["--model", "resnet23"], ["resnet23", "did you mean 'resnet32'"]),
        (["--model", "no_such_network:build"], ["no_such_network", "cannot be imported"]),
        (["--model", "toy_network:biuld"], ["biuld", "did you mean 'build'"]),
        (["--model", "toy_network:number"], ["no callable 'number'"]),
        (["--model", "toy_network:nothing"], ["NoneType", "torch.nn.Module"]),
        (["--model", "toy_network:broken"], ["out of luck"]),
        (["--model", "toy_network:tanh"], ["Softsign"]),
        (["--model", "toy_network:wide"], ["cores", "64"]),
        (["--model", "toy_network:grey"], ["(256, 3, 32, 32)", "(batch, 1, height, width)"]),
        (["--model", "toy_network:small"], ["63"]),
        (["--model", "toy_network:few"], ["5", "10 classes"]),
        (["--weights", "absent.pt"], ["absent.pt"]),
        (["--weights", "toy_network.py"], ["toy_network.py", "state dict"]),
        (["--model", "resnet32", "--weights", "absent.pt"], ["absent.pt"]),
        (["--model", "resnet32", "--weights", "toy_network.py"], ["cannot be read as weights"]),
        (["--model", "resnet32", "--data-dir", "."], ["--weights PATH"]),
        (["--data-dir", "absent"], ["absent", "cifar-10-batches-py"]),
        (["--out", "toy_network.py"], ["toy_network.py", "is a file"]),
        (["--out", "toy_network.py/deeper"], ["toy_network.py", "cannot be written"]),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(folder, call, arguments, parts):
    code, out, err = call(*quick(*arguments))
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert len(err.splitlines()) <= 1 + (progress_was_shown := "references" in err) * 3, err
    assert progress_was_shown or err.count("\n") == 1
    assert line.startswith("error: ")
    for part in parts:
        assert part in line
    assert [p.name for p in folder.iterdir() if p.name != "__pycache__"] == ["toy_network.py"]
