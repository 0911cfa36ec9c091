"""How a table is to be read, and its reads while they are still text."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ... import arguments
from . import cells, headers
from .column_map import ColumnSource

if TYPE_CHECKING:
    import pandas as pd

_WIDE_KINDS = ("time", "device", "cycle", "array")
_FILE_KINDS = ("device", "time", "target")


@dataclass(frozen=True)
class ReadOptions:
    """How a table is to be read, where its headers do not say it.

    Attributes
    ----------
    wide : "time", "device", "cycle" or "array", optional
        Meaning of the columns of values: a time, a device or a cycle each; "array": row and
        column are the place of a device.
    file_is : "device", "time" or "target", optional
        Meaning of each of several files (or sheets); its name says which.
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
    every : float, optional
        Seconds from one column of a wide table to the next, where headers hold no times; the first
        column is at time 0.
    repeats : "reads" or "cycles", optional
        Meaning of times that come again in a trace.
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
    every: float | None = None

    def check(self) -> None:
        """Raise ValueError for a value that an option cannot have."""
        for name, value, known in (
            ("--wide", self.wide, _WIDE_KINDS),
            ("--file-is", self.file_is, _FILE_KINDS),
            ("--repeats", self.repeats, ("reads", "cycles")),
        ):
            if value is not None and value not in known:
                raise ValueError(arguments.unknown(f"{name} {value} is unknown", value, known))
        for kind in self.leave_out:
            if kind not in cells.KINDS:
                fault = f"--leave-out {kind}: unknown kind"
                raise ValueError(arguments.unknown(fault, kind, (*cells.KINDS, "all")))
        if self.every is not None and not (self.every > 0 and self.wide == "time"):
            raise ValueError(f"--every {self.every:g}: wanted seconds above 0, with --wide time")
        if self.read_volts is not None and not (
            np.isfinite(self.read_volts) and self.read_volts != 0
        ):
            raise ValueError(f"--read-volts {self.read_volts:g}: wanted a voltage other than 0")


@dataclass
class Reads:
    """One value per read, still as text, from all files."""

    columns: dict[str, pd.Series]  # text, by name inside
    fixed: dict[str, np.ndarray]  # numbers that headers and file names gave, in SI
    line: np.ndarray
    column: np.ndarray  # of the value, as a message names it
    where: str
    style: cells.Style
    sources: dict[str, ColumnSource]
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    names: list[str] | None = None  # of devices, where headers are their names


def given_by(how: ReadOptions) -> set[str]:
    """Return the columns inside that headers or names of files give."""
    by_wide: dict[str | None, set[str]] = {
        "time": {"time_seconds"}, "device": {"device"}, "cycle": {"cycle"}, "array": {"device"},
    }  # fmt: skip
    by_file: dict[str | None, set[str]] = {
        "device": {"device"}, "time": {"time_seconds"}, "target": {"target_siemens"},
    }  # fmt: skip
    return by_wide.get(how.wide, set()) | by_file.get(how.file_is, set())


def add_name(reads: Reads, how: ReadOptions, name: str, count: int) -> None:
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
