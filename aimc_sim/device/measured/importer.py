"""CSV and TSV tables, also gzipped, to measured data; see :mod:`.column_map` for the map."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from . import columns as rules
from .column_map import Source, parse
from .schema import MeasuredData, Provenance

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = ("\t", ",", ";")


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes
    ----------
    data : MeasuredData
    dropped : tuple of str
        One sentence for every row that was left out on request.
    """

    data: MeasuredData
    dropped: tuple[str, ...]


def read_table(
    path: str | Path,
    column_map: str,
    *,
    provenance: Provenance | None = None,
    bad_rows: Literal["refuse", "drop"] = "refuse",
) -> Imported:
    """Read a table of measured reads.

    Parameters
    ----------
    path : path
        Comma, semicolon or tab separated; ``.gz`` is unpacked. The first line is a header if one
        of its cells is not a number.
    column_map : str
        See :mod:`aimc_sim.device.measured.column_map`.
    provenance : Provenance, optional
        The units of the source are added to it.
    bad_rows : "refuse" or "drop"
        What to do with a row that holds no number, a negative or infinite value: refuse the file,
        or leave the row out and note it in the provenance.

    Returns
    -------
    Imported

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the map or the table cannot be used; with line and column.

    Notes
    -----
    Without a time every row is a read right after a programming of its own: time 0, and the rows
    of a device and condition are numbered as cycles. With a time and no cycle, all reads of a
    device and condition are one trace.
    """
    path = Path(path)
    sources = parse(column_map)
    table = _cells(path, sources)
    lines = table.index.to_numpy()
    labels = {entry.name: entry.source for entry in sources if isinstance(entry.source, str)}
    found = {entry.name: _numbers(table, entry) for entry in sources}
    bad, dropped = np.zeros(len(table), bool), []
    for problem in _bad_rows(table, found, labels):
        if bad_rows != "drop" or problem.rows is None:
            text = _sentence(problem, lines, labels, path)
            if problem.rows is not None:
                text += "; correct it, or leave such rows out (--bad-rows drop)"
            raise ValueError(text)
        dropped += [
            f"line {lines[row]} ({labels.get(problem.column)} = "
            f"{table[labels[problem.column]].iloc[row]})"
            for row in np.flatnonzero(problem.rows & ~bad)
        ]
        bad |= problem.rows
    if bad.all():
        raise ValueError(f"{path}: every row is bad, the first: {dropped[0]}")
    lines = lines[~bad]
    found = {k: rules.plain(k, v[~bad] if v.ndim else v) for k, v in found.items()}
    _complete(found)
    for problem in rules.problems(found):
        raise ValueError(_sentence(problem, lines, labels, path))
    given = provenance or Provenance()
    notes = [given.notes] if given.notes else []
    notes += [f"Left out at import: {len(dropped)} row(s): {'; '.join(dropped[:5])}"] * bool(
        dropped
    )
    units = ", ".join(f"{entry.name} from {entry.source} in {entry.unit}" for entry in sources)
    where = given.model_dump() | {"notes": " ".join(notes), "original_units": units}
    return Imported(MeasuredData.of(**found, provenance=Provenance(**where)), tuple(dropped))


def _cells(path: Path, sources: Sequence[Source]) -> pd.DataFrame:
    """Return the cells that are needed as text; the index holds the line in the file."""
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            first = file.readline()
        separator = max(_SEPARATORS, key=first.count)
        header = not all(_is_number(cell.strip().strip('"')) for cell in first.split(separator))
        table = pd.read_csv(
            path, sep=separator, header=0 if header else None, dtype=str, keep_default_na=False,
            skip_blank_lines=False, skipinitialspace=True, index_col=False,
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; wanted a table of reads") from None
    except (pd.errors.ParserError, UnicodeDecodeError, EOFError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} cannot be read as a table: {reason}") from None
    table.index = pd.RangeIndex(1 + header, 1 + header + len(table))
    table.columns = [str(name).strip() for name in table.columns]
    wanted = {e.source: _column(e.source, table.columns, header, path)
              for e in sources if isinstance(e.source, str)}  # fmt: skip
    table = pd.DataFrame({name: table.iloc[:, i].fillna("") for name, i in wanted.items()})
    blank = (table == "").all(axis=1)
    table = table[~blank]
    if table.empty:
        raise ValueError(f"{path} holds no reads")
    return table


def _column(source: str, names: Sequence[str], header: bool, path: Path) -> int:
    if header and source in names:
        return list(names).index(source)
    if source.isdigit() and int(source) < len(names):
        return int(source)
    there = ", ".join(names) if header else f"no header, so numbers from 0 to {len(names) - 1}"
    raise ValueError(f"{path} has no column '{source}'; it has {there}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(table: pd.DataFrame, entry: Source) -> np.ndarray:
    """Return a column in SI; NaN where the cell is no number; 0 ohm becomes infinite."""
    import pandas as pd

    if isinstance(entry.source, float):
        value = entry.convert(np.array([entry.source]))
        if entry.name in rules.SCALARS:
            return value[0]
        return np.repeat(value, len(table))
    values = pd.to_numeric(table[entry.source], errors="coerce").to_numpy(np.float64)
    with np.errstate(divide="ignore"):
        return entry.convert(values)


def _bad_rows(
    table: pd.DataFrame, found: Mapping[str, np.ndarray], labels: Mapping[str, str]
) -> Iterator[rules.Problem]:
    """Yield columns with cells that cannot be used; found in one pass over all of them."""
    for name, values in found.items():
        empty = np.zeros(len(table), bool)
        if name in labels:
            cells = table[labels[name]]
            empty = np.isnan(values)
            if name == "target_siemens":  # an empty cell is a read without a target
                empty &= ~cells.str.strip().str.lower().isin(["", "nan"]).to_numpy()
        if empty.any():
            row = int(np.argmax(empty))
            yield rules.Problem(name, row, f"'{cells.iloc[row]}' is not a number", empty)
        for problem in rules.column_problems(name, rules.plain(name, values)):
            # Cells that are no numbers have been told above; what is left may be one column wide.
            if problem.rows is None or values.ndim == 0 or name not in labels:
                yield replace(problem, rows=None)
            elif (problem.rows & ~empty).any():
                yield problem


def _sentence(
    problem: rules.Problem, lines: np.ndarray, labels: Mapping[str, str], path: Path
) -> str:
    text = problem.text(lambda row: f"line {lines[row]}")
    label = labels.get(problem.column)
    return f"{path}, {text}" if label is None else (
        f"{path}, " + text.replace(f"'{problem.column}'", f"'{label}' ({problem.column})", 1)
    )  # fmt: skip


def _complete(found: dict[str, np.ndarray]) -> None:
    """Add time and cycle where the table has none."""
    reads = len(found["device"])
    timed = "time_seconds" in found
    if not timed:
        found["time_seconds"] = np.zeros(reads)
    if "cycle" in found:
        return
    found["cycle"] = np.zeros(reads, np.int64)
    if not timed:
        order, starts = rules.trace_order(found)
        count = np.arange(reads) - np.repeat(starts, np.diff(np.append(starts, reads)))
        found["cycle"][order] = count
