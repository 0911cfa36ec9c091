"""One record per operation of the digital units, and the counts and rules that records share.

An operation belongs to one of four kinds, by the numbers that it makes of integer codes:

- "codes": selects, orders or clears numbers; the result has the scale of its input.
- "integer": operations of a core's local unit; the result is rounded to integers of a calibrated
  range, unless an operand is kept in floating point already.
- "float": arithmetic of the global units, kept in floating point until a core reads it.
- "exact": whole numbers and truth values: masks, positions.

``work`` counts arithmetic operations: additions, multiplications, comparisons and function values
(exponential, tanh, square root) count one each, a product of matrices two per multiplication. It is
the usual count of floating-point operations, derived here from the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from aimc_sim.ops.geometry import ReadRule, ShapeRule

Kind = Literal["codes", "integer", "float", "exact"]
Sizes = tuple[int, ...]
Attributes = Mapping[str, Any]
"""JSON attributes of an operation, by name."""

Count = Callable[[Sequence[Sizes], Sizes, Attributes], float]
"""Sizes of the sources, sizes of the result, attributes -> operations."""


@dataclass(frozen=True)
class Operation:
    """The record of one operation.

    Attributes
    ----------
    name : str
        Name of the operation in graphs and programs.
    kind : {"codes", "integer", "float", "exact"}
        The numbers that it makes of integer codes; see the module.
    work : float or callable
        Operations per number of the result, or in all from sizes and attributes.
    by_step : bool
        Whether it reads one time step at a time, so that sequences can be streamed.
    aten : str or None
        Name of the ATen function that computes it from ``args`` and ``kwargs``; None: the name.
    run : callable or None
        ``run(torch, *values, **attributes)``, for operations whose attributes are named. The
        module torch is handed in, so that the records can be read without it.
    shape : callable or None
        Shape of the result for one image, for pipelines; None: no rule, pipelines refuse it.
    approximated : bool
        Whether torch computes it by approximations that differ between elements computed many at
        a time and one by one, so that bits would depend on the size of a batch.
    reads : callable or None
        Which pixels of a source a pixel of the result reads; None: the same pixel.
    """

    name: str
    kind: Kind
    work: float | Count = 0.0
    by_step: bool = False
    approximated: bool = False
    aten: str | None = None
    run: Callable[..., Any] | None = None
    shape: ShapeRule | None = None
    reads: ReadRule | None = None

    def operations(self, sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
        """Return the number of arithmetic operations behind a result.

        Parameters
        ----------
        sources : sequence of tuple of int
            Sizes of the values read.
        result : tuple of int
            Sizes of the result.
        attrs : mapping of str to JSON values
            Attributes of the operation.

        Returns
        -------
        float
            Operations, counted as the module says.
        """
        if callable(self.work):
            return self.work(sources, result, attrs)
        return self.work * prod(result)


def records(kind: Kind, work: float | Count, names: str, **more: Any) -> tuple[Operation, ...]:
    """Return records that differ in their names only.

    Parameters
    ----------
    kind : {"codes", "integer", "float", "exact"}
        Kind of the operations.
    work : float or callable
        Arithmetic operations per number of the result, or in all from sizes and attributes.
    names : str
        Names of the operations, with spaces between them.
    **more : attributes of Operation
        Further attributes of the records.

    Returns
    -------
    tuple of Operation
        A record for every name.
    """
    return tuple(Operation(name, kind, work, **more) for name in names.split())


def per_input(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count one operation for every number read."""
    return prod(sources[0]) if sources else 0.0


def per_window(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count one operation for every number in a window of pooling, window by window."""
    kernel = attrs["kernel_size"] if "kernel_size" in attrs else attrs["args"][1]
    return prod(kernel if isinstance(kernel, list) else [kernel]) * prod(result)


def per_product(sources: Sequence[Sizes], result: Sizes, attrs: Attributes) -> float:
    """Count a product of matrices: two operations for every multiplication."""
    inner = sources[0][-1] if sources and sources[0] else 1
    return 2.0 * inner * prod(result)
