"""From activations and errors to pulse trains: scales, lengths, words of bits.

T. Gokmen and Y. Vlasov, Front. Neurosci. 10, 333 (2016), doi:10.3389/fnins.2016.00333: a row fires
in each slot with probability ``B |x|``, a column with ``A |d|``, and a device gets a pulse where
both do. Length and scales as AIHWKit chooses them (``rpu_pulsed_meta_parameter.cpp`` at commit
4545f11, read)::

    k = lr max|x| max|d| / dw                  pulses of the most driven device of a vector
    A = B = sqrt(lr / (dw BL))
    pulse-length management:  BL = min(ceil(k), length)
    update management:        A *= sqrt(max|x| / max|d|),  B *= sqrt(max|d| / max|x|), where
                              max|d| is replaced by max|d| length / k if k > length

Without either and with ``lr > dw length``, A = B = 1 and BL = ceil(lr / dw). Probabilities stay
at 1 where they would exceed it: the update of that element is clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aimc_sim.kernels import trains as kernels
from aimc_sim.rng import Key, Purpose

MOST_SLOTS = 4096
"""Longest train of a vector: 64 words."""

_ROWS, _COLUMNS = np.uint32(1), np.uint32(2)
"""Streams of the two sides, see :func:`aimc_sim.kernels.trains.draw`."""


@dataclass(frozen=True)
class Scales:
    """Lengths of the trains of vectors, and factors that make their probabilities.

    Attributes
    ----------
    length : (B,) int64
        Slots; 0: no pulse.
    rows, columns : (B,) float64
        Factors on ``|x|`` and ``|d|``.
    driven : (B,) float64
        Pulses that the most driven device of the vector is owed.
    """

    length: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    driven: np.ndarray


@dataclass(frozen=True)
class Trains:
    """Trains of a batch, W words of 64 slots to a vector.

    Attributes
    ----------
    rows, columns : (B W, R) and (B W, C) uint64
        Bits.
    signs : (B W, R) and (B W, C) int8
        A pulse has the sign of their product: that of ``-x d``.
    words : int
        W.
    slots : int
        Slots of all vectors.
    """

    rows: np.ndarray
    columns: np.ndarray
    signs: tuple[np.ndarray, np.ndarray]
    words: int
    slots: int


def scales(
    x: np.ndarray, d: np.ndarray, lr: float | np.ndarray, step: float, length: int,
    pulse_length_management: bool = True, update_management: bool = True,
) -> Scales:  # fmt: skip
    """Return lengths and factors of the trains of a batch.

    Parameters
    ----------
    x, d : (B, R) and (B, C) float32
        Inputs and errors.
    lr : float, or (B,) float64
        Learning rate, >= 0.
    step : float
        dw: change of a weight by a pulse.
    length : int
        Slots of a train; the most of them with pulse-length management.
    pulse_length_management, update_management : bool
        As in the module's description.

    Returns
    -------
    Scales
    """
    x_most = np.abs(x).max(axis=1, initial=0.0).astype(np.float64)
    d_most = np.abs(d).max(axis=1, initial=0.0).astype(np.float64)
    rate = np.broadcast_to(np.asarray(lr, np.float64), x_most.shape)
    driven = rate * x_most * d_most / step
    none = driven <= 0
    slots = np.full(x_most.shape, length, np.int64)
    if pulse_length_management:
        slots = np.clip(np.ceil(driven), 1, length).astype(np.int64)
    factor = np.sqrt(rate / (step * slots))
    if not pulse_length_management:
        beyond = rate > step * length
        needed = np.minimum(np.ceil(rate / step), MOST_SLOTS).astype(np.int64)
        slots, factor = np.where(beyond, needed, slots), np.where(beyond, 1.0, factor)
    rows, columns = factor.copy(), factor.copy()
    if update_management:
        with np.errstate(divide="ignore", invalid="ignore"):
            bounded = d_most * np.where(driven > length, length / driven, 1.0)
            ratio = np.sqrt(np.where(none, 1.0, x_most / bounded))
        rows, columns = rows / ratio, columns * ratio
    slots = np.where(none, 0, slots)
    return Scales(slots, rows, columns, driven)


def draw(x: np.ndarray, d: np.ndarray, scale: Scales, key: Key, first: int) -> Trains:
    """Return the trains of a batch.

    Parameters
    ----------
    x, d : (B, R) and (B, C) float32
        Inputs and errors.
    scale : Scales
        Of these vectors.
    key : Key
        Of the engine.
    first : int
        Number of the first vector in the life of the engine: the address of its draws.

    Returns
    -------
    Trains
    """
    words = max(1, -(-int(scale.length.max(initial=1)) // kernels.SLOTS))
    found, own = [], np.array(key.child(Purpose.LEARNING_UPDATE).words())
    for values, factor, stream in (
        (np.ascontiguousarray(x, np.float32), scale.rows, _ROWS),
        (np.ascontiguousarray(-d, np.float32), scale.columns, _COLUMNS),
    ):
        shape = (len(values) * words, values.shape[1])
        trains, signs = np.empty(shape, np.uint64), np.empty(shape, np.int8)
        kernels.draw(values, factor, scale.length, first, stream, own, trains, signs)
        found.append((trains, signs))
    (rows, row_signs), (columns, column_signs) = found
    return Trains(rows, columns, (row_signs, column_signs), words, int(scale.length.sum()))
