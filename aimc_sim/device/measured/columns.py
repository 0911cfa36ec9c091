"""The columns of a measurement, their units, and the faults that are refused by row and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

UNITS = {
    "device": "1",
    "cycle": "1",
    "target_siemens": "S",
    "pulse_volts": "V",
    "pulse_amperes": "A",
    "pulse_seconds": "s",
    "pulse_count": "1",
    "pulse_number": "1",
    "pulse_direction": "1",
    "device_row": "1",
    "device_column": "1",
    "time_seconds": "s",
    "conductance_siemens": "S",
    "temperature_kelvin": "K",
    "read_seconds": "s",
}
"""Every column with the one unit it has inside and in the file."""

REQUIRED = ("device", "cycle", "time_seconds", "conductance_siemens")
_CONDITION = ("target_siemens", "pulse_volts", "pulse_amperes", "pulse_seconds", "pulse_count")
"""Columns that say how a device was written; reads of one trace agree in all of them. In pulse
records (with a column ``pulse_number``) every read follows a pulse of its own, and only the target
is common to a trace."""

SCALARS = ("temperature_kelvin", "read_seconds")
"""May be one number for all reads."""

_WHOLE = (
    "device", "cycle", "pulse_count", "pulse_number", "pulse_direction", "device_row",
    "device_column",
)  # fmt: skip
_SIGNED = ("pulse_volts", "pulse_amperes", "pulse_direction", "conductance_siemens")
_FEWEST_NEGATIVE = 10  # reads that a mean needs before its sign is judged
_NOISE_SIGMAS = 5.0
_MOST_SIEMENS = 1.0
_MEDIAN_SIEMENS = (1e-10, 1e-2)
"""A median outside is a slip of units: 1 to 100 uS are 1e-12 to 1e-10 S when siemens are read as
microsiemens, and 1e-3 to 1e-1 S when microsiemens are read as millisiemens."""


@dataclass(frozen=True)
class TableFault:
    """The first thing that is wrong with a table.

    Attributes
    ----------
    column : str
        Name inside, see :data:`UNITS`.
    row : int or None
        Index of the first bad read; None if the column as a whole is wrong.
    reason : str
        The finding, the wanted value, and a cure.
    rows : (N,) bool array or None
        All bad reads, where leaving them out would cure it.
    """

    column: str
    row: int | None
    reason: str
    rows: np.ndarray | None = None

    def text(self, place: Callable[[int], str] = lambda row: f"row {row}") -> str:
        """Return one sentence; ``place`` names a row, for example by its line in a file."""
        where = "" if self.row is None else f"{place(self.row)}, "
        return f"{where}column '{self.column}': {self.reason}"


def plain(name: str, value: object) -> np.ndarray:
    """Return a column as a read-only vector (or scalar) of float64, or int64 for whole numbers.

    Raises
    ------
    ValueError
        If it is not numeric, has more than one dimension or is empty.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"column '{name}': {array.dtype} is not numeric; give numbers")
    if array.ndim > 1 or (array.ndim == 0 and name not in SCALARS):
        raise ValueError(f"column '{name}': shape {array.shape}; wanted one value per read, (N,)")
    if array.size == 0:
        raise ValueError(f"column '{name}': no reads; wanted at least one")
    whole = name in _WHOLE and (array.dtype.kind in "iu" or bool((array == np.rint(array)).all()))
    array = array.astype(np.int64 if whole else np.float64)  # a copy: nobody else can write to it
    array.setflags(write=False)
    return array


def problems(columns: Mapping[str, np.ndarray]) -> Iterator[TableFault]:
    """Yield the faults of plain columns of equal length, the simplest first."""
    for name, values in columns.items():
        yield from column_problems(name, values)
    yield from _unit_slips(columns)
    yield from _sign_problems(columns)
    yield from _order_problems(columns)


def _unit_slips(columns: Mapping[str, np.ndarray]) -> Iterator[TableFault]:
    """Yield columns whose size says that another unit was meant."""
    low, high = _MEDIAN_SIEMENS
    for name in ("conductance_siemens", "target_siemens"):
        values = columns.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        large = np.abs(values) > _MOST_SIEMENS
        if large.any():
            row = int(np.argmax(large))
            yield TableFault(
                name, row, f"{values[row]:.4g} S is no conductance of a memory device; "
                "were these ohm, or uS? State the unit of the source",
            )  # fmt: skip
        typical = np.abs(values[np.isfinite(values) & (values != 0)])
        if typical.size and not low <= np.median(typical) <= high:
            yield TableFault(
                name, None, f"the median is {np.median(typical):.3g} S, outside {low:g} to "
                f"{high:g} S; check the unit of the source (uS read as S, or S read as uS?)",
            )  # fmt: skip


def condition_ids(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the number of the condition (target and pulse) of every read, (N,) int64."""
    ids = np.zeros(len(columns["device"]), np.int64)
    for name in _CONDITION[:1] if "pulse_number" in columns else _CONDITION:
        values = columns.get(name)
        if values is not None:
            _, number = np.unique(values, return_inverse=True)  # NaN, "no target", is one value
            _, ids = np.unique(ids * (number.max() + 1) + number, return_inverse=True)
    return ids


def trace_order(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that puts reads of a trace together, and the first read of each trace.

    A trace is the course of one device after one programming: the reads that agree in device,
    condition (target and pulse) and cycle. Within a trace the reads keep their order.
    """
    condition = condition_ids(columns)
    order = np.lexsort((columns["cycle"], columns["device"], condition))  # stable
    fields = [condition, columns["device"], columns["cycle"]]
    new = np.zeros(len(order), bool)
    new[0] = True
    for values in fields:
        new[1:] |= np.diff(values[order]) != 0
    return order, np.flatnonzero(new)


def column_problems(name: str, values: np.ndarray) -> Iterator[TableFault]:
    """Yield the faults of single values of a plain column."""
    values = np.atleast_1d(values)
    if name in _WHOLE and values.dtype.kind == "f":
        broken = np.isfinite(values) & (values != np.rint(values))
        if broken.any():
            yield _first(name, values, broken, "is not a whole number")
    bad = ~np.isfinite(values)
    if name == "target_siemens":
        bad = np.isinf(values)  # NaN says: this read had no target
    if bad.any():
        yield _first(name, values, bad, "is not a finite number")
    if name not in _SIGNED and (values < 0).any():
        yield _first(name, values, values < 0, "is negative; wanted 0 or more")
    if name in SCALARS and (values == 0).any():
        yield _first(name, values, values == 0, "must be above 0")
    if name == "pulse_direction":
        other = np.isfinite(values) & ~np.isin(values, (-1, 0, 1))
        if other.any():
            yield _first(name, values, other, "is no direction; wanted 1 (up), -1 (down) or 0")


def _first(name: str, values: np.ndarray, bad: np.ndarray, reason: str) -> TableFault:
    row = int(np.argmax(bad))
    unit = "" if UNITS[name] == "1" else f" {UNITS[name]}"
    return TableFault(name, row, f"{values[row]:.6g}{unit} {reason}", bad)


def _sign_problems(columns: Mapping[str, np.ndarray]) -> Iterator[TableFault]:
    """Yield reads that are negative for another reason than noise around zero."""
    values = columns["conductance_siemens"]
    negative = values < 0
    if not negative.any():
        return
    groups = [np.arange(len(values))]
    ids = condition_ids(columns)
    if ids.max() < len(values) // _FEWEST_NEGATIVE:
        groups += [np.flatnonzero(ids == i) for i in range(ids.max() + 1)]
    for here in groups:
        sample = values[here]
        if not negative[here].any():
            continue
        few = len(sample) < _FEWEST_NEGATIVE
        error = float(sample.std()) / np.sqrt(len(sample))
        if negative[here].all() if few else sample.mean() < -_NOISE_SIGMAS * error:
            row = int(here[np.argmax(negative[here])])
            yield TableFault(
                "conductance_siemens", row, f"{values[row]:.6g} S is negative, and so is the mean "
                f"of its {len(sample)} reads: that is no noise around zero; were they read at a "
                "negative voltage? (import with --negative-read, or --read-volts for currents)",
            )  # fmt: skip
            return


def _order_problems(columns: Mapping[str, np.ndarray]) -> Iterator[TableFault]:
    order, starts = trace_order(columns)
    pulsed = "pulse_number" in columns
    for name in ("pulse_number", "time_seconds")[not pulsed :]:
        values, unit = columns[name][order], "" if UNITS[name] == "1" else " s"
        back = np.zeros(len(values), bool)
        # Several reads at one time are repeats of a read; a pulse happens once.
        back[1:] = np.diff(values) <= 0 if name == "pulse_number" else np.diff(values) < 0
        back[starts] = False
        if not back.any():
            continue
        row = int(order[back].min())
        before = int(order[np.flatnonzero(order == row)[0] - 1])
        device, cycle = int(columns["device"][row]), int(columns["cycle"][row])
        what = "pulse numbers" if name == "pulse_number" else "time"
        yield TableFault(
            name, row, f"{columns[name][row]:.6g}{unit} does not follow "
            f"{columns[name][before]:.6g}{unit} in the trace of device {device}, cycle {cycle}; "
            f"{what} must rise within a trace: sort the reads, or number the repeats in a cycle "
            "column",
        )  # fmt: skip
        return
