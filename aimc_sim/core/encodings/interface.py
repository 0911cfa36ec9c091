"""Interface of encodings: targets of a block, and how its conversions make outputs.

A block of weights (R, C) becomes a block of cells (R, K): K physical columns for C outputs. Where
several columns make one output, they form groups (:class:`Group`), one after the other in the
crossbar. Every group is converted by itself, and the digital unit adds the codes of all groups,
each times its factor, before anything else happens to them. The same sum makes the net
conductance of a weight out of the net conductances of its cells (:func:`combined`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...device import family
from ...device.request import Request
from ...spec import CoreSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Targets:
    """Conductances that the programming circuit is asked for.

    Attributes
    ----------
    request : Request
        Target of each polarity of every cell, (P, R, K).
    siemens_per_weight : (C,) float64, siemens
        Combined net conductance per unit of weight, per output.
    """

    request: Request
    siemens_per_weight: Array


@dataclass(frozen=True)
class Group:
    """Columns that are converted alike and enter the outputs with one factor.

    Attributes
    ----------
    start, stop : int
        Physical columns of the block: one per output, or a single one that serves all outputs.
    factor : float
        With which the codes enter the outputs.
    shared : bool
        Whether it is a single column for all outputs.
    """

    start: int
    stop: int
    factor: float
    shared: bool = False


class Encoding(Protocol):
    """How weights are written into cells; one per kind of ``core.encoding``."""

    @property
    def polarities(self) -> int:
        """Polarities of a cell: 2, or 1."""

    @property
    def columns_per_output(self) -> int:
        """Columns of the crossbar that every further output takes."""

    @property
    def conversions(self) -> int:
        """Columns that are converted for one output, those that outputs share included."""

    @property
    def text(self) -> str:
        """The encoding in words, for reports."""

    def columns(self, outputs: int) -> int:
        """Return the physical columns of a block of some outputs."""

    def capacity(self, columns: int) -> int:
        """Return the outputs that fit a crossbar of some columns; 0 if there is no room."""

    def groups(self, columns: int) -> tuple[Group, ...]:
        """Return the groups of a block of physical columns; none: every column is an output."""

    def additions(self, outputs: int) -> int:
        """Return the additions and subtractions of codes that one MVM of a block needs."""

    def targets(self, weight: Array, core: CoreSpec, g_max_siemens: float | None) -> Targets:
        """Return the targets of a block of weights, see :func:`..weights.to_targets`."""

    def per_g_max(self, weight: Array, core: CoreSpec) -> Array:
        """Return the siemens that every polarity gains per siemens of g_max, (P, R, K) float64."""

    def full_scales(self, amperes: Sequence[float]) -> tuple[float, ...]:
        """Return the full scale of every group's converters, from the need of each group alone.

        The codes of all groups are added by shifts alone, so that the full scales have the
        ratios that shifts have.
        """


def combined(values: Array, groups: Sequence[Group]) -> Array:
    """Return values of outputs from values of physical columns.

    Parameters
    ----------
    values : (..., K) float
        Codes, or net conductances.
    groups : sequence of Group
        Empty: every column is an output.

    Returns
    -------
    (..., C) float
        In the unit of ``values``.
    """
    if not groups:
        return values
    return sum(
        (group.factor * values[..., group.start : group.stop] for group in groups[1:]),
        groups[0].factor * values[..., groups[0].start : groups[0].stop],
    )


def largest_weights(weight: Array, core: CoreSpec) -> Array:
    """Return the (C,) float64 weights that are mapped to the end of the range, per output.

    Parameters
    ----------
    weight : (R, C) float, dimensionless
        A block of weights.
    core : CoreSpec
        ``weight_scaling`` decides: one for the block, or one per output.
    """
    largest: Array = np.abs(weight).max(axis=0)
    if core.weight_scaling == "core":
        largest = np.full_like(largest, largest.max())
    return largest


def top_siemens(core: CoreSpec, g_max_siemens: float | None) -> float:
    """Return the largest conductance of an element that is asked for, in siemens.

    Parameters
    ----------
    core : CoreSpec
        Its device has a g_max of its own.
    g_max_siemens : float or None, siemens
        Of this core, where it is lower than the device's.
    """
    most = core.device.g_max_siemens
    return min(g_max_siemens or most, most)


@dataclass(frozen=True)
class Background:
    """Conductances of the polarities of a cell around a weight, in siemens.

    Attributes
    ----------
    idle : float
        Of a polarity that holds nothing.
    span : float
        Added to it by the largest weight.
    zeros_too : bool
        Whether polarities that hold nothing are programmed, to zero.
    """

    idle: float
    span: float
    zeros_too: bool


def background(core: CoreSpec, g_max_siemens: float | None) -> Background:
    """Return the background of the device's own cell, whose first element holds the weight.

    Parameters
    ----------
    core : CoreSpec
        Its device has elements and an idle state.
    g_max_siemens : float or None, siemens
        See :func:`top_siemens`.
    """
    device, laws = core.device, family.of(core.device)
    n, level = laws.elements_per_polarity(device), laws.idle_siemens(device)
    idle = n * level
    zeros_too = laws.writes_zeros(device)
    if zeros_too:  # the first element of a polarity is written, to the lowest level
        idle = (n - 1) * level + laws.lowest_siemens(device)
    filled = laws.filled(device)
    top = top_siemens(core, g_max_siemens)
    return Background(idle, max(0.0, filled * top + (n - filled) * level - idle), zeros_too)
