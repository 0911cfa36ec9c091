"""Reads as text to SI columns: units, currents over voltages, clock times, directions of pulses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import cells
from .column_map import CURRENT, READ_VOLTS, TIMESTAMP, WIDE
from .reads import ReadOptions, Reads

if TYPE_CHECKING:
    import pandas as pd

_UP = {"up", "set", "pot", "potentiation", "ltp", "increase", "+", "+1", "1"}
_DOWN = {"down", "reset", "dep", "depression", "ltd", "decrease", "-", "-1", "\u2212"}
_NONE = {"", "0", "none", "start", "initial"}


def to_numbers(
    part: Reads, how: ReadOptions
) -> tuple[dict[str, np.ndarray], dict[str, int], list[str]]:
    """Return the columns in SI, the number of values left out by reason, and notes."""
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
        assert source is not None  # a column of text comes from an entry of the map
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


def _refuse_kinds(part: Reads, kinds: np.ndarray, guilty: np.ndarray, how: ReadOptions) -> None:
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


def _conductances(found: dict[str, np.ndarray], how: ReadOptions, part: Reads) -> np.ndarray:
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
    siemens: np.ndarray = current / volts
    return siemens


def _directions(text: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    words = text.str.strip().str.lower()
    values = np.zeros(len(words))
    values[words.isin(_UP)], values[words.isin(_DOWN)] = 1, -1
    known = words.isin(_UP | _DOWN | _NONE).to_numpy()
    return values, np.where(known, "", cells.TEXT).astype("U8")


def _seconds(text: pd.Series, start: str | None, part: Reads) -> tuple[np.ndarray, np.ndarray]:
    """Return clock times as seconds since the programming."""
    import pandas as pd

    if start is None:
        raise ValueError(
            f"{part.where}: clock times need the time of the programming; give it with --start, "
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
            f"{start}; give the time of the programming with --start"
        )
    return seconds, kinds.astype("U8")
