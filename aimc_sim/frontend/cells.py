"""One step of an LSTM, a GRU or a simple recurrent layer, in operations of the digital units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from aimc_sim.frontend.draft import Draft
from aimc_sim.frontend.values import Value

_Cell = Callable[..., Any]


class _Writer:
    """Emits operations on values of one size, with names that begin alike."""

    def __init__(self, draft: Draft, node: fx.Node, name: str, sizes: tuple[Any, ...]) -> None:
        self.draft, self.node, self.name, self.sizes = draft, node, name, sizes

    def __call__(self, op: str, *values: Value) -> Value:
        attrs = {"args": [{"value": i} for i in range(len(values))]}
        name = f"{self.name}.{op}"
        return self.draft.emit(name, op, values, self.sizes, node=self.node, attrs=attrs)

    def add(self, x: Value, y: Value, sizes: tuple[Any, ...]) -> Value:
        """Emit a sum that a core's own unit can do."""
        return self.draft.emit(f"{self.name}.add", "add", (x, y), sizes, node=self.node)

    def part(self, x: Value, number: int, size: int) -> Value:
        """Emit one gate: columns number * size and following."""
        args = [{"value": 0}, -1, number * size, (number + 1) * size]
        attrs = {"args": args, "overload": "Tensor"}
        name = f"{self.name}.gate"
        return self.draft.emit(name, "slice", (x,), self.sizes, node=self.node, attrs=attrs)


def _lstm(
    draft: Draft, node: fx.Node, name: str, made: Value, kept: Value, states: list[Value],
    sizes: tuple[Any, ...],
) -> Any:  # fmt: skip
    """Return hidden and cell state."""
    write, n = _Writer(draft, node, name, sizes), sizes[-1]
    gates = write.add(made, kept, made.sizes)
    i, f, g, o = (write.part(gates, number, n) for number in range(4))
    c = write("mul", write("sigmoid", f), states[1])
    c = write("plus", c, write("mul", write("sigmoid", i), write("tanh", g)))
    return write("mul", write("sigmoid", o), write("tanh", c)), c


def _gru(
    draft: Draft, node: fx.Node, name: str, made: Value, kept: Value, states: list[Value],
    sizes: tuple[Any, ...],
) -> Any:  # fmt: skip
    """Return the hidden state."""
    write, n, h = _Writer(draft, node, name, sizes), sizes[-1], states[0]
    (xr, xz, xn), (hr, hz, hn) = (
        [write.part(gates, number, n) for number in range(3)] for gates in (made, kept)
    )
    r = write("sigmoid", write("plus", xr, hr))
    z = write("sigmoid", write("plus", xz, hz))
    new = write("tanh", write("plus", xn, write("mul", r, hn)))
    return write("plus", new, write("mul", z, write("sub", h, new)))


def _simple(function: str) -> _Cell:
    """Return the step of a simple recurrent layer."""

    def step(
        draft: Draft, node: fx.Node, name: str, made: Value, kept: Value, states: list[Value],
        sizes: tuple[Any, ...],
    ) -> Any:  # fmt: skip
        write = _Writer(draft, node, name, sizes)
        total = write.add(made, kept, made.sizes)
        if function == "relu":
            return draft.emit(f"{name}.relu", "relu", (total,), sizes, node=node)
        return write("tanh", total)

    return step


CELLS: dict[str, _Cell] = {
    "lstm": _lstm,
    "gru": _gru,
    "tanh": _simple("tanh"),
    "relu": _simple("relu"),
}
"""Functions that add one step: from the draft, the recorded call, a name, gates of the input and of
the hidden state, states and their sizes to the new states."""
