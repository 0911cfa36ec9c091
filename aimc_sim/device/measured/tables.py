"""Files of many kinds to sheets of cells: CSV and its relatives, XLSX, NPY, MAT, HDF5, JSON.

The readers are those of pandas, scipy, h5py and numpy; this module finds the start of the table,
the separator of its columns and its headers.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import arrays, headers
from . import cells as cell_rules
from .sheet import Sheet, cell_text, decoded

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = ("\t", ";", ",", "|")
_BLANKS = r"\s+"
_COMMENTS = ("#", "%", "//")
_SAMPLE = 200
_ROLE_WORDS = re.compile(
    r"(cell|device|dev|dut|id|addr|address|zelle|time|t|cycle|rep|g|r|i|v|target|pulse)\b", re.I
)


def kind(path: Path) -> str:
    """Return the suffix that says how a file is read, without ``.gz``."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read(
    path: Path, *, sheet: str | None = None, header: int | None = None
) -> list[Sheet] | arrays.Arrays:
    """Read a file.

    Parameters
    ----------
    path : Path
    sheet : str, optional
        Read only this sheet of a workbook.
    header : int, optional
        Line of the header, from 1; 0 for none. Default: found out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, with the reason.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    suffix = kind(path)
    if suffix in (".xlsx", ".xlsm"):
        return _workbook(path, sheet, header)
    if sheet is not None:
        raise ValueError(f"{path} has no sheets; leave out --sheet {sheet}")
    if suffix in arrays.READERS:
        return arrays.READERS[suffix](path)
    return [_text_table(path, header)]


# ---------------------------------------------------------------------------------- text


def _text_table(path: Path, header: int | None) -> Sheet:
    text, encoding = decoded(path)
    lines = text.splitlines()
    numbered = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    comments = [(i, line) for i, line in numbered if line.lstrip().startswith(_COMMENTS)]
    rest = [pair for pair in numbered if pair not in set(comments)] if comments else numbered
    if not rest:
        raise ValueError(f"{path} is empty; wanted a table of reads" if not numbered else
                         f"{path} holds no reads, only comments")  # fmt: skip
    separator = _separator([line for _, line in rest])
    if comments:  # a commented line right before the data may be the header
        number, line = max((c for c in comments if c[0] < rest[0][0]), default=(0, ""))
        bare = line.lstrip().lstrip("#%/").strip()
        if number and _width(bare, separator) == _width(rest[0][1], separator) and not any(
            cell_rules.looks_like_a_number(c) for c in _fields(bare, separator)
        ):  # fmt: skip
            rest.insert(0, (number, bare))
            comments = [c for c in comments if c[0] != number]
    sample = [_fields(line, separator) for _, line in rest[:_SAMPLE]]
    top, units, first = _layout(sample, header, [i for i, _ in rest[:_SAMPLE]], path)
    notes = []
    skipped = [line for _, line in rest[: min(x for x in (top, units, first) if x is not None)]]
    if skipped:
        notes.append(f"{len(skipped)} line(s) before the table: {_short(skipped)}")
    if comments:
        notes.append(f"{len(comments)} comment line(s): {_short([c for _, c in comments])}")
    if encoding not in ("utf-8", "ascii"):
        notes.append(f"encoding {encoding}")
    names = sample[top] if top is not None else None
    body = rest[first:]
    numbers = np.array([i for i, _ in body], np.int64)
    if not body:
        raise ValueError(f"{path} holds no reads")
    width = (
        len(names) if names is not None else Counter(map(len, sample[first:])).most_common(1)[0][0]
    )
    opening = _fields(body[0][1], separator)
    if len(opening) > width:
        raise ValueError(_too_many(path, body[0][0], len(opening), width, body[0][1]))
    frame = _cells("\n".join(line for _, line in body), separator, width, path, numbers, body)
    return Sheet(
        path, "", _headers(names, sample[units] if units is not None else None), frame, numbers,
        tuple(notes), separator,
    )  # fmt: skip


def _too_many(path: Path, line: int, got: int, wanted: int, text: str) -> str:
    return (
        f"{path}, line {line}: {got} fields where the table has {wanted}: {text.strip()[:60]!r}; a "
        "decimal comma, or a separator inside a text? Quote such a cell or correct the line"
    )


def _cells(
    body: str,
    separator: str,
    width: int,
    path: Path,
    numbers: np.ndarray,
    lines: Sequence[tuple[int, str]],
) -> pd.DataFrame:
    """Return the cells of the body as text; short lines are filled with empty cells."""
    import pandas as pd

    # A first line of full width: pandas takes the number of columns from it.
    joint = " " if separator == _BLANKS else separator
    opening = joint.join("x" * width) + "\n"
    if separator == _BLANKS:
        body = "\n".join(line.strip() for line in body.split("\n"))
    try:
        frame = pd.read_csv(
            io.StringIO(opening + body), sep=separator, header=None, dtype=object,
            keep_default_na=False, skip_blank_lines=False, skipinitialspace=True, index_col=False,
        )  # fmt: skip
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if found is None:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{path} cannot be read as a table: {reason}") from None
        wanted, place, got = map(int, found.groups())
        at = min(place - 2, len(lines) - 1)
        raise ValueError(_too_many(path, int(numbers[at]), got, wanted, lines[at][1])) from None
    values = frame.to_numpy(object)[1:].copy()  # what pandas gives may be read-only
    values[pd.isna(values)] = ""
    frame = pd.DataFrame(values, dtype=object)  # in one block: there may be 100,000 columns
    if len(frame) != len(numbers):
        raise ValueError(
            f"{path}: {len(numbers)} lines hold {len(frame)} rows; a quoted cell goes over several "
            "lines: write it on one"
        )
    return frame


def _fields(line: str, separator: str) -> list[str]:
    if separator == _BLANKS:
        return line.split()
    try:
        found = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a field of more than 100,000 letters is a line with another separator
        found = line.split(separator)
    return [cell.strip() for cell in found]


def _width(line: str, separator: str) -> int:
    return len(_fields(line, separator))


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that most lines share a number of; blanks if there is none."""
    sample = lines[-_SAMPLE:] if len(lines) > 2 * _SAMPLE else lines[len(lines) // 4 :] or lines
    best, score = "", 0.5
    for separator in _SEPARATORS:
        width, count = Counter(_width(line, separator) for line in sample).most_common(1)[0]
        if width > 1 and count / len(sample) > score + 1e-9:
            best, score = separator, count / len(sample)
    if best:
        return best
    width, count = Counter(len(line.split()) for line in sample).most_common(1)[0]
    return _BLANKS if width > 1 and count / len(sample) > 0.5 else ","


def _layout(
    sample: Sequence[Sequence[str]], header: int | None, lines: Sequence[int], path: Path
) -> tuple[int | None, int | None, int]:
    """Return the rows of the header and of the units (None if there is none) and of the data."""
    if header is not None:
        if header == 0:
            return None, None, 0
        if header not in lines:
            raise ValueError(
                f"{path}: line {header} cannot be the header: it is blank or a comment"
            )
        top = lines.index(header)
        units = top + 1 if top + 1 < len(sample) and _are_units(sample[top + 1]) else None
        return top, units, (top if units is None else units) + 1
    width = Counter(map(len, sample[len(sample) // 4 :])).most_common(1)[0][0]
    like = [
        len(row) == width and any(cell_rules.looks_like_a_number(c) for c in row) for row in sample
    ]
    first = next((i for i in range(len(sample)) if all(like[i : i + 2])), None)
    if first is None:
        first = next((i for i, ok in enumerate(like) if ok), None)
        if first is None:
            return 0, None, 1  # a header and nothing under it, or nothing but text
    if first + 1 < len(sample) and first == 0 and _is_header(sample[0], sample[1:]):
        return 0, None, 1
    above = first - 1
    if above < 0:
        return None, None, first
    over = sample[above]
    if len(over) > width and sum(map(cell_rules.looks_like_a_number, over)) > len(over) / 2:
        raise ValueError(_too_many(path, lines[above], len(over), width, ",".join(over)))
    if _are_units(sample[above]) and above > 0 and len(sample[above - 1]) == width:
        return above - 1, above, first
    if len(sample[above]) == width:
        return above, None, first
    if _is_header(sample[first], sample[first + 1 :]):
        return first, None, first + 1
    # Nothing of the right width stands above; unless a header is cut short, there is none.
    if above == 0 and len(sample[0]) > 1:
        return 0, None, first
    return None, None, first


def _is_header(row: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether a row with numbers is a header: text stands over numbers, or a known word."""
    for j, cell in enumerate(row):
        if not cell or cell_rules.looks_like_a_number(cell):
            continue
        under = [r[j] for r in below[:5] if j < len(r)]
        if under and all(cell_rules.looks_like_a_number(c) for c in under):
            return cell.lower() not in ("nan", "n/a", "na", "-")
        if j == 0 and _ROLE_WORDS.match(cell) and cell not in under:
            return True
    return False


def _are_units(row: Sequence[str]) -> bool:
    given = [c.strip(" []()") for c in row if c.strip()]
    return bool(given) and all(headers.unit(c) or c in ("-", "1", "#") for c in given)


def _headers(
    names: Sequence[str] | None, units: Sequence[str] | None
) -> tuple[headers.Header, ...]:
    if names is None:
        return ()
    found = [headers.parse(name) for name in names]
    if units is None:
        return tuple(found)
    return tuple(
        headers.Header(h.text, h.label, h.unit or headers.unit(u.strip(" []()")))
        for h, u in zip(found, [*units, *[""] * len(found)], strict=False)
    )


def _short(lines: Sequence[str]) -> str:
    return "; ".join(line.strip()[:40] for line in lines[:3]) + ("; ..." if len(lines) > 3 else "")


# ----------------------------------------------------------------------------- workbooks


def _workbook(path: Path, sheet: str | None, header: int | None) -> list[Sheet]:
    import pandas as pd

    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise ValueError(
            f"{path}: reading a workbook needs openpyxl; install it (pip install "
            "'aimc-sim[excel]') or save the sheets as CSV"
        ) from None
    try:
        found = pd.read_excel(path, sheet_name=None, header=None, dtype=object, engine="openpyxl")
    except Exception as error:  # openpyxl raises many kinds on damaged files
        raise ValueError(f"{path} cannot be read as a workbook: {error}") from None
    if sheet is not None and sheet not in found:
        raise ValueError(f"{path} has no sheet '{sheet}'; it has {', '.join(found)}")
    sheets = []
    for name, frame in found.items():
        if (sheet is not None and name != sheet) or frame.empty:
            continue
        table = frame.map(cell_text)
        blank = (table == "").all(axis=1).to_numpy()
        kept = np.flatnonzero(~blank)
        rows = [table.iloc[i].tolist() for i in kept[:_SAMPLE]]
        top, units, first = _layout(rows, header, [int(i) + 1 for i in kept[:_SAMPLE]], path)
        body = table.iloc[kept[first:]].reset_index(drop=True)
        names = rows[top] if top is not None else None
        above = first - (top is not None) - (units is not None)
        notes = (f"{above} row(s) before the table",) * bool(above)
        body.columns = range(body.shape[1])
        sheets.append(
            Sheet(path, name, _headers(names, rows[units] if units is not None else None), body,
                  kept[first:] + 1, notes)
        )  # fmt: skip
    if not sheets:
        raise ValueError(f"{path} holds no reads")
    return sheets
