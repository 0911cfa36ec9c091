"""Cells of a table to numbers; other cells have a kind, and those left out are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MISSING, OVERFLOW, TEXT, INFINITE = "missing", "overflow", "text", "infinite"
KINDS = {
    MISSING: "no value (empty, NaN, n/a, -)",
    OVERFLOW: "an instrument's overflow (9.9E+37, OVERFLOW, OL) or a number too large to hold",
    TEXT: "text where a number is wanted",
    INFINITE: "an infinite conductance (a resistance of zero)",
}
"""Kinds of cells that are no reads."""

_MISSING = {"", "nan", "n/a", "na", "n.a.", "-", "--", "null", "none", "missing", "#n/a", "?"}
_OVERFLOW = re.compile(
    r"[-+]?(?:overflow|ovfl|ovf|over|overload|overrange|o\.?l\.?d?|out of range|inf(?:inity)?)\Z",
    re.IGNORECASE,
)
_LARGEST = 9.89e37  # IEEE 488.2 writes 9.91E37 for "no number" and 9.9E37 for infinity
_NUMBER = re.compile(r"[-+]?(?:\d[\d.,'’\s]*|[.,]\d+)(?:[eEdD][-+]?\d+)?\Z")
_COMMA = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?\Z")
_LIKE_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}\Z")


@dataclass(frozen=True)
class Style:
    """How numbers are written.

    Attributes
    ----------
    decimal, thousands : str
        ``thousands`` is empty if there are none.
    """

    decimal: str = "."
    thousands: str = ""


def looks_like_a_number(text: str) -> bool:
    """Return whether a cell is a number in some style of writing."""
    return bool(_NUMBER.match(text.strip()))


def style(cells: pd.DataFrame, decimal: str | None, thousands: str | None) -> Style:
    """Return how the numbers of a table are written.

    Raises
    ------
    ValueError
        If ``1,234`` may be 1.234 as well as 1234, with what to give.
    """
    if decimal is not None or thousands is not None:
        decimal = decimal or ("," if thousands == "." else ".")
        if decimal == thousands:
            raise ValueError(f"'{decimal}' cannot be both the decimal sign and the thousands'")
        return Style(decimal, thousands or "")
    import pandas as pd

    flat = pd.Series(cells.to_numpy(object).reshape(-1), dtype=object).astype(str)
    with_comma = pd.unique(flat[flat.str.contains(",", regex=False)])
    numbers = [text for text in map(str.strip, with_comma) if _NUMBER.match(text)]
    if not numbers:
        return Style()
    if any("." in text and text.rfind(",") > text.rfind(".") for text in numbers):
        return Style(",", ".")
    if any("." in text or text.count(",") > 1 for text in numbers):
        return Style(".", ",")
    if not all(_LIKE_THOUSANDS.match(text) for text in numbers):
        return Style(",", "") if all(_COMMA.match(text) for text in numbers) else Style()
    raise ValueError(
        f"'{numbers[0]}' may be {numbers[0].replace(',', '.')} or {numbers[0].replace(',', '')}; "
        "give --decimal , or --thousands ,"
    )


def numbers(cells: pd.Series, how: Style) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a column, and the kind of every cell that is none.

    Parameters
    ----------
    cells : (N,) series of str
        Text of the column's cells.
    how : Style
        Marks of the decimals and of the thousands.

    Returns
    -------
    values : (N,) float64
        NaN where a cell is no number.
    kinds : (N,) array of str
        Empty where it is one; else a key of :data:`KINDS`.
    """
    import pandas as pd

    text = cells.str.strip().str.replace(r"(?<=\d)['’\u00a0\u202f](?=\d)", "", regex=True)
    if how.thousands:
        text = text.str.replace(how.thousands, "", regex=False)
    if how.decimal != ".":
        text = text.str.replace(how.decimal, ".", regex=False)
    text = text.str.replace("\u2212", "-", regex=False)  # the sign of typesetters
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, copy=True)
    kinds = np.full(len(values), "", dtype="U8")
    with np.errstate(invalid="ignore"):
        large = np.abs(values) >= _LARGEST  # 1e400 has become infinite
    bad = np.flatnonzero(np.isnan(values))
    for i in bad:
        one = text.iloc[i]
        if one.lower() in _MISSING:
            kinds[i] = MISSING
        elif _OVERFLOW.match(one):
            kinds[i] = OVERFLOW
        else:
            kinds[i] = TEXT
    kinds[large] = OVERFLOW
    values[large] = np.nan
    return values, kinds
