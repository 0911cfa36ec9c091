"""``Chip.explain``: every layer and operation has a row, with the truth in it."""

from __future__ import annotations

import json
import re

import pytest
import torch
import torch.nn.functional as F
from interpreter import settle
from torch import nn

import aimc_sim
from aimc_sim import presets

IDEAL = presets.ideal()


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.act, self.drop = nn.ReLU(), nn.Dropout(0.1)
        self.up, self.bn2, self.pool = (
            nn.ConvTranspose2d(8, 6, 2, 2),
            nn.BatchNorm2d(6),
            nn.MaxPool2d(2),
        )
        self.skip, self.late = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
        self.lstm = nn.LSTM(6, 7, 2, batch_first=True, bidirectional=True)
        self.norm, self.same, self.fc = nn.LayerNorm(14), nn.Identity(), nn.Linear(14, 3)

    def forward(self, x):
        y = self.pool(self.bn2(self.up(self.drop(self.act(self.bn(self.conv(x)))))))
        y = self.late(F.relu(y + self.skip(x)))
        y = self.lstm(y.flatten(2).transpose(1, 2))[0]
        return self.fc(self.same(self.norm(y))).softmax(-1)


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.gru, self.out = nn.GRU(8, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, tokens):
        return self.out(self.gru(self.encoder(self.embedding(tokens)))[0][:, -1])


def separable():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.ReLU6(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Hardswish(), nn.Dropout2d(0.1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


NETWORKS = {"everything": Everything, "text": Text, "separable": separable}


def rows(model, **options):
    explanation = aimc_sim.Chip.explain(settle(model), IDEAL, **options)
    return {row.name: row for row in explanation.rows}, explanation


@pytest.mark.parametrize("name", NETWORKS)
def test_every_module_appears_and_nothing_else(name):
    model = NETWORKS[name]()
    found, explanation = rows(model)
    assert explanation.problem is None
    assert explanation.refused == ()
    assert len(found) == len(explanation.rows)  # no name twice
    leaves = [path for path, part in model.named_modules() if not list(part.children())]
    parts = (".dropout", ".dropout1", ".dropout2")  # inside torch's own layers: nothing to show
    for path in leaves:
        own = [row for row in found if row == path or row.startswith(f"{path}.")]
        assert own or path.endswith(parts), path
    names = {path for path, _ in model.named_modules()}
    for row in found.values():
        assert any(row.name == n or row.name.startswith(f"{n}.") for n in names if n) or (
            re.sub(r"(_\d+)?(\.apart)?$", "", row.name) in (row.kind, "reshape")
        )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_agree_with_the_chip(name):
    """Analog rows are the chip's layers and cores; digital ones its steps."""
    model = settle(NETWORKS[name]())
    found, explanation = rows(model)
    chip = aimc_sim.Chip.from_model(model, IDEAL)
    analog = {row.name: row for row in explanation.rows if row.fate == "analog"}
    assert set(analog) == {layer.name for layer in chip.compiled.layers}
    for layer in chip.compiled.layers:
        cores = sorted({block.core for block in layer.blocks})
        shown = analog[layer.name].where
        assert [int(n) for n in re.findall(r"\d+", shown.split("(")[0])] == cores
        assert "({} x {})".format(*layer.weight.shape) in shown
        assert analog[layer.name].weights == layer.macs
    steps = {step.name: step for step in chip.compiled.steps if step.name not in analog}
    digital = {row.name: row for row in explanation.rows if row.fate == "digital"}
    assert set(digital) == set(steps)
    assert all(digital[n].where.startswith(f"{step.op}: ") for n, step in steps.items())
    for row in found.values():
        if row.fate == "merged":
            into = re.fullmatch(r"into '(.*)'", row.where).group(1)
            assert into in analog
        elif row.fate == "vanishes":
            assert row.name not in steps
            assert row.name not in analog
    folded = {path for layer in chip.compiled.layers for path in layer.folded}
    merged = [row.name for row in found.values() if row.fate == "merged"]
    for path in folded:  # torch's own transformer layers are folded in parts
        assert any(name == path or name.startswith(f"{path}.") for name in merged)
    paths = {path for path, _ in model.named_modules()}
    assert {name for name in merged if name in paths} <= folded
    assert (explanation.cores_used, explanation.cores_available) == (chip.compiled.cores_used, 64)


def test_fates():
    found, _ = rows(Everything())
    fates = {name: row.fate for name, row in found.items()}
    assert list(found)[:8] == ["conv", "bn", "act", "drop", "up", "up.pixels", "bn2", "pool"]
    assert {n: fates[n] for n in list(found)[:8]} == {
        "conv": "analog", "bn": "merged", "act": "merged", "drop": "vanishes", "up": "analog",
        "up.pixels": "digital", "bn2": "merged", "pool": "digital",
    }  # fmt: skip
    assert found["bn"].where == found["act"].where == "into 'conv'"
    assert found["bn2"].where == "into 'up'"
    assert found["add"].where == found["relu"].where == "into 'skip'"
    assert fates["late"] == "digital"  # behind a rectification it cannot be merged
    assert found["late"].where == "affine: local digital unit, integers"
    assert fates["same"] == "vanishes"
    assert found["lstm.l0"].where == "lstm: digital unit, floating point"
    assert [fates[f"lstm.weight_{k}_l1_reverse"] for k in ("ih", "hh")] == ["analog"] * 2
    assert found["conv"].kind == "Conv2d"
    assert found["conv"].weights == 3 * 8 * 9
    assert found["softmax"].fate == "digital"


def test_where_is_followed():
    found, explanation = rows(Everything(), where={"up": "digital", "lstm": "digital"})
    assert found["up"].where == "convolution_digital: digital unit, floating point"
    assert found["bn2"].fate == "digital"  # nothing to merge into
    assert found["lstm"].where == "recurrence: digital unit, floating point"
    assert explanation.cores_used == 3
    with pytest.raises(ValueError, match=r"where: 'upp' matches no layer.*did you mean 'up'\?"):
        rows(Everything(), where={"upp": "digital"})


class Refused(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv3d(1, 1, 1), nn.Linear(4, 4)
        self.d = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        x = self.b(self.a(x).unsqueeze(1)).squeeze(1)
        x = F.dropout(torch.special.erfcx(x))
        return self.c(self.d(x.mean((2, 3))))


def test_refusals_are_listed_and_do_not_stop():
    x = torch.randn(2, 3, 8, 8)
    explanation = aimc_sim.Chip.explain(Refused(), presets.hermes(), example=x)
    refused = {row.name: row.where for row in explanation.refused}
    for name, reason in {
        "b": "write it with two dimensions", "special_erfcx": "has no counterpart on the chip",
        "dropout": "it draws random numbers in evaluation",
        "d": "train with track_running_stats=True",
    }.items():  # fmt: skip
        assert reason in refused[name]
        assert "test_explain.py" in refused[name] or name == "b"
    assert len(refused) == 4
    found = {row.name: row for row in explanation.rows}
    assert explanation.rows[0].fate == found["c"].fate == "analog"
    assert explanation.rows[0].where == "1 core needed (27 x 4)"
    assert re.match(r"4 of its layers or operations: see 'refused'", explanation.problem)
    # What from_model refuses first stands first.
    with pytest.raises(aimc_sim.UnsupportedLayerError) as caught:
        aimc_sim.Chip.from_model(Refused(), presets.hermes(), example=x)
    assert str(caught.value) == explanation.refused[0].where


class Decides(nn.Module):
    def __init__(self, decide):
        super().__init__()
        self.fc, self.decide = nn.Linear(4, 4), decide

    def forward(self, x):
        return self.fc(x) if self.decide(x) else x


def test_control_flow():
    explanation = aimc_sim.Chip.explain(Decides(lambda x: x.sum() > 0), IDEAL)
    assert [row.fate for row in explanation.rows] == ["refused"]
    assert "takes decisions that depend on the data" in explanation.problem
    assert "test_explain.py, line" in explanation.problem
    assert explanation.cores_used == 0
    sizes = aimc_sim.Chip.explain(Decides(lambda x: x.shape[1] > 3), IDEAL)
    assert sizes.problem is None
    assert [row.fate for row in sizes.rows] == ["analog"]


def test_capacity():
    model = nn.Sequential(nn.Linear(2000, 3000), nn.ReLU(), nn.Linear(3000, 7))
    explanation = aimc_sim.Chip.explain(model, IDEAL)
    needed = 8 * 12 + 12
    assert explanation.problem.startswith(f"the network needs {needed} cores of 256x256")
    assert (explanation.cores_used, explanation.cores_available) == (needed, 64)
    assert [row.fate for row in explanation.rows] == ["analog", "merged", "analog"]
    assert explanation.rows[0].where == "96 cores needed (2000 x 3000)"
    assert explanation.refused == ()
    with pytest.raises(aimc_sim.CapacityError) as caught:
        aimc_sim.Chip.from_model(model, IDEAL)
    assert str(caught.value) == explanation.problem


def test_nothing_for_the_cores():
    explanation = aimc_sim.Chip.explain(nn.Sequential(nn.ReLU()), IDEAL, example=torch.ones(2, 3))
    assert explanation.rows[0].fate == "digital"
    assert "nothing would run on the cores" in explanation.problem
    unknown = aimc_sim.Chip.explain(nn.Sequential(nn.ReLU()), IDEAL)
    assert [row.fate for row in unknown.rows] == ["refused"]
    assert "from_model(model, example=torch.randn" in unknown.problem


def test_text_and_dictionary():
    explanation = aimc_sim.Chip.explain(Text, IDEAL)  # a class, called without arguments
    lines = str(explanation).splitlines()
    assert lines[0].split() == ["layer", "kind", "fate", "where"]
    assert len(lines) == len(explanation.rows) + 3
    weights = sum(row.weights for row in explanation.rows)
    assert lines[-1] == f"{explanation.cores_used} of 64 cores, {weights:,} weights"
    found = json.loads(json.dumps(explanation.to_dict()))
    assert found["rows"][0]["name"] == explanation.rows[0].name
    bad = aimc_sim.Chip.explain(Refused(), IDEAL)
    assert str(bad).splitlines()[-1] == f"does not go on the chip: {bad.problem}"


def test_the_model_is_not_touched():
    model = Everything().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    aimc_sim.Chip.explain(model, IDEAL)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
