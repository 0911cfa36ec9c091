"""The global digital unit: tanh and sigmoid by table, and the tail of an LSTM.

The blocks are those of the chip paper (arXiv:2212.02872, Fig. 1d); every line rounds once to
float16, and the cell state rests in float16:

1. ``x = scale_g code + offset_g``: one FMA per gate turns INT8 into a pre-activation. Before a
   sigmoid, scale and offset are halved.
2. ``t = slope_b x + offset_b``, bin b by 17 comparators: tanh.
3. ``gate = A t + B`` with A = (1/2, 1, 1/2, 1/2), B = (1/2, 0, 1/2, 1/2) for the gates I, A, F,
   O: ``sigmoid(x) = 1/2 + tanh(x / 2) / 2``.
4. ``c' = f c + (i a)``; ``h = o tanh(c')``: a multiplier, an FMA, the second table, a multiplier.
5. ``clip(rint(scale h + offset))``: the INT8 that leaves.

Not in the paper, chosen here: the table (:func:`tanh_table`), that halving happens in the input
registers, rounding to nearest even, symmetric saturation (counted).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..core.ldpu import arithmetic, quantise, register
from ..kernels.lstm import lstm_half
from ..spec.gdpu import GdpuSpec

GATES = "IAFO"
"""Input gate, activation (tanh), forget gate, output gate: the order of interleaved columns."""

_GATE_SCALE = np.array([0.5, 1.0, 0.5, 0.5], np.float32)
_GATE_OFFSET = np.array([0.5, 0.0, 0.5, 0.5], np.float32)

_BELOW_ONE = 1 - 1e-12  # atanh of it is finite
_EXACT: dict[str, Any] = {"xtol": 1e-300, "rtol": 4 * np.finfo(float).eps, "maxiter": 2000}
"""Of a root: to the last bit that a double holds."""


@dataclass(frozen=True)
class TanhTable:
    """Linear pieces: bin b is the number of comparators ``x >= edges[k]`` that fire.

    Attributes
    ----------
    edges : (bins - 1,) float32, dimensionless
        Inputs at which the comparators fire, rising; values of float16.
    slopes, offsets : (bins,) float32, dimensionless
        Line ``slope x + offset`` of every bin.
    """

    edges: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges, slopes and offsets."""
        return self.edges, self.slopes, self.offsets


@dataclass(frozen=True)
class GdpuRegisters:
    """Contents of the unit's registers, dimensionless.

    Attributes
    ----------
    input_scale, input_offset : (4,) float
        Pre-activation per input code, and pre-activation, of the gates I, A, F, O.
    output_scale, output_offset : float
        Output codes per unit of the hidden state, and output codes.
    """

    input_scale: np.ndarray
    input_offset: np.ndarray
    output_scale: float = 127.0
    output_offset: float = 0.0


@dataclass(frozen=True)
class LstmStep:
    """One time step of the LSTM.

    Attributes
    ----------
    codes : (N, H) float32, codes
        Hidden state in output codes.
    cell : (N, H) float32, dimensionless
        Cell state.
    saturated : int
        Number of outputs beyond the largest code.
    """

    codes: np.ndarray
    cell: np.ndarray
    saturated: int


@lru_cache
def tanh_table(bins: int, bit_true: bool) -> TanhTable:
    """Return the table of tanh whose largest error is least.

    Parameters
    ----------
    bins : int
        Even.
    bit_true : bool
        Slopes and offsets in float16; else in float32. The edges are the same.

    Notes
    -----
    tanh is concave on x > 0, so the best line of a bin runs E above its ends and touches the
    curve shifted down by E; with one E for all bins, neighbours meet at their edge. The bins at
    zero pass through (0, 0), the outermost are constants 1 - E. E is found by bisection: 18 bins
    give E = 0.0025. A comparator on the negative side fires one float16 later than its mirror
    image, so that the table is odd at the edges too.

    Source
        Derived here; the chip paper, arXiv:2212.02872, gives only 17 comparators, 18 bins and
        one FMA.
    """
    from scipy.optimize import bisect  # here: a chip without recurrent layers needs none of it

    sloped = bins // 2 - 1
    error = float(bisect(lambda e: 1.0 if _pieces(e, sloped) else -1.0, 1e-9, 0.49, **_EXACT))
    while not _pieces(error, sloped):  # the root lies between two numbers
        error = math.nextafter(error, 1.0)
    edges, slopes, offsets = np.array(_pieces(error, sloped)).T
    edges = edges.astype(np.float16)
    mirrored = np.nextafter(-edges[:0:-1], np.float16(0))
    edges = np.concatenate([mirrored, np.zeros(1, np.float16), edges[1:]]).astype(np.float32)
    slopes = np.concatenate([slopes[::-1], slopes])
    offsets = np.concatenate([-offsets[::-1], offsets])
    unit = arithmetic(bit_true)
    return TanhTable(edges, unit.convert(slopes), unit.convert(offsets))


def _pieces(error: float, sloped: int) -> list[tuple[float, float, float]]:
    """Return (start, slope, offset) from x = 0 on: sloped bins, then a constant.

    Empty if the bins end before the constant is within the error.
    """
    from scipy.optimize import brentq

    touching = brentq(lambda t: t - (1 - t * t) * math.atanh(t) - error, 0.0, _BELOW_ONE, **_EXACT)
    found = [(0.0, 1 - touching**2, 0.0)]
    while True:
        _, slope, offset = found[-1]
        reach = math.atanh(touching), (2 - offset) / slope
        end = brentq(partial(_above, slope, offset, error), *reach, **_EXACT)
        top = math.tanh(end) + error
        if top >= 1 - error:
            return [*found, (end, 0.0, 1 - error)]
        if len(found) >= sloped:
            return []
        # The next line starts at (end, top) and touches the curve shifted down by the error.
        reach = math.tanh(end), _BELOW_ONE
        touching = brentq(partial(_beside, end, top, error), *reach, **_EXACT)
        slope = 1 - touching**2
        found.append((end, slope, top - slope * end))


def _above(slope: float, offset: float, error: float, x: float) -> float:
    """Return how far a line runs above the curve shifted up by the error, at x."""
    return slope * x + offset - math.tanh(x) - error


def _beside(start: float, top: float, error: float, t: float) -> float:
    """Return by how much the tangent at ``tanh(x) = t`` passes a point of the line before it."""
    return t - error - top - (1 - t * t) * (math.atanh(t) - start)


def tanh(x: np.ndarray, spec: GdpuSpec) -> np.ndarray:
    """Return the unit's tanh.

    Parameters
    ----------
    x : float32 array of any shape, dimensionless
        Values of float16 if the unit is bit-true.
    spec : GdpuSpec

    Returns
    -------
    float32 array of x's shape, dimensionless
        tanh(x) from the table, or rounded from the exact one if ``spec.exact_tanh``.
    """
    unit = arithmetic(spec.bit_true)
    if spec.exact_tanh:
        return unit.convert(np.tanh(x, dtype=np.float64))
    table = tanh_table(spec.bins, spec.bit_true)
    fired = np.searchsorted(table.edges, x, side="right")
    return unit.fma(table.slopes[fired], x, table.offsets[fired])


def sigmoid(x: np.ndarray, spec: GdpuSpec) -> np.ndarray:
    """Return the unit's sigmoid, 1/2 + tanh(x / 2) / 2; arguments as of :func:`tanh`."""
    unit = arithmetic(spec.bit_true)
    half = np.float32(0.5)
    return unit.fma(half, tanh(unit.multiply(half, x), spec), half)


def gate_columns(hidden: int) -> np.ndarray:
    """Return the (4H,) int64 columns of i, f, g, o blocks in the unit's interleaved order.

    Parameters
    ----------
    hidden : int
        H; the blocks are those of :class:`torch.nn.LSTM`, whose g is the gate A.
    """
    blocks = np.arange(4 * hidden).reshape(4, hidden)
    return blocks[[0, 2, 1, 3]].T.reshape(-1)


def lstm_step(
    codes: np.ndarray, cell: np.ndarray, registers: GdpuRegisters, spec: GdpuSpec
) -> LstmStep:
    """Take gate inputs through the unit.

    Parameters
    ----------
    codes : (N, 4H) integers, codes
        Column 4k + g is gate g (I, A, F, O) of hidden unit k. Any float if ``spec.input_bits``
        is None.
    cell : (N, H) float32, dimensionless
        Cell state of the step before.
    registers : GdpuRegisters
        Scales and offsets that the unit is loaded with.
    spec : GdpuSpec

    Returns
    -------
    LstmStep

    Raises
    ------
    ValueError
        If H exceeds the unit, shapes differ, an input is no code, or a register does not fit.

    Source
        Fig. 1d and text of the chip paper, arXiv:2212.02872; choices of ours in the module's
        first lines.
    """
    if not spec.bit_true or spec.exact_tanh:
        return lstm_step_by_arrays(codes, cell, registers, spec)
    codes, cell = _checked(codes, cell, spec)
    *columns, out_scale, out_offset = lstm_registers(registers, cell.shape[1], spec)
    state, sent = np.empty_like(cell), np.empty_like(cell)
    saturated = lstm_half(
        codes.reshape(len(cell), -1), cell, *columns, *tanh_table(spec.bins, True).arrays,
        out_scale[0], out_offset[0], np.float32(largest_code(spec)),
        spec.output_bits is not None, state, sent,
    )  # fmt: skip
    return LstmStep(sent, state, saturated)


def lstm_registers(registers: GdpuRegisters, hidden: int, spec: GdpuSpec) -> np.ndarray:
    """Return what :func:`aimc_sim.kernels.lstm.lstm_half` takes for all gates, (6, 4H) float32.

    Scale and offset of the inputs, of the gates, of the outputs.
    """
    scale, offset, out_scale, out_offset = _loaded(registers, spec)
    rows = (scale, offset, _GATE_SCALE, _GATE_OFFSET, [out_scale] * 4, [out_offset] * 4)
    return np.array([np.tile(row, hidden) for row in rows], np.float32)


def largest_code(spec: GdpuSpec) -> float:
    """Return the largest code that leaves the unit; infinite if nothing is rounded."""
    return math.inf if spec.output_bits is None else float(2 ** (spec.output_bits - 1) - 1)


def lstm_step_by_arrays(
    codes: np.ndarray, cell: np.ndarray, registers: GdpuRegisters, spec: GdpuSpec
) -> LstmStep:
    """Return :func:`lstm_step` array by array: the slower twin, and what serves float32."""
    unit = arithmetic(spec.bit_true)
    codes, cell = _checked(codes, cell, spec)
    scale, offset, out_scale, out_offset = _loaded(registers, spec)
    x = unit.fma(unit.convert(codes), scale, offset)
    gates = unit.fma(_GATE_SCALE, tanh(x, spec), _GATE_OFFSET)
    i, a, f, o = np.moveaxis(gates, -1, 0)
    cell = unit.fma(f, unit.convert(cell), unit.multiply(i, a))
    hidden = unit.multiply(o, tanh(cell, spec))
    y = unit.fma(hidden, out_scale, out_offset)
    sent, saturated = quantise(
        y, np.float32(1), largest_code(spec), spec.output_bits is not None, unit
    )
    return LstmStep(sent, cell, saturated)


def _loaded(registers: GdpuRegisters, spec: GdpuSpec) -> tuple[np.ndarray, ...]:
    """Return the registers in the unit's format."""
    unit = arithmetic(spec.bit_true)
    return (
        register(np.multiply(registers.input_scale, _GATE_SCALE), "input_scale", unit),
        register(np.multiply(registers.input_offset, _GATE_SCALE), "input_offset", unit),
        register(registers.output_scale, "output_scale", unit),
        register(registers.output_offset, "output_offset", unit),
    )


def lstm_passes(
    codes: np.ndarray, cell: np.ndarray, registers: GdpuRegisters, spec: GdpuSpec
) -> LstmStep:
    """Return :func:`lstm_step` for any number of hidden units: in several passes if need be.

    The chip's slices hold the cell states of 512 units; for more, states have to be kept
    elsewhere between passes, which the paper does not describe.
    """
    parts = [
        lstm_step(codes[:, 4 * start : 4 * (start + spec.hidden)], own, registers, spec)
        for start in range(0, cell.shape[1], spec.hidden)
        for own in [cell[:, start : start + spec.hidden]]
    ]
    if len(parts) == 1:
        return parts[0]
    return LstmStep(
        np.concatenate([part.codes for part in parts], 1),
        np.concatenate([part.cell for part in parts], 1),
        sum(part.saturated for part in parts),
    )


def cycles(hidden: int, spec: GdpuSpec) -> int:
    """Return the clocks between first and last output, for units spread evenly over slices.

    Parameters
    ----------
    hidden : int
        Hidden units in all; 1 ... ``spec.hidden``.
    spec : GdpuSpec

    Notes
    -----
    Filling the pipeline is not included: the paper gives no depth.
    """
    if not 1 <= hidden <= spec.hidden:
        raise ValueError(
            f"{hidden} hidden units; the {spec.slices} slices hold 1 to {spec.hidden} "
            f"({spec.hidden_per_slice} each)"
        )
    return math.ceil(hidden / spec.slices) * spec.clocks_per_output


def seconds(hidden: int, spec: GdpuSpec) -> float:
    """Return :func:`cycles` in seconds."""
    return cycles(hidden, spec) / spec.clock_hertz


def _checked(codes: np.ndarray, cell: np.ndarray, spec: GdpuSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return gate inputs (N, H, 4) and cell state (N, H) as float32, or raise ValueError."""
    codes, cell = np.asarray(codes, np.float32), np.asarray(cell, np.float32)
    if cell.ndim != 2 or codes.shape != (cell.shape[0], 4 * cell.shape[1]):
        raise ValueError(
            f"gate inputs have shape {codes.shape}; a cell state of shape {cell.shape} needs four "
            f"columns for each of its own"
        )
    cycles(cell.shape[1], spec)  # refuses what the slices cannot hold
    if not (np.isfinite(codes).all() and np.isfinite(cell).all()):
        raise ValueError("gate inputs and cell state must be finite")
    if spec.input_bits is not None:
        limit = 2 ** (spec.input_bits - 1) - 1
        if (codes != np.rint(codes)).any() or np.abs(codes).max(initial=0) > limit:
            raise ValueError(
                f"gate inputs must be integers from -{limit} to {limit} "
                f"({spec.input_bits} bits), as the cores send them"
            )
    return codes.reshape(*cell.shape, 4), cell
