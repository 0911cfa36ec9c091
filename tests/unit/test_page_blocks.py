"""Code of the pages: every block runs, is checked against the command line, or says why not.

*Python* blocks run as they stand, in a folder of their own. A block stands alone unless the line
before it is ``<!-- continues -->``: then it goes on with the names of the block before it. A block
that is run by a test of its own is in ``ELSEWHERE``.

*Shell* blocks: each ``aimc-sim`` command is given to the command line's own parser, which refuses
names of options and values that do not exist. A block that cannot be checked has the line
``<!-- not run: REASON -->`` before it; these are counted.

*YAML* blocks are studies or searches.
"""

import functools
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "device_data/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
ELSEWHERE = {
    ("README.md", 0): "test_repository.py::test_readme_script_runs",
    ("docs/measured.md", 0): "test_measured_page.py::test_the_network_of_the_page",
}
NOT_RUN = {
    "README.md": 2, "CONTRIBUTING.md": 1, "docs/howto/cluster.md": 1, "docs/howto/docker.md": 1,
    "docs/howto/tracking.md": 1, "docs/planning.md": 1, "docs/safety.md": 1,
    "docs/tutorials/first_chip.md": 1,
}  # fmt: skip
"""Blocks of commands, by page, that are neither run nor checked."""

BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)
LANGUAGES = {"python", "sh", "yaml", "text", ""}


def found(page: Path) -> list[tuple[str, str, str]]:
    """Return mark, language and code of every block of a page."""
    text = page.read_text(encoding="utf-8")
    return [(m["mark"] or "", m["language"], m["code"]) for m in BLOCK.finditer(text)]


def chains(page: Path) -> list[list[str]]:
    """Return the Python blocks of a page, each with those that continue it."""
    made: list[list[str]] = []
    for mark, language, code in found(page):
        if language != "python":
            continue
        if mark == "continues":
            made[-1].append(code)
        else:
            made.append([code])
    return made


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


CASES = [
    (name_of(page), number)
    for page in PAGES
    if page.exists()
    for number in range(len(chains(page)))
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The results of a finished study."""
    import toy_study

    folder = tmp_path_factory.mktemp("study") / "drift"
    toy_study.run(folder, 2)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, study):
    """A folder as the pages assume it: data of the repository, reads of a lab, a finished study."""
    from aimc_sim.device import family
    from aimc_sim.pages import sections
    from aimc_sim.spec import family as specifications

    # What a page registers is for that page.
    monkeypatch.setattr(family, "_FAMILIES", dict(family._FAMILIES))
    monkeypatch.setattr(specifications, "_CLASSES", dict(specifications._CLASSES))
    monkeypatch.setattr(sections, "_SECTIONS", dict(sections._SECTIONS))
    (tmp_path / "device_data").symlink_to(ROOT / "device_data")
    shutil.copy(ROOT / "device_data" / "generated_25us.h5", tmp_path / "reads.h5")
    shutil.copytree(study, tmp_path / "drift")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(blocks: list[str], where: str) -> dict:
    """Run blocks that continue each other in a module of their own."""
    module = types.ModuleType("block")
    sys.modules["block"] = module  # dataclasses and pydantic look for the module of a class
    try:
        for code in blocks:
            exec(compile(code, where, "exec"), module.__dict__)
    finally:
        del sys.modules["block"]
    return module.__dict__


@pytest.mark.parametrize(
    ("page", "number"), [case for case in CASES if case not in ELSEWHERE], ids=str
)
def test_blocks_run(page, number, place, capsys):
    run(chains(ROOT / page)[number], f"{page}, Python block {number}")


def test_pages_have_blocks():
    assert set(ELSEWHERE) <= set(CASES)
    assert {page for page, _ in CASES} >= {"README.md", "docs/measured.md", "docs/index.md"}
    for name in ELSEWHERE.values():
        file, test = name.split("::")
        assert f"def {test}(" in (ROOT / "tests" / "unit" / file).read_text()


def test_a_block_continues_or_stands_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n<!-- continues -->\n```python\nb = a + 1\n```\n")
    (chain,) = chains(page)
    assert run(chain, "page")["b"] == 2
    page.write_text("```python\na = 1\n```\n\n```python\nb = a + 1\n```\n")
    with pytest.raises(NameError):
        run(chains(page)[1], "page")


def test_blocks_of_the_readme_stand_alone():
    assert not [mark for mark, _, _ in found(ROOT / "README.md") if mark == "continues"]


# ------------------------------------------------------------------------- commands


def commands(code: str) -> list[list[str]]:
    """Return the commands of a shell block, each as its words."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check(words: list[str]) -> None:
    """Refuse a command that does not exist as it stands there."""
    if words[0] == "aimc-sim":
        parser()(words[1:], prog_name="aimc-sim", standalone_mode=False, obj=words[1:])
        for word in words[1:]:
            if word.startswith("examples/"):
                assert (ROOT / word).is_file(), word
    elif words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), words
    else:
        raise AssertionError(f"{' '.join(words)}: neither run nor checked, and does not say why")


@functools.cache
def parser():
    """Return the command line without its work."""
    import typer.main

    from aimc_sim.cli import app

    group = typer.main.get_command(app)
    silence(group)
    return group


def silence(group) -> None:
    """Let commands parse their options and do nothing."""
    for command in group.commands.values():
        if hasattr(command, "commands"):
            silence(command)
        else:
            command.callback = lambda **_: None


@pytest.mark.parametrize("page", [name_of(page) for page in PAGES], ids=str)
def test_commands_exist(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    left = 0
    for mark, language, code in found(ROOT / page):
        assert language in LANGUAGES, f"{page}: blocks of {language} are not checked"
        if language != "sh":
            continue
        if mark.startswith(("not run: ", "command ")):
            left += 1
            continue
        for words in commands(code):
            check(words)
    assert left == NOT_RUN.get(page, 0)


def test_a_command_that_does_not_exist_is_found():
    for line in ("aimc-sim run --nonsense 1", "aimc-sim fly", "aimc-sim sweep examples/no.yaml",
                 "python no.py", "cp a b"):  # fmt: skip
        with pytest.raises((Exception, SystemExit)):
            check(line.split())
    check("aimc-sim run --seeds 3".split())


def test_studies_of_the_pages_are_studies():
    from aimc_sim.search.schema import make_search
    from aimc_sim.studies.schema import make_study

    studies = [
        code
        for page in PAGES
        for _, language, code in found(page)
        if language == "yaml"
    ]  # fmt: skip
    assert studies
    for code in studies:
        given = yaml.safe_load(code)
        (make_search if "knobs" in given else make_study)(given)
