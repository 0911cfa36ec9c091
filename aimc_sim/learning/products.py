"""Outer products of activations and errors: exact, and from random bits (ESSOP).

ESSOP (stochastic outer products), arXiv:2003.11256 (ISCAS 2020), of which the abstract
was read: stochastic computing of the outer product for unbounded activations (ReLU), random
numbers used again, bit shifts in place of floating-point multiplications. The form here is DERIVED
from the abstract. The lengths and the accuracies of the paper were not found.

With ``s`` the smallest power of two that no magnitude exceeds, one for the inputs and one for the
errors, ``p_i = |x_i| / s_x`` and ``q_j = |d_j| / s_d`` lie between 0 and 1. In slot l of L all rows
are compared with one random number ``u_l`` and all columns with another, ``v_l``::

    x_i d_j  is estimated by  sign s_x s_d / L * sum_l [u_l < p_i] [v_l < q_j]

The numbers have b bits. Of p only its first b bits count, so values below ``2^-b`` never fire: a
bias, not a variance. Random numbers are ideal here (Philox in place of a shift register).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aimc_sim import arguments
from aimc_sim.kernels import outer
from aimc_sim.rng import Key

MOST_BITS, MOST_SLOTS = 16, 64


class OuterProduct(ABC):
    """How the outer products of a batch are made; frozen."""

    @abstractmethod
    def sum(
        self, x: np.ndarray, d: np.ndarray, key: Key, number: int, first: int = 0
    ) -> np.ndarray:
        """Return the sum of the outer products of a batch.

        Parameters
        ----------
        x : (B, R) float32
            Inputs of the matrix, one row per vector.
        d : (B, C) float32
            Gradient of the loss by its outputs.
        key : Key
            Of all draws.
        number : int
            Number of the step, >= 0, part of the address of every draw.
        first : int
            Number of the first vector within the step, >= 0: parts of a batch add up to the batch.

        Returns
        -------
        (R, C) float32
            Sum over the vectors.
        """


@dataclass(frozen=True)
class ExactProduct(OuterProduct):
    """Multiplication in float32."""

    def sum(
        self, x: np.ndarray, d: np.ndarray, key: Key, number: int, first: int = 0
    ) -> np.ndarray:
        """Return ``x^T d``; arguments as in the base class."""
        total: np.ndarray = x.T @ d
        return total


@dataclass(frozen=True)
class StochasticProduct(OuterProduct):
    """ESSOP: coincidences of random bits.

    Attributes
    ----------
    bits : int
        Bits of a random number, 1 to 16. 8: RECALLED, of low confidence.
    length : int
        Slots of a train, a power of two from 1 to 64, so that dividing by it is a shift. 16: an
        assumption, the paper's choice was not found.
    scale : "vector" or "batch"
        Which numbers share a power of two: those of one vector, or all of a call.
    """

    bits: int = 8
    length: int = 16
    scale: Literal["vector", "batch"] = "vector"

    def __post_init__(self) -> None:
        arguments.whole(self.bits, "bits", 1, MOST_BITS)
        arguments.whole(self.length, "length", 1, MOST_SLOTS)
        if self.length & (self.length - 1):
            raise ValueError(
                f"length = {self.length}: wanted 1, 2, 4, 8, 16, 32 or 64, so that the division by "
                "it is a shift of bits"
            )
        arguments.choice(self.scale, "scale", ("vector", "batch"))

    def sum(
        self, x: np.ndarray, d: np.ndarray, key: Key, number: int, first: int = 0
    ) -> np.ndarray:
        """Return the sum of the estimates, arguments as in the base class.

        The estimates are whole multiples of powers of two and are summed in float64: the sum is
        exact, whatever the order, as long as the exponents of a batch span fewer than 53 bits.

        Raises
        ------
        ValueError
            If x and d have different numbers of vectors, or a number is not finite.
        """
        x, d = _plain(x, "x"), _plain(d, "d")
        if x.ndim != 2 or d.ndim != 2 or len(x) != len(d):
            raise ValueError(f"x has the shape {x.shape} and d {d.shape}: wanted (B, R) and (B, C)")
        total = np.zeros((d.shape[1], x.shape[1]))
        outer.vectors(x, d, *self._powers(x, d), *self._address(key, number, first), total)
        return np.ascontiguousarray(total.T, np.float32)

    def patches(
        self,
        x: np.ndarray,
        d: np.ndarray,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int],
        key: Key,
        number: int,
    ) -> np.ndarray:
        """Return the estimate of the gradient of a convolution's weights.

        Every pixel that comes out is an outer product of its own, of the patch that it is computed
        from and of its error, with random numbers of its own.

        Parameters
        ----------
        x : (B, H, W, C) float32
            Maps that go in, padded.
        d : (B, P, Q, N) float32
            Gradient of the loss by the maps that come out.
        kernel, stride, dilation : (int, int)
            Of the convolution.
        key : Key
            Of all draws.
        number : int
            Number of the step.

        Returns
        -------
        (N, kernel[0], kernel[1], C) float32
            Sum over pixels and images.
        """
        x, d = _plain(x, "x"), _plain(d, "d")
        sizes = [np.array(one, np.int64) for one in (kernel, stride, dilation)]
        reach = (np.array(d.shape[1:3]) - 1) * sizes[1] + (sizes[0] - 1) * sizes[2] + 1
        if len(x) != len(d) or (reach > x.shape[1:3]).any():
            raise ValueError(
                f"{len(d)} maps of {d.shape[1:3]} pixels come from {len(d)} of {tuple(reach)}, got "
                f"{len(x)} of {x.shape[1:3]}"
            )
        total = np.zeros((d.shape[3], kernel[0] * kernel[1] * x.shape[3]))
        outer.patches(x, d, *sizes, *self._powers(x, d), *self._address(key, number, 0), total)
        return total.reshape(d.shape[3], *kernel, x.shape[3]).astype(np.float32)

    def moments(self, x: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of the estimate of a single outer product, in closed form.

        ``E = sign s_x s_d p q`` and ``Var = (s_x s_d)^2 p q (1 - p q) / L`` (DERIVED), with p and
        q cut to their first b bits.

        Parameters
        ----------
        x : (R,) float32
            Values of the rows.
        d : (C,) float32
            Values of the columns.

        Returns
        -------
        mean, variance : (R, C) float64
            Of every entry.
        """
        x, d = _plain(x, "x"), _plain(d, "d")
        (p, x_unit), (q, d_unit) = self._probabilities(x), self._probabilities(d)
        both, unit = np.outer(p, q), x_unit * d_unit
        signs = np.outer(np.sign(x), np.sign(d))
        return signs * both * unit, both * (1 - both) * unit**2 / self.length

    def _probabilities(self, values: np.ndarray) -> tuple[np.ndarray, float]:
        """Return how probably each value fires in a slot, and the power of two of all."""
        exponent = int(outer.power(values))
        if exponent == outer.NO_POWER:
            return np.zeros(values.shape), 0.0
        scaled = np.abs(values.astype(float)) * 2.0 ** (self.bits - exponent)
        return np.floor(scaled) / 2.0**self.bits, 2.0**exponent

    def _powers(self, x: np.ndarray, d: np.ndarray) -> tuple[int, int, int, int]:
        """Return the powers of two of both sides as kernels want them, bits and length."""
        if self.scale == "vector":
            return int(outer.NO_POWER), int(outer.NO_POWER), self.bits, self.length
        largest = [np.abs(one).max(initial=0).reshape(1) for one in (x, d)]
        return int(outer.power(largest[0])), int(outer.power(largest[1])), self.bits, self.length

    @staticmethod
    def _address(key: Key, number: int, first: int) -> tuple[int, int, np.uint32, np.uint32]:
        """Return the address of the first draw as kernels want it."""
        return first, number, *key.words()


def _plain(values: np.ndarray, name: str) -> np.ndarray:
    """Return an array as the kernels want it; refuse numbers that are not finite."""
    found = np.ascontiguousarray(values, np.float32)
    bad = np.count_nonzero(~np.isfinite(found))
    if bad:
        raise ValueError(
            f"{name} holds {bad} numbers that are not finite: the training has diverged; lower the "
            "learning rate"
        )
    return found
