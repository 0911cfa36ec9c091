"""The page for labs: every command runs as it stands there, and says what the page quotes."""

import re
import shlex
import shutil
import warnings
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "measured.md").read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for path in (DOCS / "measured").glob("*.csv"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_page(folder, call):
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) == 9
    printed = ""
    for command in commands:
        code, out, err = call(*shlex.split(command)[1:])
        assert (code, err) == (0, ""), command
        printed += out
    for text in (
        "taken 1,400 of 1,400 values",
        "programming: yes",
        "drift: yes",
        "read noise: no",
        "taken 449 of 450 values; left out: 1 overflow",
        "3 level(s) by first read",
        "best form by Akaike's criterion: soft bounds",
        "14.87 uS",
    ):
        assert text in printed


def test_the_worked_files_are_those_of_the_script(tmp_path, monkeypatch):
    import importlib.util

    spec = importlib.util.spec_from_file_location("make", DOCS / "measured" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    for name in ("drift", "resistances", "pulses"):
        lines = (DOCS / "measured" / f"{name}.csv").read_text().splitlines()
        again = getattr(make, name)().splitlines()
        assert len(again) == len(lines)
        for a, b in zip(lines, again, strict=True):  # last digits may differ between processors
            numbers = [[float(x) for x in re.findall(r"\d+\.\d+", text)] for text in (a, b)]
            assert numbers[0] == pytest.approx(numbers[1], abs=2e-4)


@pytest.mark.slow
def test_the_network_of_the_page(folder, call):
    (command,) = [c for c in PAGE.splitlines() if c.startswith("aimc-sim") and "--wide" in c]
    assert call(*shlex.split(command)[1:])[0] == 0
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code.replace("print(", "accuracy = ("), names)
    assert names["accuracy"] > 0.5
    assert any("below the lowest measured level" in str(w.message) for w in caught)
