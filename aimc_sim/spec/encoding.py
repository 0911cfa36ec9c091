"""How a weight is written into cells: which columns, which devices, which conversions.

The behaviour of every kind is in :mod:`aimc_sim.core.encodings`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Spec, quantity

MOST_DEVICES = 16
"""Devices of one polarity at most: the draws of a crossbar of 4,096 x 4,096 such cells still have
an address each in 32 bits."""


class DifferentialEncoding(Spec):
    """One column per output; the weight is the difference of the two polarities of a cell."""

    kind: Literal["differential"] = quantity(
        "-", "the difference of two polarities in one column", "differential"
    )
    source: str = ""


class SeveralDevicesEncoding(Spec):
    """A differential cell of any number of devices per polarity, all under one device law."""

    kind: Literal["several-devices"] = quantity(
        "-", "a differential cell of n devices per polarity", "several-devices"
    )
    devices: int = quantity("-", "devices of one polarity", 2, ge=1, le=MOST_DEVICES)
    order: Literal["equal", "fill"] = quantity(
        "-", "equal: all devices have the same share of the weight; fill: devices are brought to "
        "g_max one after the other, the next one holds the rest, the others stay in RESET",
        "equal",
    )  # fmt: skip
    source: str = ""


class OffsetColumnEncoding(Spec):
    """Cells of one polarity around a middle conductance, and one reference column per block."""

    kind: Literal["offset-column"] = quantity(
        "-", "unipolar cells G = G_mid + w s, less the code of one column of G_mid",
        "offset-column",
    )  # fmt: skip
    source: str = (
        "a column of one value whose result is subtracted digitally: A. Shafiee et al., ISCA 2016, "
        "doi:10.1145/3007787.3001139 (unit column); G_mid in the middle of the range: CrossSim, "
        "core style OFFSET (Sandia National Laboratories)"
    )


class BitSlicesEncoding(Spec):
    """Integer weights whose digits are in columns of their own, shifted and added digitally."""

    kind: Literal["bit-slices"] = quantity(
        "-", "digits of integer weights in separate differential columns", "bit-slices"
    )
    weight_bits: int = quantity("bit", "sign + magnitude of a weight", 8, ge=2, le=24)
    bits_per_cell: int = quantity("bit", "of the magnitude in one column", 2, ge=1, le=12)
    source: str = (
        "slices in separate columns, shift and add: A. Shafiee et al., ISCA 2016, "
        "doi:10.1145/3007787.3001139; a differential pair per slice: CrossSim, bit slicing of "
        "style BALANCED (Sandia National Laboratories)"
    )

    @model_validator(mode="after")
    def _holds_no_more_than_the_weight(self) -> Self:
        if self.bits_per_cell > self.weight_bits - 1:
            raise ValueError(
                f"bits_per_cell = {self.bits_per_cell} is more than the {self.weight_bits - 1} "
                f"magnitude bits of a weight of weight_bits = {self.weight_bits}; use at most "
                f"{self.weight_bits - 1}"
            )
        return self

    @property
    def slices(self) -> int:
        """Columns of one output."""
        return -(-(self.weight_bits - 1) // self.bits_per_cell)

    @property
    def largest(self) -> int:
        """Largest magnitude of an integer weight."""
        return (1 << (self.weight_bits - 1)) - 1


WeightEncoding = Annotated[
    DifferentialEncoding | SeveralDevicesEncoding | OffsetColumnEncoding | BitSlicesEncoding,
    Field(discriminator="kind"),
]
