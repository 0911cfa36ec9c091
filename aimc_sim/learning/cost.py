"""Cost of the digital part of an update: outer products in multipliers, and from random bits.

The ratio between both is the paper's: the abstract of ESSOP (arXiv:2003.11256) gives 82.2 % better
energy and 93.7 % better area efficiency for the outer product, in 14 nm and against a highly
pipelined FP16 multiplier. Both are taken as shares that are saved, so that 17.8 % of the energy
and 6.3 % of the area are left. Lengths and widths of its random numbers were not found: the ratio
does not depend on those of :class:`~aimc_sim.learning.products.StochasticProduct`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aimc_sim import arguments

FP16_MULTIPLY_JOULES = 1.1e-12
"""A multiplication of half-precision numbers. ASSUMED: 45 nm, M. Horowitz, ISSCC 2014, RECALLED;
the paper's 14 nm multiplier has another energy, which was not found."""

ESSOP_ENERGY_SAVED, ESSOP_AREA_SAVED = 0.822, 0.937
"""Shares that ESSOP saves of an outer product's energy and area, from its abstract (READ)."""


@dataclass(frozen=True)
class OuterProductCost:
    """Energy of outer products that a digital unit makes.

    Attributes
    ----------
    multiplications : int
        Products of two numbers: vectors x rows x columns.
    fp16_joules : float, joules
        In half-precision multipliers, by :data:`FP16_MULTIPLY_JOULES` (assumption).
    essop_joules : float, joules
        From random bits, by the paper's ratio.
    essop_area_ratio : float
        Area of the unit in areas of multipliers, by the paper's ratio.
    """

    multiplications: int
    fp16_joules: float
    essop_joules: float
    essop_area_ratio: float

    def lines(self) -> list[str]:
        """Return lines of a report; each says whose number it is."""
        return [
            f"{self.multiplications:,} multiplications: "
            f"{_energy(self.fp16_joules)} in FP16 multipliers (assumed: 1.1 pJ each, 45 nm)",
            f"as ESSOP: {_energy(self.essop_joules)}, {100 * self.essop_area_ratio:.1f} % of "
            "the area (paper's ratios: 82.2 % and 93.7 % less, 14 nm, abstract)",
        ]


def outer_products(vectors: int, rows: int, columns: int) -> OuterProductCost:
    """Return the cost of the outer products of one matrix.

    Parameters
    ----------
    vectors : int
        Pairs of inputs and errors, >= 0.
    rows, columns : int
        Size of the matrix, >= 1.

    Returns
    -------
    OuterProductCost
        In multipliers, and as ESSOP.
    """
    most = 2**62
    count = arguments.whole(vectors, "vectors", 0, most)
    count *= arguments.whole(rows, "rows", 1, most) * arguments.whole(columns, "columns", 1, most)
    return of_multiplications(count)


def of_multiplications(count: int) -> OuterProductCost:
    """Return the cost of a number of multiplications, of several matrices for example.

    Parameters
    ----------
    count : int
        Products of two numbers.

    Returns
    -------
    OuterProductCost
        In multipliers, and as ESSOP.
    """
    joules = count * FP16_MULTIPLY_JOULES
    return OuterProductCost(
        count, joules, joules * (1 - ESSOP_ENERGY_SAVED), 1 - ESSOP_AREA_SAVED
    )  # fmt: skip


def _energy(joules: float) -> str:
    """Return an energy with its prefix."""
    for unit, size in (("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("nJ", 1e-9)):
        if joules >= size:
            return f"{joules / size:.4g} {unit}"
    return f"{joules / 1e-12:.4g} pJ"
