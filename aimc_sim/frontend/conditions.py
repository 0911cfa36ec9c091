"""Conditions on the sizes of inputs under which an export is true of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from torch import Tensor
from torch.utils import _pytree as pytree

from aimc_sim.frontend.sizes import Tree, UnknownSizeError, condition, tree
from aimc_sim.frontend.values import Input


def symbols_of(inputs: Sequence[Input]) -> dict[sympy.Symbol, Tree]:
    """Return the tree that every symbol in the inputs' sizes stands for.

    Parameters
    ----------
    inputs : sequence of Input
        Tensors that enter.

    Returns
    -------
    dict of sympy.Symbol to tree
        Trees of sizes of the inputs, see :mod:`.sizes`.
    """
    found: dict[sympy.Symbol, Tree] = {}
    for given in inputs:
        for dim, size in enumerate(given.sizes):
            if isinstance(size, sympy.Symbol):
                found.setdefault(size, {"size": [given.name, dim]})
    for given in inputs:
        for dim, size in enumerate(given.sizes):
            unknown = [] if isinstance(size, int) else size.free_symbols - set(found)
            if len(unknown) == 1:  # such as 2 s, which divides evenly
                (symbol,) = unknown
                factor = size.coeff(symbol)
                if factor.is_Integer and size == factor * symbol:
                    found[symbol] = {"//": [{"size": [given.name, dim]}, int(factor)]}
    return found


def conditions_of(
    exported: Any, inputs: Sequence[Input], symbols: Mapping[sympy.Symbol, Tree]
) -> list[Tree]:
    """Return the conditions on sizes: fixed ones, ranges, and decisions of the forward method.

    Parameters
    ----------
    exported : torch.export.ExportedProgram
        The export.
    inputs : sequence of Input
        Tensors that enter.
    symbols : mapping of sympy.Symbol to tree
        The tree that every symbol stands for.

    Returns
    -------
    list of trees
        Trees whose value is true where the record is true of the inputs.
    """
    found: list[Tree] = []
    for given in inputs:
        found.append({"==": [{"rank": given.name}, len(given.sizes)]})
        for dim, size in enumerate(given.sizes):
            own = {"size": [given.name, dim]}
            try:
                if isinstance(size, int) or symbols.get(size) != own:
                    found.append({"==": [own, tree(size, symbols)]})
            except UnknownSizeError:
                found.append({"==": [own, int(exported.example_inputs[0][0].shape[dim])]})
    for symbol, allowed in exported.range_constraints.items():
        if symbol not in symbols:
            continue
        for limit, relation in ((allowed.lower, ">="), (allowed.upper, "<=")):
            if limit.is_Integer and not (relation == ">=" and limit <= 0):
                found.append({relation: [symbols[symbol], int(limit)]})
    paths = _argument_paths(exported)

    def size_of(text: str, dim: int) -> Tree:
        if text not in paths:
            raise UnknownSizeError(text)
        return {"size": [inputs[paths[text]].name, dim]}

    for code in getattr(exported, "_guards_code", None) or ():
        try:
            found.append(condition(code, size_of))
        except (UnknownSizeError, SyntaxError):
            # Not understood: the record is then true of the recorded sizes only.
            tensors = [x for x in pytree.tree_leaves(exported.example_inputs)
                       if isinstance(x, Tensor)]  # fmt: skip
            found += [
                {"==": [{"size": [given.name, dim]}, n]}
                for given, x in zip(inputs, tensors, strict=True)
                for dim, n in enumerate(x.shape)
            ]
    return [part for place, part in enumerate(found) if part not in found[:place]]


def _argument_paths(exported: Any) -> dict[str, int]:
    """Return the number of the tensor behind every way of writing it in a condition."""
    leaves, _ = pytree.tree_flatten_with_path(exported.example_inputs)
    found: dict[str, int] = {}
    for path, leaf in leaves:
        if isinstance(leaf, Tensor):
            number = len(set(found.values()))
            side, *keys = [getattr(p, "idx", getattr(p, "key", None)) for p in path]
            name = ("args", "kwargs")[keys[0] or 0] if side == 0 else str(keys[0])
            text = f"L[{name!r}]" + "".join(f"[{key!r}]" for key in keys[1:])
            found[text] = number
    return found
