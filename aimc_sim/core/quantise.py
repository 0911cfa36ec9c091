"""Converters: one type for every circuit that turns a charge into a code.

A charge is written in *input codes times relative conductance* (code x g / g_max), as a column
collects it during one conversion. The law of a core's columns is a :class:`Quantiser` where all
are alike, else a table: :class:`ConverterTable` of counting circuits, or :class:`StepTable`, any
staircase. A kind of converter is a module with the functions of :class:`ConverterKind`, listed in
:data:`aimc_sim.core.converters.KINDS`, the only place that tells kinds apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..rng import Key
from ..spec import CoreSpec, CostSpec

Calibrated = float | np.ndarray
"""Result of calibration for the converters of a group of columns, in amperes: their full scale, or
(2 T + 1, C) float64, the T thresholds and then the T + 1 values of every column."""


def codes(
    values: np.ndarray, per_step: float, limit: float, rounds: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes ``clip(rint(x per_step), +-limit)`` of values, ties to even.

    The form of torch is :func:`aimc_sim.digital.rounding.codes`, that of the compiled loops
    :mod:`aimc_sim.kernels.rounding`.

    Parameters
    ----------
    values : (...) float32 or float64
        In any unit.
    per_step : float
        Codes per unit, 1 / step.
    limit : float
        Largest code; may be infinite.
    rounds : bool
        False leaves fractions of codes.

    Returns
    -------
    codes : (...) array like values
        From -limit to limit.
    beyond : (...) bool
        Which were clipped.
    """
    whole = values * per_step
    whole = np.rint(whole) if rounds else whole
    return np.clip(whole, -limit, limit), np.abs(whole) > limit


@dataclass(frozen=True)
class Quantiser:
    """Round to a multiple of ``step``, then clip at ``limit`` steps; both may be absent.

    With ``rounds`` False nothing is rounded and ``step`` is only the unit of the codes;
    ``limit`` may be infinite.
    """

    step: float
    limit: float
    rounds: bool

    @property
    def per_step(self) -> float:
        """Codes per unit."""
        return 1 / self.step

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of real values: integers if the quantiser rounds."""
        return codes(values, self.per_step, self.limit, self.rounds)[0]

    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Return which values do not fit: a bool array of their shape."""
        return codes(values, self.per_step, self.limit, self.rounds)[1]


@dataclass(frozen=True)
class ConverterTable:
    """Converters that differ from column to column, as one pass over charges z.

    Of the counter that z selects: ``code = max(0, rint(slope s / (1 + bend s) + lift))`` with
    ``s = min(|z|, limit)``, and the value is ``+-(gain code + offset)``, 0 for code 0.

    Attributes
    ----------
    rows : (5, 2, C) float32
        slope, bend, lift, gain, offset: codes per charge, 1 / charge, codes, and values in units
        of the quantiser's step; first for the positive direction, then the negative one.
    limit : float
        Charge of the full-scale current.
    dead : float
        Charge below which a negative z is counted as positive; infinite where all currents have
        one direction, and then a z below zero (of noise) is no current.
    """

    rows: np.ndarray
    limit: float
    dead: float

    @property
    def noisy_at_rest(self) -> bool:
        """Whether a conversion of no charge has noise of its own: an oscillator does not start."""
        return False

    def of_columns(self, start: int, stop: int) -> ConverterTable:
        """Return the table of some neighbouring columns, from ``start`` to before ``stop``."""
        rows = np.ascontiguousarray(self.rows[:, :, start:stop])
        return ConverterTable(rows, self.limit, self.dead)

    def over(self, windows: float) -> ConverterTable:
        """Return the table of conversions that last for several windows."""
        factors = np.array([windows, 1, windows, 1, windows], np.float32)
        return ConverterTable(self.rows * factors[:, None, None], self.limit, self.dead)

    def codes(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return signed codes and corrected values, (N, C) float32 each, of charges (N, C)."""
        slope, bend, lift, gain, offset = self.rows
        z = np.asarray(z, np.float32)
        if math.isinf(self.dead):
            z = np.maximum(z, np.float32(0))
        negative = z < np.float32(-self.dead)
        s = np.where(negative, np.float32(-1), np.float32(1))

        def of(pair: np.ndarray) -> np.ndarray:
            chosen: np.ndarray = np.where(negative, pair[1], pair[0])
            return chosen

        size = np.minimum(np.abs(z), np.float32(self.limit))
        code = np.rint(of(slope) * size / (1 + of(bend) * size) + of(lift))
        code = np.maximum(code, np.float32(0))
        value = np.where(code > 0, of(gain) * code + of(offset), np.float32(0))
        return s * code, s * value

    def beyond(self, z: np.ndarray) -> np.ndarray:
        """Return which charges are beyond full scale: a bool array of their shape."""
        found: np.ndarray = np.abs(z) > self.limit
        return found


@dataclass(frozen=True)
class StepTable:
    """Converters that compare charges with thresholds: any staircase, column by column.

    A charge that is at or above k of its column's thresholds has the value k of that column.

    Attributes
    ----------
    thresholds : (T, C) float32, charge
        Rising along the first axis; one of them where a converter makes one bit.
    values : (T + 1, C) float32
        In units of the quantiser's step.
    """

    thresholds: np.ndarray
    values: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Thresholds, then values, (2 T + 1, 1, C) float32: how passes over charges get them."""
        return np.concatenate([self.thresholds, self.values])[:, None].astype(np.float32)

    @property
    def limit(self) -> float:
        """Largest charge that is not clipped: the last step has no end."""
        return math.inf

    @property
    def dead(self) -> float:
        """Charge below which signs are mistaken: there is none."""
        return math.inf

    @property
    def noisy_at_rest(self) -> bool:
        """Whether a conversion of no charge has noise of its own: comparators have."""
        return True

    def of_columns(self, start: int, stop: int) -> StepTable:
        """Return the table of some neighbouring columns, from ``start`` to before ``stop``."""
        return StepTable(self.thresholds[:, start:stop], self.values[:, start:stop])

    def over(self, windows: float) -> StepTable:
        """Return the table of conversions that last for several windows."""
        return StepTable(self.thresholds, self.values * np.float32(windows))

    def codes(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers of steps and their values, (N, C) float32 each, of charges (N, C)."""
        z = np.asarray(z, np.float32)
        step = (z >= self.thresholds[:, None]).sum(axis=0)
        values = np.take_along_axis(self.values.astype(np.float32), step, axis=0)
        return step.astype(np.float32), values

    def beyond(self, z: np.ndarray) -> np.ndarray:
        """Return which charges are beyond full scale: none, a bool array of their shape."""
        return np.zeros(np.shape(z), bool)


@dataclass(frozen=True)
class ColumnConverters:
    """The converters of one core's columns.

    Attributes
    ----------
    quantiser : Quantiser
        The whole law where all columns are alike; else the nominal one, whose step is the unit
        of the corrected codes.
    table : ConverterTable, StepTable or None
        The law where columns differ.
    jitter : (C,) float64 or 0, charge squared
        Variance that a conversion adds before it rounds; a conversion of no charge has none,
        unless the table says so.
    text : str
        In words, for reports.
    """

    quantiser: Quantiser
    table: ConverterTable | StepTable | None = None
    jitter: np.ndarray | float = 0.0
    text: str = ""

    @property
    def perfect(self) -> bool:
        """Whether every charge passes unchanged."""
        law = self.quantiser
        return self.table is None and not law.rounds and math.isinf(law.limit)

    @property
    def limit(self) -> float:
        """Largest charge of one conversion that is not clipped."""
        law = self.quantiser
        return law.limit * law.step if self.table is None else self.table.limit

    @property
    def rounding(self) -> float:
        """Variance of one rounding, charge squared; 0 where nothing is rounded.

        That of an error spread evenly over a step, which it is once noise covers half a step.
        """
        return self.quantiser.step**2 / 12 if self.quantiser.rounds else 0.0

    def of_columns(self, start: int, stop: int) -> ColumnConverters:
        """Return the converters of some neighbouring columns.

        Parameters
        ----------
        start, stop : int
            First column, and the one behind the last.
        """
        table, jitter = self.table, self.jitter
        if table is not None:
            table = table.of_columns(start, stop)
        if np.ndim(jitter):
            jitter = np.asarray(jitter)[start:stop]
        return ColumnConverters(self.quantiser, table, jitter, self.text)

    def over(self, windows: float) -> ColumnConverters:
        """Return the converters that integrate for several windows, in the codes of all of them.

        Charges stay those of one window: the current is the same, the codes grow.
        """
        law = self.quantiser
        longer = Quantiser(law.step / windows, law.limit * windows, law.rounds)
        table = None if self.table is None else self.table.over(windows)
        return ColumnConverters(longer, table, self.jitter / windows**2, self.text)

    def noise(self, charge: np.ndarray) -> np.ndarray:
        """Return the variance that the conversion of each charge adds, charge squared."""
        acts = charge != 0
        if self.table is not None and self.table.noisy_at_rest:
            acts = np.ones_like(acts)
        variance: np.ndarray = self.jitter * acts
        return variance

    def codes(self, charge: np.ndarray) -> np.ndarray:
        """Return the (N, C) float64 codes of the charges (N, C) of one conversion."""
        if self.table is None:
            return self.quantiser.codes(np.asarray(charge, np.float64))
        return self.table.codes(charge)[1].astype(np.float64)

    def beyond(self, charge: np.ndarray) -> np.ndarray:
        """Return which charges saturate: a bool array of their shape."""
        law = self.quantiser if self.table is None else self.table
        return law.beyond(np.asarray(charge, np.float64))


class ConverterKind(Protocol):
    """The functions of a module that is a kind of converter."""

    def quantiser(self, core: CoreSpec, calibrated: Calibrated | None = None) -> Quantiser:
        """Return the nominal law, see :func:`aimc_sim.core.converters.adc`."""

    def converter(
        self, core: CoreSpec, key: Key, columns: int, calibrated: Calibrated | None = None
    ) -> ColumnConverters:
        """Return a core's converters, see :func:`aimc_sim.core.converters.of_core`."""

    def check(self, core: CoreSpec) -> None:
        """Raise ValueError if the rest of a core makes no sense with such converters."""

    def levels(self, core: CoreSpec, sums: np.ndarray) -> np.ndarray:
        """Return thresholds and values of columns, see :func:`aimc_sim.core.converters.levels`."""

    def deviations(self, core: CoreSpec) -> tuple[float, float]:
        """Return standard deviations, see :func:`aimc_sim.core.converters.deviations`."""

    def joules(
        self, core: CoreSpec, cost: CostSpec, columns: int, seconds: float, coulombs: float
    ) -> float:
        """Return the energy of one MVM, see :func:`aimc_sim.core.converters.joules`."""

    def settling_seconds(self, core: CoreSpec) -> float:
        """Return the time of one conversion behind its integration, s."""
