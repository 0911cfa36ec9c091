"""The wires of a crossbar: from a driver along the cells to a converter."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from .base import Spec, quantity


class WireSpec(Spec):
    """Resistances of a crossbar's lines; 0 ohm is an ideal wire and is computed exactly.

    A core without this effect has no wires at all (``None``); geometry in
    :mod:`aimc_sim.core.wires`.
    """

    row_ohm: float = quantity("ohm", "input line, from one cell to the next", 0.0)
    col_ohm: float = quantity("ohm", "output line, from one cell to the next", 0.0)
    driver_ohm: float = quantity("ohm", "from the driver to the first cell of an input line", 0.0)
    sense_ohm: float = quantity("ohm", "from the last cell of an output line to the ADC", 0.0)
    idle: Literal["grounded", "high-impedance"] = quantity(
        "-", "how an input line is held while it has no pulse", "grounded"
    )
    source: str = ""

    @field_validator("row_ohm", "col_ohm", "driver_ohm", "sense_ohm")
    @classmethod
    def _passive(cls, ohm: float) -> float:
        if ohm < 0:
            raise ValueError("a wire has no negative resistance; 0 means an ideal wire")
        return ohm

    def transposed(self) -> WireSpec:
        """Return the wires with inputs and outputs exchanged."""
        return WireSpec(
            row_ohm=self.col_ohm, col_ohm=self.row_ohm, driver_ohm=self.sense_ohm,
            sense_ohm=self.driver_ohm, idle=self.idle, source=self.source,
        )  # fmt: skip
