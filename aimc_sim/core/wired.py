"""A crossbar behind resistive wires, as the tile and the executor use it.

Drivers sit before the first column, converters behind the last row of the core. A smaller block
lies at the drivers' end: its outputs pass the remaining rows, whose cells carry nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spec import CoreSpec
from . import inputs, wires
from .idle import IdleLines, high_impedance_correction, idle_lines


@dataclass(frozen=True)
class Floating:
    """Additions of floating idle lines to a charge; ``lines`` in units of g_max.

    ``lines`` are those of both polarities together (1-phase), or of each by itself (4-phase).
    ``max_code`` is the code of a full-scale input in one conversion: 1 in a bit plane, during
    which nothing changes, so that the correction's linear fall plays no part.
    """

    lines: tuple[IdleLines, ...]
    max_code: float
    mode: str

    def correction(self, codes: np.ndarray) -> np.ndarray:
        """Return the addition to the net charge of (N, R) codes, (N, C) float64."""
        found = [
            high_impedance_correction(lines, codes, self.max_code, self.mode)
            for lines in self.lines
        ]
        return found[0] if len(found) == 1 else found[0] - found[1]

    def of_columns(self, start: int, stop: int) -> Floating:
        """Return the additions to the charges of some neighbouring columns.

        Parameters
        ----------
        start, stop : int
            First column, and the one behind the last. Voltages of floating lines are those of the
            whole block, whose columns all load them.
        """
        lines = tuple(
            IdleLines(one.reach[:, start:stop], one.weight, one.share) for one in self.lines
        )
        return Floating(lines, self.max_code, self.mode)

    def of_phase(self, magnitudes: np.ndarray, polarity: int) -> np.ndarray:
        """Return the addition to the charge of one phase: inputs of one sign, one polarity."""
        return high_impedance_correction(self.lines[polarity], magnitudes, self.max_code)


@dataclass(frozen=True)
class Seen:
    """Conductances behind the wires, in units of g_max (variances: squared).

    ``polarities`` and ``variances``: (P, R, C) float32, of the positive and negative weights, or of
    cells of one polarity.
    """

    polarities: np.ndarray
    variances: np.ndarray | None
    idle: Floating | None


def through(sides: np.ndarray, fresh: np.ndarray | None, core: CoreSpec) -> Seen:
    """Return the effective matrix of polarities with wires of their own.

    Parameters
    ----------
    sides : (P, R, C) float32
        Conductances of the polarities, in units of g_max; all physical columns of the block.
    fresh : (P, R, C) float32 or None
        Variances of their conductances that are drawn anew in every MVM, in g_max squared.
    core : CoreSpec
        With ``wires``.

    Notes
    -----
    Idle lines that are grounded leave the array linear: exact. Noise of a cell reaches the
    converter with the share of its own signal, squared (error in ``validation/ir_drop.py``).
    """
    assert core.wires is not None  # as the caller made sure
    g_max = core.device.g_max_siemens
    passed = (core.rows - sides.shape[1]) * core.wires.col_ohm
    lines_of = core.wires.with_(sense_ohm=core.wires.sense_ohm + passed)
    siemens = sides.astype(np.float64) * g_max
    floating = None
    if core.wires.idle == "high-impedance":
        terminals = wires.ports(siemens, lines_of)
        sensed = terminals.sensed
        if core.read.mode == "1-phase":
            found = [idle_lines(terminals, (1, -1)[: len(sides)])]
        else:  # only one polarity is connected in a phase
            found = [
                idle_lines(wires.Ports(one[None], drawn[None]), (1,))
                for one, drawn in zip(terminals.sensed, terminals.drawn, strict=True)
            ]
        scaled = tuple(IdleLines(one.reach / g_max, one.weight, one.share) for one in found)
        floating = Floating(scaled, float(inputs.largest_drive(core.dac)), core.read.mode)
    else:
        sensed = wires.effective_matrix(siemens, lines_of)
    variances = None
    if fresh is not None:
        left = wires.attenuation(siemens, lines_of) ** 2
        variances = (left * fresh).astype(np.float32)
    return Seen((sensed / g_max).astype(np.float32), variances, floating)
