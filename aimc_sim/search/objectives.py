"""What a search can be for: names, directions, units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Objective:
    """One quantity of a design.

    Attributes
    ----------
    name : str
    unit : str
        "" for a plain number.
    larger : bool
        Whether more is better.
    about : str
        For messages and axes.
    """

    name: str
    unit: str
    larger: bool
    about: str

    def gain(self, value: float) -> float:
        """Return the value with the sign that makes larger better."""
        return value if self.larger else -value

    def excess(self, value: float, bound: float) -> float:
        """Return by how much a value misses its bound, relative to it; <= 0 if it is met."""
        miss = bound - value if self.larger else value - bound
        return miss / abs(bound) if bound else miss


OBJECTIVES: Mapping[str, Objective] = {
    found.name: found
    for found in (
        Objective(ACCURACY, "", True, "accuracy"),
        Objective("energy", "J", False, "energy per inference"),
        Objective("latency", "s", False, "latency of the first inference"),
        Objective("throughput", "1/s", True, "inferences per second"),
        Objective("cores", "", False, "cores in use"),
    )
}
"""By name. Accuracy is a share 0..1, the mean over programmings; the others are the model of
:mod:`aimc_sim.analysis.performance`, exact as numbers and no better than that model."""
