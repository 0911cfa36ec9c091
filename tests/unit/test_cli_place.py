"""``aimc-sim map`` and ``perf``: what they print and write, and refusals in one line."""

import json
import sys

import pytest

from aimc_sim.cli import main
from aimc_sim.cli.place import MAP_FILES, PERF_FILES

NETWORK = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.conv(x) + x)
        return self.head(x.mean((2, 3)))

def build():
    torch.manual_seed(1)
    return Residual()
"""
TOY = ("toy_place:build", "--input", "3,8,8")


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in a folder with a network of the user's own: exit code, stdout, stderr."""
    (tmp_path / "toy_place.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "toy_place", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return run


def test_map_writes_and_prints_where_everything_went(call, tmp_path):
    code, out, err = call("map", *TOY, "--out", "where")
    assert (code, err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "where").iterdir()) == sorted(MAP_FILES)
    found = json.loads((tmp_path / "where" / "map.json").read_text())
    assert found["command"] == "aimc-sim map toy_place:build --input 3,8,8 --out where"
    layers = {layer["name"]: layer for layer in found["map"]["layers"]}
    assert [layers[name]["mvms"] for name in ("stem", "conv", "head")] == [64, 64, 1]
    assert found["map"]["cores_used"] == 3
    assert found["map"]["one_hop"] is True
    sent = found["map"]["traffic"]["links"]
    # stem -> conv for the product and for the sum, conv -> head: 8 bytes for each of 64 pixels.
    assert sum(link["bytes"] for link in sent) == 3 * 512
    assert "cores           3 of 64" in out
    assert "transfers       2 activation, 1 residual" in out


def test_map_of_a_network_whose_input_is_not_given(call):
    code, out, _ = call("map", TOY[0])
    assert code == 0
    assert "busiest link" not in out  # bytes are not known


def test_map_of_a_layout_of_the_paper(call, tmp_path):
    code, out, _ = call("map", "paper:captioning-lstm", "--out", "p")
    assert code == 0
    assert "cores           64 of 64" in out
    assert "gates" in out
    assert (tmp_path / "p" / "floorplan.png").stat().st_size > 10_000


def test_perf_simulates_the_pipeline(call, tmp_path):
    code, out, err = call("perf", *TOY, "--out", "fast")
    assert (code, err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "fast").iterdir()) == sorted(PERF_FILES)
    found = json.loads((tmp_path / "fast" / "perf.json").read_text())["performance"]
    assert found["interval_seconds"] == pytest.approx(64 * 520e-9)
    assert found["first_image_seconds"] > found["interval_seconds"]
    assert sum(found["joules_by_component"].values()) == pytest.approx(found["joules_per_image"])
    assert sum(found["joules_by_core"].values()) == pytest.approx(found["joules_per_image"])
    assert found["macs"] == 64 * (27 * 8 + 72 * 8) + 40
    assert "a model, not measured on a chip" in out
    assert "programming     not told: calibration on images chooses g_max first" in out
    assert found["programming"] is None
    code, out, _ = call("perf", *TOY, "--set", "core.g_max_rule=device", "--out", "written")
    found = json.loads((tmp_path / "written" / "perf.json").read_text())["performance"]
    assert (code, found["programming"] is None, "not told" in out) == (0, False, False)
    assert "energy          " in out


def test_through_the_host_it_is_slower(call, tmp_path):
    assert call("perf", *TOY, "--mode", "host", "--out", "host")[0] == 0
    found = json.loads((tmp_path / "host" / "perf.json").read_text())["performance"]
    assert found["interval_seconds"] > 2 * 64 * 520e-9  # from core to core, see above


def test_patches_shorten_the_interval(call, tmp_path):
    arguments = ("--replicate", "stem=2", "--replicate", "conv=2", "--out", "patched")
    assert call("perf", *TOY, *arguments)[0] == 0
    found = json.loads((tmp_path / "patched" / "perf.json").read_text())["performance"]
    assert found["interval_seconds"] == pytest.approx(16 * 520e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("perf", "toy_place:build"), "give the shape of one image for toy_place:build: --input"),
        (("perf", TOY[0], "--input", "3,x"), "--input '3,x': wanted sizes above zero"),
        (("perf", TOY[0], "--input", "4,8,8"), "'stem'"),
        (("perf", *TOY, "--images", "0"), "--images = 0: wanted a whole number from 1 to 10000"),
        (("perf", *TOY, "--mode", "fast"), "--mode fast: wanted 'pipelined' or 'host'"),
        (("perf", "paper:resnet9"), "is a layout of the chip paper without a network"),
        (("map", "paper:vgg"), "there is no layout 'vgg'; choose one of resnet9"),
        (("map", *TOY, "--replicate", "stem"), "--replicate stem: wanted LAYERS=N"),
        (("map", *TOY, "--replicate", "layer=2"), "'layer' matches no convolution"),
        (("perf", *TOY, "--replicate", "stem=3"), "patches of 3 x 3 pixels do not cover 8 pixels"),
        (("map", *TOY, "--set", "fabric.rows=1", "--set", "fabric.cols=2"), "needs 3 cores"),
    ],
)
def test_refusals(call, tmp_path, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert (
        sorted(p.name for p in tmp_path.iterdir() if p.is_dir() and p.name != "__pycache__") == []
    )
