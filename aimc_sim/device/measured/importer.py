"""Tables of reads, as labs have them, to measured data; see :mod:`.column_map` for the map.

Nothing that is in a file is left out without being counted: :attr:`Imported.summary` says how many
of its values were taken, and what became of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import arrays, tables
from . import columns as rules
from .from_arrays import array_reads
from .from_sheets import sheet_reads
from .reads import ReadOptions, Reads
from .schema import MeasuredData, Provenance
from .to_numbers import to_numbers

__all__ = ["Imported", "ReadOptions", "read_table"]


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes
    ----------
    data : MeasuredData
        The reads that were taken.
    taken, values : int
        Reads taken, and values in the files.
    left_out : dict
        Why values were left out, and how many.
    notes : tuple of str
        Further steps of the import: lines passed over, reads sorted, negative reads kept.
    """

    data: MeasuredData
    taken: int
    values: int
    left_out: dict[str, int]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence: taken N of M values, and what became of the others."""
        text = f"taken {self.taken:,} of {self.values:,} values"
        if self.left_out:
            text += "; left out: " + "; ".join(f"{n:,} {why}" for why, n in self.left_out.items())
        return text


def read_table(
    path: str | Path | Sequence[str | Path],
    column_map: str,
    *,
    provenance: Provenance | None = None,
    options: ReadOptions | None = None,
    **changes: Any,
) -> Imported:
    """Read tables of measured reads.

    Parameters
    ----------
    path : path or sequence of paths
        CSV and its relatives (also ``.gz``), XLSX, NPY, NPZ, MAT, HDF5, JSON.
    column_map : str
        See :mod:`aimc_sim.device.measured.column_map`.
    provenance : Provenance, optional
        The units of the source are added to it.
    options : ReadOptions, optional
        Properties of the table that its headers do not state; the defaults without it.
    **changes
        Fields of :class:`ReadOptions`, instead of it.

    Returns
    -------
    Imported

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the map or the table cannot be used; with file, sheet, line and column.

    Notes
    -----
    Without a time every row is a read right after a programming of its own: time 0, and the rows
    of a device and condition are numbered as cycles. With a time and no cycle, all reads of a
    device and condition are one trace.
    """
    how = options or ReadOptions(**changes)
    how.check()
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    parts: list[Reads] = []
    for one in paths:
        found = tables.read(one, sheet=how.sheet, header=how.header)
        sheets = found if isinstance(found, list) else [found]
        several = len(sheets) > 1
        if (several or len(paths) > 1) and how.file_is is None:
            what = f"{len(sheets)} sheets" if several else f"{len(paths)} files"
            raise ValueError(
                f"{one}: {what}; say what each of them is (--file-is device, time or target)"
                + (", or choose one (--sheet NAME)" if several else "")
            )
        own = one.name.split(".")[0]
        for sheet in sheets:
            if isinstance(sheet, arrays.Arrays):
                parts.append(array_reads(sheet, column_map, how, own))
            else:
                parts.append(sheet_reads(sheet, column_map, how, sheet.name if several else own))
    return _join(parts, how, provenance or Provenance())


def _join(parts: Sequence[Reads], how: ReadOptions, provenance: Provenance) -> Imported:
    tables_found = [to_numbers(part, how) for part in parts]
    left_out: dict[str, int] = {}
    notes: list[str] = []
    for part, (_, missing, said) in zip(parts, tables_found, strict=True):
        for why, n in (part.left_out | missing).items():
            left_out[why] = left_out.get(why, 0) + n
        notes += [note for note in [*part.notes, *said] if note not in notes]
    names = set.intersection(*(set(found) for found, _, _ in tables_found))
    for found, _, _ in tables_found:
        if set(found) != names and len(tables_found) > 1:
            extra = ", ".join(sorted(set(found) - names))
            raise ValueError(f"not all files have {extra}; import them one by one")
    merged = {n: np.concatenate([f[n] for f, _, _ in tables_found]) for n in names}
    if not len(merged["conductance_siemens"]):
        raise ValueError(f"{parts[0].where}: every value was left out: " + "; ".join(
            f"{n:,} {why}" for why, n in left_out.items()))  # fmt: skip
    device_names = _devices(merged)
    lines = merged.pop("line")
    where = merged.pop("where")
    taken = len(lines)
    sources = parts[0].sources
    for name in rules.SCALARS:
        if name in merged and isinstance(sources[name].source, float):
            merged[name] = merged[name][0]
    labels = {s.name: s.source for s in sources.values() if isinstance(s.source, str)}

    def place(row: int) -> str:
        return f"{where[row]}, line {lines[row]}"

    def refuse(problem: rules.TableFault) -> None:
        text = problem.text(place)
        label = labels.get(problem.column)
        if label is not None:
            text = text.replace(f"'{problem.column}'", f"'{label}' ({problem.column})", 1)
        raise ValueError(text if problem.row is not None else f"{where[0]}, {text}")

    found = {k: rules.plain(k, v) for k, v in merged.items()}
    for name, values in found.items():
        for problem in rules.column_problems(name, values):
            refuse(problem)
    notes += _complete(found, how, refuse)
    order = found.pop("order")
    lines, where = lines[order], where[order]
    for problem in rules.problems(found):
        refuse(problem)
    negative = int((found["conductance_siemens"] < 0).sum())
    if negative:
        notes.append(f"{negative:,} negative read(s) kept: noise around zero")
    units = ", ".join(f"{s.name} from {s.source} in {s.unit}" for s in sources.values())
    kept = [provenance.notes] if provenance.notes else []
    result = Imported(MeasuredData.of(**found), taken, taken + sum(left_out.values()), left_out,
                      tuple(notes))  # fmt: skip
    if left_out or notes:
        kept.append("Import: " + "; ".join([result.summary, *notes]) + ".")
    described = provenance.model_dump() | {"notes": " ".join(kept), "original_units": units}
    data = MeasuredData.of(**found, device_names=device_names, provenance=Provenance(**described))
    return Imported(data, taken, result.values, left_out, tuple(notes))


def _devices(merged: dict[str, np.ndarray]) -> tuple[str, ...] | None:
    """Turn text ids into numbers in the order in which they come; return their names."""
    import pandas as pd

    ids = merged["device"]
    if ids.dtype != object:
        return None
    plain = pd.to_numeric(pd.Series(ids), errors="coerce").to_numpy(float)
    if np.isfinite(plain).all() and (plain == np.rint(plain)).all() and (plain >= 0).all():
        merged["device"] = plain
        return None
    if np.isfinite(plain).all():
        merged["device"] = plain  # the rules refuse them with their line
        return None
    numbers, names = pd.factorize(ids)
    merged["device"] = numbers.astype(float)
    return tuple(map(str, names))


# -------------------------------------------------------------------- traces in order


def _complete(
    found: dict[str, np.ndarray], how: ReadOptions, refuse: Callable[[rules.TableFault], None]
) -> list[str]:
    """Add time and cycle where the table has none, and put reads in order; return notes."""
    reads = len(found["device"])
    notes: list[str] = []
    timed, pulsed = "time_seconds" in found, "pulse_number" in found
    if not timed:
        found["time_seconds"] = np.zeros(reads)
    counted = "cycle" in found
    if not counted:
        found["cycle"] = np.zeros(reads, np.int64)
        if not timed and not pulsed:
            order, starts = rules.trace_order(found)
            count = np.arange(reads) - np.repeat(starts, np.diff(np.append(starts, reads)))
            found["cycle"][order] = count
    found["order"] = np.arange(reads)
    if pulsed or not timed:
        return notes
    order, starts = rules.trace_order(found)
    time = found["time_seconds"][order]
    back = np.zeros(reads, bool)
    back[1:] = np.diff(time) < 0
    back[starts] = False
    if not back.any():
        return notes
    trace = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, reads)))
    if how.repeats == "cycles":
        if counted:
            raise ValueError("--repeats cycles: the table has cycles of its own; leave one out")
        number = np.cumsum(back)
        found["cycle"][order] = number - number[starts][trace]
        return [f"{int(back.sum()):,} repeats numbered as cycles: the time starts again"]
    # Sorting is safe where no time comes again; else a repeated programming would be mixed up.
    sorted_order = order[np.lexsort((time, trace))]
    again = np.diff(found["time_seconds"][sorted_order]) == 0
    again &= np.diff(trace) == 0  # both are in the order of the traces
    if again.any() and how.repeats != "reads":
        problem = next(rules.problems({k: v for k, v in found.items() if k != "order"}), None)
        if problem is not None and problem.column == "time_seconds":
            reason = (
                problem.reason
                + "; times come again: say whether these are programmings (--repeats "
                "cycles) or repeated reads (--repeats reads)"
            )
            refuse(rules.TableFault(problem.column, problem.row, reason))
    for name, values in found.items():
        if np.ndim(values):
            found[name] = values[sorted_order]
    return [f"reads sorted by time in {len(np.unique(trace[back])):,} trace(s)"]
