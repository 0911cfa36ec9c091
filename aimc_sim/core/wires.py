"""Voltage lost along the wires of a crossbar (IR drop).

Geometry, R input lines (rows) and C output lines (columns)::

    driver r --[driver]--+--[row]--+--[row]--+        input line r
                         g         g         g        a cell between the two lines
                       --+--     --+--     --+--
                       [col]     [col]     [col]      towards row R - 1
                         :         :         :
                      [sense]   [sense]   [sense]     below row R - 1
                        ADC       ADC       ADC       virtual ground

Drivers sit at column 0, converters at row R - 1: cell (0, C - 1), far from both, loses most.

- :func:`solve`: the whole circuit by sparse nodal analysis, one read: obviously right, slow
- :func:`effective_matrix`: if idle input lines are grounded, outputs are linear in the drive
  voltages: one matrix holds the effect for all inputs
- :func:`attenuation`: how much of a cell's own fluctuation arrives

Lines that float while they are idle: :mod:`aimc_sim.core.idle`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..spec.wires import WireSpec

_LEAST_SHARE = 0.01
"""Smallest share of a cell's current, its line alone driven, that still makes a crossbar."""

TOLERANCE = 1e-7
"""Bound on the relative error of line voltages (energy norm); elements: see the tests."""


@dataclass(frozen=True)
class Solution:
    """Currents and voltages of a crossbar in N reads.

    Attributes
    ----------
    output_amperes : (N, C) float64
        Into the converters.
    input_amperes : (N, R) float64
        Out of the drivers.
    input_volts, output_volts : (N, R, C) float64
        Of both ends of every cell.
    """

    output_amperes: np.ndarray
    input_amperes: np.ndarray
    input_volts: np.ndarray
    output_volts: np.ndarray


@dataclass(frozen=True)
class Ports:
    """A crossbar with all drivers connected, between its terminals.

    Attributes
    ----------
    sensed : (..., R, C) float64, siemens
        Current of output c per volt of driver r: the effective matrix.
    drawn : (..., R, R) float64, siemens
        Current of driver r' per volt of driver r; symmetric, negative off the diagonal.
    """

    sensed: np.ndarray
    drawn: np.ndarray


def solve(
    conductance: np.ndarray, drive_volts: np.ndarray, active: np.ndarray, wires: WireSpec
) -> Solution:
    """Return the exact solution of the circuit, by sparse nodal analysis.

    Parameters
    ----------
    conductance : (R, C) float, siemens
        Of the cells of one crossbar.
    drive_volts : (N, R) float, volts
        Of the drivers of active lines, against the virtual ground of the converters.
    active : (R,) bool
        Lines that are driven in all N reads; the others are held as ``wires.idle`` says.
    wires : WireSpec
        Resistances of the lines, and how idle lines are held.
    """
    from scipy import sparse
    from scipy.sparse import csgraph, linalg

    g = _checked(conductance)
    if g.ndim != 2:
        raise ValueError(f"conductance has shape {g.shape}: one crossbar (R, C) is solved at once")
    rows, cols = g.shape
    drive, active = np.asarray(drive_volts, np.float64), np.asarray(active)
    if drive.ndim != 2 or drive.shape[1] != rows or active.shape != (rows,):
        raise ValueError(
            f"drive_volts {drive.shape} and active {active.shape} do not fit a crossbar of "
            f"{rows} rows: wanted (N, {rows}) and ({rows},)"
        )
    # Terminals first: drivers, grounds of the converters; then input and output nodes.
    source, ground = np.arange(rows), rows + np.arange(cols)
    first = rows + cols
    inner = first + np.arange(rows * cols).reshape(rows, cols)
    outer = inner + rows * cols
    nodes = first + 2 * rows * cols
    held = active | (wires.idle == "grounded") | ~g.any(axis=1)  # a line without cells may stay
    resistors = [
        (source[held], inner[held, 0], wires.driver_ohm),
        (inner[:, :-1], inner[:, 1:], wires.row_ohm),
        (outer[:-1], outer[1:], wires.col_ohm),
        (outer[-1], ground, wires.sense_ohm),
    ]
    a, b, ohm = (
        np.concatenate([np.broadcast_to(r[k], r[0].shape).ravel() for r in resistors])
        for k in range(3)
    )
    joined = ohm == 0  # nodes joined by an ideal wire are one
    join = sparse.coo_array((np.ones(joined.sum()), (a[joined], b[joined])), (nodes, nodes))
    count, label = csgraph.connected_components(join, directed=False)
    left = label[np.concatenate([a[~joined], inner.ravel()])]
    right = label[np.concatenate([b[~joined], outer.ravel()])]
    siemens = np.concatenate([1 / ohm[~joined], g.ravel()])
    entries = np.concatenate([siemens, siemens, -siemens, -siemens])
    where = (np.concatenate([left, right, left, right]), np.concatenate([left, right, right, left]))
    admittance = sparse.csr_array(sparse.coo_array((entries, where), (count, count)))
    terminals = label[:first]
    free = np.setdiff1d(np.arange(count), terminals)
    volts = np.zeros((count, len(drive)))
    volts[label[source]] = np.where(active, drive, 0.0).T
    if len(free):
        inside = sparse.csc_array(admittance[free][:, free])
        known = admittance[free][:, terminals] @ volts[terminals]
        volts[free] = -linalg.splu(inside).solve(known)
    amperes = (admittance[terminals] @ volts).T
    return Solution(
        -amperes[:, rows:], amperes[:, :rows], volts[label[inner]].transpose(2, 0, 1),
        volts[label[outer]].transpose(2, 0, 1),
    )  # fmt: skip


def effective_matrix(conductance: np.ndarray, wires: WireSpec) -> np.ndarray:
    """Return the conductances that ideal wires would need for the same outputs.

    Parameters
    ----------
    conductance : (..., R, C) float, siemens
        Crossbars, each with wires of its own (one per polarity and tile); computed in parallel.
    wires : WireSpec
        Idle input lines count as grounded, whatever ``idle`` says.

    Returns
    -------
    (..., R, C) float64, siemens
        ``drive_volts @ effective`` are the output currents.

    Raises
    ------
    ValueError
        If a conductance is negative or not finite, or hardly any current would arrive.
    """
    g = _checked(conductance)
    if g.shape[-1] >= g.shape[-2]:
        return ports(g, wires).sensed
    # A circuit of resistors passes as much from A to B as from B to A: drive the shorter side.
    turned = ports(np.swapaxes(g[..., ::-1, ::-1], -1, -2), wires.transposed()).sensed
    return np.ascontiguousarray(np.swapaxes(turned, -1, -2)[..., ::-1, ::-1])


def ports(conductance: np.ndarray, wires: WireSpec) -> Ports:
    """Return what the terminals of crossbars see; arguments as in :func:`effective_matrix`.

    Notes
    -----
    Alternation of input and output lines contracts by at most q, the largest voltage of an input
    line that is itself at 0 V when all others are at 1 V throughout. That is computed first (one
    pass), and fixes Chebyshev's weights and the number of alternations beforehand.
    """
    from ..kernels import wires as kernel

    g = _checked(conductance)
    stack = np.ascontiguousarray(g.reshape(-1, *g.shape[-2:]))
    row_tail, row_step = _input_ladder(stack, wires)
    col_tail, col_step = _output_ladder(stack, wires)
    arriving = _arriving(row_tail, row_step, col_tail, col_step, wires)
    if stack.size and arriving.min() < _LEAST_SHARE:
        p, r, c = np.unravel_index(arriving.argmin(), arriving.shape)
        raise ValueError(
            f"of the current of cell ({r}, {c}) only {arriving[p, r, c]:.1e} arrives at its "
            f"converter; a crossbar needs at least {_LEAST_SHARE:g}: use lower wire resistances, "
            "lower conductances or a smaller crossbar"
        )
    weights, damp = _chebyshev(_contraction(stack, row_tail, row_step, col_tail, col_step, wires))
    count, rows, cols = stack.shape
    sensed, drawn = np.empty((count, rows, cols)), np.empty((count, rows, rows))
    ohms = np.array([wires.row_ohm, wires.col_ohm, wires.driver_ohm, wires.sense_ohm])
    kernel.ports(
        stack, row_tail, row_step, col_tail, col_step, ohms, weights, damp, sensed, drawn
    )  # fmt: skip
    lead = g.shape[:-2]
    return Ports(sensed.reshape(*lead, rows, cols), drawn.reshape(*lead, rows, rows))


def attenuation(conductance: np.ndarray, wires: WireSpec) -> np.ndarray:
    """Return how much of a cell's own fluctuation arrives at its output, (..., R, C) float64.

    The share for a small current source in a cell while its input line alone is driven: voltage
    along that line, times the part of the current that stays in the output line. Multiply the
    variance of a conductance by its square. The voltage that other driven lines build up on the
    output line is left out; the error is that of the drop itself (see ``validation/ir_drop.py``).
    """
    g = _checked(conductance)
    row, col = _input_ladder(g, wires), _output_ladder(g, wires)
    return _arriving(*row, *col, wires)


def _checked(conductance: np.ndarray) -> np.ndarray:
    g = np.asarray(conductance, np.float64)
    if g.ndim < 2:
        raise ValueError(f"conductance has shape {g.shape}: a crossbar is (R, C)")
    if not (np.isfinite(g).all() and (g >= 0).all()):
        raise ValueError("conductance must be finite and >= 0 siemens everywhere, one per cell")
    return g


def _input_ladder(g: np.ndarray, wires: WireSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return tail (..., R) and steps (..., R, C + 1) of input lines above outputs at 0 V."""
    tail = np.zeros(g.shape[:-1])
    step = np.ones((*g.shape[:-1], g.shape[-1] + 1))
    for c in range(g.shape[-1] - 1, -1, -1):
        tail = g[..., c] + step[..., c + 1] * tail
        step[..., c] = 1 / (1 + wires.row_ohm * tail)
    return tail, step


def _output_ladder(g: np.ndarray, wires: WireSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return tail (..., C) and steps (..., R, C) of output lines below inputs at 0 V."""
    flipped = np.swapaxes(g, -1, -2)[..., ::-1]
    tail, step = _input_ladder(flipped, wires.transposed())
    return tail, np.ascontiguousarray(np.swapaxes(step[..., :-1], -1, -2)[..., ::-1, :])


def _arriving(
    row_tail: np.ndarray,
    row_step: np.ndarray,
    col_tail: np.ndarray,
    col_step: np.ndarray,
    wires: WireSpec,
) -> np.ndarray:
    """Return the share of a current between a driver and a converter, all else at 0 V."""
    along = np.cumprod(row_step[..., 1:-1], axis=-1)
    volts = np.concatenate([np.ones_like(row_step[..., :1]), along], axis=-1)
    volts = volts / (1 + wires.driver_ohm * row_tail)[..., None]
    along = np.cumprod(col_step[..., -2::-1, :], axis=-2)[..., ::-1, :]
    stays = np.concatenate([along, np.ones_like(col_step[..., :1, :])], axis=-2)
    share: np.ndarray = volts * stays / (1 + wires.sense_ohm * col_tail)[..., None, :]
    return share


def _contraction(
    g: np.ndarray,
    row_tail: np.ndarray,
    row_step: np.ndarray,
    col_tail: np.ndarray,
    col_step: np.ndarray,
    wires: WireSpec,
) -> float:
    """Return the largest voltage of input lines at 0 V next to output lines fed by 1 V."""
    rows, cols = g.shape[-2:]
    j, w, k, u = (np.empty_like(g) for _ in range(4))
    for r in range(rows):
        j[:, r] = g[:, r] + (col_step[:, r - 1] * j[:, r - 1] if r else 0.0)
    w[:, -1] = wires.sense_ohm / (1 + wires.sense_ohm * col_tail) * j[:, -1]
    for r in range(rows - 2, -1, -1):
        w[:, r] = col_step[:, r] * (w[:, r + 1] + wires.col_ohm * j[:, r])
    for c in range(cols - 1, -1, -1):
        beyond = row_step[..., c + 1] * k[..., c + 1] if c < cols - 1 else 0.0
        k[..., c] = g[..., c] * w[..., c] + beyond
    u[..., 0] = wires.driver_ohm / (1 + wires.driver_ohm * row_tail) * k[..., 0]
    for c in range(1, cols):
        u[..., c] = row_step[..., c] * (u[..., c - 1] + wires.row_ohm * k[..., c])
    return float(u.max(initial=0.0))


def _chebyshev(q: float) -> tuple[np.ndarray, float]:
    """Return the weights of as many alternations as the tolerance needs, and their damping."""
    damp, radius = 2 / (2 - q), q / (2 - q)
    weights = [1.0]
    if radius > 0:
        turns = math.ceil(math.acosh(2 / TOLERANCE) / math.acosh(1 / radius))
        for turn in range(1, turns):
            weights.append(1 / (1 - radius**2 * weights[-1] / (2 if turn == 1 else 4)))
    return np.array(weights), damp
