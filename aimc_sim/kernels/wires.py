"""Currents of a crossbar with resistive wires, every driver alone at one volt.

Given the voltages of the output lines every input line is a ladder of its own, and the other way
round; a ladder is solved exactly by one pass to its fed end and one pass back. Passes over input
and output lines alternate, Chebyshev's weights speed them up, and many drivers go side by side.
Resistances are only multiplied, so that 0 ohm needs no special case. Voltages of output lines are
small corrections and are kept in float32, which halves the memory traffic; sums are float64.
"""

from __future__ import annotations

import numpy as np

from . import loop, point, share

LANES = 32
"""Drivers computed side by side: enough for vector loops, few enough for the cache."""


@point
def _down(
    g, row_tail, row_step, col_step, row_ohm, driver_ohm, lane, first, w, back, volt, here, j, drawn
):
    """Solve all input lines for output voltages w; add up the currents of the output lines.

    ``here`` and its copies ``j[r]`` are the current that each output line would send into a short
    circuit behind row r.
    """
    rows, cols = g.shape
    lanes = w.shape[2]
    for r in range(rows):
        if first and not lane <= r < lane + lanes:  # not driven yet: all of this line is at 0 V
            for c in range(cols):
                keeps = col_step[r - 1, c] if r > 0 else 0.0
                for k in range(lanes):
                    here[c, k] *= keeps
                    j[r, c, k] = here[c, k]
            continue
        back[cols] = 0.0
        for c in range(cols - 1, -1, -1):
            cell, step = g[r, c], row_step[r, c + 1]
            for k in range(lanes):
                back[c, k] = cell * w[r, c, k] + step * back[c + 1, k]
        enters = 1 / (1 + driver_ohm * row_tail[r])
        for k in range(lanes):
            drive = 1.0 if r == lane + k else 0.0
            drawn[r, k] = enters * (row_tail[r] * drive - back[0, k])
            volt[k] = enters * (drive + driver_ohm * back[0, k])
        for c in range(cols):
            cell, keeps = g[r, c], col_step[r - 1, c] if r > 0 else 0.0
            step, ohm = (row_step[r, c], row_ohm) if c > 0 else (1.0, 0.0)
            for k in range(lanes):
                volt[k] = step * (volt[k] + ohm * back[c, k])
                here[c, k] = cell * volt[k] + keeps * here[c, k]
                j[r, c, k] = here[c, k]


@point
def _up(col_tail, col_step, col_ohm, sense_ohm, new, keep, drop, j, v, w, older):
    """Solve all output lines; leave ``new v + keep w + drop older`` in older."""
    rows, cols, lanes = j.shape
    for r in range(rows - 1, -1, -1):
        for c in range(cols):
            if r == rows - 1:
                step, ohm = 1 / (1 + sense_ohm * col_tail[c]), sense_ohm
                v[c] = 0.0
            else:
                step, ohm = col_step[r, c], col_ohm
            for k in range(lanes):
                v[c, k] = step * (v[c, k] + ohm * j[r, c, k])
                older[r, c, k] = new * v[c, k] + keep * w[r, c, k] + drop * older[r, c, k]


@loop
def ports(
    g, row_tail, row_step, col_tail, col_step, ohms, weights, damp, sensed, drawn, part, parts
):
    """Fill the currents of all outputs and inputs, one driver at 1 V and all others at 0 V.

    Parameters
    ----------
    g : (P, R, C) float64, siemens
        Conductances of the cells of P crossbars.
    row_tail : (P, R) float64, siemens
        Conductance of an input line at its driver with all outputs at 0 V.
    row_step : (P, R, C + 1) float64
        Voltage of cell c over that of c - 1 on such a line.
    col_tail, col_step : (P, C) float64, siemens, and (P, R, C) float64
        Conductance of an output line at its sense amplifier, and voltage of cell r over that of
        cell r + 1.
    ohms : (4,) float64, ohms
        Row, column, driver and sense resistances.
    weights : (K,) float64
        Chebyshev's weights of K alternations.
    damp : float
        Their damping, dimensionless.
    sensed : (P, R, C) float64, siemens, written
        Current of output c per volt of driver r.
    drawn : (P, R, R) float64, siemens, written
        Current of driver r' per volt of driver r at [r', r].
    part, parts : int
        Share of the work that this call does, counted from 0, and the number of shares.
    """
    crossbars, rows, cols = g.shape
    lanes = min(LANES, rows)
    groups = (rows + lanes - 1) // lanes
    row_ohm, col_ohm, driver_ohm, sense_ohm = ohms
    for item in share(crossbars * groups, part, parts):
        p, lane = item // groups, item % groups * lanes
        w = np.zeros((rows, cols, lanes), np.float32)
        older, j = np.zeros_like(w), np.zeros_like(w)
        here, line = np.zeros((cols, lanes)), np.zeros((cols + 1, lanes))
        volt, enters = np.zeros(lanes), np.zeros((rows, lanes))
        for turn in range(len(weights) + 1):
            _down(
                g[p], row_tail[p], row_step[p], col_step[p], row_ohm, driver_ohm, lane, turn == 0,
                w, line, volt, here, j, enters,
            )  # fmt: skip
            if turn < len(weights):
                x = weights[turn]
                _up(
                    col_tail[p], col_step[p], col_ohm, sense_ohm, x * damp, x * (1 - damp), 1 - x,
                    j, line, w, older,
                )  # fmt: skip
                w, older = older, w
        for k in range(min(lanes, rows - lane)):
            for c in range(cols):
                sensed[p, lane + k, c] = here[c, k] / (1 + sense_ohm * col_tail[p, c])
            for r in range(rows):
                drawn[p, r, lane + k] = enters[r, k]
