"""All rows of all tables on one page: what each says, whether it holds, whether it is up to date.

    python validation/scoreboard.py

Reads the ``rows.csv`` and ``stamp.json`` that the scripts wrote and writes ``SCOREBOARD.md``.
Only predicted rows are validation in the narrow sense; failing rows are shown as failing.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from aimc_sim.spec import PHYSICS_VERSION

HERE = Path(__file__).parent
KINDS = ("predicted", "fitted", "given", "self-consistency", "not marked")


def tables() -> dict[str, tuple[list[dict[str, str]], dict]]:
    """Return rows and stamp of every table of rows "paper / ours / tolerance", by folder."""
    found = {}
    for path in sorted(HERE.rglob("rows.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if rows and "quantity" in rows[0]:
            mark = path.with_name("stamp.json")
            stamp = json.loads(mark.read_text()) if mark.exists() else {"physics": 1}
            found[path.parent.relative_to(HERE).as_posix()] = rows, stamp
    return found


def stale() -> set[str]:
    """Return the folders whose tables were made by an older version of the physics."""
    return {name for name, (_, stamp) in tables().items() if stamp["physics"] < PHYSICS_VERSION}


def page() -> str:
    """Return the scoreboard as Markdown."""
    found, old = tables(), stale()
    counts: Counter[tuple[str, bool]] = Counter()
    lines = []
    for name, (rows, stamp) in found.items():
        note = " (made by an older version of the physics)" if name in old else ""
        made = f"commit {stamp['commit']}, {stamp['machine']}" if "commit" in stamp else "no stamp"
        lines += ["", f"## {name}{note}", "", made, "",
                  "| quantity | paper | ours | tolerance | kind | rejects | | source |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for row in rows:
            kind, passed = row.get("kind") or "not marked", row["passed"] == "True"
            counts[kind, passed] += 1
            lines.append(
                f"| {row['quantity']} | {float(row['paper']):.4g} | {float(row['ours']):.4g} | "
                f"{float(row['tolerance']):.2g} | {kind} | {row.get('rejects') or ''} | "
                f"{'ok' if passed else '**off**'} | {row['source']} |"
            )
    head = ["# Scoreboard", "", "`python validation/scoreboard.py`", "",
            f"Physics version {PHYSICS_VERSION}; {len(old)} of {len(found)} tables are older.", "",
            "| kind | rows | off |", "|---|---|---|"]  # fmt: skip
    head += [f"| {k} | {counts[k, True] + counts[k, False]} | {counts[k, False]} |" for k in KINDS]
    return "\n".join(head + lines) + "\n"


def main() -> None:
    """Write the page."""
    (HERE / "SCOREBOARD.md").write_text(page())
    print(page().split("\n##")[0])


if __name__ == "__main__":
    main()
