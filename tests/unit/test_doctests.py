"""Examples in docstrings are run, and print what stands there."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "aimc_sim").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    done = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert done.failed == 0
    assert done.attempted > 0


def test_what_people_start_with_has_examples():
    wanted = {"aimc_sim.units", "aimc_sim.rng", "aimc_sim.spec.base", "aimc_sim.presets.citations"}
    assert wanted <= set(MODULES)
    assert len(MODULES) >= 12


def test_a_false_example_is_found(capsys):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(parser.get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, None))
    assert runner.summarize(verbose=False).failed == 1
    assert "Expected" in capsys.readouterr().out
