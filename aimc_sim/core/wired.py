"""A crossbar behind resistive wires, as the tile and the executor see it.

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
    """What idle lines that float add to a charge; ``lines`` in units of g_max.

    ``max_code`` is the code of a full-scale input in one conversion: 1 in a bit plane, during
    which nothing changes, so that the correction's linear fall plays no part.
    """

    lines: IdleLines
    max_code: float
    mode: str

    def correction(self, codes: np.ndarray) -> np.ndarray:
        """Return what to add to the charge of (N, R) codes, (N, C) float64."""
        return high_impedance_correction(self.lines, codes, self.max_code, self.mode)


@dataclass(frozen=True)
class Seen:
    """What arrives through the wires, in units of g_max (variance: squared); (R, C) float32."""

    net: np.ndarray
    variance: np.ndarray | None
    idle: Floating | None


def through(
    plus: np.ndarray, minus: np.ndarray, fresh: tuple[np.ndarray, np.ndarray] | None,
    core: CoreSpec,
) -> Seen:  # fmt: skip
    """Return the effective matrix of two polarities with wires of their own.

    Parameters
    ----------
    plus, minus : (R, C) float32
        Conductances of the polarities, in units of g_max.
    fresh : two (R, C) arrays or None
        Variances of their conductances that are drawn anew in every MVM, in g_max squared.
    core : CoreSpec
        With ``wires``.

    Notes
    -----
    Idle lines that are grounded leave the array linear: exact. Noise of a cell reaches the
    converter with the share of its own signal, squared (error in ``validation/ir_drop.py``).
    """
    g_max = core.pcm.g_max_siemens
    passed = (core.rows - len(plus)) * core.wires.col_ohm
    lines_of = core.wires.with_(sense_ohm=core.wires.sense_ohm + passed)
    siemens = np.stack([plus, minus]).astype(np.float64) * g_max
    floating = None
    if core.wires.idle == "high-impedance":
        terminals = wires.ports(siemens, lines_of)
        sensed, lines = terminals.sensed, idle_lines(terminals)
        scaled = IdleLines(lines.reach / g_max, lines.weight, lines.share)
        floating = Floating(scaled, float(inputs.largest_drive(core.dac)), core.read.mode)
    else:
        sensed = wires.effective_matrix(siemens, lines_of)
    variance = None
    if fresh is not None:
        left = wires.attenuation(siemens, lines_of) ** 2
        variance = (left * np.stack(fresh)).sum(axis=0).astype(np.float32)
    net = ((sensed[0] - sensed[1]) / g_max).astype(np.float32)
    return Seen(net, variance, floating)
