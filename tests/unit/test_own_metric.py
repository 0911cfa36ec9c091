"""A metric of one's own, in this file alone: sweep, run and attribute take it."""

import json

import numpy as np
import pandas as pd
import torch
import yaml
from torch import nn

from aimc_sim import results
from aimc_sim.metrics import Metric
from aimc_sim.studies import attribute, inputs, settings, sweep
from aimc_sim.studies.schema import make_study


class Mixed(nn.Module):
    """A convolution of a line and an LSTM: (N, 3, 12) signals to 5 numbers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 6, 3)
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        outputs, _ = self.lstm(torch.relu(self.conv(x)).transpose(1, 2))
        return self.head(outputs[:, -1])


def network():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Mixed().eval()


def data():
    x = np.random.Generator(np.random.PCG64(2)).standard_normal((280, 3, 12), np.float32)
    with torch.inference_mode():
        y = network()(torch.from_numpy(x)).numpy()
    return x[:24], y[:24], x[24:]


def absolute(outputs, targets):
    return np.abs(outputs - targets).mean(1)


distance = Metric("distance", absolute, larger=False, unit="V", digits=4, targets="values")

NAME = f"{__name__}:distance"
STUDY = {
    "name": "own", "network": f"{__name__}:network", "data": f"{__name__}:data", "metric": NAME,
    "presets": "hermes-odp", "times": "1 h", "compensations": "gdc", "programmings": 2,
    "probe_images": 4,
}  # fmt: skip


def test_sweep_and_attribute_take_it_on_every_analog_layer(tmp_path, call):
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(STUDY))
    code, text, err = call("attribute", "--study", path, "--layers", "--out", out, "--workers", 0)
    assert code == 0, err
    assert "change of distance in V" in text
    rows = pd.read_csv(out / "attribution.csv")
    study = make_study(STUDY)
    given = inputs.gather(study)
    layers = sweep.analog_layers(given, next(settings.settings(study)).spec)
    assert {"conv", "head"} < set(layers)
    assert len(layers) == 4  # two matrices of the LSTM
    assert rows.loc[rows["kind"] == "layer", "effect"].tolist() == sorted(layers)
    whole = rows[rows["kind"] == "whole"].iloc[0]
    assert whole["difference"] > 0  # devices take the outputs away from the targets
    assert (rows["high"] > rows["low"]).all()
    table = results.load(out)
    assert set(table["metric"]) == {"distance"}
    assert "accuracy" not in table
    row = table.iloc[0]
    scores = np.frombuffer(row["scores"], "<f4")
    assert len(scores) == 24
    assert row["value"] == float(scores.astype(float).mean())
    code, text, err = call("sweep", path, "--out", out, "--workers", 0)
    assert code == 0, err
    assert "distance in V, mean and 95 % interval" in text
    assert attribute.EVERYTHING in set(table["setting"])


def test_run_takes_it(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text, err = call(
        "run", "--model", f"{__name__}:network", "--data", f"{__name__}:data", "--metric", NAME,
        "--preset", "hermes-odp,ideal", "--times", "0", "--programmings", 2, "--out", "out",
    )  # fmt: skip
    assert code == 0, err
    assert text.startswith("Distance in V, 24 test images")
    rows = pd.read_csv("out/results.csv")
    assert set(rows["metric"]) == {"distance"}
    ideal = rows[rows["preset"] == "ideal"]["value"]
    assert ideal.max() < 1e-5 < rows["value"].max()
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["metric"]["unit"] == "V"
    assert report["references"]["float_value"] < 1e-6
