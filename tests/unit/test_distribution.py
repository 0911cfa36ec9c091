"""The check of wheel and source distribution finds what is missing and what is too much."""

import io
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from tools import distribution

from aimc_sim import shipped

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "LICENSE", "aimc_sim/__init__.py", "aimc_sim/py.typed", "device_data/a.h5",
    "device_data/make.py", "examples/one.py", "examples/studies/two.yaml",
    "examples/figures/three.png", "tests/unit/test_one.py",
}  # fmt: skip
WHEEL = {
    "aimc_sim/__init__.py", "aimc_sim/py.typed", "aimc_sim/device_data/a.h5",
    "aimc_sim/examples/one.py", "aimc_sim/examples/studies/two.yaml",
}  # fmt: skip


def metadata(**changes):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = {
        "Name": "aimc-sim", "Version": project["version"], "Requires-Python": ">=3.11",
        "License-Expression": "Apache-2.0", "Description-Content-Type": "text/markdown",
    } | changes  # fmt: skip
    extras = [f"Provides-Extra: {name}" for name in project["optional-dependencies"]]
    head = "\n".join([f"{key}: {value}" for key, value in lines.items()] + extras)
    return f"{head}\n\n{(ROOT / 'README.md').read_text()}"


@pytest.fixture
def made(tmp_path):
    """Make distributions with some files."""

    def make(wheel=WHEEL, source=FILES, text=None, link=None):
        for old in tmp_path.iterdir():
            old.unlink()
        text = metadata() if text is None else text
        with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as archive:
            for name in wheel:
                archive.writestr(name, "")
            archive.writestr("a-1.dist-info/METADATA", text)
            archive.writestr("a-1.dist-info/licenses/LICENSE", "")
        with tarfile.open(tmp_path / "a-1.tar.gz", "w:gz") as archive:
            for name in (*source, "PKG-INFO", "setup.cfg", "aimc_sim.egg-info/SOURCES.txt"):
                data = text.encode() if name == "PKG-INFO" else b""
                member = tarfile.TarInfo(f"a-1/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            if link:
                member = tarfile.TarInfo(f"a-1/{link}")
                member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
                archive.addfile(member)
        return distribution.check(tmp_path, FILES)

    return make


def test_what_is_whole_has_no_fault(made):
    assert made() == []


def test_what_is_missing_or_too_much_is_named(made):
    assert made(wheel=WHEEL - {"aimc_sim/device_data/a.h5"}) == [
        "the wheel lacks aimc_sim/device_data/a.h5 (1 files); see MANIFEST.in"
    ]
    for name in ("aimc_sim/__pycache__/a.pyc", "results/table.csv", "aimc_sim/device_data/make.py"):
        assert made(wheel=WHEEL | {name}) == [
            f"the wheel holds {name} (1 files), which git does not"
        ]
    (fault,) = made(source=FILES - {"tests/unit/test_one.py"})
    assert fault.startswith("the source distribution lacks tests/unit/test_one.py")
    (fault,) = made(source=FILES | {"validation/work/a.npz"})
    assert fault.startswith("the source distribution holds validation/work/a.npz")
    assert "the source distribution holds links: a-1/aimc_sim/a" in made(link="aimc_sim/a")


def test_metadata_and_sizes_are_compared(made, monkeypatch):
    faults = made(text=metadata(Version="9.9"))
    assert faults[0] == "the wheel: Version = '9.9', wanted '0.1.0'"
    assert len(faults) == 2
    assert "the description is not README.md" in made(text=metadata().replace("#", "x"))[0]
    assert "extras" in made(text=metadata().replace("Provides-Extra: excel\n", ""))[0]
    monkeypatch.setitem(distribution.MOST_BYTES, "wheel", 10)
    assert "wanted at most 10" in made()[0]


def test_two_wheels_are_one_too_many(made, tmp_path):
    made()
    (tmp_path / "b-1-py3-none-any.whl").touch()
    assert "holds 2 wheels and 1 source" in distribution.check(tmp_path, FILES)[0]


def test_the_wheel_gets_what_the_package_looks_for():
    """The check's own list of the folders beside the package is that of ``aimc_sim.shipped``."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: no list of files by git")
    wanted = {
        f"aimc_sim/{folder}/{name}" for folder in shipped.FOLDERS
        for name in shipped.contents(folder)
    }  # fmt: skip
    tracked = distribution.tracked()
    found = {name for name in distribution.of_wheel(tracked) if name not in tracked}
    assert found == wanted
