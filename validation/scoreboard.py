"""All rows of all tables on one page: what each says, whether it holds, whether it is up to date.

    python validation/scoreboard.py

Reads the ``rows.csv`` and ``stamp.json`` that the scripts wrote and writes ``SCOREBOARD.md``.
Only predicted rows are validation in the narrow sense; failing rows are shown as failing. Sources
are counted by the references of predicted rows (``references.py``).
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from comparison import show
from references import REFERENCES

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
            found[path.parent.relative_to(HERE).as_posix()] = rows, _stamp(path.parent)
    return found


def stale() -> set[str]:
    """Return the folders whose tables, of rows or not, an older version of the physics made."""
    return {
        path.parent.relative_to(HERE).as_posix()
        for path in HERE.rglob("table.md")
        if _stamp(path.parent)["physics"] < PHYSICS_VERSION
    }


def _stamp(folder: Path) -> dict:
    """Return what made the tables of a folder; without a mark, the first version."""
    mark = folder / "stamp.json"
    return json.loads(mark.read_text()) if mark.exists() else {"physics": 1}


def sources() -> dict[str, tuple[int, int]]:
    """Return how many predicted rows every reference has, and how many of them are off."""
    found: dict[str, tuple[int, int]] = {}
    for rows, _ in tables().values():
        for row in rows:
            if row.get("kind") == "predicted":
                name = row.get("reference") or "no reference"
                count, off = found.get(name, (0, 0))
                found[name] = count + 1, off + (row["passed"] != "True")
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def _section(name: str, rows: list[dict[str, str]], stamp: dict, old: bool) -> list[str]:
    """Return the lines of one table."""
    note = " (made by an older version of the physics)" if old else ""
    made = "no stamp"
    if "commit" in stamp:
        made = f"physics {stamp['physics']}, commit {stamp['commit']}, {stamp['machine']}"
    lines = ["", f"## {name}{note}", "", made, "",
             "| quantity | paper | ours | tolerance | kind | rejects | | source |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        reference, rejects = row.get("reference"), row.get("rejects")
        source = f"{reference}: {row['source']}" if reference else row["source"]
        lines.append(
            f"| {row['quantity']} | {show(float(row['paper']))} | {show(float(row['ours']))} | "
            f"{show(float(row['tolerance']), 2)} | {row.get('kind') or 'not marked'} | "
            f"{show(float(rejects)) if rejects else ''} | "
            f"{'ok' if row['passed'] == 'True' else '**off**'} | {source} |"
        )
    return lines


def page() -> str:
    """Return the scoreboard as Markdown."""
    found, old, named = tables(), stale() & set(tables()), sources()
    counts: Counter[tuple[str, bool]] = Counter()
    lines = []
    for name, (rows, stamp) in found.items():
        lines += _section(name, rows, stamp, name in old)
        counts.update((row.get("kind") or "not marked", row["passed"] == "True") for row in rows)
    predicted = counts["predicted", True] + counts["predicted", False]
    head = ["# Scoreboard", "", "`python validation/scoreboard.py`", "",
            f"Physics version {PHYSICS_VERSION}; {len(old)} of {len(found)} tables are older. "
            f"Validation: {predicted} predicted rows from {len(named)} sources, "
            f"{counts['predicted', False]} of them off.", "",
            "| kind | rows | off |", "|---|---|---|"]  # fmt: skip
    head += [f"| {k} | {counts[k, True] + counts[k, False]} | {counts[k, False]} |" for k in KINDS]
    head += ["", "given: our number was set to the other one. fitted: a constant of ours was "
             "chosen for it, by us or by those whose fit we use. predicted: neither. "
             "self-consistency: both sides share coefficients or are ours.", "",
             "| source of predicted rows | rows | off | |", "|---|---|---|---|"]  # fmt: skip
    head += [
        f"| {name} | {count} | {off} | {REFERENCES.get(name, '')} |"
        for name, (count, off) in named.items()
    ]
    return "\n".join(head + lines) + "\n"


def main() -> None:
    """Write the page."""
    (HERE / "SCOREBOARD.md").write_text(page())
    print(page().split("\n##")[0])


if __name__ == "__main__":
    main()
