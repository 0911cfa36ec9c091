"""A class name means one thing in the package."""

import ast
from collections import defaultdict
from pathlib import Path

# Of the checkout: a wheel holds the examples too, which are modules of their own.
PACKAGE = Path(__file__).resolve().parents[2] / "aimc_sim"

ALLOWED: dict[str, str] = {}
"""Names that may be defined more than once, each with the reason."""


def names_of(source: str) -> set[str]:
    """Return the classes of a module, nested ones too, and its aliases of types."""
    tree = ast.parse(source)
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
        # CamelCase: a name in capitals is a constant, a name in small letters a value.
        found |= {
            target.id
            for target in targets
            if isinstance(target, ast.Name)
            and target.id.lstrip("_")[:1].isupper()
            and not target.id.isupper()
        }
    return found


def repeated(folder: Path) -> dict[str, list[str]]:
    """Return the names that several modules below a folder define, with those modules."""
    homes = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for name in names_of(path.read_text(encoding="utf-8")):
            homes[name].append(path.relative_to(folder).as_posix())
    return {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_a_class_name_means_one_thing():
    """Give the newer class a name that says what it holds, as LdpuRegisters and GdpuRegisters."""
    found = repeated(PACKAGE)
    assert {name: modules for name, modules in found.items() if name not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found), "an allowed name is defined once: leave it out"


def test_a_name_that_is_defined_twice_is_found(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "core.py").write_text("class Registers:\n    class Word: ...\n\nLIMIT = Pair = 1\n")
    (tmp_path / "room" / "unit.py").write_text("def f():\n    class Registers: ...\n\nLIMIT = 2\n")
    (tmp_path / "word.py").write_text(
        "from core import Registers\n\nWord = int\nPair: type = str\n"
    )
    assert repeated(tmp_path) == {
        "Registers": ["core.py", "room/unit.py"],
        "Word": ["core.py", "word.py"],
        "Pair": ["core.py", "word.py"],
    }


def test_a_report_module_is_named_by_its_report():
    """Only the command ``aimc-sim report`` is a module of that bare name."""
    found = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("report.py")]
    assert found == ["cli/report.py"]
