"""From a record to the mapper's graph: constants are computed, operations recognised.

The walk goes through the record once. Operations on constants are computed at once
(:mod:`.constants`); operations with a rule (:mod:`.rules`: layers, recurrent cells, operations
that pipelines read by their attributes) become the nodes that the rule makes; the rest are ATen
operations with their recorded arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import Tensor, fx

from aimc_sim.chip.program import leaves
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.frontend.constants import computed, is_constant
from aimc_sim.frontend.draft import Draft
from aimc_sim.frontend.outputs import arranged
from aimc_sim.frontend.recording import Recording
from aimc_sim.frontend.sizes import expression
from aimc_sim.frontend.values import (
    DATA_DEPENDENT,
    RANDOM,
    BatchAxisError,
    Constant,
    Value,
    unsupported,
)
from aimc_sim.mapping.graph import ANALOG, Network, Node
from aimc_sim.mapping.where import Chosen

_IDENTITIES = frozenset(
    "alias clone contiguous detach lift_fresh lift_fresh_copy lift resolve_conj resolve_neg "
    "positive _assert_tensor_metadata alias_copy cpu cuda".split()
)
"""Operations that change nothing here."""

_ASSERTIONS = frozenset(
    "_assert_scalar _assert_async _assert_tensor_metadata sym_constrain_range "
    "sym_constrain_range_for_size _functional_assert_async _print".split()
)


@dataclass(frozen=True)
class LoggedCall:
    """One call of the record, as the log of a walk lists it.

    Attributes
    ----------
    name : str
        Path of torch's own module behind the call, or the name of the call.
    kind : str
        Class of that module, or name of the operation.
    nodes : tuple of str
        Names of the nodes that the call became.
    refused : str or None
        Why the call cannot be mapped; None: it can.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    refused: str | None = None


@dataclass
class Walk:
    """The walk over a record, which makes a graph of it.

    Attributes
    ----------
    recording : Recording
        The record.
    rules : mapping of str to callable
        Rules by the name of an ATen operation: functions of (draft, recorded node, arguments)
        that return the result, or NotImplemented to leave the operation as it is.
    chosen : Chosen
        The choice of layers on crossbars.
    axis : int or None
        Dimension of the first input that is taken for the batch; None: every call is one piece.
    refusals : bool
        Whether the walk goes on after calls that cannot be mapped, and lists them in ``log``.
    draft : Draft
        The graph so far.
    log : list of LoggedCall
        Calls that became nodes or were refused.
    """

    recording: Recording
    rules: Mapping[str, Callable[..., Any]]
    chosen: Chosen
    axis: int | None = 0
    refusals: bool = False
    draft: Draft = field(init=False)
    log: list[LoggedCall] = field(default_factory=list, init=False)
    _known: dict[fx.Node, Any] = field(default_factory=dict, init=False)
    _results: Any = field(default=None, init=False)
    _axes: tuple[int | None, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self.draft = Draft(self.recording, self.chosen, self.axis)

    def run(self) -> Network:
        """Walk to the end of the record.

        Returns
        -------
        Network
            The graph.

        Raises
        ------
        UnsupportedLayerError
            If a call has no counterpart on the chip, unless ``refusals`` is set, or the model
            returns no tensor that depends on its inputs.
        BatchAxisError
            If an operation mixes the parts of the dimension that is taken for the batch.
        """
        axes = self._input_axes()
        for node in self.recording.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, axes)
        self._visit(self.recording.graph)
        self._finish()
        self._drop_unread()
        self._axes = tuple(axes)
        return self.network()

    def network(self) -> Network:
        """Return the graph of the nodes so far."""
        first = next(node for node in self.draft.nodes if node.op == "input")
        return Network(
            tuple(self.draft.nodes), first.name, leaves(self._results)[0][0], self.axis,
            self._results, self._axes, (*self.recording.conditions, *self.draft.conditions),
        )  # fmt: skip

    def _input_axes(self) -> list[int | None]:
        """Find which dimension of every input counts the batch."""
        if self.axis is None:
            return [None] * len(self.recording.inputs)
        first = self.recording.inputs[0]
        size = first.sizes[self.axis] if self.axis < len(first.sizes) else None
        if not isinstance(size, sympy.Symbol):
            raise BatchAxisError(
                f"dimension {self.axis} of the input is fixed by the forward method, so it does "
                "not count a batch"
            )
        self.draft.batch = {size}
        axes: list[int | None] = [self.axis]
        free = {s for s in first.sizes if isinstance(s, sympy.Symbol)} - self.draft.batch
        for other in self.recording.inputs[1:]:
            found = [d for d, s in enumerate(other.sizes) if s in self.draft.batch]
            if not found and other.sizes:
                # Sizes that nothing compares with those of the first input, such as two towers.
                at = 0 if len(other.sizes) < 2 or self.axis >= len(other.sizes) else self.axis
                own = other.sizes[at]
                if isinstance(own, sympy.Symbol) and own not in free:
                    self.draft.batch.add(own)
                    found = [at]
            axes.append(found[0] if found else None)
        return axes

    def _visit(self, graph: fx.Graph) -> Any:
        """Visit all nodes of a graph; return what leaves it."""
        for node in graph.nodes:
            if node.op == "get_attr":
                self._known[node] = self._attribute(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                return fx.node.map_aggregate(node.args[0], self._read)
        return None

    def _placeholder(self, node: fx.Node, axes: list[int | None]) -> None:
        """Read a parameter, a buffer or an input."""
        held = self.recording
        if node.name in held.constants:
            path, tensor = held.constants[node.name]
            trained = isinstance(tensor, torch.nn.Parameter) or (
                tensor is not None and tensor.requires_grad
            )
            self._known[node] = Constant(tensor, path, trained)
        elif node.name in held.placeholders:
            number = held.placeholders[node.name]
            given = held.inputs[number]
            self.draft.nodes.append(Node(given.name, "input"))
            self.draft.taken.add(given.name)
            value = Value(
                given.name, given.sizes, given.dtype, axes[number],
                moves=axes[number] is not None or self.axis is None,
            )  # fmt: skip
            self.draft.values[value.name] = self._known[node] = value
        else:
            self._known[node] = None  # an argument that is no tensor: recorded as it was

    def _attribute(self, node: fx.Node) -> Any:
        """Return what a recorded attribute of the model stands for."""
        found: Any = node.graph.owning_module or self.recording.module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return Constant(found, str(node.target)) if isinstance(found, Tensor) else found

    def _read(self, item: Any) -> Any:
        """Return what an argument of a recorded call stands for.

        Parameters
        ----------
        item : fx.Node, number or other argument
            The argument.

        Returns
        -------
        Value, Constant, number, expression, container or other argument
            A node's value or constant; numbers and other arguments stay.
        """
        if isinstance(item, fx.Node):
            if item in self._known:
                return self._known[item]
            value = item.meta.get("val")
            return expression(value)
        return expression(item)

    def _call(self, node: fx.Node) -> None:
        """Read a recorded call, and log it."""
        before = len(self.draft.nodes)
        try:
            self._known[node] = self._result(node)
        except BatchAxisError:
            raise
        except UnsupportedLayerError as error:
            if not self.refusals:
                raise
            name, kind = self.draft.label(node)
            self.log.append(LoggedCall(name, kind, (), str(error)))
            # Later calls are read as if this one were possible.
            self._known[node] = self._stand_in(node)
            return
        made = tuple(n.name for n in self.draft.nodes[before:])
        if made:
            name, kind = self.draft.label(node)
            self.log.append(LoggedCall(name, kind, made))

    def _stand_in(self, node: fx.Node) -> Any:
        """Return values of the sizes of a refused call's results."""
        value = node.meta.get("val")
        many = value if isinstance(value, tuple | list) else (value,)
        made = []
        for part in many:
            if isinstance(part, Tensor):
                name = f"{self.draft.label(node)[0]} (refused)"
                made.append(self.draft.emit(name, "constant", (), part))
            else:
                made.append(expression(part))
        return tuple(made) if isinstance(value, tuple | list) else made[0]

    def _result(self, node: fx.Node) -> Any:
        """Return what a recorded call stands for."""
        target = node.target
        value = node.meta.get("val")
        if target is operator.getitem:
            return self._read(node.args[0])[node.args[1]]
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            return self._number(node, value)
        name = calls.operation(node)
        if not name:
            return self._higher(node)
        args, kwargs = fx.node.map_aggregate((node.args, dict(node.kwargs)), self._read)
        if name in _ASSERTIONS:
            return None
        if name in RANDOM and not _is_idle(name, args, kwargs):
            raise unsupported(self.draft.where(node), name)
        if name == "scaled_dot_product_attention" and _drops(args, kwargs):
            raise unsupported(
                self.draft.where(node), name, "its dropout_p draws random numbers in evaluation; "
                "give dropout_p=0.1 if self.training else 0.0",
            )  # fmt: skip
        if name in DATA_DEPENDENT:
            raise unsupported(self.draft.where(node), name)
        if name in RANDOM or name in _IDENTITIES:
            return args[0]
        if is_constant(args, kwargs):
            return computed(self.draft.where(node), node, args, kwargs)
        rule = self.rules.get(name)
        if rule is not None:
            made = rule(self.draft, node, *args, **kwargs)
            if made is not NotImplemented:
                return made
        return self.draft.generic(node, name, args, kwargs)

    def _number(self, node: fx.Node, value: Any) -> Any:
        """Return a number that is computed from sizes."""
        name = getattr(node.target, "__name__", str(node.target))
        if any(word in str(node.target) for word in ("_local_scalar_dense", "aten.item")):
            raise unsupported(
                self.draft.where(node), name, "it takes a number out of a tensor, and what follows "
                "would depend on data; use torch.where",
            )  # fmt: skip
        return expression(value)

    def _higher(self, node: fx.Node) -> Any:
        """Go through a part of the graph that was recorded under a setting of its own."""
        name = str(node.target)
        if "wrap_with_set_grad_enabled" in name:
            part, given = node.args[1], node.args[2:]
        elif "wrap_with_autocast" in name:
            if node.args[2]:
                raise unsupported(
                    self.draft.where(node), "autocast", "it asks for another number format; leave "
                    "torch.autocast out of the forward method",
                )  # fmt: skip
            part, given = node.args[4], node.args[5:]
        elif name in ("<built-in function getitem>",):
            return self._read(node.args[0])[node.args[1]]
        else:
            raise unsupported(
                self.draft.where(node), getattr(node.target, "__name__", name),
                "its steps depend on data, or it is no operation of ATen",
            )  # fmt: skip
        assert isinstance(part, fx.Node)
        inner = self._known[part].graph
        holes = [n for n in inner.nodes if n.op == "placeholder"]
        for hole, one in zip(holes, given, strict=True):
            self._known[hole] = self._read(one)
        return self._visit(inner)

    def _finish(self) -> None:
        """Read what the model returns."""
        read = [fx.node.map_aggregate(one, self._read) for one in self.recording.outputs]
        self._results = arranged(self.recording.structure, map(self._result_leaf, read))
        if not leaves(self._results):
            raise UnsupportedLayerError(
                f"{type(self.recording.model).__name__}: the model returns no tensor that is "
                "computed from its inputs; return the ones to be computed on the chip"
            )

    def _result_leaf(self, item: Any) -> list[Any]:
        """Return a leaf of the tree of results."""
        if item is None:
            return ["none", None]
        if isinstance(item, Constant):
            item = self.draft.constant(None, item, "constant")
        if isinstance(item, Value):
            return ["value", item.name, item.axis]
        raise UnsupportedLayerError(
            f"{type(self.recording.model).__name__}: the model returns {item!r:.80}, expected "
            "tensors in tuples, lists or dictionaries; wrap it in a module that returns the ones "
            "to be computed on the chip"
        )

    def _drop_unread(self) -> None:
        """Drop digital nodes that nobody reads, such as states that the model does not return."""
        wanted = {name for name, _ in leaves(self._results)}
        kept: list[Node] = []
        for node in reversed(self.draft.nodes):
            if node.op in ANALOG or node.op == "input" or not wanted.isdisjoint(node.values):
                kept.append(node)
                wanted.update(node.inputs)
        self.draft.nodes = kept[::-1]


def _is_idle(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a random operation does nothing in evaluation: dropout."""
    if "dropout" not in name:
        return False
    train = args[2] if len(args) > 2 else kwargs.get("train", kwargs.get("training", True))
    p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    return not train or p == 0


def _drops(args: Any, kwargs: Any) -> bool:
    """Whether attention drops some of its weights, which torch does in evaluation as well."""
    return bool(args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0))
