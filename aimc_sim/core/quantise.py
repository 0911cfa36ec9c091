"""Converters: one type for every circuit that turns a charge into a code.

A charge is written in *input codes times relative conductance* (code x g / g_max), as a column
collects it during one conversion. A kind of converter is a module with two functions,
``quantiser(core, full_scale_amperes)`` and ``converter(core, key, columns, full_scale_amperes)``,
listed in :data:`aimc_sim.core.converters.KINDS`, the only place that tells kinds apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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
class ColumnConverters:
    """The converters of one core's columns.

    Attributes
    ----------
    quantiser : Quantiser
        The whole law where all columns are alike; else the nominal one, whose step is the unit
        of the corrected codes.
    table : ConverterTable or None
        The law where columns differ.
    jitter : (C,) float64 or 0, charge squared
        Variance that a conversion adds before it rounds; a conversion of no charge has none.
    text : str
        In words, for reports.
    """

    quantiser: Quantiser
    table: ConverterTable | None = None
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
            rows = np.ascontiguousarray(table.rows[:, :, start:stop])
            table = ConverterTable(rows, table.limit, table.dead)
        if np.ndim(jitter):
            jitter = np.asarray(jitter)[start:stop]
        return ColumnConverters(self.quantiser, table, jitter, self.text)

    def over(self, windows: float) -> ColumnConverters:
        """Return the converters that integrate for several windows, in the codes of all of them.

        Charges stay those of one window: the current is the same, the codes grow.
        """
        law = self.quantiser
        longer = Quantiser(law.step / windows, law.limit * windows, law.rounds)
        table = self.table
        if table is not None:
            factors = np.array([windows, 1, windows, 1, windows], np.float32)
            table = ConverterTable(table.rows * factors[:, None, None], table.limit, table.dead)
        return ColumnConverters(longer, table, self.jitter / windows**2, self.text)

    def codes(self, charge: np.ndarray) -> np.ndarray:
        """Return the (N, C) float64 codes of the charges (N, C) of one conversion."""
        if self.table is None:
            return self.quantiser.codes(np.asarray(charge, np.float64))
        return self.table.codes(charge)[1].astype(np.float64)

    def beyond(self, charge: np.ndarray) -> np.ndarray:
        """Return which charges saturate: a bool array of their shape."""
        law = self.quantiser if self.table is None else self.table
        return law.beyond(np.asarray(charge, np.float64))
