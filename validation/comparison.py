"""What every validation script hands over: rows "paper / ours / tolerance", a table, a figure.

A script named ``X.py`` owns the folder ``X/`` and writes ``rows.csv`` and ``table.md`` there
with :func:`write`, beside its figures.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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
    """

    quantity: str
    paper: float
    ours: float
    tolerance: float
    source: str

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.ours - self.paper) <= self.tolerance


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
        Whether all rows passed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*Row.__dataclass_fields__, "passed"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(row), "passed": row.passed} for row in rows)
    lines = [
        f"# {title}",
        "",
        f"`{command}`",
        "",
        "| quantity | paper | ours | tolerance | | source |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.quantity} | {r.paper:.4g} | {r.ours:.4g} | {r.tolerance:.2g} | "
            f"{'ok' if r.passed else '**off**'} | {r.source} |"
            for r in rows
        ),
    ]
    if notes:
        lines += ["", notes.strip()]
    text = "\n".join(lines) + "\n"
    (folder / "table.md").write_text(text)
    print(text)
    return all(row.passed for row in rows)
