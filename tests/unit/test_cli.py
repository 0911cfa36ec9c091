"""The command line: what it writes, and one clear line for every kind of bad input."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import aimc_sim
from aimc_sim import presets
from aimc_sim.cli import info
from aimc_sim.cli.run import FILES
from aimc_sim.machine.formats import formats
from aimc_sim.spec import Spec
from aimc_sim.spec.parameters import parameters
from aimc_sim.studies import drift

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
def rrelu(): return nn.Sequential(build(), nn.RReLU())
def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 2048), nn.Linear(2048, 10))
def small(): return nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(63, 10))
def few(): return nn.Sequential(build(), nn.Linear(10, 5))
def broken(): raise RuntimeError("out of luck")
def nothing(): return None
number = 3
"""

QUICK = ["--model", "toy_network:build", "--images", "8", "--programmings", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a network of the user's own."""
    (tmp_path / "toy_network.py").write_text(NETWORK)
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "other.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "toy_network", raising=False)
    return tmp_path


def quick(*more):
    return ["run", *QUICK, "--preset", "ideal", "--times", "0,1h", "--out", "out", *more]


# ----------------------------------------------------------------------------------- run


def test_a_run_writes_everything_and_only_that(folder, call):
    code, out, _ = call(
        "run", *QUICK[:-1], 2, "--preset", "hermes-odp,ideal", "--times", "1h,0",
        "--set", "core.rows=128", "--out", "a/b",
    )  # fmt: skip
    assert code == 0
    assert sorted(p.name for p in (folder / "a/b").iterdir()) == sorted(FILES)
    rows = pd.read_csv(folder / "a/b/results.csv")
    assert tuple(rows.columns) == drift.COLUMNS
    assert len(rows) == 2 * 2 * 2 * 2  # presets, seeds, times, compensations
    spec = presets.hermes("odp").with_({"core.rows": 128})
    assert rows["spec_id"][0] == spec.id()
    report = json.loads((folder / "a/b/report.json").read_text())
    assert report["command"].startswith("aimc-sim run --model toy_network:build")
    assert report["settings"] == {"core.rows": 128}
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
        "run", "--images", 8, "--programmings", 1, "--times", "0", "--preset", "hermes-tdp",
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
        (["--programmings", "0"], ["--programmings = 0", "wanted a whole number from 1 to 1000"]),
        (["--programmings", "two"], ["--programmings", "integer"]),
        (["--images", "-3"], ["--images = -3", "wanted a whole number from 1"]),
        (["--images", "501"], ["501", "500"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["--model", "resnet23"], ["resnet23", "did you mean 'resnet32'"]),
        (["--model", "no_such_network:build"], ["no_such_network", "cannot be imported"]),
        (["--model", "toy_network:biuld"], ["biuld", "did you mean 'build'"]),
        (["--model", "toy_network:number"], ["no callable 'number'"]),
        (["--model", "toy_network:nothing"], ["NoneType", "torch.nn.Module"]),
        (["--model", "toy_network:broken"], ["out of luck"]),
        (["--model", "toy_network:rrelu"], ["rrelu", "no counterpart"]),
        (["--model", "toy_network:wide"], ["cores", "64"]),
        (["--model", "toy_network:grey"], ["(256, 3, 32, 32)", "(batch, 1, height, width)"]),
        (["--model", "toy_network:small"], ["cannot run digits", "63"]),
        (["--model", "toy_network:few"], ["5", "10 classes"]),
        (["--weights", "absent.pt"], ["absent.pt"]),
        (["--weights", "toy_network.py"], ["toy_network.py", "state dict"]),
        (["--weights", "other.pt"], ["other.pt", "does not fit", "Missing key"]),
        (["--model", "resnet32", "--weights", "other.pt"], ["other.pt", "not a ResNet-32"]),
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
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    for part in parts:
        assert part in err
    left = {p.name for p in folder.iterdir()} - {"__pycache__"}
    assert left == {"toy_network.py", "other.pt"}


def test_a_damaged_data_folder_is_named(folder, call):
    cifar = folder / "cifar-10-batches-py"
    cifar.mkdir()
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (cifar / name).write_bytes(pickle.dumps({b"data": 1}))
    code, _, err = call(*quick("--data-dir", "."))
    assert (code, err.count("\n")) == (2, 1)
    assert "test_batch" in err
    assert not (folder / "out").exists()


def test_cifar10_takes_the_place_of_the_digits(folder, call):
    cifar = folder / "cifar-10-batches-py"
    cifar.mkdir()
    pixels = np.zeros((10_000, 3072), np.uint8)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        batch = {b"data": pixels, b"labels": [1] * 10_000}
        (cifar / name).write_bytes(pickle.dumps(batch, protocol=4))
    assert call(*quick("--data-dir", "."))[0] == 0
    report = json.loads((folder / "out/report.json").read_text())
    assert report["data"] == {"name": "cifar10", "split": "test", "images": 8}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_computing(folder, call):
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    code, _, err = call(*quick("--out", "locked/out"))
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err


def test_a_failing_disk_is_reported_and_leaves_nothing(folder, call, monkeypatch):
    def full(*_arguments, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aimc_sim.figures.floorplan.floorplan", full)
    code, _, err = call(*quick())
    assert code == 2
    assert err.splitlines()[-1].startswith("error: the results cannot be written to 'out'")
    assert "No space left" in err
    assert not (folder / "out").exists()


def test_an_interruption_leaves_nothing(folder, call, monkeypatch):
    def interrupted(*_arguments, **_keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(drift, "summary", interrupted)
    code, out, err = call(*quick("--out", "new/out"))
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted: no results were written"
    assert not (folder / "new").exists()


# ------------------------------------------------------------------- info, help, start-up


def leaves(spec, path=""):
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            yield from leaves(value, f"{path}{name}.")
        elif name not in ("name", "source"):
            yield f"{path}{name}"


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_info_lists_every_parameter_with_unit_and_source(preset, call):
    spec = presets.by_name(preset)
    rows = {row.key: row for row in parameters(spec)}
    assert sorted(rows) == sorted(leaves(spec))
    for row in rows.values():
        assert row.about
        assert row.unit
        assert row.source
    code, out, _ = call("info", "--preset", preset)
    assert code == 0
    for key in rows:
        assert key in out
    assert spec.id() in out
    assert max(len(line) for line in out.splitlines()) <= info.WIDTH


def test_info_knows_where_numbers_come_from():
    rows = {row.key: row for row in parameters(presets.hermes("odp"))}
    row = rows["core.adc.full_scale_amperes"]
    assert (row.value, row.unit) == (1e-4, "A")
    assert row.source.startswith("[chip] saturation near 100 uA")
    assert rows["core.device.drift.exponent_mean.a"].source == "[fits] one device"  # its law's


def test_info_shows_values_and_references(call):
    _, out, _ = call("info", "--preset", "hermes-odp")
    line = next(line for line in out.splitlines() if line.startswith("core.device.g_max_siemens"))
    assert line.split()[1:3] == ["1.035e-05", "S"]
    assert "doi:10.1038/s41928-023-01010-1" in out
    assert "[25uS]" not in out  # not cited by this preset


def test_info_tells_what_was_chosen_for_the_machine(call):
    code, out, _ = call("info", "--machine")
    assert code == 0
    one = formats()
    assert re.search(rf"variance on cpu +{str(one.variance).removeprefix('torch.')} ", out)
    assert re.search(rf"convolutions on cpu +{one.convolution} ", out)
    assert one.why_variance[:30] in " ".join(out.split())  # a long processor name wraps reasons
    assert torch.__version__ in out
    assert max(len(line) for line in out.splitlines()) <= info.WIDTH
    code, _, err = call("info", "--machine", "--preset", "hermes")
    assert (code, err) == (2, "error: --machine is about this computer; leave --preset out\n")


def test_info_lists_presets_and_names_the_nearest(call):
    code, out, _ = call("info")
    assert code == 0
    assert all(name in out for name in presets.PRESETS)
    code, out, err = call("info", "--preset", "genericpcm")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "did you mean 'generic-pcm'" in err


@pytest.mark.parametrize("command", [["run", "--help"], ["info", "--help"], ["--help"], []])
def test_help_has_an_example(command, call):
    code, out, _ = call(*command)
    assert code == 0
    assert "aimc-sim run" in out or "aimc-sim info" in out


def test_version(call):
    assert call("--version")[:2] == (0, f"aimc-sim {aimc_sim.__version__}\n")


HELP = """
import contextlib, io, sys
from aimc_sim.cli import main
for words in ([], ["run"], ["map"], ["sweep"], ["attribute"], ["optimise"], ["info"], ["device"]):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        main([*words, "--help"])
    assert "Usage" in text.getvalue()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_help_loads_nothing_but_the_command_line():
    """In a second, also from a disk that has to turn first: numpy alone is hundreds of files."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"aimc_sim", "typer"} <= loaded
    heavy = {"numpy", "torch", "numba", "scipy", "pandas", "h5py", "networkx", "yaml"}
    assert not (heavy | {"matplotlib", "dask", "distributed", "sklearn", "optuna"}) & loaded


def test_the_package_is_a_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "aimc_sim", "run", "--preset", "hermse"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no preset named 'hermse'")
    assert done.stderr.count("\n") == 1
