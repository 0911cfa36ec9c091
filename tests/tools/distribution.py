"""Check what ``python -m build`` made: ``python tests/tools/distribution.py dist``.

The source distribution holds the files that git holds; the wheel holds the package, its data and
the folders of ``aimc_sim.shipped``; both say what pyproject.toml says and are of a bounded size.
Faults are printed, one a line; the exit code is 1 if there are any.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = {"wheel": 20_000_000, "source distribution": 30_000_000}
GENERATED = r"PKG-INFO|setup\.cfg|aimc_sim\.egg-info/.*"
"""Files of a source distribution that setuptools makes."""

BESIDE = {
    "device_data": r"[^/]+\.(h5|csv)|README\.md",
    "examples": r"[^/]+\.py|[^/]+/[^/]+\.(yaml|ipynb)",
}
"""Files of the folders beside the package that go into the wheel."""


def tracked(root: Path = ROOT) -> set[str]:
    """Return the files that git holds, with slashes."""
    done = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\0")) - {""}


def of_wheel(files: set[str]) -> set[str]:
    """Return the files that a wheel should hold, but for its own metadata."""
    inside = {name for name in files if name.startswith("aimc_sim/")}
    for folder, pattern in BESIDE.items():
        inside |= {
            f"aimc_sim/{name}" for name in files
            if re.fullmatch(f"{folder}/(?:{pattern})", name)
        }  # fmt: skip
    return inside


def differences(name: str, found: set[str], wanted: set[str]) -> list[str]:
    """Return a fault for each side of two sets of files."""
    faults = []
    if lacks := sorted(wanted - found):
        faults.append(f"{name} lacks {', '.join(lacks[:8])} ({len(lacks)} files); see MANIFEST.in")
    if more := sorted(found - wanted):
        faults.append(f"{name} holds {', '.join(more[:8])} ({len(more)} files), which git does not")
    return faults


def says(name: str, text: str) -> list[str]:
    """Return the faults of metadata against pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: Message = Parser().parsestr(text)
    extras = set(found.get_all("Provides-Extra", []))
    wanted = {
        "Name": project["name"], "Version": project["version"],
        "Requires-Python": project["requires-python"], "License-Expression": project["license"],
        "Description-Content-Type": "text/markdown",
    }  # fmt: skip
    faults = [
        f"{name}: {key} = {found[key]!r}, wanted {value!r}"
        for key, value in wanted.items() if found[key] != value
    ]  # fmt: skip
    if extras != set(project["optional-dependencies"]):
        faults.append(f"{name}: extras {sorted(extras)}")
    if found.get_payload().strip() != (ROOT / "README.md").read_text().strip():
        faults.append(f"{name}: the description is not README.md")
    return faults


def check(folder: Path, files: set[str] | None = None) -> list[str]:
    """Return the faults of the distributions in a folder.

    Parameters
    ----------
    folder : Path
        With one wheel and one source distribution.
    files : set of str, optional
        Files of the repository. Default: those that git holds.
    """
    files = tracked() if files is None else files
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if (len(wheels), len(sources)) != (1, 1):
        return [f"{folder} holds {len(wheels)} wheels and {len(sources)} source distributions"]
    faults = []
    for kind, path in (("wheel", wheels[0]), ("source distribution", sources[0])):
        size = path.stat().st_size
        print(f"{path.name}: {size / 1e6:.1f} MB")
        if size > MOST_BYTES[kind]:
            faults.append(f"the {kind} has {size:,} bytes; wanted at most {MOST_BYTES[kind]:,}")
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        faults += says("the wheel", archive.read(metadata).decode())
        inside = {name for name in names if ".dist-info/" not in name}
        faults += differences("the wheel", inside, of_wheel(files))
        if not any(name.endswith("licenses/LICENSE") for name in names):
            faults.append("the wheel lacks the licence")
    with tarfile.open(sources[0]) as archive:
        members = [one for one in archive.getmembers() if not one.isdir()]
        names = {one.name.partition("/")[2] for one in members}
        (metadata,) = [one for one in members if one.name.count("/") == 1
                       and one.name.endswith("/PKG-INFO")]  # fmt: skip
        text = archive.extractfile(metadata)
        faults += says("the source distribution", text.read().decode() if text else "")
        if links := [one.name for one in members if not one.isfile()]:
            faults.append(f"the source distribution holds links: {', '.join(links)}")
    kept = {name for name in names if not re.fullmatch(GENERATED, name)}
    return faults + differences("the source distribution", kept, files)


def main(arguments: list[str]) -> int:
    """Print sizes and faults; return 1 if there are faults."""
    faults = check(Path(*arguments))
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
