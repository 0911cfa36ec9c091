"""Python blocks of the pages run as they stand there.

A block is self-contained unless the line before it is ``<!-- continues -->``: then it goes on with
the names of the block before it. A block that is run by a test of its own is in ``ELSEWHERE``.
"""

import re
import shutil
from pathlib import Path

import pytest

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
BLOCK = re.compile(r"(<!-- continues -->\n)?^```python\n(.*?)^```", re.M | re.S)


def blocks(page: Path) -> list[str]:
    """Return the code of a page's Python blocks; a continued block begins with those before it."""
    found: list[str] = []
    for continues, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        found.append(found[-1] + code if continues else code)
    return found


CASES = [
    (page.relative_to(ROOT).as_posix(), number)
    for page in PAGES
    if page.exists()
    for number in range(len(blocks(page)))
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder as the pages assume it: data of the repository, reads of a lab, a finished study."""
    import toy_study

    (tmp_path / "device_data").symlink_to(ROOT / "device_data")
    shutil.copy(ROOT / "device_data" / "generated_25us.h5", tmp_path / "reads.h5")
    toy_study.run(tmp_path / "drift", 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, where: str) -> dict:
    names: dict = {"__name__": "block"}
    exec(compile(code, where, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("page", "number"), [case for case in CASES if case not in ELSEWHERE], ids=str
)
def test_blocks_run(page, number, place, capsys):
    run(blocks(ROOT / page)[number], f"{page}, Python block {number}")


def test_pages_have_blocks():
    assert set(ELSEWHERE) <= set(CASES)
    assert {page for page, _ in CASES} >= {"README.md", "docs/measured.md"}
    for name in ELSEWHERE.values():
        file, test = name.split("::")
        assert f"def {test}(" in (ROOT / "tests" / "unit" / file).read_text()


def test_a_block_continues_or_stands_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n<!-- continues -->\n```python\nb = a + 1\n```\n")
    assert run(blocks(page)[1], "page")["b"] == 2
    page.write_text("```python\na = 1\n```\n\n```python\nb = a + 1\n```\n")
    with pytest.raises(NameError):
        run(blocks(page)[1], "page")
