"""The local digital unit of a core: ADC counts to the integers that leave it.

The chip paper (arXiv:2212.02872) gives the blocks and their formats; the order below is read from
it, and every line rounds once to float16 (nearest, ties to even):

1. ``n+``, ``n-``: 12-bit counts become float16; counts beyond 2048 lose their last bit.
2. ``v = (gain+ n+ + offset) - gain- n-``: two fused multiply-adds correct the ADC.
3. ``y = scale v + offset``: one FMA per channel holds weight scale, batch norm, bias and the
   factor of the drift compensation.
4. ReLU, if it comes before the addition.
5. ``y + link_scale link``: the INT8 of the link becomes float16 (exactly); one FMA.
6. ReLU, if it comes after the addition.
7. ``clip(rint(y / step))``: one product in float16, then the integer, ties to even.

The paper is silent about the rounding mode, about whether an FMA rounds once, and about what a
code beyond the range becomes. Assumed: IEEE 754 throughout, symmetric saturation at
``2^(bits - 1) - 1``, which is counted. If ``1 / step`` is folded into the scales, so that y is in
output codes, step 7 only rounds to an integer.

This is the reference path, array by array. :mod:`aimc_sim.kernels.ldpu` holds the same steps as
loops over blocks, for the fused pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..kernels import half
from .quantise import codes

Operand = np.ndarray | np.floating | float
"""Array, or a number that stands for all its elements."""

_COUNT_LIMIT = 4095
"""Largest count of a 12-bit counter."""

_LARGEST_HALF = 65504.0
"""Largest finite float16."""


@dataclass(frozen=True)
class Arithmetic:
    """Operations on float32 arrays that broadcast: ``convert`` rounds into the format."""

    convert: Callable[[Operand], np.ndarray]
    multiply: Callable[[Operand, Operand], np.ndarray]
    fma: Callable[[Operand, Operand, Operand], np.ndarray]
    largest: float


def _flat(*arrays: Operand) -> tuple[list[np.ndarray], np.ndarray]:
    same = np.broadcast_arrays(*(np.asarray(a, np.float32) for a in arrays))
    return [np.ascontiguousarray(a).reshape(-1) for a in same], np.empty(same[0].shape, np.float32)


def _on_arrays(kernel: Callable[..., None]) -> Callable[..., np.ndarray]:
    def apply(*arrays: Operand) -> np.ndarray:
        flat, out = _flat(*arrays)
        kernel(*flat, out.reshape(-1))
        return out

    return apply


HALF = Arithmetic(
    _on_arrays(half.round_arrays),
    _on_arrays(half.multiply_arrays),
    _on_arrays(half.fma_arrays),
    _LARGEST_HALF,
)
"""float16, every operation rounded once."""


def _single(x: Operand) -> np.ndarray:
    return np.asarray(x, np.float32)


SINGLE = Arithmetic(
    _single,
    lambda a, b: _single(a) * _single(b),
    lambda a, b, c: _single(a) * _single(b) + _single(c),
    float(np.finfo(np.float32).max),
)
"""float32; product and sum each rounded."""


def arithmetic(bit_true: bool) -> Arithmetic:
    """Return float16 arithmetic, or float32 with the same structure."""
    return HALF if bit_true else SINGLE


@dataclass(frozen=True)
class LdpuRegisters:
    """Contents of the unit's registers. One value per channel, or one for all; dimensionless.

    Attributes
    ----------
    scale, offset : (C,) float
        Per channel: value per corrected count, and value.
    gain_positive, gain_negative : (C,) float
        Per ADC: corrected count per raw count, for each polarity.
    adc_offset : (C,) float
        Per ADC, in corrected counts.
    link_scale : float
        Value per code of the link input; 0 if there is none.
    relu_before, relu_after : bool
        Rectify before, after the addition of the link input.
    per_step : float
        Output codes per value.
    limit : float
        Largest output code; infinite if nothing saturates.
    rounds : bool
        Whether outputs are integers.
    """

    scale: np.ndarray | float
    offset: np.ndarray | float = 0.0
    gain_positive: np.ndarray | float = 1.0
    gain_negative: np.ndarray | float = 1.0
    adc_offset: np.ndarray | float = 0.0
    link_scale: float = 0.0
    relu_before: bool = False
    relu_after: bool = False
    per_step: float = 1.0
    limit: float = 127.0
    rounds: bool = True


def register(values: Operand, name: str, unit: Arithmetic) -> np.ndarray:
    """Return values in the unit's format, as they stand in a register.

    Parameters
    ----------
    values : array_like of float, dimensionless, of any shape
        Numbers to load.
    name : str
        Name of the register, for the error.
    unit : Arithmetic
        Arithmetic of the unit, whose format the register has.

    Raises
    ------
    ValueError
        If a value is not finite or too large for the format.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"register {name} holds a value that is not finite")
    largest = np.abs(values).max(initial=0.0)
    if largest > unit.largest:
        raise ValueError(
            f"register {name} holds {largest:.6g}, beyond the largest number of its format, "
            f"{unit.largest:.6g}; express the unit's values in a larger step"
        )
    # Twice rounded, float64 to float32 to float16: registers are written by software.
    return unit.convert(values.astype(np.float32))


def split(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two counts of signed ADC codes: the wrong polarity counts nothing.

    Parameters
    ----------
    codes : (N, C) integers, counts
        Positive for the one direction of the current, negative for the other.

    Returns
    -------
    positive, negative : (N, C), of the type of ``codes``, counts
        Counts of each direction, none below zero; one of the two is zero.
    """
    return np.maximum(codes, 0), np.maximum(-codes, 0)


def run(
    registers: LdpuRegisters,
    positive: np.ndarray,
    negative: np.ndarray,
    link: np.ndarray | None = None,
    *,
    bit_true: bool = True,
) -> tuple[np.ndarray, int]:
    """Take counts through the unit.

    Parameters
    ----------
    registers : LdpuRegisters
        Values that the unit is loaded with.
    positive, negative : (N, C) integers, counts
        0 ... 4095. Of signed codes: :func:`split`.
    link : (N, C) integers, codes, optional
        Input codes from the link; no addition without them.
    bit_true : bool
        float16 at every step, or float32.

    Returns
    -------
    codes : (N, C) float32
        Output codes.
    saturated : int
        How many were beyond the limit.

    Raises
    ------
    ValueError
        If a count is outside 12 bits, shapes differ, a register does not fit its format, or the
        link input and ``link_scale`` do not come together.

    Source
        Steps and formats: chip paper, arXiv:2212.02872; rounding points: assumed, see above.
    """
    unit = arithmetic(bit_true)
    positive, negative = _counts(positive, "positive"), _counts(negative, "negative")
    if positive.shape != negative.shape:
        raise ValueError(f"counts differ in shape: {positive.shape} and {negative.shape}")
    if (link is None) != (registers.link_scale == 0.0):
        raise ValueError("a link input needs a link_scale other than 0, and the other way round")
    if link is not None and np.shape(link) != positive.shape:
        raise ValueError(f"link input has shape {np.shape(link)}, the counts {positive.shape}")

    def load(name: str) -> np.ndarray:
        return register(getattr(registers, name), name, unit)

    v = unit.fma(unit.convert(positive), load("gain_positive"), load("adc_offset"))
    v = unit.fma(unit.convert(negative), -load("gain_negative"), v)
    y = unit.fma(v, load("scale"), load("offset"))
    if registers.relu_before:
        y = np.maximum(y, np.float32(0))
    if link is not None:
        y = unit.fma(unit.convert(np.asarray(link, np.float32)), load("link_scale"), y)
    if registers.relu_after:
        y = np.maximum(y, np.float32(0))
    return quantise(y, load("per_step"), registers.limit, registers.rounds, unit)


def quantise(
    y: np.ndarray, per_step: Operand, limit: float, rounds: bool, unit: Arithmetic
) -> tuple[np.ndarray, int]:
    """Return the (N, C) float32 codes of values, and how many lay beyond the limit.

    Parameters
    ----------
    y : (N, C) float32, dimensionless
        Values at the end of the unit.
    per_step : float32 or (C,) float32, codes per value
        Scale of the outputs, for all channels or per channel.
    limit : float
        Largest code.
    rounds : bool
        Whether codes are integers.
    unit : Arithmetic
        Arithmetic in which the scale is applied.
    """
    sent, beyond = codes(unit.multiply(y, per_step), 1.0, limit, rounds)
    return sent, int(beyond.sum())


def _counts(counts: np.ndarray, name: str) -> np.ndarray:
    counts = np.asarray(counts)
    low, high = counts.min(initial=0), counts.max(initial=0)
    if not 0 <= low <= high <= _COUNT_LIMIT or (counts != np.floor(counts)).any():
        raise ValueError(
            f"{name} counts must be integers from 0 to {_COUNT_LIMIT} (12 bits), "
            f"got values from {low} to {high}"
        )
    return counts.astype(np.float32)
