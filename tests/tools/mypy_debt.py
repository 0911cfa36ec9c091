"""Run mypy, strictly, and compare its errors, room by room, with tests/mypy_debt.txt.

``python tests/tools/mypy_debt.py --python PYTHON`` reads the types of torch, numpy and others from
the environment of that interpreter (default: this one), since the environment of the linters has
none of them. More errors in a room than the list has are refused, and so are fewer: then
``--write`` brings the list to the present counts. Rooms that are not in the list have none.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEBT = ROOT / "tests" / "mypy_debt.txt"


def rooms(output: str) -> Counter[str]:
    """Return the number of errors by room in what mypy printed."""
    found = re.findall(r"^aimc_sim/([^/:]+?)(?:\.py)?[/:].*? error: ", output, re.M)
    return Counter(found)


def differences(now: Counter[str], listed: dict[str, int]) -> tuple[list[str], list[str]]:
    """Return a line for every room with more errors than are listed, and with fewer."""
    more = [
        f"{room}: {count} errors, {listed.get(room, 0)} allowed"
        for room, count in sorted(now.items())
        if count > listed.get(room, 0)
    ]
    fewer = [
        f"{room}: {now[room]} errors, {count} listed"
        for room, count in sorted(listed.items())
        if count > now[room]
    ]
    return more, fewer


def read() -> dict[str, int]:
    """Return the listed errors by room."""
    rows = (line.split() for line in DEBT.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[1]) for row in rows if row}


def main(arguments: Sequence[str]) -> int:
    """Run mypy and compare; return 0 if the list is exact, 1 if not, 2 if mypy did not run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--python", default=sys.executable, help="environment with the libraries")
    parser.add_argument("--mypy", default="mypy", help="mypy to run")
    parser.add_argument("--write", action="store_true", help="write the present counts")
    options = parser.parse_args(arguments)
    command = [options.mypy, "--python-executable", options.python, "--no-error-summary"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        print(done.stdout + done.stderr)
        return 2
    now = rooms(done.stdout)
    if options.write:
        DEBT.write_text("".join(f"{room} {now[room]}\n" for room in sorted(now)))
    more, fewer = differences(now, read())
    if more:
        over = tuple(f"aimc_sim/{line.split(':')[0]}" for line in more)
        print(*(line for line in done.stdout.splitlines() if line.startswith(over)), sep="\n")
    print(*more, *fewer, sep="\n", end="\n" if more or fewer else "")
    if fewer and not more:
        print(f"fewer than {DEBT.name} lists: run with --write")
    print(f"mypy: {sum(now.values())} errors, {sum(read().values())} listed")
    return int(bool(more or fewer))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
