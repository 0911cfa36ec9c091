"""What every validation script hands over: rows "paper / ours / tolerance", a table, a figure.

A script named ``X.py`` owns the folder ``X/`` and writes ``rows.csv`` and ``table.md`` there
with :func:`write`, beside its figures.
"""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from references import REFERENCES

from aimc_sim.spec import PHYSICS_VERSION

Kind = Literal["given", "fitted", "predicted", "self-consistency", ""]
"""What a row's agreement says. given: our number was set to it. fitted: a constant of ours was
chosen for it. predicted: neither, so that it could have failed. self-consistency: both sides share
coefficients, so that it tests the code and not the model. "": not marked yet."""


@dataclass(frozen=True)
class Row:
    """One number of a publication (or data set) and ours.

    Attributes
    ----------
    quantity : str
        What is compared, with its unit.
    paper, ours : float
        In the same unit.
    tolerance : float
        Largest allowed ``|ours - paper|``, in the same unit.
    source : str
        Where the paper's number stands, or how it was derived.
    kind : Kind
    rejects : float or None
        A wrong value, in the same unit, that the tolerance must not accept: "no effect", the result
        of the fault that the row is there to find.
    reference : str
        Whose number it is, a key of ``references.REFERENCES``; "" where both sides are ours. A
        predicted row has one.
    """

    quantity: str
    paper: float
    ours: float
    tolerance: float
    source: str
    kind: Kind = ""
    rejects: float | None = None
    reference: str = ""

    def __post_init__(self) -> None:
        if self.reference and self.reference not in REFERENCES:
            raise ValueError(f"'{self.quantity}': no reference '{self.reference}'; see REFERENCES")
        if self.kind == "predicted" and not self.reference:
            raise ValueError(f"'{self.quantity}' is called predicted without a reference")
        if self.rejects is not None and abs(self.rejects - self.paper) <= self.tolerance:
            raise ValueError(
                f"'{self.quantity}' accepts {self.rejects:g}, which it is there to reject: paper "
                f"{self.paper:g} +- {self.tolerance:g}; lower the tolerance or drop the row"
            )

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.ours - self.paper) <= self.tolerance


def show(value: float, digits: int = 4) -> str:
    """Return a number with some digits, a whole one with all of them."""
    whole = float(value).is_integer() and abs(value) < 1e7
    return f"{value:.0f}" if whole else f"{value:.{digits}g}"


def named_source(row: Row) -> str:
    """Return reference and source as one text."""
    return f"{row.reference}: {row.source}" if row.reference else row.source


def write(folder: Path, title: str, command: str, rows: Sequence[Row], notes: str = "") -> bool:
    """Write ``rows.csv`` and ``table.md`` into a folder and print the table.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    title : str
        First line of the table.
    command : str
        The command that made the rows, from the top of the project.
    rows : sequence of Row
    notes : str
        Paragraph below the table: what was assumed, what could not be compared.

    Returns
    -------
    bool
        Whether all rows passed that are not predicted. A prediction that fails is a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*Row.__dataclass_fields__, "passed"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(row), "passed": row.passed} for row in rows)
    write_stamp(folder)
    lines = [
        f"# {title}",
        "",
        f"`{command}`",
        "",
        "| quantity | paper | ours | tolerance | | kind | rejects | source |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r.quantity} | {show(r.paper)} | {show(r.ours)} | {show(r.tolerance, 2)} | "
            f"{'ok' if r.passed else '**off**'} | {r.kind} | "
            f"{'' if r.rejects is None else show(r.rejects)} | {named_source(r)} |"
            for r in rows
        ),
    ]
    if notes:
        lines += ["", notes.strip()]
    text = "\n".join(lines) + "\n"
    (folder / "table.md").write_text(text)
    print(text)
    return all(row.passed for row in rows if row.kind != "predicted")


def _commit() -> str:
    """Return the commit of the code in use, "-dirty" if a Python file differs from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=False
        )

    name = git("rev-parse", "--short", "HEAD").stdout.strip()
    # Tables are written one after the other: that they differ says nothing of the code.
    changed = git("status", "--porcelain", "--untracked-files=all", "--", "../*.py").stdout
    return f"{name}{'-dirty' if changed else ''}" if name else "unknown"


COMMIT = _commit()
"""Of the code as it was loaded; a long run ends after other commits."""


def stamp() -> dict[str, str | int]:
    """Return which code and machine make a table: physics version, commit, processor."""
    return {
        "physics": PHYSICS_VERSION,
        "commit": COMMIT,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def write_stamp(folder: Path) -> None:
    """Write ``stamp.json`` beside a table: every table has one, whatever its rows are."""
    (folder / "stamp.json").write_text(json.dumps(stamp(), indent=1) + "\n")
