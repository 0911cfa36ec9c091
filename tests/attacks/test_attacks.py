"""Nothing that a user can give ends in a traceback, a hang or a silent nonsense.

Thousands of inputs: every option of every command, every argument of the public methods, flipped
bytes and cut ends in every file format. The invariant: *refused in one line that says what is
wrong, with an exit code other than 0, without a traceback and without remains; or a right result*;
never longer than :data:`attacker.SECONDS`, never more memory than :data:`victim.BYTES`.

The ordinary tests try a sample; the slow ones 2,000 inputs and more. Both print how many there
were and what came of them. AIMC_ATTACK_ROOT names a folder with another version of the package,
AIMC_ATTACKS multiplies the number of inputs.
"""

from __future__ import annotations

import os
from pathlib import Path

import attacker
import calls
import commands
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

MORE = float(os.environ.get("AIMC_ATTACKS", "1"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder with a sound file of every format; making them compiles every kernel."""
    folder, maker = tmp_path_factory.mktemp("sound"), attacker.Victim()
    answer = maker.attack({"kind": "make", "folder": str(folder)}, seconds=900)
    maker.close()
    assert answer == {"outcome": "accepted"}, answer
    return folder


@pytest.fixture(scope="module")
def victim(sound):
    """The attacked process."""
    found = attacker.Victim()
    yield found
    found.close()


def attack(victim, name: str, tasks, inputs: int, show) -> None:
    """Draw tasks, run them all, print the outcomes, and fail if one breaks the invariant."""
    tally = attacker.Tally(name)
    seen: set[str] = set()

    @settings(
        max_examples=max(1, int(inputs * MORE)),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(tasks)
    def run(task):
        if repr(task) not in seen:  # hypothesis repeats itself
            seen.add(repr(task))
            tally.add(task, victim.attack(task))

    run()
    with show.disabled():
        print(f"\n{tally}")
    assert not tally.wrong, f"{tally}\n{tally.faults()}"


# ------------------------------------------------------------------------------- Python


@st.composite
def call(draw):
    case = draw(st.sampled_from(calls.CASES))
    value, refuse = draw(case.values)
    return {"kind": "api", "call": case.call, "value": value, "refuse": refuse}


def test_a_sample_of_arguments(victim, capsys):
    attack(victim, "arguments of public methods (sample)", call(), 50, capsys)


@pytest.mark.slow
def test_arguments(victim, capsys):
    attack(victim, "arguments of public methods", call(), 1200, capsys)


def test_every_public_method_is_attacked():
    import aimc_sim

    attacked = {case.method for case in calls.CASES}
    public = {
        name
        for name, value in vars(aimc_sim.Chip).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, (classmethod, staticmethod)))
    }
    assert public | {"__call__"} <= attacked


# ------------------------------------------------------------------------------- files

FORMATS = (
    ("chip.h5", "chip", None, False),
    ("measured.h5", "measured", None, False),
    ("weights.pt", "weights", None, False),
    ("study.yaml", "study", None, True),
    ("results/table.parquet", "parquet", None, False),
    ("results", "trials", "trials/*.jsonl", False),
    ("results", "page", "specs/*.json", False),
    ("results", "page", "studies/*.json", True),
    ("results", "page", "environments/*.json", True),
)
"""File, how it is read, which file of a folder is changed, whether other content can be sound."""

_FLIPS = st.lists(st.tuples(st.integers(0, 2**24), st.integers(1, 255)), min_size=1, max_size=3)


@st.composite
def damage(draw, folder: Path):
    path, kind, inside, free = draw(st.sampled_from(FORMATS))
    task = {"kind": "file", "path": str(folder / path), "format": kind, "any_content": free}
    if inside is not None:
        task["inside"] = str(next((folder / path).glob(inside)).relative_to(folder / path))
    if draw(st.booleans()):
        return task | {"flips": draw(_FLIPS)}
    return task | {"cut": draw(st.integers(0, 2**24))}


def test_a_sample_of_damaged_files(victim, sound, capsys):
    attack(victim, "files (sample)", damage(sound), 36, capsys)


@pytest.mark.slow
def test_damaged_files(victim, sound, capsys):
    attack(victim, "files", damage(sound), 800, capsys)


# ------------------------------------------------------------------------------- commands


@st.composite
def command(draw, folder: Path, names: tuple[str, ...]):
    task = draw(commands.attacks(draw(st.sampled_from(names))))
    return task | {"trees": {name: str(folder / name) for name in task.pop("needs")}}


def test_a_sample_of_commands(victim, sound, capsys):
    quick = ("map", "sweep", "merge", "attribute", "optimise", "info", "device import", "report")
    attack(victim, "commands (sample)", command(sound, quick), 14, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(commands.COMMANDS))
def test_commands(victim, sound, capsys, name):
    attack(victim, f"'aimc-sim {name}'", command(sound, (name,)), 90, capsys)


def test_sound_commands_are_accepted(victim, sound):
    """Else every refusal above would mean nothing."""
    for name in ("sweep", "merge", "info"):
        words = list(commands.COMMANDS[name].sound)
        trees = {tree: str(sound / tree) for tree in commands.COMMANDS[name].trees}
        task = {
            "kind": "cli",
            "arguments": words,
            "files": commands.FILES,
            "trees": trees,
            "makes": list(commands.COMMANDS[name].makes),
        }
        assert victim.attack(task) == {"outcome": "accepted"}, name


def test_every_option_is_attacked():
    import typer.main

    from aimc_sim.cli import app

    group = typer.main.get_command(app)
    found = {}
    for name, part in group.commands.items():
        inner = getattr(part, "commands", None)
        found |= {f"{name} {n}": p for n, p in inner.items()} if inner else {name: part}
    assert found.keys() == commands.COMMANDS.keys()
    for name, part in found.items():
        options = {p.opts[0] for p in part.params if p.param_type_name == "option"} - {"--help"}
        assert options <= {k for k in commands.COMMANDS[name].attacks if isinstance(k, str)}, name
        arguments = [p for p in part.params if p.param_type_name == "argument"]
        wanted = bool(arguments)
        assert wanted == any(isinstance(k, int) for k in commands.COMMANDS[name].attacks), name
