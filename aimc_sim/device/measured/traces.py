"""Reads grouped into traces: the course of one device after one programming."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import columns as rules
from .schema import MeasuredData


@dataclass(frozen=True)
class Traces:
    """All traces of a measurement, one after the other.

    Attributes
    ----------
    offsets : (N + 1,) int64
        Reads ``offsets[i]`` to ``offsets[i + 1]`` belong to trace i.
    time_seconds, conductance_siemens : (R,) float64
        The reads; time rises within a trace.
    device, cycle, condition : (N,) int64
        Of each trace; equal ``condition`` means equal target and pulse.
    target_siemens : (N,) float64
        NaN where there was no target.
    pulse : (N,) float64 or None
        Amplitude (or number) of the programming pulse.
    pulse_column : str or None
        Its column, which has the unit in its name.
    """

    offsets: np.ndarray
    time_seconds: np.ndarray
    conductance_siemens: np.ndarray
    device: np.ndarray
    cycle: np.ndarray
    condition: np.ndarray
    target_siemens: np.ndarray
    pulse: np.ndarray | None
    pulse_column: str | None

    def __len__(self) -> int:
        return len(self.device)

    @property
    def first_siemens(self) -> np.ndarray:
        """Conductance at the first read of each trace, (N,) float64."""
        found: np.ndarray = self.conductance_siemens[self.offsets[:-1]]
        return found

    @property
    def first_seconds(self) -> np.ndarray:
        """Time of the first read of each trace, (N,) float64."""
        found: np.ndarray = self.time_seconds[self.offsets[:-1]]
        return found

    @property
    def last_seconds(self) -> np.ndarray:
        """Time of the last read of each trace, (N,) float64."""
        found: np.ndarray = self.time_seconds[self.offsets[1:] - 1]
        return found

    @property
    def reads(self) -> np.ndarray:
        """Number of reads of each trace, (N,) int64."""
        return np.diff(self.offsets)


_MOST_PER_TARGET = 3
"""Traces per target up to which targets are taken as continuous, where there are many targets."""
_FEWEST_TARGETS = 16


def is_continuous(targets: np.ndarray) -> bool:
    """Return whether the targets of traces are continuous: many, and hardly one of them twice."""
    targets = targets[np.isfinite(targets)]
    distinct = len(np.unique(targets))
    return distinct >= _FEWEST_TARGETS and len(targets) <= _MOST_PER_TARGET * distinct


def traces(data: MeasuredData) -> Traces:
    """Return the traces of a measurement, ordered by condition, device and cycle."""
    columns = data.columns()
    order, starts = rules.trace_order(columns)
    head = order[starts]
    # Amperes before volts before counts: the current is what heats the cell.
    pulses = [n for n in ("pulse_amperes", "pulse_volts", "pulse_count") if n in columns]
    pulse = pulses[0] if pulses else None
    return Traces(
        offsets=np.append(starts, len(order)),
        time_seconds=columns["time_seconds"][order],
        conductance_siemens=columns["conductance_siemens"][order],
        device=columns["device"][head],
        cycle=columns["cycle"][head],
        condition=rules.condition_ids(columns)[head],
        target_siemens=columns["target_siemens"][head]
        if "target_siemens" in columns
        else np.full(len(head), np.nan),
        pulse=None if pulse is None else columns[pulse][head].astype(np.float64),
        pulse_column=pulse,
    )
