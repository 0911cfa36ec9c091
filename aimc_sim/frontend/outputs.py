"""The tree of results: tuples, lists and dictionaries that a model returns, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def arranged(structure: Any, results: Iterator[Any]) -> list[Any]:
    """Return results in the containers in which a model returns them.

    Parameters
    ----------
    structure : pytree spec
        The containers, from the export.
    results : iterator of leaves
        Leaves of the tree, from left to right.

    Returns
    -------
    list
        A tree of results, see :class:`aimc_sim.chip.program.Program`. Containers of a kind
        without a counterpart become tuples.
    """
    if structure.type is None or structure.is_leaf():
        leaf: list[Any] = next(results)
        return leaf
    children = [arranged(child, results) for child in structure.children()]
    if structure.type in (tuple, list):
        return ["list" if structure.type is list else "tuple", children]
    keys = structure.context if isinstance(structure.context, list | tuple) else None
    if keys is not None and len(keys) == 2 and isinstance(keys[1], list | tuple):
        keys = keys[1]
    if (
        keys is not None
        and len(keys) == len(children)
        and all(isinstance(key, str | int) for key in keys)
    ):
        return ["dict", {str(key): child for key, child in zip(keys, children, strict=True)}]
    return ["tuple", children]
