"""Sheets of cells to one value per read: long tables and wide ones."""

from __future__ import annotations

import re

import numpy as np

from . import cells, headers
from .column_map import CURRENT, ROW, WIDE, parse
from .reads import ReadOptions, Reads, add_name, given_by
from .sheet import Sheet


def _find_column(sheet: Sheet, source: str) -> int:
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


def _find(sheet: Sheet, source: str) -> list[int]:
    """Return the columns of a source: one, or those that ``+`` joins."""
    if "+" in source and source not in {h.text for h in sheet.headers}:
        return [_find_column(sheet, part.strip()) for part in source.split("+")]
    return [_find_column(sheet, source)]


def sheet_reads(sheet: Sheet, column_map: str, how: ReadOptions, name: str) -> Reads:
    """Return the reads of a sheet; ``name`` is that of the file or sheet."""
    import pandas as pd

    def unit_of(source: str) -> str:
        if source in (WIDE, ROW) or not sheet.headers or "+" in source:
            return ""
        found = sheet.headers[_find_column(sheet, source)].unit
        return "" if found == "log10" else found

    sources = {s.name: s for s in parse(column_map, unit_of, given_by(how))}
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
    ignored = {_find_column(sheet, one) for one in how.ignore}
    rest = sorted(set(range(frame.shape[1])) - taken - ignored)
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
        if how.every is not None and how.wide == "time":
            fixed, names = {"time_seconds": how.every * place}, None
        else:
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
    reads = Reads(columns, fixed, np.asarray(line), column, sheet.where, style, sources,
                   list(sheet.notes), left_out, names)  # fmt: skip
    add_name(reads, how, name, len(at))
    return reads


def _from_headers(
    wide: str, heads: list[str], unit: str, sheet: Sheet, row: np.ndarray, place: np.ndarray
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
                    "or in the map (time=*[s]), or the time between columns (--every SECONDS); "
                    f"name the column in the map, or leave it out with --ignore '{head}'"
                )
        return {"time_seconds": np.array(times)[place]}, None
    if wide == "cycle":
        numbers = [re.search(r"(\d+)\s*\Z", head) for head in heads]
        if all(numbers):
            return {"cycle": np.array([float(m[1]) for m in numbers if m])[place]}, None
        return {"cycle": place.astype(float)}, None
    return {"device": place.astype(float)}, heads
