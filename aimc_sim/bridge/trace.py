"""From a torch module to the mapper's graph, by symbolic execution of its evaluation form.

:mod:`aimc_sim.bridge.trace_record` records which modules and functions the forward method calls;
this file walks that record and :mod:`aimc_sim.bridge.trace_rules` says what each call becomes.
Sizes may be unknown: ``x.size(3)`` is then a symbol that pooling, reshaping and digital operations
understand (:class:`aimc_sim.bridge.trace_values.Size`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from aimc_sim.bridge import trace_rules as rules
from aimc_sim.bridge.trace_record import Wrapper, record_of, wrapped
from aimc_sim.bridge.trace_values import (
    BatchAxisError,
    Missing,
    Packed,
    Parameter,
    Value,
    unsupported,
)
from aimc_sim.bridge.where import Chosen, Where
from aimc_sim.chip.image import leaves
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.mapping.graph import ANALOG, Network, Node


def trace(model: nn.Module, where: Where = None, example: Any = None) -> Network:
    """Record what a model computes in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Tensors in, tensors out; float32 or float64 weights, which become float32. It is neither
        changed nor run, and may be in training mode. Arguments of its forward method that have a
        default keep it.
    where : mapping or sequence, optional
        Layers on crossbars, see :data:`aimc_sim.bridge.where.Where`; None: all with weights.
    example : tensor or tuple of tensors, optional
        Inputs by whose sizes the forward method may decide.

    Returns
    -------
    Network
        The graph; nodes carry the paths of the torch modules. Identity and dropout vanish.

    Raises
    ------
    UnsupportedLayerError
        If a layer or operation has no counterpart on the chip, or control flow depends on data.
    ValueError
        If no layer has weights for a crossbar, a weight is NaN or infinite, or a pattern of
        `where` matches nothing.
    TypeError
        If `model` is not a torch module.
    """
    chosen = Chosen.of(where)
    walk = walked(model, chosen, example)
    if not any(node.op in ANALOG for node in walk.nodes):
        off = " on the analog side" if where is not None else ""
        raise ValueError(
            f"the model {type(model).__name__} has no Conv2d, Linear or recurrent layer{off}, so "
            f"nothing would run on the chip; expected at least one"
        )
    chosen.check()
    return walk.network()


def walked(model: nn.Module, chosen: Chosen, example: Any = None, refusals: bool = False) -> Walk:
    """Return the finished walk over a model's record.

    Parameters
    ----------
    model, example
        As of :func:`trace`.
    chosen : Chosen
    refusals : bool
        Go on after what cannot be mapped, and list it in ``Walk.log``.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"trace() got a {type(model).__name__}, expected a torch.nn.Module")
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps the module that was given
    wrapper = wrapped(model)
    record = record_of(wrapper, example)
    for axis in (0, 1):
        try:
            walk = Walk(wrapper, chosen, axis, refusals)
            walk.run(record)
            return walk
        except BatchAxisError:
            # Layers with batch_first=False read (time, batch, ...), and so does the network.
            if axis == 1:
                raise
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class Entry:
    """One call of the record: what it is, the nodes that it became, why it was refused."""

    name: str
    kind: str
    nodes: tuple[str, ...]
    refused: str | None = None


@dataclass
class Walk:
    """The walk over a record: nodes so far, and what each recorded name stands for."""

    wrapper: Wrapper
    chosen: Chosen
    axis: int = 0
    refusals: bool = False
    nodes: list[Node] = field(default_factory=list)
    known: dict[fx.Node, Any] = field(default_factory=dict)
    crossbars: set[str] = field(default_factory=set)
    log: list[Entry] = field(default_factory=list)
    results: Any = None
    axes: dict[str, int | None] = field(default_factory=dict)

    def run(self, record: fx.Graph) -> None:
        """Walk to the end."""
        for item in record.nodes:
            try:
                self._visit(item)
            except BatchAxisError:
                raise
            except UnsupportedLayerError as error:
                if not self.refusals:
                    raise
                self.log.append(Entry(*self._label(item), (), str(error)))
                # What follows is looked at as if this were possible.
                name = f"{item.name} (refused)"
                self.known[item] = self.emit(name, "constant", (), axis=self.axis)
        self._forget_unread()

    def network(self) -> Network:
        """Return the graph."""
        return Network(
            tuple(self.nodes), "input", leaves(self.results)[0][0], self.axis, self.results
        )

    def network_nodes(self) -> dict[str, Node]:
        """Return the nodes by name."""
        return {node.name: node for node in self.nodes}

    def emit(
        self,
        name: str,
        op: str,
        inputs: tuple[Value, ...],
        *,
        ndim: int | None = None,
        attrs: dict[str, Any] | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        modules: tuple[str, ...] = (),
        memory: object = None,
        size_of: str | None = None,
        axis: int | None = -1,
    ) -> Value:
        """Append a node and return its value.

        Parameters
        ----------
        name : str
            Wish for a name; a number is appended if it is taken.
        op, attrs, arrays, modules
            As in :class:`Node`.
        inputs : tuple of Value
            Values read.
        ndim : int, optional
            Dimensions of the result with the batch, if known.
        memory : object, optional
            Identity of the memory that the result shares with its input; None: its own.
        size_of : str, optional
            Name of the value whose sizes the result has; None: its own.
        axis : int or None
            Dimension that counts the batch; -1: that of the first input.
        """
        taken = {node.name for node in self.nodes}
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}#{number}"
        reads = tuple(value.name for value in inputs)
        self.nodes.append(Node(unique, op, reads, attrs or {}, arrays or {}, modules))
        if axis == -1:
            axis = inputs[0].axis if inputs else None
        self.axes[unique] = axis
        return Value(unique, ndim, memory or object(), size_of or unique, False, axis)

    def overwrite(self, old: Value, new: Value) -> Value:
        """Let all readers of `old` see `new`, which was computed in the same memory."""
        for item, value in self.known.items():
            if value is old:
                self.known[item] = new
            elif isinstance(value, Value) and value.memory is old.memory:
                value.stale = True  # a view: its new contents are in no node
        return new

    def axis_of(self, name: str) -> int | None:
        """Return the dimension of a value that counts the batch."""
        return self.axes.get(name)

    def node_of(self, value: Value) -> Node | None:
        """Return the node that writes a value."""
        return next((node for node in self.nodes if value.name in node.values), None)

    def is_map(self, value: Value) -> bool:
        """Return whether a value comes from a convolution, with channels second."""
        node = self.node_of(value)
        while node is not None and node.op in ("relu", "batch_norm", "add", "max_pool2d"):
            node = next((n for n in self.nodes if n.name == node.inputs[0]), None)
        return node is not None and node.op in ("conv2d", "global_avg_pool", "avg_pool2d")

    def last_is_channel(self, value: Value) -> bool:
        """Return whether a value comes straight from a linear layer, with channels last."""
        node = self.node_of(value)
        return node is not None and node.op == "linear"

    def claim(self, path: str, where: str) -> None:
        """Reserve the crossbars of a layer; a second call of the layer is refused."""
        if path in self.crossbars:
            raise UnsupportedLayerError(
                f"layer '{where}' is called twice: its weights sit on one set of crossbars with "
                f"one place in the pipeline; give the second call a copy (copy.deepcopy) of the "
                f"layer"
            )
        self.crossbars.add(path)

    def call_module(self, path: str, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Return what a layer makes of its arguments."""
        label = type(module).__name__
        rule = next((r for base, r in rules.MODULES.items() if isinstance(module, base)), None)
        if rule is None:
            raise unsupported(f"layer '{path}'", label)
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            raise unsupported(
                f"layer '{path}'", label, "its shape is not known yet; run one batch first"
            )
        if module._forward_hooks or module._forward_pre_hooks:
            raise unsupported(
                f"layer '{path}'", label, "it has forward hooks, which would not run; remove them"
            )
        try:
            return rule(self, path, module, *args, **kwargs)
        except TypeError as error:
            raise unsupported(
                f"layer '{path}'", label, f"its arguments are not supported ({error})"
            ) from error

    def _visit(self, item: fx.Node) -> None:
        args, kwargs = fx.node.map_aggregate((item.args, item.kwargs), self._read)
        before = len(self.nodes)
        if item.op == "placeholder":
            first = not self.known
            name = "input" if first else self.wrapper.names[len(self.known)]
            self.known[item] = self.emit(name, "input", (), axis=self.axis)
            return
        if item.op == "output":
            self.results = self._tree(args[0])
            return
        if item.op == "get_attr":
            path = str(item.target)
            self.known[item] = Parameter(path.removeprefix("model."), self._attribute(path))
            return
        self.known[item] = self._call(item, args, kwargs)
        made = tuple(node.name for node in self.nodes[before:])
        if made or item.op == "call_module":
            self.log.append(Entry(*self._label(item), made))

    def _label(self, item: fx.Node) -> tuple[str, str]:
        """Return path (or name) and kind of a recorded call."""
        if item.op == "call_module":
            path = str(item.target).removeprefix("model").lstrip(".")
            kind = type(self._attribute(str(item.target))).__name__
            return path or kind, kind
        target = item.target
        kind = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        return item.name.removeprefix("model_"), kind

    def _read(self, item: Any) -> Any:
        if not isinstance(item, fx.Node):
            return item
        value = self.known[item]
        if isinstance(value, Value) and value.stale:
            raise UnsupportedLayerError(
                f"value '{value.name}' is read after an in-place operation changed the memory "
                f"that it shares; use the out-of-place form (inplace=False, a = a + b)"
            )
        return value

    def _attribute(self, path: str) -> Any:
        found: Any = self.wrapper
        for part in path.split("."):
            found = getattr(found, part)
        return found

    def _call(self, item: fx.Node, args: tuple, kwargs: dict[str, Any]) -> Any:
        if item.op == "call_module":
            module = self._attribute(str(item.target))
            path = str(item.target).removeprefix("model").lstrip(".") or type(module).__name__
            return self.call_module(path, module, *args, **kwargs)
        name, label = self._label(item)
        table = rules.METHODS if item.op == "call_method" else rules.FUNCTIONS
        if item.target not in table:
            raise unsupported(f"operation '{name}'", label)
        try:
            return table[item.target](self, name, *args, **kwargs)
        except TypeError as error:
            raise unsupported(
                f"operation '{name}'", label, f"its arguments are not supported ({error})"
            ) from error

    def _tree(self, result: Any) -> Any:
        """Return what the model returns as a tree of results."""
        if isinstance(result, Value):
            if result.axis is None:
                raise UnsupportedLayerError(
                    f"the output '{result.name}' has no dimension that counts the batch, so it "
                    f"cannot be put together from parts; return values of every image"
                )
            return ["value", result.name, result.axis]
        if isinstance(result, tuple | list) and result:
            kind = "list" if isinstance(result, list) else "tuple"
            return [kind, [self._tree(part) for part in result]]
        if isinstance(result, dict) and result:
            return ["dict", {key: self._tree(part) for key, part in result.items()}]
        if isinstance(result, Packed):
            return self._tree(result.value)
        if isinstance(result, Missing):
            raise UnsupportedLayerError(
                f"the model returns a value that is missing: {result.reason}"
            )
        raise UnsupportedLayerError(
            f"the model returns {result!r:.80}, expected tensors in tuples, lists or "
            f"dictionaries; wrap it in a module that returns the ones to be computed on the chip"
        )

    def _forget_unread(self) -> None:
        """Drop digital nodes that nobody reads, such as states that the model does not return."""
        wanted = {name for name, _ in leaves(self.results)} if self.results else set()
        kept: list[Node] = []
        for node in reversed(self.nodes):
            analog = node.op in ANALOG or node.op == "input"
            if analog or not wanted.isdisjoint(node.values) or not self.results:
                kept.append(node)
                wanted.update(node.inputs)
        self.nodes = kept[::-1]
