"""Objectives of a search: names, directions, units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .. import arguments, metrics
from ..metrics import Metric

ACCURACY, VALUE = "accuracy", "value"
"""The search's metric as an objective and as a column of the table of designs: ``accuracy`` if it
is the accuracy, else ``value``, as in the tables of studies."""


@dataclass(frozen=True)
class Objective:
    """One quantity of a design.

    Attributes
    ----------
    name : str
        In the file of a search, and of the column in the table of designs.
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


COSTS: Mapping[str, Objective] = {
    found.name: found
    for found in (
        Objective("energy", "J", False, "energy per inference"),
        Objective("latency", "s", False, "latency of the first inference"),
        Objective("throughput", "1/s", True, "inferences per second"),
        Objective("cores", "", False, "cores in use"),
    )
}
"""By name: the model of :mod:`aimc_sim.analysis.performance`, exact as numbers and no better than
that model."""


def quality(metric: str) -> str:
    """Return the name of the objective that a metric is: ``accuracy``, or else ``value``.

    Parameters
    ----------
    metric : str
        As in the file of a search, or the name of a :class:`aimc_sim.metrics.Metric`.
    """
    return ACCURACY if metric == metrics.ACCURACY.name else VALUE


def goals(metric: Metric) -> Mapping[str, Objective]:
    """Return the objectives of searches that are scored by a metric, by name; the metric first.

    Its values are means over programmings, as the metric gives them: shares are 0..1.
    """
    name = quality(metric.name)
    return {name: Objective(name, metric.unit, metric.larger, metric.name), **COSTS}


def known(name: str, metric: str) -> str:
    """Return the name of an objective: a metric's own becomes ``accuracy`` or ``value``.

    Parameters
    ----------
    name : str
        As it is written in the file of a search.
    metric : str
        The metric of the search.

    Raises
    ------
    ValueError
        If there is no such objective, or it is a metric that the search is not scored by.
    """
    if name in (VALUE, metric):
        return quality(metric)
    if name in metrics.BY_NAME:
        raise ValueError(
            f"'{name}' is a metric and the search is scored by '{metric}'; write 'value' for that, "
            f"or metric: {name}"
        )
    if name not in COSTS:
        names = (quality(metric), *COSTS)
        raise ValueError(arguments.unknown(f"no objective '{name}'", name, names))
    return name


def demand_possible(name: str, bound: float, metric: Metric | None) -> None:
    """Check that a bound of an objective is one that its values can have.

    Parameters
    ----------
    name : str
        The objective.
    bound : float
        The worst value allowed.
    metric : Metric or None
        Of the search; None while a metric of the user's own is not loaded yet.

    Raises
    ------
    ValueError
        If it is not.
    """
    if name in COSTS:
        low, high = 0.0, math.inf
    else:
        low, high = (-math.inf, math.inf) if metric is None else metric.bounds
        if (low, high) == (0.0, 1.0) and not low <= bound <= high:
            raise ValueError(f"{name} = {bound}: give a share 0..1, not percent")
    if math.isinf(bound) or not low <= bound <= high:
        limit = "" if math.isinf(low) else f" >= {low:g}"
        raise ValueError(f"{name} = {bound}: wanted a finite number{limit}")
