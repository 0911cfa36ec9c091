"""A device that plays measured traces back: programming error, drift and noise as they were.

Every programmed element gets one whole trace of the measurement, drawn among those of its level:
all that was read from one device after one programming stays together. A level is

- a target, where the measurement has targets: its error is the distance of the reads from it.
  Where nearly every programming had a target of its own, a trace is drawn among the ones whose
  targets lie around that of the element (:attr:`Library.width_siemens` says how far);
- else a programming pulse: its value is the median of the first reads after such pulses, so the
  error is that of an open loop which sends the pulse for the wanted conductance;
- else the first read of a trace itself: there is no programming error in such data, and a trace
  is drawn among the :data:`_NEIGHBOURS` whose first reads lie around the target.

A trace of level L is taken apart into the conductance that was programmed, L + e, and its course
in time, a ratio: ``g(t) = (L + e) r(t)``. At a target T it gives ``(T + e) r(t)``: an error is
added, a drift keeps its share. The programmed conductance is that of a power law through the trace
at its first read, and e is shrunk by as much as the noise of that estimate adds to its standard
deviation; at T = L nothing of this matters, as the product is the trace that was measured. Traces
that have no ratio (RESET, target zero; devices that hardly conduct) add their reads to the mean
course.

Between two levels a trace comes from the upper one with the chance that interpolates linearly, so
standard deviations and means are interpolated, and noise is not averaged away. Below the lowest
level the error shrinks along the trend of the levels and the course is that of the lowest; above
the highest level there is nothing. :func:`reach` says what both, and the distances between levels,
may cost.

Between reads a trace is interpolated linearly in the logarithm of time; before the first and
after the last read it is held constant, see :meth:`Library.clamped_fraction`. A trace of a single
read is constant in time: data without times have no drift.

Elements draw independently of each other and of earlier programmings: the replay keeps the
distribution of the measurement, not the identity of its devices.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from . import decompose, schema
from .traces import Traces, is_continuous, traces

_NEIGHBOURS = 64
"""Traces to choose from where every trace is a level of its own (fewer if there are fewer); enough
for a standard deviation, few enough to stay near the target."""

_NEAREST = 20
"""At most one trace in so many is a neighbour, but at least eight are."""
_HARDLY = 0.25
"""A trace that starts below this share of its level has no ratio worth multiplying with."""

_LATE = 1.05  # a trace that ends this little before the time asked for still serves


@dataclass(frozen=True)
class Library:
    """Measured traces, sorted by level.

    Attributes
    ----------
    levels_by : "target", "pulse" or "first read"
        Kind of the levels, see the module's docstring.
    level_siemens : (L,) float64
        Ascending.
    level_starts : (L + 1,) int64
        Traces ``level_starts[l]`` to ``level_starts[l + 1]`` belong to level l.
    neighbours : int
        Traces to choose from if every trace is a level of its own; 0 else.
    trace_level_siemens : (N,) float64
        Level of every trace.
    error_siemens : (N,) float64
        Programming error of every trace, without the noise of the reads.
    has_ratio : (N,) bool
        Whether the course of a trace is a ratio to its programmed conductance; else its reads are
        added to the mean course of its level.
    shrunk : float
        Standard deviation of the error at target zero, relative to that at the lowest level (or
        group of neighbours): along the trend.
    device, cycle : (N,) int64
        Where each trace was measured.
    offsets : (N + 1,) int64
        Reads of each trace.
    time_seconds, conductance_siemens : (R,) float64
        The reads.
    """

    levels_by: Literal["target", "pulse", "first read"]
    level_siemens: np.ndarray
    level_starts: np.ndarray
    neighbours: int
    trace_level_siemens: np.ndarray
    error_siemens: np.ndarray
    has_ratio: np.ndarray
    shrunk: float
    device: np.ndarray
    cycle: np.ndarray
    offsets: np.ndarray
    time_seconds: np.ndarray
    conductance_siemens: np.ndarray

    def __len__(self) -> int:
        return len(self.device)

    @property
    def g_max_siemens(self) -> float:
        """The largest conductance that may be asked for: no measured error exists above it."""
        if self.levels_by == "first read":  # half the neighbours lie above it, as everywhere
            return float(self.level_siemens[-max(1, self.neighbours // 2)])
        return float(self.level_siemens[-1])

    @property
    def lowest_siemens(self) -> float:
        """The lowest level; targets below it were never measured."""
        return float(self.level_siemens[0])

    @property
    def edge_siemens(self) -> float:
        """Where the trend of the error begins: the lowest level, or that of its neighbours."""
        return float(self.trace_level_siemens[self.groups == 0].mean())

    @property
    def groups(self) -> np.ndarray:
        """Number of the level of every trace, or of a group of neighbours, (N,) int64."""
        return _groups(len(self), self.level_starts, self.neighbours)

    @property
    def width_siemens(self) -> float:
        """Median distance between the outermost of the neighbours; 0 if traces share levels."""
        if not self.neighbours:
            return 0.0
        span = self.level_siemens[self.neighbours - 1 :]
        return float(np.median(span - self.level_siemens[: len(span)]))

    @property
    def t_first_seconds(self) -> float:
        """Median over traces of the time of the first read."""
        return float(np.median(self.time_seconds[self.offsets[:-1]]))

    @property
    def t_last_seconds(self) -> float:
        """Median over traces of the time of the last read; later the replay is constant."""
        return float(np.median(self.time_seconds[self.offsets[1:] - 1]))

    def clamped_fraction(self, t_seconds: float) -> float:
        """Return the share of traces (0..1) that ended before a time, by more than 5 %."""
        last = self.time_seconds[self.offsets[1:] - 1]
        return float((last * _LATE < t_seconds).mean())


def library(data: schema.MeasuredData) -> Library:
    """Return the traces of a measurement as a device to replay.

    Reads without a target are left out if others have one.

    Raises
    ------
    ValueError
        If no level is above zero, or the data are pulse records.
    """
    if data.pulse_number is not None:
        raise ValueError(
            "nothing to replay: these are pulse records (column 'pulse_number'), not reads after a "
            "programming; fit their pulse laws with 'aimc-sim device fit'"
        )
    found = traces(data)
    value, by = _levels(found)
    use = np.flatnonzero(np.isfinite(value))
    order = use[np.argsort(value[use], kind="stable")]
    value = value[order]
    single = by == "first read" or (by == "target" and is_continuous(value))
    if single:
        level, starts = value, np.arange(len(value) + 1)
    else:
        level, first = np.unique(value, return_index=True)
        starts = np.append(first, len(value))
    if not level[-1] > 0:
        raise ValueError("nothing to replay: no target or first read is above 0 S")
    reads = found.reads[order]
    offsets = np.append(0, np.cumsum(reads)).astype(np.int64)
    take = np.repeat(found.offsets[order] - offsets[:-1], reads) + np.arange(offsets[-1])
    time, conductance = found.time_seconds[take], found.conductance_siemens[take]
    neighbours = min(_NEIGHBOURS, len(level), max(8, len(level) // _NEAREST)) if single else 0
    groups = _groups(len(value), starts, neighbours)
    if by == "first read":
        error, start = np.zeros(len(value)), value
    else:
        error = decompose.errors(offsets, time, conductance, value, groups)
        start = value + error
    return Library(
        levels_by=by,
        level_siemens=level,
        level_starts=starts.astype(np.int64),
        neighbours=neighbours,
        trace_level_siemens=value,
        error_siemens=error,
        has_ratio=(value > 0) & (start > _HARDLY * value),
        shrunk=decompose.trend_at_zero(value, error, groups),
        device=found.device[order],
        cycle=found.cycle[order],
        offsets=offsets,
        time_seconds=time,
        conductance_siemens=conductance,
    )


def _groups(count: int, starts: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the number of the level of every trace, or of its group of neighbours."""
    if neighbours:
        return np.arange(count) // neighbours
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def load(path: str | Path, sha256: str | None = None) -> Library:
    """Return the library of a file; read once per content.

    Parameters
    ----------
    path : path
        Written by :func:`aimc_sim.device.measured.write`, or the name of a data set of this
        package.
    sha256 : str, optional
        Checksum that the file must have.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be used, or is another file than that of the checksum.
    """
    path = schema.find(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    found = _checksum(str(path), path.stat().st_mtime_ns, path.stat().st_size)
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"{path} has the SHA-256 {found[:12]}..., wanted {sha256[:12]}...: the file was "
            "changed since the specification was made; make the specification again"
        )
    return _loaded(found, str(path))


def draw(
    library: Library,
    target: np.ndarray,
    programmed: np.ndarray,
    address: tuple[int, int],
    words: np.ndarray,
) -> np.ndarray:
    """Choose a measured trace for every element.

    Parameters
    ----------
    library : Library
        Traces to choose from.
    target : (E, R, C) float32, siemens
        0 <= target <= library.g_max_siemens; the RESET level for elements left in RESET.
    programmed : (E, R, C) bool
        False for elements left in RESET.
    address : (int, int)
        Columns and cells of the core: element (e, r, c) has the draw of index
        ``e cells + r columns + c``.
    words : (2,) uint32
        Key of this core and purpose.

    Returns
    -------
    (E, R, C) int32
        Index of the trace in the library; -1 for elements left in RESET.

    Raises
    ------
    ValueError
        If a target is outside the measured range.
    """
    target = np.ascontiguousarray(target, np.float32)
    highest = library.g_max_siemens
    if not ((target >= 0) & (target <= highest * (1 + 1e-6))).all():
        low, high = float(np.min(target)), float(np.max(target))
        raise ValueError(
            f"target conductances from {low:.3g} S to {high:.3g} S are outside the measured range "
            f"of the device, 0 to {highest:.3g} S; lower g_max_siemens or measure more levels"
        )
    from ...kernels import replay as kernels  # here: presets import this file, numba takes long

    trace = np.empty(target.shape, np.int32)
    kernels.draw(
        target, np.ascontiguousarray(programmed, np.bool_), library.level_siemens,
        library.level_starts, library.neighbours, *address,
        np.asarray(words, np.uint32), trace,
    )  # fmt: skip
    return trace


def conductance(
    library: Library, target: np.ndarray, trace: np.ndarray, t_seconds: float
) -> np.ndarray:
    """Return the conductances at a time after programming.

    Parameters
    ----------
    library : Library
        Traces that :func:`draw` chose from.
    target : (E, R, C) float32, siemens
        As in :func:`draw`; elements left in RESET have this conductance at all times.
    trace : (E, R, C) int32
        From :func:`draw`.
    t_seconds : float
        Time since programming, on the clock of the measurement.

    Returns
    -------
    (E, R, C) float32, siemens
        A pure function: going back to a time gives the same conductances.
    """
    from ...kernels import replay as kernels

    target = np.ascontiguousarray(target, np.float32)
    now = np.empty_like(target)
    course, offset = parts(library, t_seconds)
    edge = library.edge_siemens
    kernels.conductance(target, trace, course, offset, edge, library.shrunk, now)
    return now


def parts(library: Library, t_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the term of every trace at a time: ``g = course target + offset``.

    Returns
    -------
    course : (N,) float64, dimensionless
        Share of the target that is left at this time.
    offset : (N,) float64, siemens
        Programming error at this time; at the level of a trace the sum is the measured value.
    """
    value, level = at(library, t_seconds), library.trace_level_siemens
    start = level + library.error_siemens
    ratio = library.has_ratio
    course = np.divide(value, start, out=np.ones_like(value), where=ratio)
    if not ratio.all():
        course = np.where(ratio, course, _mean_course(level, course, ratio))
    return course, value - course * level


def _mean_course(level: np.ndarray, course: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the mean course of the nearest level that has one, for every trace."""
    if not known.any():
        return np.ones_like(course)
    levels, number = np.unique(level[known], return_inverse=True)
    mean = np.bincount(number, course[known]) / np.bincount(number)
    above = np.clip(np.searchsorted(levels, level), 0, len(levels) - 1)
    below = np.maximum(above - 1, 0)
    return mean[np.where(level - levels[below] < levels[above] - level, below, above)]


def at(library: Library, t_seconds: float) -> np.ndarray:
    """Return every trace at a time, (N,) float64 siemens, not shifted to any target."""
    from ...kernels import replay as kernels

    value = np.empty(len(library))
    kernels.at_time(
        library.offsets, library.time_seconds, library.conductance_siemens, float(t_seconds), value
    )
    return value


@functools.lru_cache(maxsize=8)
def _checksum(path: str, modified: int, size: int) -> str:
    """Return the checksum of a file, anew only if it was touched: every core asks for it."""
    return schema.sha256(path)


@functools.lru_cache(maxsize=8)
def _loaded(sha256: str, path: str) -> Library:
    return library(schema.read(path))


def _levels(found: Traces) -> tuple[np.ndarray, Literal["target", "pulse", "first read"]]:
    """Return the level of every trace, NaN for one that belongs to none, and its kind."""
    if np.isfinite(found.target_siemens).any():
        return found.target_siemens, "target"
    if found.pulse is None:
        return found.first_siemens, "first read"
    value = np.empty(len(found))
    for condition in np.unique(found.condition):
        here = found.condition == condition
        value[here] = np.median(found.first_siemens[here])
    return value, "pulse"
