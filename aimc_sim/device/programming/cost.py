"""Time and energy of program-and-verify: the order of the circuit, one diagonal at a time.

A diagonal of the crossbar holds one cell per row and column, so its devices (of one polarity and
number) are written by ``write_channels`` current sources in turns and read all at once. A loop
over a diagonal ends when its slowest device has converged; the chip paper: 256 devices per
diagonal, 32 current sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...spec import PcmSpec
from ..request import Request
from .cells import Written


@dataclass(frozen=True)
class LoopCost:
    """Pulses, seconds and joules of writing one block."""

    pulses: int
    seconds: float
    joules: float


def diagonals(values: np.ndarray) -> np.ndarray:
    """Return (..., R, C) values with their diagonals as rows: (..., D, L), D = max(R, C).

    Entry (d, l) is the cell in which the wrapped diagonal d meets the l-th line of the shorter
    side.
    """
    rows, cols = values.shape[-2:]
    shorter, longer = np.arange(min(rows, cols)), np.arange(max(rows, cols))
    other = (shorter[None, :] + longer[:, None]) % max(rows, cols)
    same = np.broadcast_to(shorter, other.shape)
    return values[..., same, other] if rows <= cols else values[..., other, same]


def of_loop(request: Request, written: Written, spec: PcmSpec) -> LoopCost:
    """Return what the loop of :mod:`verify` took: first pulses, iterations, reads.

    Parameters
    ----------
    request : Request
        Wanted conductances of the block, and the polarities that are written.
    written : Written
        Devices after the loop, with their iterations and last amplitudes.
    spec : PcmSpec
    """
    scheme, pulses, full, curve = spec.closed_loop()
    read_seconds = scheme.verify.precharge_seconds + scheme.verify.seconds
    iterations = diagonals(written.iterations)  # (4, D, L)
    devices, in_loop = iterations.shape[-1], iterations > 0
    turns = -(-devices // scheme.write_channels)
    # One SET or RESET of every device first; both devices of a polarity are read for a fill.
    first = 4 * iterations.shape[1] * turns * max(full.seconds, pulses.reset.seconds)
    fills = scheme.fill == "max-set-fill"
    if fills:
        first += 4 * iterations.shape[1] * read_seconds
    groups = -(-in_loop.sum(axis=-1) // scheme.write_channels)
    rounds = iterations.max(axis=-1)
    seconds = first + float(
        (rounds * (groups * curve.seconds + read_seconds)).sum(dtype=np.float64)
    )
    in_set = 2 * int(request.programmed.sum()) if fills else 0
    in_reset = written.iterations.size  # every device starts from RESET
    loop_pulses = int(written.iterations.sum(dtype=np.int64))
    volts = pulses.write_volts
    charge = (
        in_reset * pulses.reset.amperes * pulses.reset.seconds
        + in_set * full.amperes * full.seconds
        # The last amplitude stands for all of a device's pulses.
        + float((written.amperes * written.iterations).sum(dtype=np.float64)) * curve.seconds
    )
    power = scheme.verify.volts**2 * float((written.g * written.iterations).sum(dtype=np.float64))
    joules = volts * charge + power * scheme.verify.seconds
    return LoopCost(loop_pulses + in_set + in_reset, seconds, joules)
