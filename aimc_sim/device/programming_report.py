"""Cost of programming a block, and the error it left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .. import markup, units


@dataclass(frozen=True)
class ProgrammingReport:
    """Cost and result of writing one block, or several: reports add up.

    Attributes
    ----------
    scheme : str
        Name of the way in which the block was written.
    tuned : int
        Devices (or elements of a statistical law) that were brought to a target.
    converged : int or None
        Those whose last verify read was within the margin; None: the scheme does not check.
    iterations : int or None
        Pulse-and-read iterations, summed over the tuned devices.
    pulses : int or None
        Write pulses in all, those that SET and RESET devices included.
    seconds : float or None
        Pulses and reads of one core after the other; the control logic is not modelled. Of
        stepped devices the pulses alone, one device after the other: their reads have no law.
    joules : float or None
        Heat of the write pulses and of the verify reads in the devices; drivers and converters
        are not modelled. Of stepped devices the pulses alone.
    cells, squared_error : int, float (siemens squared)
        Programmed cells and the summed squares of their error, ``net - target``, at t0.
    """

    scheme: str
    tuned: int
    converged: int | None
    iterations: int | None
    pulses: int | None
    seconds: float | None
    joules: float | None
    cells: int
    squared_error: float

    @property
    def rms_error_siemens(self) -> float:
        """Root mean square of the error of the programmed cells, in siemens."""
        return math.sqrt(self.squared_error / self.cells) if self.cells else 0.0

    def __add__(self, other: ProgrammingReport) -> ProgrammingReport:
        """Return the report of both, one after the other."""
        same = self.scheme == other.scheme
        return ProgrammingReport(
            self.scheme if same else f"{self.scheme}, {other.scheme}",
            self.tuned + other.tuned,
            _sum(self.converged, other.converged),
            _sum(self.iterations, other.iterations),
            _sum(self.pulses, other.pulses),
            _sum(self.seconds, other.seconds),
            _sum(self.joules, other.joules),
            self.cells + other.cells,
            self.squared_error + other.squared_error,
        )

    _repr_pretty_ = markup.printed

    def _repr_html_(self) -> str:
        each = "-" if self.iterations is None or not self.tuned else self.iterations / self.tuned
        rows = [
            ("devices tuned", f"{self.tuned:,}"),
            (
                "converged",
                "the scheme does not check"
                if self.converged is None
                else f"{self.converged:,} of {self.tuned:,}",
            ),
            ("iterations each", each if isinstance(each, str) else f"{each:.1f}"),
            ("write pulses", "-" if self.pulses is None else f"{self.pulses:,}"),
            (
                "error",
                f"{units.show(self.rms_error_siemens, 'S')} rms of {self.cells:,} cells",
            ),
            ("time", "-" if self.seconds is None else units.show(self.seconds, "s")),
            (
                "energy in the devices",
                "-" if self.joules is None else units.show(self.joules, "J"),
            ),
        ]
        return markup.display("ProgrammingReport", self.scheme, markup.facts(rows))

    def __str__(self) -> str:
        """Return one line."""
        parts = [f"{self.scheme}: {self.tuned:,} tuned"]
        if self.converged is not None and self.tuned:
            parts.append(f"{100 * self.converged / self.tuned:.2f} % converged")
        if self.iterations is not None and self.tuned:
            parts.append(f"{self.iterations / self.tuned:.1f} iterations each")
        parts.append(f"error {units.show(self.rms_error_siemens, 'S')} rms")
        if self.seconds is not None:
            parts.append(units.show(self.seconds, "s"))
        if self.joules is not None:
            parts.append(units.show(self.joules, "J"))
        return ", ".join(parts)


_N = TypeVar("_N", int, float)


def _sum(one: _N | None, other: _N | None) -> _N | None:
    """Return the sum, None if either number is not known."""
    return None if one is None or other is None else one + other


def error_sum(error: np.ndarray, programmed: np.ndarray) -> tuple[int, float]:
    """Return cells and summed squared error of the cells with a programmed polarity.

    Parameters
    ----------
    error : (R, C) float, siemens
        Net conductance less the one that was asked for.
    programmed : (2, R, C) bool
        Whether a polarity was written.
    """
    chosen = programmed.any(axis=0)
    return int(chosen.sum()), float((error[chosen].astype(np.float64) ** 2).sum())
