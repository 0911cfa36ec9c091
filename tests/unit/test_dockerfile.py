"""The Dockerfile asks for what is there. No image is built here: that needs docker."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from aimc_sim.cli import app

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def steps(text):
    """The instructions of a Dockerfile with their arguments, comments left out."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in "\n".join(lines).replace("\\\n", "").split("\n")]


STEPS = steps((ROOT / "Dockerfile").read_text())


def of(kind):
    return [arguments for name, arguments in STEPS if name == kind]


def copied():
    return [source for line in of("COPY") for source in line.split()[:-1]]


def test_copied_files_exist_and_are_not_ignored():
    assert copied() == [
        "pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE", "aimc_sim",
        "device_data", "examples",
    ]  # fmt: skip
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert [f"!{name}" for name in copied()] == [line for line in ignored if line.startswith("!")]
    for name in copied():
        assert (ROOT / name).exists(), name


def test_the_install_is_that_of_the_readme():
    installs = [line for line in of("RUN") if line.startswith("pip")]
    first = re.search(r"<!-- command 1 -->\n```sh\n(.*)\n```", (ROOT / "README.md").read_text())
    assert installs == [first.group(1).partition(" && ")[0]]


def test_python_is_one_that_the_project_takes():
    (image,) = of("FROM")
    version = tuple(map(int, re.match(r"python:(\d+)\.(\d+)-slim$", image).groups()))
    least = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert version >= least


def test_it_ends_as_an_ordinary_user_with_the_command():
    assert of("USER") == ["aimc"]
    assert re.search(r"useradd .*\baimc\b", " ".join(of("RUN")))
    (entry,), (default,) = of("ENTRYPOINT"), of("CMD")
    assert json.loads(entry) == ["aimc-sim"]
    assert json.loads(entry)[0] in PROJECT["scripts"]
    assert json.loads(default) == ["--help"]
    assert STEPS.index(("USER", "aimc")) < STEPS.index(("ENTRYPOINT", entry))


def test_users_with_other_numbers_use_the_compiled_kernels():
    """``docker run --user`` gives the number of the caller, who may write nobody else's folders."""
    (compiles,) = [line for line in of("RUN") if line.startswith("aimc-sim run")]
    given = dict(word.split("=") for line in of("ENV") for word in line.split())
    after = compiles.partition("&&")[2]
    assert 'chmod -R a+rwX "$NUMBA_CACHE_DIR"/*' in after
    assert re.search(r'rm -rf [^&]*"\$MPLCONFIGDIR"', after)
    assert f"mkdir -m 1777 {given['NUMBA_CACHE_DIR']}" in " ".join(of("RUN"))


def test_commands_of_the_image_are_commands():
    text = (ROOT / "Dockerfile").read_text()
    calls = re.findall(r"aimc-sim (run [^&\n]*)", text)
    assert len(calls) == 2
    command = typer.main.get_command(app)
    for call in calls:
        name, *words = shlex.split(call)
        command.commands[name].make_context(name, words)


def test_a_step_that_is_not_there_is_caught():
    assert steps("# a\nRUN a \\\n  b\nCOPY x y\n") == [("RUN", "a   b"), ("COPY", "x y")]
    with pytest.raises(Exception, match="No such option"):
        typer.main.get_command(app).commands["run"].make_context("run", ["--nothing", "1"])
