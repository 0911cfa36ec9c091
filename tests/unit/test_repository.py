"""What must stay true of the project as a whole."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from tools import large_files

import aimc_sim

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "aimc_sim").rglob("*.py"))


def test_files_are_short():
    """Files are cut by meaning; what is longer than this holds more than one."""
    sizes = {str(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert len(sizes) == len(SOURCES)  # files of one name in several rooms are all counted
    assert max(sizes.values()) <= 700, sizes
    assert sorted(sizes.values())[len(sizes) // 2] <= 150


def test_import_is_lean():
    code = "import sys, aimc_sim, aimc_sim.presets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "matplotlib", "h5py", "pandas", "scipy", "sklearn", "numba"}
    assert not heavy & set(done.stdout.split())


def test_a_chip_needs_little_more_than_torch():
    """Tables, files, graphs, solvers and figures load with the first call that wants them."""
    code = "import sys; from aimc_sim import Chip; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"torch", "numba", "aimc_sim.runtime.chip"} <= loaded
    # Numba asks scipy for its version, and stops there.
    heavy = {"pandas", "h5py", "networkx", "ortools", "matplotlib", "sklearn", "dask", "rich"}
    assert not (heavy | {"scipy.sparse", "scipy.special", "scipy.optimize"}) & loaded


def test_public_names_resolve():
    for name in aimc_sim.__all__:
        assert getattr(aimc_sim, name) is not None
    assert len(aimc_sim.__all__) <= 40


def test_no_name_hides_a_module():
    """``import aimc_sim.mapping.place`` gives a module: no room has a function of that name."""
    found = [m for m in pkgutil.walk_packages(aimc_sim.__path__, "aimc_sim.")
             if not m.name.endswith(".__main__")]  # fmt: skip
    modules = {m.name: importlib.import_module(m.name) for m in found}
    assert len(modules) > 200
    hidden = [
        name for name, module in modules.items()
        if getattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2]) is not module
    ]  # fmt: skip
    assert not hidden


def test_every_room_says_what_is_public():
    for path in SOURCES:
        if path.name == "__init__.py":
            name = ".".join(path.relative_to(ROOT).parent.parts)
            room = importlib.import_module(name)
            assert len(set(room.__all__)) == len(room.__all__), name
            for public in room.__all__:
                beside = path.parent / f"{public}.py", path.parent / public / "__init__.py"
                assert hasattr(room, public) or any(one.exists() for one in beside), public
            modules = {one.stem for one in path.parent.glob("*.py") if one.stem[0] != "_"}
            modules |= {one.parent.name for one in path.parent.glob("*/__init__.py")}
            if set(room.__all__) <= modules:  # a room of modules lists all of them
                assert set(room.__all__) == modules, name


def test_editors_find_what_is_loaded_late():
    """The package's names are those that it imports for type checkers, from the same places."""
    tree = ast.parse(Path(aimc_sim.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    homes = {
        one.name: f"aimc_sim.{node.module}" if node.module else "aimc_sim"
        for node in block.body
        for one in node.names
    }
    assert homes == {**aimc_sim._HOMES, **dict.fromkeys(aimc_sim._ROOMS, "aimc_sim")}
    assert {*homes, "__version__"} == set(aimc_sim.__all__)


def test_no_draw_without_an_address():
    """No global random generators; torch's own only in training, with a generator."""
    for path in SOURCES:
        text = path.read_text()
        legacy = r"np\.random\.(?!SeedSequence|Generator|Philox|PCG64)"
        assert not re.search(legacy, text), path
        # Examples for recording come from a generator of their own and reach no result.
        if path.name not in ("train_digits.py", "resnet.py", "examples.py"):
            assert not re.search(r"torch\.(rand|randn|randint|normal|bernoulli)\(", text), path
        assert "model_copy(" not in text, path


ONE_PLACE = {
    r"^import difflib": "arguments.py",  # "did you mean": arguments.unknown
    r"\bfnmatch\w* ?(import|\()": "patterns.py",  # patterns of layer names
    r"^ *(import|from) (fcntl|filelock)": "files.py",  # locks
    r"\bos\.(replace|rename|link)\(": "files.py",  # files that appear whole
    r"\bt\.ppf\(|\bt\.isf\(\(": "analysis/intervals.py",  # Student's intervals
}
"""What is written once: a pattern of source lines, and the file that may have them."""


@pytest.mark.parametrize("pattern", ONE_PLACE)
def test_one_mechanism_per_thing(pattern):
    found = {
        path.relative_to(ROOT / "aimc_sim").as_posix()
        for path in SOURCES if re.search(pattern, path.read_text(), re.MULTILINE)
    }  # fmt: skip
    assert found == {ONE_PLACE[pattern]}


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == aimc_sim.__version__
    assert f"version: {aimc_sim.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_every_requirement_is_pinned():
    """The constraints file names what the project asks for; torch exactly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    pinned = (ROOT / "constraints.txt").read_text().lower()
    for requirement in wanted:
        assert f"\n{re.split('[><=]', requirement)[0]}==" in pinned, requirement
    assert "\ntorch==2.13.0\n" in pinned


def test_hooks_use_the_pinned_versions():
    """The tools of .pre-commit-config.yaml are those of constraints.txt, and its scripts exist."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    pinned = (ROOT / "constraints.txt").read_text()
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {"ruff", "ruff-format", "lint-imports", "large-files"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        for requirement in hook.get("additional_dependencies", ()):
            assert f"\n{requirement}\n" in pinned, requirement
        for word in hook["entry"].split():
            assert not word.endswith(".py") or (ROOT / word).is_file(), word


def test_no_file_is_large(monkeypatch):
    monkeypatch.chdir(ROOT)
    rooms = ("aimc_sim", "tests", "docs", "validation", "examples", "device_data")
    kept = [path for room in rooms for path in Path(room).rglob("*")]
    kept = [path for path in kept if not {"work", "__pycache__"} & set(path.parts)]
    assert len(kept) > 500
    for path in kept:
        assert not large_files.complaint(path), path


def test_a_large_file_is_refused(tmp_path, capsys):
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(bytes(large_files.MOST_BYTES))
    large.write_bytes(bytes(large_files.MOST_BYTES + 1))
    assert large_files.main([str(small)]) == 0
    assert large_files.main([str(small), str(large)]) == 1
    assert capsys.readouterr().out.count("bytes; wanted at most") == 1


def test_the_licence_is_here():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["authors"][0]["name"] in (ROOT / "CITATION.cff").read_text()


def test_every_folder_of_tests_is_run():
    """A folder that pytest is not told of would be green for ever."""
    own = {"bench", "machines", "networks"}  # run by name: CONTRIBUTING.md
    folders = {p.parent.relative_to(ROOT).as_posix() for p in ROOT.glob("tests/**/test_*.py")}
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert folders == set(told["testpaths"]) | {f"tests/{name}" for name in own}


def test_every_command_is_run_from_the_wheel():
    """Tests of the wheel take minutes; this says in one second that a command is missing."""
    import smoke

    assert smoke.known() <= smoke.ran()
    assert ("learn",) in smoke.known()


def test_every_example_is_run():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for path in (ROOT / "examples").glob("*.py"):
        assert path.name in tests, path


def test_readme_script_runs():
    """The README's script works alone, warnings included, and prints what the README says."""
    readme = (ROOT / "README.md").read_text()
    script = re.search(r"<!-- script -->\n```python\n(.*?)```", readme, re.S).group(1)
    printed = re.search(r"```text\n(.*?)```", readme, re.S).group(1)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    shape = r"(0|1 day|1 year) +(none|gdc) +(\d+\.\d)%"
    found, said = (re.findall(shape, text) for text in (done.stdout, printed))
    assert len(found) == 6
    for (*now, value), (*then, stated) in zip(found, said, strict=True):
        assert now == then
        # 597 images; another processor trains to slightly other weights
        assert float(value) == pytest.approx(float(stated), abs=5)
    for line in printed.splitlines()[6:8]:  # machine and cores
        assert line in done.stdout


def test_readme_is_short():
    """One screen of text per question; details stand in docs."""
    words = (ROOT / "README.md").read_text().split()
    assert len(words) <= 950


def test_abbreviations_are_spelled_out_in_the_readme():
    readme = " ".join((ROOT / "README.md").read_text().split())
    for words in (
        "global drift compensation (GDC)|global drift compensation, GDC",
        "one device per polarity (ODP", "TDP", "5-parallel prism (5PP)",
        "multiplications (MVMs)", "batch-norm statistics (AdaBS)",
    ):  # fmt: skip
        assert any(one in readme for one in words.split("|")), words
    first = {name: readme.index(name) for name in ("GDC", "ODP", "5PP", "MVM", "AdaBS")}
    for name, at in first.items():
        assert re.search(r"[a-z] ?[(,]? ?$", readme[:at]), f"{name} comes before its words"


def test_files_that_contributors_are_sent_to_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:aimc_sim|tests|docs|validation|device_data|\.ci)(?:/[\w.]+)+)`", page)
    assert len(named) > 40
    for name in set(named) - {"aimc_sim/device/families/NAME.py"}:
        assert (ROOT / name).exists(), name
    for thing in ("device law", "operator", "converter", "fabric", "metric", "section"):
        assert re.search(rf"^## An? .*{thing}", page, re.M), thing
