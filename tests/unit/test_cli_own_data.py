"""One network, one function of data, one vocabulary: every command takes them in the same words."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
import yaml

from aimc_sim import metrics, results
from aimc_sim.cli import app, inputs, main, options
from aimc_sim.mapping import named
from aimc_sim.zoo import catalogue

TOY = """
import numpy as np
import torch
from torch import nn

from aimc_sim.metrics import Metric


def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ).eval()


def vector():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def sized():
    found = network()
    found.example_input = torch.zeros(2, 2, 5, 9)
    return found


def data():
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((40, 2, 5, 7), np.float32)
    return x[:16], network()(torch.from_numpy(x[:16])).argmax(1), x[16:]


def without_calibration():
    return data()[:2]


def narrow():
    return tuple(part[:, :1] if part.ndim == 4 else part for part in data())


def table():
    return {"x": 1}


def count(outputs, targets):
    return (outputs.argmax(1) != targets.astype(int)).astype(float)


wrong = Metric("wrong", count, larger=False)
"""
STUDY = {
    "presets": "hermes-odp", "times": "1 h", "compensations": "gdc", "programmings": 1,
    "probe_images": 0,
}  # fmt: skip
SEARCH = {
    "knobs": {"core.adc.bits": [6, 8]}, "programmings": 1, "trials": 2, "batch": 2,
    "objectives": ["value", "cores"],
}  # fmt: skip
OWN = ("--model", "toy.py:network", "--data", "toy.py:data")
COMMANDS = {
    "run": ("run", "--preset", "hermes-odp", "--times", "0", "--programmings", "1"),
    "map": ("map",),
    "perf": ("perf", "--images", "2"),
    "profile": ("profile", "--batch", "4", "--rounds", "1", "--threads", "1"),
    "attribute": ("attribute", "--programmings", "1", "--workers", "0", "--preset", "generic-pcm"),
    "sweep": ("sweep", "study.yaml", "--workers", "0"),
    "optimise": ("optimise", "search.yaml", "--workers", "0"),
}
"""Every command that takes a network, and what else makes it quick."""

SCORING = ("run", "attribute", "sweep", "optimise")
FILED = ("sweep", "optimise")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A present folder with a file of the user's own, a study and a search that name digits."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("toy", None)


@pytest.fixture
def call(call):
    """Run the command as the fixture of all tests, without the bars of progress."""

    def run(*words):
        code, out, err = call(*words)
        lines = [line for line in err.splitlines(keepends=True) if " left: " not in line]
        return code, out, "".join(lines)

    return run


def value_of(folder: Path, command: str) -> tuple[float, int]:
    """Return the value right after programming or an hour later, and the number of items."""
    if command == "run":
        row = pd.read_csv(folder / "out/results.csv").iloc[0]
    else:
        row = results.load(folder / "out").iloc[0]
    return row["value" if "value" in row else "accuracy"], int(row["images"])


# ------------------------------------------------------------------ data


@pytest.mark.parametrize("command", SCORING)
def test_own_data_and_metric_are_scored(command, folder, call):
    code, _, err = call(*COMMANDS[command], *OWN, "--metric", "toy.py:wrong", "--out", "out")
    assert (code, err) == (0, "")
    value, items = value_of(folder, command)
    assert items == 16
    assert 0 <= value <= 0.5  # wrong answers of 16: of digits there would be an error
    text = "".join(
        path.read_text(errors="replace")
        for path in (folder / "out").rglob("*")
        if path.suffix in (".jsonl", ".csv") or path.name == "report.json"
    )
    assert "toy.py:network" in text if command != "run" else "toy.py:data" in text
    assert str(folder) not in text  # results are equal wherever the file lies


@pytest.mark.parametrize("command", ["map", "perf", "profile"])
def test_own_data_give_the_shape_of_an_input(command, folder, call):
    code, out, err = call(*COMMANDS[command], *OWN, "--out", "out")
    assert (code, err) == (0, "")
    assert "toy.py:network on hermes-tdp" in out
    if command == "profile":
        return
    found = json.loads((folder / "out/map.json").read_text())["map"]
    assert [layer["mvms"] for layer in found["layers"]] == [15, 1]  # 3 x 5 places of the kernel
    if command == "perf":
        written = json.loads((folder / "out/perf.json").read_text())["performance"]["programming"]
        assert written is not None  # calibrated with the data's calibration inputs
        assert "not told" not in out


def test_profile_runs_the_inputs_of_the_data(folder, call, monkeypatch):
    from aimc_sim.analysis import profile

    seen = []
    monkeypatch.setattr(profile, "profile", lambda chip, network, images, *_: seen.append(images))
    with pytest.raises(AttributeError):  # the result of profile is none
        call(*COMMANDS["profile"], *OWN, "--batch", "20")
    import toy

    assert np.array_equal(seen[0].numpy(), np.concatenate([toy.data()[0], toy.data()[0][:4]]))


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("command", SCORING)
def test_missing_calibration_inputs_are_told(command, folder, call):
    own = ("--model", "toy.py:network", "--data", "toy.py:without_calibration")
    code, _, err = call(*COMMANDS[command], *own, "--out", "out")
    assert code == 0
    assert "the last 4 of its 16 inputs are taken for that and are not scored" in err
    assert value_of(folder, command)[1] == 12


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("toy.py:table", "toy.py:table returns a dict; wanted a tuple (inputs, targets, calib"),
        ("toy.py:narrow", "narrow"),
        ("toy.py:dta", "did you mean 'data'"),
        ("absent.py:data", "there is no Python file 'absent.py'"),
        ("digts", "did you mean 'digits'"),
    ],
)
def test_what_is_no_data_for_the_network_is_one_sentence(command, data, sentence, folder, call):
    if sentence == "narrow" and command == "run":
        sentence = "(24, 1, 5, 7); the network's first layer wants (batch, 2, height, width)"
    elif sentence == "narrow":
        sentence = "the network cannot run toy.py:narrow: Given groups=1"
    words = (*COMMANDS[command], "--model", "toy.py:network", "--data", data, "--out", "out")
    code, out, err = call(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err.replace(f"{folder}/", "")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_is_not_for_data_of_ones_own(command, folder, call):
    code, _, err = call(*COMMANDS[command], *OWN, "--data-dir", ".", "--out", "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "data.folder (--data-dir) is for cifar10 and ptb" in err


def test_items_are_fewer_with_images(folder, call):
    for command in SCORING:
        code, _, err = call(*COMMANDS[command], *OWN, "--images", 8, "--out", f"{command}/out")
        assert (code, err) == (0, ""), command
        assert value_of(folder / command, command)[1] == 8


def test_an_attribution_takes_a_study_and_ones_own_data(folder, call):
    words = ("attribute", "--study", "study.yaml", "--workers", "0", "--out", "out")
    code, _, err = call(*words, *OWN)
    assert (code, err) == (0, "")
    assert set(results.load(folder / "out")["data"]) == {"toy.py:data"}
    assert set(results.load(folder / "out")["time_seconds"]) == {3600.0}
    for option in ("--preset=ideal", "--times=0", "--compensation=gdc", "--programmings=2"):
        code, _, err = call(*words, *OWN, option)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{option.partition('=')[0]} is part of the study" in err


@pytest.mark.parametrize("command", ["run", "attribute"])
def test_weights_for_digits_are_not_scored_on_cifar10(command, folder, call):
    for words in ((), ("--data", "cifar10"), ("--model", "resnet32")):
        code, _, err = call(*COMMANDS[command], *words, "--data-dir", ".", "--out", "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "the weights of this network are for digits" in err


# ------------------------------------------------------------------ the shape of an input


def test_a_network_says_its_shape_where_only_one_fits(folder, call):
    assert call("perf", "toy.py:vector", "--out", "vector")[0] == 0
    assert call("map", "toy.py:sized", "--out", "sized")[0] == 0
    found = json.loads((folder / "sized/map.json").read_text())["map"]
    assert [layer["mvms"] for layer in found["layers"]] == [21, 1]
    for command in ("perf", "profile"):
        code, _, err = call(command, "toy.py:network", "--out", "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "give the shape of one image for toy.py:network: --input 3,32,32, or --data" in err
    code, _, err = call("map", *OWN, "--input", "2,5,7", "--out", "out")
    assert "--input and --data both give the shape" in err
    code, _, err = call("perf", "toy.py:vector", "--input", "7", "--out", "out")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_default_shape_is_that_of_the_networks_data(name):
    data = catalogue.DATA[catalogue.listed(name).data]
    assert inputs.shape(name, None, None, None, None) == data.shape
    assert inputs.shape(name, "3,8,8", None, None, None) == (3, 8, 8)


# ------------------------------------------------------------------ one vocabulary


class Asked(Exception):
    """A network was asked for: the command has accepted its name."""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", catalogue.NAMES)
def test_every_command_takes_every_network_of_the_zoo(command, name, folder, call, monkeypatch):
    """By the same name the same entry, and without ``--data`` the data that it was trained for."""
    from aimc_sim.zoo import entries

    asked = []

    def load(wanted):
        asked.append(wanted)
        raise Asked

    monkeypatch.setattr(entries, "load", load)
    words = (*COMMANDS[command], "--model", name, "--out", "out")
    full = catalogue.SHORT.get(name, name)
    if command not in FILED:
        with pytest.raises(Asked):
            call(*COMMANDS[command], name, "--out", "out")
    with pytest.raises(Asked):
        call(*words)
    assert set(asked) == {full}
    monkeypatch.setattr(entries, "load", lambda wanted: None)
    data = catalogue.DATA[catalogue.NETWORKS[full].data]
    if command in SCORING and data.file:
        code, _, err = call(*words)
        assert (code, err.count("\n")) == (2, 1)
        assert f"(--data-dir), where {data.file} is" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_of_no_network_is_one_sentence_with_all_names(command, folder, call):
    code, out, err = call(*COMMANDS[command], "--model", "resnet32-digit", "--out", "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "did you mean 'resnet32-digits'" in err
    assert ", ".join(catalogue.NAMES) in err
    assert "path/to/file.py:function" in err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "map"])
def test_layouts_of_the_paper_are_refused_where_there_is_nothing_to_run(command, folder, call):
    code, out, err = call(*COMMANDS[command], "--model", "paper:resnet9", "--out", "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "only 'aimc-sim map paper:resnet9' takes it" in err


def test_a_layout_of_the_paper_has_no_data(folder, call):
    assert call("map", "--model", "paper:resnet9", "--out", "out")[0] == 0
    code, _, err = call("map", "paper:resnet9", "--data", "digits", "--out", "other")
    assert (code, err.count("\n")) == (2, 1)
    assert "leave --weights, --data, --data-dir and --input out" in err
    for words in (("--replicate", "conv1=2"), ("--set", "mapping.blocks_per_core=4")):
        code, _, err = call("map", "paper:resnet9", *words, "--out", "other")
        assert (code, err.count("\n")) == (2, 1)
        assert "placed as in the chip paper; leave --replicate and --set mapping... out" in err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in FILED])
def test_a_network_that_is_given_twice_is_refused(command, folder, call):
    code, out, err = call(*COMMANDS[command], "resnet32", "--model", "resnet9", "--out", "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the network is given twice, as the argument 'resnet32' and by --model 'resnet9'" in err


def test_earlier_names_of_options_work_and_say_so(folder, call):
    words = ("attribute", "--network", "toy.py:network", "--data=toy.py:data", "--time=1h")
    code, _, err = call(*words, "--workers", "0", "--programmings", "1", "--out", "out")
    assert code == 0
    assert err.splitlines() == [
        f"note: {old} is {new} now; the next release takes only {new}"
        for old, new in (("--network", "--model"), ("--time", "--times"))
    ]
    assert set(results.load(folder / "out")["time_seconds"]) == {3600.0}
    code, _, err = call("run", *OWN, "--seeds", 2, "--times", "0", "--preset", "ideal")
    assert (code, err.count("\n")) == (0, 1)
    assert json.loads((folder / "aimc_sim_results/report.json").read_text())["seeds"] == 2


LEAVES = typer.main.get_command(app).commands


def test_earlier_names_are_hidden():
    for name in COMMANDS:
        shown = {word for parameter in LEAVES[name].params for word in parameter.opts}
        assert not shown & set(options.OLD), name
        assert {"--model", "--weights", "--data", "--data-dir", "--out"} <= shown, name
        if name in SCORING:
            assert {"--metric", "--images"} <= shown, name


# ------------------------------------------------------------------ help, completion, lists


def shown_help(option: str) -> str:
    (parameter,) = [p for p in LEAVES["run"].params if option in p.opts]
    return parameter.help


def test_help_names_what_the_registries_hold():
    for option, names in (
        ("--data", catalogue.DATA), ("--metric", metrics.BY_NAME),
        ("--compensation", inputs.compensations()),
    ):  # fmt: skip
        assert all(name in shown_help(option) for name in names), option
    argument = LEAVES["map"].params[0]
    for name in (*catalogue.SHORT, *(f"{named.PAPER}{name}" for name in named.names())):
        assert name in (argument.help or ""), name


@pytest.mark.parametrize("words", [[], *([name] for name in sorted(LEAVES)), ["device", "fit"]])
def test_h_is_help(words, call):
    short, long = call(*words, "-h"), call(*words, "--help")
    assert short == long
    assert short[0] == 0
    assert "Usage" in short[1]


COMPLETED = """
import os, sys
os.environ |= {"_AIMC_SIM_COMPLETE": "complete_bash", "COMP_WORDS": sys.argv[1],
               "COMP_CWORD": str(len(sys.argv[1].split(" ")) - 1)}
from aimc_sim.cli import main
try:
    main([])
finally:
    assert "torch" not in sys.modules, "a completion waits for torch"
"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("aimc-sim att", ["attribute"]),
        ("aimc-sim run --preset hermes-o", ["hermes-odp"]),
        ("aimc-sim run --preset hermes-odp,gen", ["hermes-odp,generic-pcm"]),
        ("aimc-sim run resnet9-", ["resnet9-cifar10", "resnet9-cifar10-aware"]),
        ("aimc-sim sweep s.yaml --model lstm-ptb-", ["lstm-ptb-aware"]),
        ("aimc-sim map paper:ch", ["paper:char-lstm"]),
        ("aimc-sim perf --data ci", ["cifar10"]),
        ("aimc-sim optimise s.yaml --metric to", ["top-5"]),
        ("aimc-sim attribute --compensation none,gd", ["none,gdc", "none,gdc-signs"]),
        ("aimc-sim attribute --tim", ["--times"]),
        ("aimc-sim info --list met", ["metrics"]),
        ("aimc-sim info --preset generic-p", ["generic-pcm"]),
    ],
)
def test_a_shell_completes_names(line, words):
    done = subprocess.run(
        [sys.executable, "-c", COMPLETED, line], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(words) <= set(done.stdout.split())
    assert all(word.startswith(line.split(" ")[-1]) for word in done.stdout.split())


def test_the_script_for_the_shell_is_printed(capsys, monkeypatch):
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash", raising=False)
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash", raising=False)
    with pytest.raises(SystemExit) as done:
        main(["--show-completion"])
    out, err = capsys.readouterr()
    assert (done.value.code, err) == (0, "")
    assert "_AIMC_SIM_COMPLETE=complete_bash" in out


def test_info_lists_every_name(call):
    """Those of the registries, each in the list of its kind; without options all lists."""
    from aimc_sim import presets
    from aimc_sim.cli import info
    from aimc_sim.core.converters import KINDS
    from aimc_sim.device import family

    assert set(info.COMPENSATIONS) == set(inputs.compensations())
    names = {
        "presets": presets.PRESETS, "networks": catalogue.NAMES, "data": catalogue.DATA,
        "metrics": metrics.BY_NAME, "compensations": inputs.compensations(),
        "devices": [one.name for one in family.registered()], "converters": KINDS,
        "encodings": ["differential", "several-devices", "offset-column", "bit-slices"],
    }  # fmt: skip
    assert set(names) == set(info.KINDS)
    everything = call("info")[1]
    for kind, wanted in names.items():
        code, out, err = call("info", "--list", kind)
        assert (code, err) == (0, "")
        assert out in everything
        assert max(map(len, out.splitlines())) <= info.WIDTH, kind
        for name in wanted:
            assert name in out.split(), (kind, name)
    score = f"{100 * catalogue.score('resnet32-digits')[1]:.1f} %"
    (line,) = [x for x in everything.splitlines() if x.startswith("resnet32-digits")]
    assert {"resnet32", "digits"} <= set(line.split())
    assert score in line


def test_info_refuses_what_is_no_kind(call):
    code, _, err = call("info", "--list", "metric")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean 'metrics'" in err
    code, _, err = call("info", "--list", "metrics", "--preset", "ideal")
    assert (code, err.count("\n")) == (2, 1)
    assert "--list and --preset ask for different things" in err


@pytest.mark.parametrize("name", catalogue.NETWORKS)
def test_the_catalogue_is_the_zoo(name):
    from aimc_sim.zoo import entries

    entry, record = entries.ENTRIES[name], entries.record(name)
    assert entry.kind.path(entry.weights).stem == name.replace("-", "_")
    assert catalogue.score(name)[1] in record.values()
    assert set(entries.ENTRIES) == set(catalogue.NETWORKS)
    assert set(catalogue.SHORT.values()) <= set(catalogue.NETWORKS)


# ------------------------------------------------------------------ the page and the example

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/howto/own_data.md").read_text(encoding="utf-8")


def page_blocks(kind: str) -> list[str]:
    """Return the blocks of the page in one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)


PAGE_COMMANDS = [line for block in page_blocks("sh") for line in block.splitlines()]


def test_the_page_shows_every_command():
    assert {line.split()[1] for line in PAGE_COMMANDS} == set(COMMANDS)


@pytest.fixture
def place_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for code in page_blocks("python"):
        exec(compile(code, "own_data.md", "exec"), {})
    for text in page_blocks("yaml"):
        (tmp_path / text.split()[1]).write_text(text)
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("line", PAGE_COMMANDS)
def test_commands_of_the_page_run(line, place_of_the_page, call):
    code, out, err = call(*line.split()[1:])
    assert (code, err) == (0, "")
    assert "mine.py" in out or line.split()[1] == "sweep"


def test_the_example_is_a_file_that_commands_name(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = ROOT / "examples/09_your_own_data.py"
    words = ("--model", f"{file}:network", "--data", f"{file}:data", "--out", "out")
    code, _, err = call(*COMMANDS["run"], *words)
    assert (code, err) == (0, "")
    value, items = value_of(tmp_path, "run")
    assert items == 88
    assert value > 0.9
    assert call("map", *words[:4], "--out", "where")[0] == 0
