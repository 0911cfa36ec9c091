"""Input lines that float while they have no pulse (high impedance), on resistive wires.

A grounded idle line takes current out of every output line that it crosses; a floating one only
shares it among them. Which lines float depends on the input, and with pulse lengths as inputs it
changes during a read, so that no matrix alone gives the outputs. The difference from grounded
lines is small, though, and has few degrees of freedom:

- :func:`idle_lines` prepares a crossbar
- :func:`high_impedance_correction` returns the term to add to ``codes @ effective``: one more
  product
- :func:`charge_of_pulses` returns the exact charge: one linear system per pulse length
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .wires import Ports


@dataclass(frozen=True)
class IdleLines:
    """Couplings of floating input lines, for :func:`high_impedance_correction`.

    Attributes
    ----------
    reach : (R, C) float64, siemens
        Current of output c per volt that a floating input line r has.
    weight : (R,) float64, dimensionless
        Volts on floating lines per volt of driven line r.
    share : (R,) float64, dimensionless
        By how much floating line r adds to the coupling among floating lines.
    """

    reach: np.ndarray
    weight: np.ndarray
    share: np.ndarray


def idle_lines(terminals: Ports, signs: tuple[int, ...] = (1, -1)) -> IdleLines:
    """Return the couplings by which floating input lines add to the outputs.

    Parameters
    ----------
    terminals : Ports
        Of P crossbars that share their inputs: sensed (P, R, C).
    signs : tuple of P int
        With which sign each one's currents count: (1, -1) for the two polarities.

    Notes
    -----
    A floating line takes the voltage at which no current leaves it:
    ``drawn[idle, idle] v = -drawn[idle, active] v_active``. Off its diagonal ``drawn`` is close to
    an outer product, -a a^T (every pair of lines couples through the same output lines). With it,
    ``v_r = (a_r / drawn_rr) sum_active(a v) / (1 - sum_idle(a^2 / drawn_rr))``.
    """
    reach, weights, shares = [], [], []
    for sensed, drawn in zip(terminals.sensed, terminals.drawn, strict=True):
        own = np.diagonal(drawn)
        root = np.sqrt(np.where(own > 0, own, 1.0))
        vector, value = _outer(-drawn / root[:, None] / root)
        mean = (vector / root).mean()  # scales both factors of an outer product; any number would
        reach.append(sensed * (vector / root / (mean or 1.0))[:, None])
        weights.append(value * mean * root * vector)
        shares.append(value * vector**2)
    weight = np.mean(weights, axis=0)
    total = weight.sum() or 1.0
    parts = [s * r * (w.sum() / total) for s, r, w in zip(signs, reach, weights, strict=True)]
    return IdleLines(np.sum(parts, axis=0), weight, np.mean(shares, axis=0))


def high_impedance_correction(
    idle: IdleLines, codes: np.ndarray, max_code: float, mode: str = "4-phase"
) -> np.ndarray:
    """Return the (N, C) float64 that floating idle lines add to ``codes @ effective``, siemens.

    Parameters
    ----------
    idle : IdleLines
        Couplings of the crossbars, see :func:`idle_lines`.
    codes : (N, R) float
        Pulse lengths with sign; a line floats once its pulse has ended.
    max_code : float
        Length of the window.
    mode : {"4-phase", "1-phase"}
        In a 4-phase read lines of the other sign float meanwhile.

    Notes
    -----
    Line r floats from ``|x_r|`` on and collects ``M(x_r) = sum_k weight_k max(|x_k| - |x_r|, 0)``
    (with the signs of x_k). For a line without a pulse that is ``A = weight @ x``; for others it
    falls with x_r, here linearly: ``A - B |x_r|``. B makes the mean over driven lines right if
    the pulse lengths' mean difference is 2 / sqrt(3) of their standard deviation, as it is for a
    uniform law.
    One product with ``reach`` and a few sums per input vector.
    """
    if mode not in ("4-phase", "1-phase"):
        raise ValueError(f"mode = {mode!r}: a read is '4-phase' or '1-phase'")
    codes = np.asarray(codes, np.float64)
    if mode == "4-phase" and (codes < 0).any():
        parts = (np.maximum(codes, 0), np.maximum(-codes, 0))
        plus, minus = (high_impedance_correction(idle, x, max_code) for x in parts)
        both: np.ndarray = plus - minus
        return both
    length = np.abs(codes)
    driven, total = np.count_nonzero(length, axis=1), length.sum(axis=1)
    square = np.einsum("nr,nr->n", length, length)
    relative = driven * square / np.where(total > 0, total, 1.0) ** 2  # 1 + (spread / mean)^2
    std = np.sqrt(np.maximum(relative - 1, 0))
    falls = np.maximum(1 - std / math.sqrt(3), 0) * (np.sign(codes) @ idle.weight)
    coupled = 1 - idle.share.sum() + length @ (idle.share / max_code)
    start = codes @ idle.weight
    volts_sum = start[:, None] * idle.reach.sum(axis=0) - falls[:, None] * (length @ idle.reach)
    correction: np.ndarray = volts_sum / coupled[:, None]
    return correction


def charge_of_pulses(terminals: Ports, codes: np.ndarray, max_code: float) -> np.ndarray:
    """Return the exact charge of one crossbar with floating idle lines, (N, C) float64.

    Parameters
    ----------
    terminals : Ports
        Of one crossbar: sensed (R, C).
    codes : (N, R) float
        Pulse lengths with sign, all in one phase.
    max_code : float
        Length of the window.

    Notes
    -----
    One linear system per distinct pulse length: the twin of :func:`high_impedance_correction`.
    """
    codes = np.asarray(codes, np.float64)
    charge: np.ndarray = codes @ terminals.sensed
    for n, row in enumerate(codes):
        ends = np.unique(np.concatenate([[0.0], np.abs(row), [max_code]]))
        for begin, end in pairwise(ends):
            on = np.abs(row) >= end
            off = ~on & (np.diagonal(terminals.drawn) > 0)
            coupling = terminals.drawn[np.ix_(off, on)] @ np.sign(row[on])
            volts = -np.linalg.solve(terminals.drawn[np.ix_(off, off)], coupling)
            charge[n] += (end - begin) * (volts @ terminals.sensed[off])
    return charge


def _outer(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Return v >= 0 and s so that s v v^T is closest to a symmetric matrix off its diagonal."""
    coupled = matrix - np.diag(np.diagonal(matrix))
    vector, value = np.full(len(coupled), 1 / math.sqrt(len(coupled))), 0.0
    for _ in range(40):
        image = coupled @ vector + value * vector**3  # the diagonal that the product itself has
        value = float(np.linalg.norm(image))
        if value == 0:
            return vector, 0.0
        vector = image / value
    return vector, value
