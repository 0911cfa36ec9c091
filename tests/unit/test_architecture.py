"""``docs/architecture.md`` names functions that exist, in the order in which they are called."""

import importlib
import re
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import aimc_sim

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAME = r"[a-z_]\w*(?:\.\w+)+"


def walk(name: str) -> list[str]:
    """Return the names that a walk lists: the first of every step."""
    (text,) = re.findall(rf"<!-- walk: {name} -->\n(.*?)<!-- end -->", PAGE, re.S)
    return re.findall(rf"^\d+\. `({NAME})`", text, re.M)


def resolved(name: str):
    """Return what a name below ``aimc_sim`` stands for."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(["aimc_sim", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def is_field(name: str) -> bool:
    """Return whether a dotted name is a field of a specification."""
    value = aimc_sim.presets.hermes()
    for part in name.split("."):
        if part not in getattr(type(value), "model_fields", ()):
            return False
        value = getattr(value, part)
    return True


class Calls:
    """The order of the first calls of functions of this package, in all threads."""

    def __init__(self) -> None:
        self.order: dict[object, int] = {}

    def note(self, frame, event, argument) -> None:
        if event == "call":
            self.order.setdefault(frame.f_code, len(self.order))

    def __enter__(self):
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        return self

    def __exit__(self, *_) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def called(calls: Calls, names: list[str]) -> list[str]:
    """Return names in the order of their first calls; those that were not called are left out."""
    codes = {}
    for name in names:
        function = resolved(name)
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        codes[name] = function.__code__
    found = [name for name in names if codes[name] in calls.order]
    return sorted(found, key=lambda name: calls.order[codes[name]])


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(72, 4),
        ).eval()  # fmt: skip


@pytest.fixture
def images(rng):
    return torch.from_numpy(rng.standard_normal((4, 3, 8, 8)).astype("float32"))


def test_every_name_of_the_page_exists():
    names = set(re.findall(rf"`({NAME})`", PAGE))
    assert len(names) > 60
    for name in names - {"torch.export"}:
        assert is_field(name) or resolved(name) is not None
    with pytest.raises(AttributeError):
        resolved("core.tile.no_such_function")


def test_every_room_is_in_the_table():
    rooms = {p.parent.name for p in (ROOT / "aimc_sim").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`(\w+)`", PAGE.split("## A weight")[0]))


@pytest.mark.filterwarnings("ignore:layer")
def test_a_weight(model, images):
    names = walk("weight")
    with Calls() as calls:
        spec = aimc_sim.presets.hermes().with_({"core.g_max_rule": "device"})
        chip = aimc_sim.Chip.from_model(model, spec)
        chip.program(0).at("1 day")
        chip.calibrate(images)(images)
    assert called(calls, names) == names


@pytest.mark.filterwarnings("ignore:layer")
def test_an_activation(model, images):
    names = walk("activation")
    chip = aimc_sim.Chip.from_model(model).program(0).at("1 day").compensate("gdc")
    with Calls() as calls:
        chip.calibrate(images)
        chip(images)
    assert called(calls, names) == names


def test_a_trial(tmp_path):
    import toy_study

    from aimc_sim import results

    names = walk("trial")
    with Calls() as calls:
        toy_study.run(tmp_path / "toy", 2)
        results.summary(results.load(tmp_path / "toy"))
    assert called(calls, names) == names


def test_a_wrong_order_is_found(model):
    names = walk("weight")[:13]
    with Calls() as calls:
        aimc_sim.Chip.from_model(model)
    assert called(calls, names[::-1]) == names
    assert called(calls, ["chip.state.program"]) == []
