"""A guess at a table's meaning: a column map from its headers, to be checked by a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import arrays, cells, headers, tables
from .sheet import Sheet

UNSURE = "UNIT"
"""Stands for a unit that no header states; a command with it does not run."""

_ROLES: tuple[tuple[str, str], ...] = (
    ("device", r"(device|dev|dut|cell|cell_?id|device_?id|id|addr(ess)?|zelle|sample)"),
    ("cycle", r"(cycle|cyc|rep(eat)?|repetition|run|iteration|zyklus)"),
    ("pulse_number", r"(pulse|pulse_?(number|no|nr|index|id|count)|puls|n_?pulses?)"),
    ("pulse_direction", r"(direction|dir|polarity|up_?down)"),
    ("pulse_seconds", r"((pulse_?)?width|pulse_?(length|duration))"),
    ("read_volts", r"(v_?read|read_?v(olts|oltage)?|v_?r)"),
    ("target", r"(target.*|aim|goal|g_?target|g_?0|g0|level|ziel)"),
    ("time", r"(t|time|zeit|elapsed|when|timestamp|date_?time|delay)"),
    ("conductance", r"(g|cond(uctance)?|leitwert|g_?read|gmeas)"),
    ("resistance", r"(r|res(istance)?|widerstand|r_?read|(log_?10|log)[ _(]*r\)?.*)"),
    ("current", r"(i|cur(rent)?|strom|i_?read)"),
    ("pulse_volts", r"(v|v_?pulse|pulse_?v(olts|oltage)?|amplitude|v_?prog)"),
    ("temperature", r"(temp(erature)?)"),
)
_READS = {"conductance", "resistance", "target"}
_NO_UNIT = {"device", "cycle", "pulse_number", "pulse_direction"}
_DEVICE_HEAD = re.compile(r"(dev(ice)?|cell|dut|d|id)[ _#-]?\d+\Z|WL\d+.*BL\d+\Z", re.IGNORECASE)
_CYCLE_HEAD = re.compile(r"(cycle|cyc|rep(eat)?|run|c)[ _#-]?\d+\Z", re.IGNORECASE)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}|\d\d?:\d\d")
_FEWEST = 2
_CHECKED_COLUMNS = 100  # columns that are looked through for cells without a number
_SHOWN, _MOST_COLUMNS = 3, 8  # rows and columns of a preview


@dataclass(frozen=True)
class Recognised:
    """A guess at a table.

    Attributes
    ----------
    column_map : str
        For ``--map``; with UNIT where no header states one.
    options : tuple of str
        Other options of the command.
    complete : bool
        Whether every unit was stated and nothing had to be guessed.
    notes : tuple of str
        The findings, and those among them that are not sure.
    rows : tuple of str
        The first rows as they stand in the file.
    """

    column_map: str
    options: tuple[str, ...]
    complete: bool
    notes: tuple[str, ...]
    rows: tuple[str, ...] = ()

    def command(self, paths: Sequence[str | Path]) -> str:
        """Return the command that imports the table."""
        files = " ".join(_quoted(str(p)) for p in paths)
        out = Path(paths[0]).name.split(".")[0] + ".h5"
        more = "".join(f" {option}" for option in self.options)
        return f'aimc-sim device import {files} --map "{self.column_map}"{more} --out {out}'


def recognise(
    paths: Sequence[Path], sheet: str | None = None, header: int | None = None
) -> Recognised:
    """Return what the first of some files seems to be.

    Raises
    ------
    ValueError, FileNotFoundError
        If it cannot be read.
    """
    found = tables.read(paths[0], sheet=sheet, header=header)
    options: list[str] = []
    given: set[str] = set()
    if sheet is not None:
        options.append(f"--sheet {_quoted(sheet)}")
    if isinstance(found, arrays.Arrays):
        return _arrays(found)
    names = [s.name for s in found] if len(found) > 1 else [p.name for p in paths]
    if len(names) > 1:
        is_a = "device"
        if all(headers.conductance(n) is not None for n in names):
            is_a = "target"
        elif all(re.search(r"\d+ *_?(s|ms|us|ns|min|h|d)\b", n) for n in names):
            is_a = "time"
        options.append(f"--file-is {is_a}")
        given.add(is_a)
    return _sheet(found[0], options, given, len(names))


def _sheet(sheet: Sheet, options: list[str], given: set[str], several: int) -> Recognised:
    notes = [
        f"{sheet.where}: {len(sheet.cells):,} rows, {sheet.cells.shape[1]} columns",
        *sheet.notes,
    ]
    if several > 1:
        notes.append(
            f"{several} tables, each {options[-1].split()[-1]}s of its own (from the names)"
        )
    try:
        cells.style(sheet.cells, None, None)
    except ValueError as error:
        notes.append(str(error))
        options.append("--decimal ,")
    entries: dict[str, str] = {}
    unsure: list[str] = []
    wide = _wide(sheet)
    if wide is not None:
        kind, places = wide
        options.append(f"--wide {kind}")
        given.add({"array": "device"}.get(kind, kind))
        if kind == "time" and not all(headers.time(sheet.headers[i].text) for i in places):
            entries["time"] = f"*[{UNSURE}]"
            unsure.append("the unit of the times in the headers")
        entries["conductance"] = f"*[{UNSURE}]"
        unsure.append(_guess("the values", _sample(sheet, places[0])))
    else:
        places = []
    labels = [h.label for h in sheet.headers]
    unused = []
    for i, head in enumerate(sheet.headers):
        if i in places:
            continue
        role = _role(head, _column(sheet, i))
        if role is None or role in entries or (role == "conductance" and wide):
            unused.append(head.text)
            continue
        name = str(i) if labels.count(head.label) > 1 else _named(head.label)
        if role in _NO_UNIT:
            entries[role] = name
        elif role == "time" and _STAMP.search(" ".join(_column(sheet, i)[:3])):
            entries[role] = f"{name}[timestamp]"
            options.append("--start 'YYYY-MM-DD HH:MM:SS'")
            unsure.append("when programming ended (--start)")
        else:
            unit = head.unit if head.unit not in ("", "log10") else ""
            log = "log10 " if head.unit == "log10" else ""
            entries[role] = f"{name}[{unit or log + UNSURE}]"
            if not unit:
                values = _sample(sheet, i) if role in _READS else np.empty(0)
                unsure.append(_guess(f"'{head.text}'", values))
    if not sheet.headers:
        _bare(sheet, entries, unsure, bool(wide))
    if "current" in entries and "read_volts" not in entries:
        options.append("--read-volts VOLTS")
        unsure.append("the voltage of the reads")
    if "pulse_volts" in entries and "resistance" not in entries and "conductance" not in entries \
            and "current" in entries:  # fmt: skip
        entries["read_volts"] = entries.pop("pulse_volts")
    doubles = sorted({h.label for h in sheet.headers if labels.count(h.label) > 1})
    for label in doubles:
        unsure.append(f"which of the columns '{label}' is meant (they have the same name)")
    if "device" not in entries and "device" not in given:
        entries["device"] = "@0" if "time" in entries or "pulse_number" in entries else "#"
        notes.append(
            "no column of devices: taken as one device" if entries["device"] == "@0"
            else "no column of devices: every row is a device of its own"
        )  # fmt: skip
    if unused:
        notes.append("not used: " + ", ".join(f"'{name}'" for name in unused))
    kinds = _odd_cells(sheet)
    if kinds:
        options.append(f"--leave-out {','.join(kinds)}")
        notes.append("cells that are no reads: " + ", ".join(f"{n} {k}" for k, n in kinds.items()))
    notes += [f"not stated: {what}" for what in unsure]
    has_value = any(k in entries for k in ("conductance", "resistance", "current"))
    if not has_value:
        notes.append("no column of conductance, resistance or current was recognised")
    order = ("device", "cycle", "target", "pulse_number", "pulse_direction")
    first = [k for k in order if k in entries]
    text = ",".join(f"{k}={entries[k]}" for k in [*first, *(k for k in entries if k not in first)])
    shown = sheet.cells.head(_SHOWN).copy()
    shown.columns = [h.text for h in sheet.headers] or [str(i) for i in range(shown.shape[1])]
    rows = tuple(shown.iloc[:, :_MOST_COLUMNS].to_string(index=False).splitlines())
    return Recognised(
        text, tuple(options), has_value and not unsure and not kinds, tuple(notes), rows
    )


def _named(label: str) -> str:
    return f"'{label}'" if re.search(r"[,\"+\[\]@#*=]", label) else label


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./+-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _bare(sheet: Sheet, entries: dict[str, str], unsure: list[str], wide: bool) -> None:
    """Guess a table without headers from the number of its columns."""
    width = sheet.cells.shape[1]
    if wide:
        return
    if width == 1:
        entries["resistance"] = f"0[{UNSURE}]"
        unsure.append(_guess("column 0 (a resistance, or a conductance?)", _sample(sheet, 0)))
    elif width == 2:
        entries |= {"time": f"0[{UNSURE}]", "conductance": f"1[{UNSURE}]"}
        unsure.append("what the two columns are: taken as time and conductance")
    else:
        entries |= {"device": "0", "time": f"1[{UNSURE}]", "conductance": f"{width - 1}[{UNSURE}]"}
        unsure.append("what the columns are: taken as device, time and (last) conductance")


def _role(head: headers.Header, column: list[str]) -> str | None:
    label = head.label.strip().lower().replace(" ", "_")
    for role, pattern in _ROLES:
        if re.fullmatch(pattern, label):
            if role == "target" and head.unit and head.unit.split()[-1] in headers.UNITS["ohm"]:
                return "target_resistance"
            if role == "pulse_number" and any(not cells.looks_like_a_number(c) for c in column[:5]):
                return None
            return role
    return None


def _wide(sheet: Sheet) -> tuple[str, list[int]] | None:
    if not sheet.headers:
        rows, columns = sheet.cells.shape
        square = columns >= 4 and rows >= 4 and all(
            cells.looks_like_a_number(c) for c in sheet.cells.iloc[0]
        )  # fmt: skip
        return ("array", list(range(columns))) if square else None
    tests: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("time", lambda t: headers.time(t) is not None),
        ("time", lambda t: headers.time(t, "s") is not None),
        ("device", lambda t: bool(_DEVICE_HEAD.match(t))),
        ("cycle", lambda t: bool(_CYCLE_HEAD.match(t))),
    )
    for kind, test in tests:
        places = [i for i, h in enumerate(sheet.headers) if test(h.text.strip())]
        if len(places) >= _FEWEST:
            return kind, places
    return None


def _arrays(found: arrays.Arrays) -> Recognised:
    shapes = ", ".join(f"{k} {v.shape}" for k, v in found.values.items())
    notes = [f"{found.path}: arrays {shapes or '(none)'}"]
    two = [k for k, v in found.values.items() if v.ndim == 2 and min(v.shape) > 1]
    if not two:
        main = max(found.values, key=lambda k: found.values[k].size, default="")
    else:
        main = max(two, key=lambda k: found.values[k].size)
    unsure: list[str] = []
    options: list[str] = []
    entries: dict[str, str] = {}

    def unit(name: str, what: str) -> str:
        stated = headers.unit(found.units.get(name, "")) or headers.parse(name.split("/")[-1]).unit
        if not stated:
            values = np.asarray(found.values[name], float).reshape(-1)
            values = values if name == main else np.empty(0)
            unsure.append(_guess(what, values))
        return stated or UNSURE

    if main:
        entries["conductance"] = f"{main}[{unit(main, repr(main))}]"
        shape = found.values[main].shape
        times = [k for k, v in found.values.items() if k != main and v.size in shape
                 and re.match(r"t(ime)?s?\b|t_", k.split("/")[-1], re.IGNORECASE)]  # fmt: skip
        if times:
            entries["time"] = f"{times[0]}[{unit(times[0], repr(times[0]))}]"
        elif len(shape) == 2 and min(shape) > 1:
            if found.path.suffix == ".npy":
                options.append("--wide array")
                entries["conductance"] = entries["conductance"].replace(main, "*", 1)
                notes.append(
                    "taken as a map of devices; for devices and times give time=@30 300[s]"
                )
            else:
                entries["time"] = "@T1 T2 T3[s]"
                unsure.append("the times of one axis (time=@30 300 3000[s])")
    notes += [f"not stated: {what}" for what in unsure]
    text = ",".join(f"{k}={v}" for k, v in entries.items())
    return Recognised(text, tuple(options), bool(main) and not unsure, tuple(notes))


def _column(sheet: Sheet, i: int) -> list[str]:
    return [str(c) for c in sheet.cells.iloc[:20, i]]


def _sample(sheet: Sheet, i: int) -> np.ndarray:
    try:
        style = cells.style(sheet.cells.iloc[:, [i]], None, None)
    except ValueError:
        style = cells.Style(",")
    values, _ = cells.numbers(sheet.cells.iloc[:, i], style)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _guess(what: str, values: np.ndarray) -> str:
    """Return a sentence: the quantity without a unit, and the unit that its size would fit."""
    if not len(values):
        return f"the unit of {what}"
    size = float(np.median(np.abs(values)))
    likely = ""
    for low, high, unit in ((0.05, 500, "uS"), (1e-8, 1e-3, "S"), (1e3, 1e9, "ohm")):
        if low <= size <= high:
            likely = f"; of a read, {size:.3g} would fit {unit}"
    return f"the unit of {what}{likely}"


def _odd_cells(sheet: Sheet) -> dict[str, int]:
    """Count the cells that are no numbers in columns that are mostly numbers."""
    counts: dict[str, int] = {}
    for i in range(min(_CHECKED_COLUMNS, sheet.cells.shape[1])):
        try:
            style = cells.style(sheet.cells.iloc[:, [i]], None, None)
        except ValueError:
            style = cells.Style(",")
        values, kinds = cells.numbers(sheet.cells.iloc[:, i], style)
        if np.isfinite(values).mean() <= 0.5:
            continue
        for kind in cells.KINDS:
            n = int((kinds == kind).sum())
            if n:
                counts[kind] = counts.get(kind, 0) + n
    return counts
