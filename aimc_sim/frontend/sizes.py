"""Sizes as expressions: from the symbols of an export to JSON trees, and back to numbers.

A tree is a number, ``{"size": [input, dim]}``, or arithmetic on trees
(:data:`aimc_sim.digital.apply.ARITHMETIC`). Digital steps carry trees, so that a program computes
its sizes from those of its inputs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sympy
import torch

Tree = Any
_Symbols = Mapping[sympy.Symbol, Tree]


class UnknownSizeError(Exception):
    """A size that is not known from the sizes of the inputs."""


def expression(size: Any) -> Any:
    """Return the sympy expression of a symbolic number.

    Parameters
    ----------
    size : int, float, bool, SymInt, SymFloat, SymBool or other argument
        The number.

    Returns
    -------
    sympy expression, int, or the argument
        The expression, an int if it is a whole number; other arguments stay.
    """
    if isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool):
        found = size.node.expr
        if found.is_Integer:
            return int(found)
        return found
    return size


def expressions(sizes: Iterable[Any]) -> tuple[Any, ...]:
    """Return the sizes of a tensor as numbers and expressions.

    Parameters
    ----------
    sizes : iterable of int and SymInt
        Size of every dimension.

    Returns
    -------
    tuple of int and sympy expressions
        Size of every dimension.
    """
    return tuple(expression(size) for size in sizes)


def tree(size: Any, symbols: _Symbols) -> Tree:
    """Return a size as a tree.

    Parameters
    ----------
    size : int, float, bool, SymInt, SymFloat or sympy expression
        The size, or a number computed from sizes.
    symbols : mapping of sympy.Symbol to tree
        The tree that every symbol stands for.

    Returns
    -------
    number or dict
        The tree.

    Raises
    ------
    UnknownSizeError
        If it depends on data, or on a function without a counterpart here.
    """
    found = expression(size)
    if isinstance(found, bool | int | float):
        return found
    return _tree(found, symbols)


def _tree(e: Any, symbols: _Symbols) -> Tree:
    """Return an expression as a tree."""
    if isinstance(e, sympy.Symbol):
        if e not in symbols:
            raise UnknownSizeError(f"the size {e} depends on data")
        return symbols[e]
    if e.is_Integer:
        return int(e)
    if e in (sympy.true, sympy.false):
        return bool(e)
    if e.is_Rational:
        return {"/": [int(e.p), int(e.q)]}
    if e.is_Float or e.is_number:
        return float(e)
    parts = [_tree(part, symbols) for part in e.args]
    if isinstance(e, sympy.Add):
        return {"+": parts}
    if isinstance(e, sympy.Mul):
        return {"*": parts}
    if isinstance(e, sympy.Pow):
        if parts[1] == -1:
            return {"/": [1, parts[0]]}
        return {"**": parts}
    name = type(e).__name__
    if name in _FUNCTIONS:
        return {_FUNCTIONS[name]: parts}
    if name == "ModularIndexing":
        return {"%": [{"//": parts[:2]}, parts[2]]}
    if name == "Where":
        return {"if": parts}
    raise UnknownSizeError(f"the size {e} uses {name}, which is not known")


_FUNCTIONS = {
    "FloorDiv": "//", "CleanDiv": "//", "CeilDiv": "ceildiv", "Mod": "%", "PythonMod": "%",
    "IntTrueDiv": "/", "FloatTrueDiv": "/", "PowByNatural": "**", "FloatPow": "**", "Pow": "**",
    "Max": "max", "Min": "min", "ToFloat": "float", "TruncToInt": "int", "FloorToInt": "floor",
    "CeilToInt": "ceil", "RoundToInt": "round", "TruncToFloat": "int", "floor": "floor",
    "ceiling": "ceil", "Abs": "abs", "OpaqueUnaryFn_sqrt": "sqrt", "Equality": "==",
    "Unequality": "!=", "StrictLessThan": "<", "LessThan": "<=", "StrictGreaterThan": ">",
    "GreaterThan": ">=", "And": "and", "Or": "or", "Not": "not",
}  # fmt: skip


_OPERATORS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Div: "/", ast.Mod: "%",
    ast.Pow: "**", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.And: "and", ast.Or: "or", ast.Not: "not",
}  # fmt: skip

_CALLS = {"max": "max", "min": "min", "float": "float", "int": "int", "sqrt": "sqrt", "abs": "abs"}


def condition(code: str, size: Callable[[str, int], Tree]) -> Tree:
    """Return a condition on sizes, as torch.export prints it, as a tree.

    Parameters
    ----------
    code : str
        The condition, such as ``"L['x'].size()[2] % 2 == 0"``.
    size : callable
        Function from the text before ``.size()`` and the dimension to a tree.

    Returns
    -------
    number or dict
        The tree, whose value is true where the condition holds.

    Raises
    ------
    UnknownSizeError
        If it holds anything but arithmetic and comparisons of sizes.
    """

    def visit(node: ast.expr) -> Tree:
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return {_OPERATORS[type(node.op)]: [visit(node.left), visit(node.right)]}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return {"-": [0, visit(node.operand)]}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return {"not": [visit(node.operand)]}
        if isinstance(node, ast.BoolOp):
            return {_OPERATORS[type(node.op)]: [visit(part) for part in node.values]}
        if isinstance(node, ast.Compare) and all(type(op) in _OPERATORS for op in node.ops):
            parts = [visit(part) for part in (node.left, *node.comparators)]
            found = [
                {_OPERATORS[type(op)]: [a, b]}
                for op, a, b in zip(node.ops, parts[:-1], parts[1:], strict=True)
            ]
            return found[0] if len(found) == 1 else {"and": found}
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
            called = node.value.func
            if isinstance(called, ast.Attribute) and called.attr in ("size", "shape"):
                return size(ast.unparse(called.value), _index(node.slice))
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in _CALLS:
                return {_CALLS[name]: [visit(part) for part in node.args]}
        raise UnknownSizeError(f"'{ast.unparse(node)}' is not arithmetic of sizes")

    return visit(ast.parse(code, mode="eval").body)


def _index(node: ast.expr) -> int:
    """Return the number of a dimension."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    raise UnknownSizeError(f"'{ast.unparse(node)}' is not a dimension")
