"""Tables as data, and how numbers are written on the page.

The template writes them; there is no HTML here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .. import units

MOST_ROWS = 600
"""Rows of a table on the page; the Parquet files have all."""


@dataclass(frozen=True)
class TableCell:
    """One entry of a table.

    Attributes
    ----------
    text : str
        As it is written.
    key : float or str
        Compared by sorting; default: the text.
    bar : float, optional
        Length of a bar behind the text, 0..1.
    """

    text: str
    key: float | str | None = None
    bar: float | None = None

    @property
    def sort_key(self) -> float | str:
        """Key of sorting; numbers that are none come out as ""."""
        key = self.text if self.key is None else self.key
        return "" if isinstance(key, float) and not math.isfinite(key) else key


@dataclass(frozen=True)
class Table:
    """A table whose columns can be sorted.

    Attributes
    ----------
    caption : str
        Written above.
    columns : sequence of str
        A name that begins with ">" stands over numbers: aligned to the right.
    rows : list of lists of TableCell
        One cell for each column.
    """

    caption: str
    columns: Sequence[str]
    rows: list[list[TableCell]]

    @property
    def shown(self) -> list[list[TableCell]]:
        """The rows that the page writes."""
        return self.rows[:MOST_ROWS]


def shown(value: float, unit: str) -> str:
    """Return a number with an SI prefix and the letter µ."""
    number, letter = units.show(value, unit).split(" ")
    return f"{number} {'µ' + letter[1:] if len(letter) > 1 and letter[0] == 'u' else letter}"
