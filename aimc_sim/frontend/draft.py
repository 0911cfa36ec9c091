"""The graph of a record while it is made: nodes so far, their names, and their batch.

Rules (:mod:`.layers`, :mod:`.recurrent`, :mod:`.forms`) read a draft and add nodes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor, fx

from aimc_sim.digital.apply import evaluate
from aimc_sim.frontend import calls
from aimc_sim.frontend.constants import as_array
from aimc_sim.frontend.recording import Recording
from aimc_sim.frontend.sizes import UnknownSizeError, expression, expressions, tree
from aimc_sim.frontend.values import BatchAxisError, Constant, Value, unsupported
from aimc_sim.mapping.graph import Node
from aimc_sim.mapping.where import Chosen
from aimc_sim.ops import ATEN
from aimc_sim.ops.products import PRODUCTS

_DROPPED = frozenset("device pin_memory layout memory_format non_blocking copy".split())
"""Arguments that say where numbers lie, not which."""


Rule = Callable[..., Any]
"""From a draft, a recorded call and its arguments to the result, or to NotImplemented, which leaves
the operation as it is."""


@dataclass
class Draft:
    """A graph that is being made.

    Attributes
    ----------
    recording : Recording
        The record that the graph is made from.
    chosen : Chosen
        The choice of layers on crossbars.
    axis : int or None
        Dimension of the first input that is taken for the batch; None: every call is one piece.
    nodes : list of Node
        Nodes so far, in execution order.
    values : dict of str to Value
        Values by the name of the node that writes them.
    taken : set of str
        Names that nodes have.
    owners : dict of str to (str, tensor)
        Layers whose devices hold a weight, by name of the layer: the node, and the weight.
    batch : set of sympy.Symbol
        Sizes that count the batch.
    conditions : list of trees
        Conditions on the sizes of the inputs that rules add to those of the record.
    """

    recording: Recording
    chosen: Chosen
    axis: int | None = 0
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    owners: dict[str, tuple[str, Tensor]] = field(default_factory=dict)
    batch: set[sympy.Symbol] = field(default_factory=set)
    conditions: list[Any] = field(default_factory=list)

    def emit(
        self, name: str, op: str, inputs: Iterable[Value], like: Tensor | tuple[Any, ...], *,
        node: fx.Node | None = None, attrs: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray] | None = None, modules: tuple[str, ...] = (),
        dtype: torch.dtype | None = None,
    ) -> Value:  # fmt: skip
        """Append a node and return its value.

        Parameters
        ----------
        name : str
            Wish for a name; a number is appended if it is taken.
        op : str
            The operation, see :class:`aimc_sim.mapping.graph.Node`.
        inputs : iterable of Value
            Values that the node reads.
        like : tensor, or tuple of int and sympy expressions
            A stand-in of the result, of the result's shape, or its sizes.
        node : fx.Node, optional
            The recorded call, for messages and modules.
        attrs : dict, optional
            JSON attributes of the operation.
        arrays : dict of str to numpy.ndarray, optional
            Arrays of the operation.
        modules : tuple of str
            Paths of the torch modules behind the node; empty: torch's own module behind the call.
        dtype : torch.dtype, optional
            Type of the result; None: that of ``like``, or float32.

        Returns
        -------
        Value
            The result.

        Raises
        ------
        UnsupportedLayerError
            If the result is complex.
        BatchAxisError
            If the result has no dimension, or several, that count the batch.
        """
        inputs = tuple(inputs)
        unique, number = name, 1
        while unique in self.taken:
            number += 1
            unique = f"{name}#{number}"
        self.taken.add(unique)
        sizes = like if isinstance(like, tuple) else expressions(like.shape)
        dtype = dtype or (like.dtype if isinstance(like, Tensor) else torch.float32)
        moves = any(value.moves for value in inputs)
        if dtype.is_complex:
            raise unsupported(
                self.where(node), op, "complex numbers have no counterpart; run this on the host"
            )
        axis = self._axis(unique, op, sizes, moves, node)
        reads = tuple(value.name for value in inputs)
        if not modules and node is not None and (path := self.leaf(node)):
            modules = (path,)
        self.nodes.append(Node(unique, op, reads, attrs or {}, arrays or {}, modules))
        value = Value(unique, sizes, dtype, axis, moves)
        self.values[unique] = value
        return value

    def _axis(
        self, name: str, op: str, sizes: tuple[Any, ...], moves: bool, node: fx.Node | None
    ) -> int | None:
        """Return the dimension of a result that counts the batch."""
        if self.axis is None:
            return None
        found = [
            d for d, s in enumerate(sizes)
            if isinstance(s, sympy.Basic) and not self.batch.isdisjoint(s.free_symbols)
        ]  # fmt: skip
        if len(found) == 1:
            return found[0]
        if not found and not moves:
            return None
        where = self.where(node) if node is not None else f"operation '{name}'"
        raise BatchAxisError(
            f"{where} ({op}) mixes the images of a batch: its result has "
            f"{len(found)} dimensions that count it"
        )

    def generic(self, node: fx.Node, name: str, args: Any, kwargs: Any) -> Any:
        """Emit an operation of ATen with its recorded arguments.

        Parameters
        ----------
        node : fx.Node
            The recorded call.
        name : str
            Name of the operation.
        args, kwargs
            Its arguments, read.

        Returns
        -------
        Value, or tuple of Value and numbers
            Results of the operation.

        Raises
        ------
        UnsupportedLayerError
            If there is no such operation in :data:`aimc_sim.ops.ATEN`, or an argument is neither
            a tensor nor a number.
        """
        record = ATEN.get(name)
        if record is None:
            raise unsupported(self.where(node), name)
        value = node.meta["val"]
        sources: list[Value] = []
        arrays: dict[str, np.ndarray] = {}
        target: Any = node.target
        positional = [a.name for a in target._schema.arguments]
        kwargs = {k: v for k, v in kwargs.items() if k not in _DROPPED}
        args = [
            None if place < len(positional) and positional[place] in _DROPPED else part
            for place, part in enumerate(args)
        ]
        attrs: dict[str, Any] = {
            "args": [self.argument(node, part, sources, arrays) for part in args],
            "kwargs": {k: self.argument(node, v, sources, arrays) for k, v in kwargs.items()},
        }
        if calls.overload(node) not in ("", "default"):
            attrs["overload"] = calls.overload(node)
        if name in PRODUCTS and len(sources) > 0:
            attrs |= self._factors(node, sources)
        own = self.name(node)
        if not sources and self.leaf(node):
            own = f"{own}.{name}"  # such as a state of zeros, which is not the layer
        if isinstance(value, Tensor):
            return self.emit(
                own, record.name, sources, value, node=node, attrs=attrs, arrays=arrays
            )
        return tuple(
            self.emit(
                own, record.name, sources, part, node=node, arrays=arrays,
                attrs={**attrs, "output": place},
            )
            if isinstance(part, Tensor)
            else expression(part)
            for place, part in enumerate(value)
        )  # fmt: skip

    def _factors(self, node: fx.Node, sources: list[Value]) -> dict[str, Any]:
        """Return what the mapper asks of a product of values: its module, and sizes per image.

        Sizes are those of the example; the dimension that counts the batch (or more) is divided by
        the images. A size is free if it depends on those of the inputs otherwise.
        """
        given = zip(self.recording.inputs, self.recording.example.tensors(), strict=True)
        shapes = {one.name: tuple(x.shape) for one, x in given}
        first = self.recording.inputs[0].name
        images = 1 if self.axis is None else shapes[first][self.axis]

        def of_image(value: Value) -> list[int]:
            found = [int(evaluate(self.size(node, size), shapes)) for size in value.sizes]
            if value.axis is not None:
                found[value.axis] //= images
            return found

        return {
            "inside": calls.owner(self.recording.model, node),
            "sizes": [of_image(value) for value in sources],
            "axes": [value.axis for value in sources],
            "moves": [value.moves for value in sources],
            "free": [
                [isinstance(size, sympy.Basic) and d != value.axis
                 for d, size in enumerate(value.sizes)]
                for value in sources
            ],
        }  # fmt: skip

    def generic_named(self, node: fx.Node, name: str, args: Iterable[Any]) -> Value:
        """Emit an operation of ATen in place of the recorded one.

        Parameters
        ----------
        node : fx.Node
            The recorded call.
        name : str
            Name of the operation, with one result.
        args : iterable of arguments
            Its arguments, read.

        Returns
        -------
        Value
            The result.
        """
        sources: list[Value] = []
        arrays: dict[str, np.ndarray] = {}
        given = [self.argument(node, part, sources, arrays) for part in args]
        return self.emit(self.name(node), name, sources, node.meta["val"], node=node,
                         attrs={"args": given}, arrays=arrays)  # fmt: skip

    def argument(
        self, node: fx.Node, part: Any, sources: list[Value], arrays: dict[str, np.ndarray]
    ) -> Any:
        """Return an argument as JSON; tensors go to the sources and arrays.

        Parameters
        ----------
        node : fx.Node
            The recorded call, for messages.
        part : Value, Constant, number, type, container or None
            The argument.
        sources : list of Value
            Values that the operation reads; a new one is appended.
        arrays : dict of str to numpy.ndarray
            Arrays of the operation; a constant is added.

        Returns
        -------
        JSON value
            The argument; see :mod:`aimc_sim.digital.apply` for its forms.

        Raises
        ------
        UnsupportedLayerError
            If the argument is neither a tensor nor a number.
        """
        if isinstance(part, Value):
            if not any(part is source for source in sources):
                sources.append(part)
            return {"value": next(i for i, s in enumerate(sources) if s is part)}
        if isinstance(part, Constant):
            key = f"c{len(arrays)}"
            arrays[key] = as_array(self.where(node), part)
            return {"array": key}
        if isinstance(part, tuple | list):
            return [self.argument(node, one, sources, arrays) for one in part]
        if isinstance(part, bool | int | str | None):
            return part
        if isinstance(part, float):
            return part if np.isfinite(part) else {"number": str(part)}
        if isinstance(part, torch.dtype):
            text = str(part).removeprefix("torch.")
            return {"dtype": "float32" if part.is_floating_point else text}
        if isinstance(part, sympy.Basic):
            return self.size(node, part)
        raise unsupported(
            self.where(node), node.name, f"its argument {part!r:.60} is no tensor and no number"
        )

    def size(self, node: fx.Node, part: Any) -> Any:
        """Return a size as a JSON tree; numbers stay as they are.

        Parameters
        ----------
        node : fx.Node
            The recorded call, for messages.
        part : number or sympy expression
            The size.

        Returns
        -------
        number or dict
            A tree, see :mod:`.sizes`.

        Raises
        ------
        UnsupportedLayerError
            If the size depends on data.
        """
        try:
            return tree(part, self.recording.symbols)
        except UnknownSizeError as error:
            raise unsupported(self.where(node), node.name, str(error)) from None

    def constant(self, node: fx.Node | None, held: Constant, name: str) -> Value:
        """Emit a constant.

        Parameters
        ----------
        node : fx.Node or None
            The recorded call that reads the constant, for messages.
        held : Constant
            The constant.
        name : str
            Wish for a name.

        Returns
        -------
        Value
            The constant as a value.

        Raises
        ------
        UnsupportedLayerError
            If the constant has no data, or a number format without a counterpart.
        """
        array = as_array(self.where(node), held)
        return self.emit(
            name, "constant", (), tuple(array.shape), node=node, arrays={"value": array},
            dtype=held.tensor.dtype,
        )  # fmt: skip

    def node_of(self, value: Value) -> Node | None:
        """Return the node that writes a value, or None.

        Parameters
        ----------
        value : Value
            A value.

        Returns
        -------
        Node or None
            The last node that writes it.
        """
        return next((n for n in reversed(self.nodes) if value.name in n.values), None)

    def name(self, node: fx.Node) -> str:
        """Return the name of a call: its module's path, or the operation's, which is numbered.

        Parameters
        ----------
        node : fx.Node
            A recorded call.

        Returns
        -------
        str
            Wish for the name of its node, see :meth:`emit`.
        """
        leaf = self.leaf(node)
        if leaf:
            return leaf
        base = calls.operation(node).strip("_")
        name, number = base, 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        return name

    def leaf(self, node: fx.Node) -> str:
        """Return the path of torch's own module behind a call, see :func:`.calls.leaf`."""
        return calls.leaf(self.recording.model, node)

    def label(self, node: fx.Node) -> tuple[str, str]:
        """Return the name and the kind of a call, see :func:`.calls.label`."""
        return calls.label(self.recording.model, node)

    def where(self, node: fx.Node | None) -> str:
        """Return the words that name a call in a message, see :func:`.calls.where`."""
        return calls.where(self.recording.model, node)
