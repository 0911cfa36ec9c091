"""Refuse large files: ``python tests/tools/large_files.py FILE ...`` (a pre-commit hook).

A repository keeps every version of every file. Data that can be made again are not committed;
trained weights are, in aimc_sim/zoo/weights, with a limit of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

MOST_BYTES = 500_000
"""Size of the largest file, except weights."""

MOST_WEIGHTS_BYTES = 4_000_000
"""Size of the largest file of weights."""


def complaint(path: Path) -> str:
    """Return the reason why a file is too large, or nothing."""
    if not path.is_file():
        return ""
    weights = path.as_posix().startswith("aimc_sim/zoo/weights/")
    most, size = MOST_WEIGHTS_BYTES if weights else MOST_BYTES, path.stat().st_size
    if size <= most:
        return ""
    return f"{path} has {size:,} bytes; wanted at most {most:,}: leave it out, or make it smaller"


def main(paths: Sequence[str]) -> int:
    """Print a line for each file that is too large; return 1 if there is one."""
    found = [text for path in paths if (text := complaint(Path(path)))]
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
