"""A newcomer finds everything from ``aimc-sim --help``: every command, with an example."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from aimc_sim.cli import app, main

ROOT = Path(__file__).resolve().parents[2]


def commands(command, path=("aimc-sim",)):
    """Yield every command with the words that call it, groups too."""
    yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))
LEAVES = sorted(name for name, command in ALL.items() if not hasattr(command, "commands"))


def examples(command):
    """The lines of a command's help that call ``aimc-sim``."""
    lines = re.findall(r"(?:^|`)\s*(aimc-sim [^`\n]*)", command.epilog or "", re.M)
    return [shlex.split(line) for line in lines]


def test_all_commands_are_looked_at():
    assert {"aimc-sim run", "aimc-sim sweep", "aimc-sim optimise", "aimc-sim device fit"} <= set(
        ALL
    )
    assert len(LEAVES) >= 11


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_says_what_it_does(name, capsys):
    with pytest.raises(SystemExit) as done:
        main([*name.split()[1:], "--help"])
    text = capsys.readouterr().out
    assert done.value.code == 0
    assert ALL[name].help
    assert ALL[name].help.split()[0] in text
    for inner in getattr(ALL[name], "commands", {}):
        assert inner in text


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_an_example_that_it_would_take(name):
    found = examples(ALL[name])
    assert found, f"'{name} --help' shows no example"
    words = name.split()
    own = [call for call in found if call[: len(words)] == words]
    assert own, f"no example of '{name}' calls it: {found}"
    for call in own:
        taken(ALL[name], call[len(words) :])
        files = [word for word in call if word.startswith("examples/")]
        assert all((ROOT / word).is_file() for word in files), files


def taken(command, arguments):
    """Parse arguments as the command does, without running it."""
    return command.make_context("", list(arguments))


def test_a_wrong_example_is_caught():
    with pytest.raises(Exception, match="No such option"):
        taken(ALL["aimc-sim sweep"], ["study.yaml", "--otu", "results"])


def test_help_begins_with_an_example():
    assert examples(ALL["aimc-sim"])
