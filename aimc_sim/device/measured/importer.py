"""Tables of reads, as labs have them, to measured data; see :mod:`.column_map` for the map.

Nothing that is in a file is left out without being counted: :attr:`Imported.summary` says how many
of its values were taken, and what became of the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from . import cells, headers, tables
from . import columns as rules
from .column_map import CURRENT, READ_VOLTS, ROW, TIMESTAMP, WIDE, Source, parse
from .schema import MeasuredData, Provenance

if TYPE_CHECKING:
    import pandas as pd

WIDE_KINDS = ("time", "device", "cycle", "array")
FILE_KINDS = ("device", "time", "target")
_SHOWN = 3
_UP = {"up", "set", "pot", "potentiation", "ltp", "increase", "+", "+1", "1"}
_DOWN = {"down", "reset", "dep", "depression", "ltd", "decrease", "-", "-1", "\u2212"}
_NONE = {"", "0", "none", "start", "initial"}


@dataclass(frozen=True)
class Options:
    """How a table is to be read, where its headers do not say it.

    Attributes
    ----------
    wide : "time", "device", "cycle" or "array", optional
        What the columns of values stand for: a time, a device or a cycle each; "array": row and
        column are the place of a device.
    file_is : "device", "time" or "target", optional
        What each of several files (or sheets) is; its name says which.
    sheet : str, optional
        The one sheet of a workbook to read.
    header : int, optional
        Line of the header, 0 for none; default: found out.
    decimal, thousands : str, optional
        How numbers are written; default: found out.
    start : str, optional
        Date and time of the programming, for clock times.
    read_volts : float, optional
        Voltage of the reads, for currents; its sign counts.
    negative_read : bool
        Reads were made at a negative voltage and written with its sign: turn it.
    leave_out : collection of str
        Kinds of cells (:data:`aimc_sim.device.measured.cells.KINDS`) to leave out and count.
        Other cells that are no numbers are refused.
    ignore : collection of str
        Columns that are no reads, in a wide table.
    repeats : "reads" or "cycles", optional
        What it means that times come again in a trace.
    """

    wide: Literal["time", "device", "cycle", "array"] | None = None
    file_is: Literal["device", "time", "target"] | None = None
    sheet: str | None = None
    header: int | None = None
    decimal: str | None = None
    thousands: str | None = None
    start: str | None = None
    read_volts: float | None = None
    negative_read: bool = False
    leave_out: Collection[str] = ()
    ignore: Collection[str] = ()
    repeats: Literal["reads", "cycles"] | None = None

    def check(self) -> None:
        """Raise ValueError for what no option can be."""
        for name, value, known in (
            ("--wide", self.wide, WIDE_KINDS),
            ("--file-is", self.file_is, FILE_KINDS),
            ("--repeats", self.repeats, ("reads", "cycles")),
        ):
            if value is not None and value not in known:
                raise ValueError(f"{name} {value}: wanted one of {', '.join(known)}")
        for kind in self.leave_out:
            if kind not in cells.KINDS:
                raise ValueError(
                    f"--leave-out {kind}: unknown kind; known: {', '.join(cells.KINDS)}, all"
                )
        if self.read_volts is not None and not (
            np.isfinite(self.read_volts) and self.read_volts != 0
        ):
            raise ValueError(f"--read-volts {self.read_volts:g}: wanted a voltage other than 0")


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes
    ----------
    data : MeasuredData
    taken, values : int
        Reads taken, and values in the files.
    left_out : dict
        Why values were left out, and how many.
    notes : tuple of str
        What else was done: lines passed over, reads sorted, negative reads kept.
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


@dataclass
class _Reads:
    """One value per read, still as text, from all files."""

    columns: dict[str, pd.Series]  # text, by name inside
    fixed: dict[str, np.ndarray]  # numbers that headers and file names gave, in SI
    line: np.ndarray
    column: np.ndarray  # of the value, as a message names it
    where: str
    style: cells.Style
    sources: dict[str, Source]
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    names: list[str] | None = None  # of devices, where headers are their names


def read_table(
    path: str | Path | Sequence[str | Path],
    column_map: str,
    *,
    provenance: Provenance | None = None,
    options: Options | None = None,
    **changes: object,
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
    options : Options, optional
    **changes
        Fields of :class:`Options`, instead of it.

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
    how = options or Options(**changes)
    how.check()
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    parts: list[_Reads] = []
    for one in paths:
        found = tables.read(one, sheet=how.sheet, header=how.header)
        several = isinstance(found, list) and len(found) > 1
        if (several or len(paths) > 1) and how.file_is is None:
            what = f"{len(found)} sheets" if several else f"{len(paths)} files"
            raise ValueError(
                f"{one}: {what}; say what each of them is (--file-is device, time or target)"
                + (", or choose one (--sheet NAME)" if several else "")
            )
        for sheet in found if isinstance(found, list) else [found]:
            name = sheet.name if several else one.name.split(".")[0]
            if isinstance(sheet, tables.Arrays):
                parts.append(_array_reads(sheet, column_map, how, name))
            else:
                parts.append(_sheet_reads(sheet, column_map, how, name))
    return _join(parts, how, provenance or Provenance())


# -------------------------------------------------------------------------------- sheets


def _given(how: Options) -> set[str]:
    given = {"time": {"time_seconds"}, "device": {"device"}, "cycle": {"cycle"},
             "array": {"device"}}.get(how.wide, set())  # fmt: skip
    return given | {
        "device": {"device"},
        "time": {"time_seconds"},
        "target": {"target_siemens"},
    }.get(how.file_is, set())


def find_column(sheet: tables.Sheet, source: str) -> int:
    """Return the number of the column that a map names: by its header, its label or its number.

    Raises
    ------
    ValueError
        If there is none, or several have that name.
    """
    for attribute in ("text", "label"):
        same = [i for i, h in enumerate(sheet.headers) if getattr(h, attribute).strip() == source]
        if len(same) > 1:
            numbers = " and ".join(str(i) for i in same)
            raise ValueError(
                f"{sheet.where}: the columns {numbers} (from 0) are all named '{source}'; say by "
                f"its number which one is meant, for example conductance={same[0]}[uS]"
            )
        if same:
            return same[0]
    if source.isdigit() and int(source) < sheet.cells.shape[1]:
        return int(source)
    there = ", ".join(h.text for h in sheet.headers)
    there = there or f"no header, so numbers from 0 to {sheet.cells.shape[1] - 1}"
    raise ValueError(f"{sheet.where} has no column '{source}'; it has {there}")


def _find(sheet: tables.Sheet, source: str) -> list[int]:
    """Return the columns of a source: one, or those that ``+`` joins."""
    if "+" in source and source not in {h.text for h in sheet.headers}:
        return [find_column(sheet, part.strip()) for part in source.split("+")]
    return [find_column(sheet, source)]


def _sheet_reads(sheet: tables.Sheet, column_map: str, how: Options, name: str) -> _Reads:
    import pandas as pd

    def unit_of(source: str) -> str:
        if source in (WIDE, ROW) or not sheet.headers or "+" in source:
            return ""
        found = sheet.headers[find_column(sheet, source)].unit
        return "" if found == "log10" else found

    sources = {s.name: s for s in parse(column_map, unit_of, _given(how))}
    used: dict[str, list[int]] = {
        s.name: _find(sheet, s.source)
        for s in sources.values()
        if isinstance(s.source, str) and s.source not in (WIDE, ROW)
    }
    taken = {i for places in used.values() for i in places}
    frame, rows = sheet.cells, len(sheet.cells)
    blank = (frame == "").all(axis=1).to_numpy()
    frame, lines = frame[~blank].reset_index(drop=True), sheet.lines[~blank]
    rows = len(frame)
    ignored = {find_column(sheet, one) for one in how.ignore}
    rest = [i for i in range(frame.shape[1]) if i not in taken | ignored]
    labels = [h.text for h in sheet.headers] or [f"column {i}" for i in range(frame.shape[1])]
    left_out: dict[str, int] = {}
    value_name = next((n for n in (CURRENT, "conductance_siemens") if n in sources), "")
    wide_map = value_name and sources[value_name].source == WIDE
    if (how.wide is not None) != bool(wide_map):
        raise ValueError(
            f"{sheet.where}: " + (
                "--wide needs a map entry conductance=*[UNIT] (or resistance, current) for the "
                "values under the headers" if how.wide else
                "'*' in the map stands for the columns of a wide table; say what they are "
                "(--wide time, device, cycle or array)"
            )
        )  # fmt: skip
    fixed: dict[str, np.ndarray] = {}
    names = None
    if how.wide:
        values = rest
        if not values:
            raise ValueError(f"{sheet.where}: no column is left for the values of --wide")
        k = len(values)
        text = pd.Series(frame[values].to_numpy(object).reshape(-1), dtype=object)
        at = np.repeat(np.arange(rows), k)
        place = np.tile(np.arange(k), rows)
        unit = sources["time_seconds"].unit if "time_seconds" in sources else ""
        heads = [labels[i] for i in values]
        fixed, names = _from_headers(how.wide, heads, unit, sheet, at, place)
        line = np.repeat(lines, k)
        column = np.array(heads, object)[place]
    else:
        text, at, line = None, np.arange(rows), lines
        column = np.full(rows, labels[used[value_name][0]] if value_name in used else "", object)
        for i in rest:
            count = int((frame[i].str.strip() != "").sum())
            if count:
                left_out[f"in the column '{labels[i]}', which the map does not use"] = count
    for i in ignored:
        left_out[f"in the column '{labels[i]}' (ignored)"] = rows
    columns: dict[str, pd.Series] = {}
    for inside, places in used.items():
        parts = [frame[i].iloc[at].reset_index(drop=True) for i in places]
        if len(parts) > 1:
            joined = [f"{labels[i]}{{}}" for i in places]
            parts = [
                p.map(lambda v, f=f: f.format(v.strip()))
                for p, f in zip(parts, joined, strict=True)
            ]
        columns[inside] = parts[0] if len(parts) == 1 else parts[0].str.cat(parts[1:], sep="_")
        if len(places) == 2 and inside == "device":
            for target, i in zip(("device_row", "device_column"), places, strict=True):
                numeric = pd.to_numeric(frame[i], errors="coerce").to_numpy(float)[at]
                if np.isfinite(numeric).all():
                    fixed[target] = numeric
    if text is not None:
        columns[value_name] = text
    if "device" in sources and sources["device"].source == ROW:
        fixed["device"] = at.astype(float)
    numeric_columns = [i for n, p in used.items() for i in p if n != "device"] + (
        rest if how.wide else []
    )
    try:
        style = cells.style(frame[numeric_columns or list(frame)], how.decimal, how.thousands)
    except ValueError as error:
        raise ValueError(f"{sheet.where}: {error}") from None
    reads = _Reads(columns, fixed, np.asarray(line), column, sheet.where, style, sources,
                   list(sheet.notes), left_out, names)  # fmt: skip
    _from_file(reads, how, name, len(at))
    return reads


def _from_headers(
    wide: str, heads: list[str], unit: str, sheet: tables.Sheet, row: np.ndarray, place: np.ndarray
) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Return what the headers of wide values say, per read."""
    if wide == "array":
        return {
            "device_row": row.astype(float), "device_column": place.astype(float),
            "device": (row * len(heads) + place).astype(float),
        }, None  # fmt: skip
    if wide == "time":
        times = [headers.time(head, unit) for head in heads]
        for head, time in zip(heads, times, strict=True):
            if time is None:
                raise ValueError(
                    f"{sheet.where}, column '{head}': its header is no time; write the unit there "
                    "or in the map (time=*[s]); name the column in the map, or leave it out with "
                    f"--ignore '{head}'"
                )
        return {"time_seconds": np.array(times)[place]}, None
    if wide == "cycle":
        numbers = [re.search(r"(\d+)\s*\Z", head) for head in heads]
        if all(numbers):
            return {"cycle": np.array([float(m[1]) for m in numbers])[place]}, None
        return {"cycle": place.astype(float)}, None
    return {"device": place.astype(float)}, heads


def _from_file(reads: _Reads, how: Options, name: str, count: int) -> None:
    """Add what the name of a file or sheet says."""
    if how.file_is is None:
        return
    inside = {"device": "device", "time": "time_seconds", "target": "target_siemens"}[how.file_is]
    if inside in reads.columns or inside in reads.fixed:
        raise ValueError(
            f"{reads.where}: --file-is {how.file_is}, but the table has its own {how.file_is}; "
            "leave one of them out"
        )
    if how.file_is == "device":
        import pandas as pd

        reads.columns["device"] = pd.Series([name] * count, dtype=object)
        return
    found = re.search(r"(\d[\d.]*\s*_?[a-zA-Z\u00b5]+)", name)
    value = None
    if found:
        parse_name = headers.time if how.file_is == "time" else headers.conductance
        value = parse_name(found[1])
    if value is None:
        example = "30s" if how.file_is == "time" else "6uS"
        raise ValueError(
            f"{reads.where}: '{name}' names no {how.file_is}; wanted a name with one, such as "
            f"reads_{example}"
        )
    reads.fixed[inside] = np.full(count, value)


# -------------------------------------------------------------------------------- arrays


def _array_reads(found: tables.Arrays, column_map: str, how: Options, name: str) -> _Reads:
    """Turn arrays into reads: columns of equal length, or a value per device and time."""
    import pandas as pd

    labels = {key: headers.parse(key.split("/")[-1]) for key in found.values}

    def find(source: str) -> str:
        if source in found.values:
            return source
        same = [k for k, h in labels.items() if source in (k.split("/")[-1], h.label)]
        if len(same) == 1:
            return same[0]
        if source.isdigit() and len(found.values) == 1:
            return next(iter(found.values))
        why = f"has several arrays '{source}'" if same else f"has no array '{source}'"
        shapes = ", ".join(f"{k} {v.shape}" for k, v in found.values.items())
        raise ValueError(f"{found.path} {why}; it has {shapes or 'no numeric array'}")

    def unit_of(source: str) -> str:
        if source in (WIDE, ROW):
            return ""
        key = find(source)
        return headers.unit(found.units.get(key, "")) or labels[key].unit

    given = _given(how) | {"device"}
    sources = {s.name: s for s in parse(column_map, unit_of, given)}
    value = next(n for n in (CURRENT, "conductance_siemens") if n in sources)
    main = sources[value].source
    key = next(iter(found.values)) if main == WIDE and len(found.values) == 1 else find(str(main))
    array = np.asarray(found.values[key], float)
    times = sources.get("time_seconds")
    given_times = times is not None and isinstance(times.source, tuple)
    others = {
        s.name: np.asarray(found.values[find(s.source)], float)
        for s in sources.values()
        if isinstance(s.source, str) and s.source not in (WIDE, ROW) and s.name != value
    }
    used = {key} | {find(s.source) for s in sources.values() if isinstance(s.source, str)
                    and s.source not in (WIDE, ROW)}  # fmt: skip
    array = array.squeeze() if array.ndim > 2 else array
    where = f"{found.path}, array '{key}'"
    if array.ndim > 2:
        raise ValueError(f"{where}: shape {array.shape}; wanted one or two axes (device, time)")
    if array.ndim == 2 and min(array.shape) == 1 and not (times is not None and not given_times):
        array = array.reshape(-1)
    if array.ndim < 2:
        array = np.atleast_1d(array)
        values, index = array, np.arange(array.size)
        fixed = {n: v.reshape(-1) for n, v in others.items()}
        for n, v in fixed.items():
            if len(v) != len(array):
                raise ValueError(
                    f"{where} has {len(array)} values, '{n}' has {len(v)}; wanted equal"
                )
        if "device" not in sources:
            fixed["device"] = index.astype(float)
    elif how.wide == "array":
        row, column = np.indices(array.shape).reshape(2, -1)
        values = array.reshape(-1)
        fixed = {
            "device_row": row.astype(float), "device_column": column.astype(float),
            "device": (row * array.shape[1] + column).astype(float),
        }  # fmt: skip
    else:
        if times is None:
            raise ValueError(
                f"{where}: shape {array.shape}; give the times of one axis (time=NAME[s], or "
                "time=@30 300 3000[s]), or say that it is a map of devices (--wide array)"
            )
        clock = (
            np.array(times.source, float) if given_times else others.pop("time_seconds").reshape(-1)
        )
        fits = [axis for axis in (0, 1) if array.shape[axis] == len(clock)]
        if not fits:
            raise ValueError(
                f"{where}: shape {array.shape}, but there are {len(clock)} times; one axis must be "
                "as long"
            )
        if len(fits) == 2:
            raise ValueError(
                f"{where}: shape {array.shape} and {len(clock)} times: which axis is the time? "
                "Write the array with another shape, or as a long table"
            )
        if fits[0] == 0:
            array = array.T
        device, at = np.indices(array.shape).reshape(2, -1)
        values = array.reshape(-1)
        fixed = {"device": device.astype(float), "time_seconds": clock[at]}
        for n, v in others.items():
            flat = v.reshape(-1)
            if len(flat) != array.shape[0]:
                raise ValueError(
                    f"{where}: '{n}' has {len(flat)} values for {array.shape[0]} devices"
                )
            fixed[n] = flat[device]
    converted = {
        n: (sources[n].convert(v) if n in sources and n != "device" else v)
        for n, v in fixed.items()
    }
    left_out = {f"in the array '{k}', which the map does not use": int(v.size)
                for k, v in found.values.items() if k not in used}  # fmt: skip
    left_out |= {f"entry '{k}', which holds no numbers": 1 for k in found.unused}
    text = pd.Series([repr(float(v)) for v in values], dtype=object)
    kept = {n: s for n, s in sources.items() if n == value or not isinstance(s.source, str | tuple)}
    line, column = np.arange(1, len(values) + 1), np.full(len(values), key, object)
    reads = _Reads({value: text}, converted, line, column, where, cells.Style(), kept, [], left_out)
    _from_file(reads, how, name, len(values))
    return reads


# ----------------------------------------------------------------------------- to numbers


def _join(parts: Sequence[_Reads], how: Options, provenance: Provenance) -> Imported:
    tables_found = [_numbers(part, how) for part in parts]
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

    def refuse(problem: rules.Problem) -> None:
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


def _numbers(part: _Reads, how: Options) -> tuple[dict[str, np.ndarray], dict[str, int], list[str]]:
    """Return the columns in SI, what was left out of them, and notes."""
    count = len(part.line)
    found: dict[str, np.ndarray] = dict(part.fixed)
    kinds = np.full(count, "", dtype="U8")
    guilty = np.full(count, "", dtype=object)
    notes: list[str] = []
    for name, text in part.columns.items():
        source = part.sources.get(name)
        if name == "device":
            found[name] = text.str.strip().to_numpy(object)
            continue
        if name == "pulse_direction":
            found[name], bad = _directions(text)
        elif source.unit == TIMESTAMP:
            found[name], bad = _seconds(text, how.start, part)
        else:
            raw, bad = cells.numbers(text, part.style)
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                found[name] = source.convert(raw)
            infinite = (bad == "") & ~np.isfinite(found[name])
            bad[infinite] = cells.INFINITE
            if name == "target_siemens":
                bad[bad == cells.MISSING] = ""  # an empty cell is a read without a target
        fresh = (bad != "") & (kinds == "")
        kinds[fresh] = bad[fresh]
        label = source.source if isinstance(source.source, str) and source.source != WIDE else None
        guilty[fresh] = [
            f"column '{label or part.column[i]}': {text.iloc[i].strip()!r}"
            for i in np.flatnonzero(fresh)
        ]
    for name, source in part.sources.items():
        if isinstance(source.source, float):
            found[name] = np.full(count, source.convert(np.array([source.source]))[0])
    _refuse_kinds(part, kinds, guilty, how)
    if CURRENT in found:
        found["conductance_siemens"] = _conductances(found, how, part)
    elif READ_VOLTS in found or how.read_volts is not None:
        volts = found.pop(READ_VOLTS, np.full(count, how.read_volts or 1.0))
        found["conductance_siemens"] = found["conductance_siemens"] * np.sign(volts)
        if (volts < 0).any():
            notes.append("sign turned where the read voltage is negative")
    if how.negative_read:
        found["conductance_siemens"] = -found["conductance_siemens"]
        notes.append("sign turned: reads were made at a negative voltage")
    if part.names is not None and "device" in part.fixed:
        found["device"] = np.array(part.names, object)[part.fixed["device"].astype(int)]
    found["line"] = part.line
    found["where"] = np.full(count, part.where, object)
    keep = kinds == ""
    left_out = {
        f"{kind}: {cells.KINDS[kind]}": int((kinds == kind).sum())
        for kind in cells.KINDS if (kinds == kind).any()
    }  # fmt: skip
    return {name: values[keep] for name, values in found.items()}, left_out, notes


def _refuse_kinds(part: _Reads, kinds: np.ndarray, guilty: np.ndarray, how: Options) -> None:
    wrong = [k for k in cells.KINDS if k not in how.leave_out and (kinds == k).any()]
    if not wrong:
        return
    first = int(np.flatnonzero(np.isin(kinds, wrong))[0])
    counts = ", ".join(f"{(kinds == k).sum():,} {k}" for k in wrong)
    kind = kinds[first]
    raise ValueError(
        f"{part.where}, line {part.line[first]}, {guilty[first]} is no read: {cells.KINDS[kind]} "
        f"({counts} in all); correct it, or leave such values out (--leave-out "
        f"{','.join([*how.leave_out, *wrong])})"
    )


def _conductances(found: dict[str, np.ndarray], how: Options, part: _Reads) -> np.ndarray:
    current = found.pop(CURRENT)
    if READ_VOLTS in found:
        volts = found.pop(READ_VOLTS)
    elif how.read_volts is not None:
        volts = np.full(len(current), how.read_volts)
    else:
        raise ValueError(
            f"{part.where}: a current needs the voltage of the read; add read_volts=COLUMN[V] to "
            "the map, or give --read-volts 0.2"
        )
    zero = volts == 0
    if zero.any():
        row = int(np.argmax(zero))
        raise ValueError(
            f"{part.where}, line {part.line[row]}: a read voltage of 0 V makes no conductance"
        )
    return current / volts


def _directions(text: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    words = text.str.strip().str.lower()
    values = np.zeros(len(words))
    values[words.isin(_UP)], values[words.isin(_DOWN)] = 1, -1
    known = words.isin(_UP | _DOWN | _NONE).to_numpy()
    return values, np.where(known, "", cells.TEXT).astype("U8")


def _seconds(text: pd.Series, start: str | None, part: _Reads) -> tuple[np.ndarray, np.ndarray]:
    """Return clock times as seconds since the programming."""
    import pandas as pd

    if start is None:
        raise ValueError(
            f"{part.where}: clock times need the moment of the programming; give it with --start, "
            f"for example --start '{text.iloc[0].strip()}'"
        )
    try:
        begin = pd.Timestamp(start)
    except ValueError:
        raise ValueError(
            f"--start '{start}' is no date and time; wanted for example 2025-01-02 08:00:00"
        ) from None
    stripped = text.str.strip()
    missing = stripped.str.lower().isin(["", "nan", "n/a", "-"]).to_numpy()
    found = pd.to_datetime(stripped, errors="coerce", format="mixed")
    try:
        seconds = (found - begin).dt.total_seconds().to_numpy(float)
    except TypeError:
        raise ValueError(
            f"{part.where}: the clock times and --start '{start}' must both have a time zone, or "
            "none"
        ) from None
    kinds = np.where(missing, cells.MISSING, np.where(np.isnan(seconds), cells.TEXT, ""))
    early = seconds < 0
    if early.any():
        row = int(np.argmax(early))
        raise ValueError(
            f"{part.where}, line {part.line[row]}: {text.iloc[row].strip()} is before the start, "
            f"{start}; give the moment of the programming with --start"
        )
    return seconds, kinds.astype("U8")


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


def _complete(found: dict[str, np.ndarray], how: Options, refuse) -> list[str]:
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
            refuse(rules.Problem(problem.column, problem.row, reason))
    for name, values in found.items():
        if np.ndim(values):
            found[name] = values[sorted_order]
    return [f"reads sorted by time in {len(np.unique(trace[back])):,} trace(s)"]
