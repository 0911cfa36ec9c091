"""Objects of a user's own: modules and files, and what a function of data may return."""

import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aimc_sim import metrics, own
from aimc_sim.studies import inputs
from aimc_sim.studies.schema import DataChoice, load_study

FILE = """
import numpy as np
import torch
from torch import nn

from aimc_sim.metrics import Metric

TIMES = []
TIMES.append(1)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def data():
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((60, 6), np.float32)
    return x[:24], network()(torch.from_numpy(x[:24])).argmax(1), x[24:]


def score(outputs, targets):
    return (outputs.argmax(1) != targets).astype(float)


wrong = Metric("wrong", score, larger=False)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A present folder; modules and the search path are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(own, "_FILES", {})
    monkeypatch.setattr(own, "_CODES", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def written(path, text=FILE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ------------------------------------------------------------------ names


def test_a_file_is_executed_once_whatever_is_taken_from_it(place):
    written(place / "deep/toy_own.py")
    assert own.call("deep/toy_own.py:data", "data")[0].shape == (24, 6)
    assert own.find(f"{place}/deep/../deep/toy_own.py:TIMES", "x") == [1]
    assert own.find("toy_own:TIMES", "x") == [1]  # its folder is searched: one module, not two


def test_a_file_replaces_no_module_of_its_name(place):
    written(place / "json.py", "found = 'mine'\n")
    written(place / "a/net.py", "found = 'a'\n")
    written(place / "b/net.py", "found = 'b'\n")
    written(place / "09_number.py", "found = 9\n")
    import json

    assert own.find("json.py:found", "x") == "mine"
    assert sys.modules["json"] is json
    assert [own.find(f"{n}/net.py:found", "x") for n in "abab"] == ["a", "b", "a", "b"]
    assert own.find("09_number.py:found", "x") == 9


def test_a_file_finds_the_modules_beside_it(place):
    written(place / "deep/beside_toy.py", "number = 7\n")
    written(place / "deep/asks.py", "from beside_toy import number\n")
    assert own.find("deep/asks.py:number", "x") == 7


def test_a_file_that_fails_leaves_no_module(place):
    written(place / "half.py", "number = 1\nraise RuntimeError('no luck')\n")
    written(place / "os.py", "number = 1\nraise SystemExit(3)\n")
    before = set(sys.modules)
    for name, reason in (("half.py:x", "RuntimeError: no luck"), ("os.py:x", "SystemExit: 3")):
        with pytest.raises(ValueError, match=reason):
            own.find(name, "data")
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.py:data", "data: 'absent.py' of 'absent.py:data' cannot be imported"),
        ("absent.py:data", "there is no Python file 'absent.py'"),
        ("deep:data", "cannot be imported"),
        ("./deep:data", "is the path of no Python file"),
        ("toy.py:dta", "has no callable 'dta'; did you mean 'data'"),
        ("toy.py:", "has no callable ''"),
        ("toy.py:TIMES", "has no callable 'TIMES'"),
        ("folder.py:data", "that is a folder"),
        ("a\0b.py:data", "cannot be imported"),
    ],
)
def test_names_of_nothing_are_refused_in_a_sentence(place, name, sentence):
    written(place / "toy.py")
    (place / "folder.py").mkdir()
    with pytest.raises(ValueError, match=r"^data: ") as told:
        own.call(name, "data")
    assert sentence in str(told.value)


def test_results_do_not_tell_where_a_file_lies(place):
    written(place / "a/toy_own.py")
    written(place / "b/toy_own.py")
    names = [f"{place}/{folder}/toy_own.py:wrong" for folder in "ab"]
    found = [metrics.named(name) for name in names]
    assert found[0].identity() == found[1].identity()
    assert found[0].identity()["origin"] == "toy_own.py:wrong"
    assert found[0].described() == found[1].described()
    assert own.absolute("toy.py:x", place) == f"{place}/toy.py:x"
    assert own.absolute("toy:x", place) == own.label("toy:x") == "toy:x"


@pytest.mark.parametrize("name", ["toy_own:wrong", "toy_own.py:wrong"])
def test_the_code_of_a_metric_is_that_which_was_executed(place, name):
    """A file that is edited in between changes no function of this process, and so no identity."""
    own.look_in()
    path = written(place / "toy_own.py")
    before = metrics.named(name)
    written(path, FILE.replace("!= targets", "== targets"))
    again = metrics.named(name)
    assert again.score is before.score
    assert again.identity() == before.identity()
    os.utime(path, (1, 1))  # of another time than its compiled form
    importlib.reload(sys.modules["toy_own"])
    anew = metrics.named(name)
    assert anew.identity() != before.identity()
    targets = np.array([0, 1, 1])
    for metric, value in ((before, 1 / 3), (anew, 2 / 3)):
        assert metric.value(metric.scored(np.eye(3, dtype="f4"), targets)) == pytest.approx(value)


WORKER = """
import pickle, sys
import numpy as np
metric = pickle.load(open(sys.argv[1], "rb"))
print(metric.value(metric.scored(np.eye(3, dtype="f4"), np.array([0, 1, 1]))), metric.identity())
"""


def test_a_metric_of_a_file_goes_to_processes_that_have_no_such_file(place, tmp_path):
    written(place / "deep/toy-own.py")
    found = metrics.named("deep/toy-own.py:wrong")
    (place / "metric.pickle").write_bytes(pickle.dumps(found))
    (place / "deep/toy-own.py").unlink()
    (place / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(place / "metric.pickle")],
        cwd=place / "elsewhere", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split(maxsplit=1)[0][:6] == "0.3333"
    assert str(found.identity()) in done.stdout


# ------------------------------------------------------------------ studies


def test_a_study_takes_files_beside_it(place):
    written(place / "lab/toy_own.py")
    study = written(
        place / "lab/study.yaml",
        "network: toy_own.py:network\ndata: toy_own.py:data\nmetric: toy_own.py:wrong\n"
        "presets: ideal\n",
    )
    loaded = load_study(study)
    assert loaded.data.name == f"{place}/lab/toy_own.py:data"
    given = inputs.gather(loaded)
    assert (given.network_name, given.data_name) == ("toy_own.py:network", "toy_own.py:data")
    assert given.images.shape == (24, 6)
    assert given.calibration.shape == (36, 6)  # fewer than the default: all of them
    assert given.targets.dtype == np.int64
    assert given.metric.name == "wrong"


def load(returned, monkeypatch, **choice):
    monkeypatch.setattr(own, "call", lambda name, what: returned)
    return inputs.load_data(DataChoice(name="toy:data", **choice))


X = np.arange(40, dtype=np.float32).reshape(20, 2)
Y = np.arange(20) % 2


def test_tensors_lists_and_arrays_are_the_same_data(monkeypatch):
    tensor = torch.tensor(X, requires_grad=True)
    plain = load((X, Y, X[:5]), monkeypatch)
    for returned in (
        [tensor, torch.tensor(Y), tensor[:5]],
        (X.tolist(), Y.tolist(), X[:5].tolist()),
        (tensor.to(torch.bfloat16), Y, X[:5]),  # all of these numbers are exact
    ):
        found = load(returned, monkeypatch)
        for name in ("images", "targets", "calibration"):
            assert np.array_equal(getattr(found, name), getattr(plain, name)), name


@pytest.mark.parametrize("returned", [(X, Y), (X, Y, None), [X, Y]])
def test_without_calibration_inputs_a_part_is_set_aside_and_told(returned, monkeypatch):
    with pytest.warns(UserWarning, match="the last 5 of its 20 inputs .* are not scored"):
        found = load(returned, monkeypatch)
    assert np.array_equal(found.images, X[:15])
    assert np.array_equal(found.targets, Y[:15])
    assert np.array_equal(found.calibration, X[15:])


@pytest.mark.filterwarnings("ignore:data. toy")
def test_no_more_than_256_inputs_are_set_aside(monkeypatch):
    many = np.zeros((4000, 1), np.float32)
    found = load((many, np.zeros(4000, int)), monkeypatch)
    assert (len(found.images), len(found.calibration)) == (3744, 256)


def test_a_number_of_calibration_inputs_that_was_asked_for_must_be_there(monkeypatch):
    assert len(load((X, Y, X[:5]), monkeypatch, calibration=4).calibration) == 4
    with pytest.raises(ValueError, match=r"data.calibration = 6: 'toy:data' has only 5"):
        load((X, Y, X[:5]), monkeypatch, calibration=6)
    with pytest.raises(ValueError, match=r"data.images = 21: 'toy:data' has only 20"):
        load((X, Y, X[:5]), monkeypatch, images=21)


NAN = np.where(X == 7, np.nan, X)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "returns a NoneType; wanted a tuple (inputs, targets, calibration inputs)"),
        ({"inputs": X, "targets": Y}, "returns a dict; wanted a tuple (inputs"),
        (X, "returns a ndarray; wanted a tuple"),
        ((X,), "returns 1 things"),
        ((X, Y, X, Y), "returns 4 things"),
        ((X, Y[:9], X), "20 inputs of the shape (20, 2) and 9 targets of the shape (9,)"),
        (({"a": X, "b": X}, Y, X), "the inputs of toy:data are a dict with 2 entries"),
        ((X, Y, {"a": X}), "the calibration inputs of toy:data are a dict with 1 entries"),
        ((X, Y, (X, Y)), "the calibration inputs of toy:data are items of different shapes"),
        ((X, list("ab") * 10, X), "the targets of toy:data are a list of dtype <U1; wanted an"),
        ((None, Y, X), "the inputs of toy:data are a NoneType of dtype object"),
        ((X.astype(complex), Y, X), "of dtype complex128"),
        ((X[:0], Y[:0], X), "have the shape (0, 2); wanted (items, ...), at least one"),
        ((np.float32(3), Y, X), "have the shape ()"),
        ((NAN, Y, X), "the inputs of toy:data hold numbers that are not finite"),
        ((X.astype(float) * 1e300, Y, X), "not finite in float32"),
        ((X, NAN[:, 1], X), "the targets of toy:data hold numbers that are not finite"),
        ((X, Y, X[:, 0]), "inputs of the shape (20, 2) and calibration inputs of the shape (20,)"),
        ((X.astype(np.uint8), Y, X), "of type uint8 and calibration inputs of type float32"),
        ((X[:3], Y[:3]), "3 inputs and no calibration inputs; wanted at least 4"),
        ((torch.zeros(4, 2).to_sparse(), Y[:4], X), "a tensor that is sparse"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_refused_in_a_sentence(returned, sentence, monkeypatch):
    with pytest.raises((ValueError, TypeError)) as told:
        load(returned, monkeypatch)
    assert str(told.value).startswith("data: ")
    assert sentence in str(told.value)


@pytest.mark.parametrize("metric", ["accuracy", "top-5"])
@pytest.mark.parametrize(
    ("targets", "sentence"),
    [(np.eye(8, dtype=int), r"targets.argmax\(1\)"), (np.arange(8) - 1, "a target is -1")],
)
def test_targets_that_are_no_classes_are_refused(metric, targets, sentence):
    with pytest.raises(ValueError, match=sentence):
        metrics.named(metric).scored(np.eye(8, dtype=np.float32), targets)
