"""From a record to the mapper's graph: constants are computed, operations recognised.

The walk goes through the record once. What depends on constants only is computed at once; what
has a rule (:mod:`.rules`: layers, recurrent cells, operations that pipelines know by their
attributes) becomes what the rule says; the rest are ATen operations with their recorded arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor, fx

from aimc_sim.chip.program import leaves
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend.recording import PREFIX, Recording
from aimc_sim.frontend.sizes import UnknownSizeError, expression, tree
from aimc_sim.frontend.values import (
    DATA_DEPENDENT,
    RANDOM,
    BatchAxisError,
    Constant,
    Value,
    location,
    unsupported,
)
from aimc_sim.mapping.graph import ANALOG, Network, Node
from aimc_sim.mapping.where import Chosen
from aimc_sim.ops import ATEN

_IDENTITIES = frozenset(
    "alias clone contiguous detach lift_fresh lift_fresh_copy lift resolve_conj resolve_neg "
    "positive _assert_tensor_metadata alias_copy cpu cuda".split()
)
"""Operations that change nothing here."""

_ASSERTIONS = frozenset(
    "_assert_scalar _assert_async _assert_tensor_metadata sym_constrain_range "
    "sym_constrain_range_for_size _functional_assert_async _print".split()
)

_RESHAPES = dict.fromkeys(
    (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default),
    torch.ops.aten.reshape.default,
)

_DROPPED = frozenset("device pin_memory layout memory_format non_blocking copy".split())
"""Arguments that say where numbers lie, not which."""

LARGEST_SIZE = 2**62
"""Ends of slices beyond this mean "to the end"."""


@dataclass(frozen=True)
class Entry:
    """One call of the record: what it is, the nodes that it became, why it was refused."""

    name: str
    kind: str
    nodes: tuple[str, ...]
    refused: str | None = None


@dataclass
class Walk:
    """The walk over a record: nodes so far, and what each recorded value stands for.

    Attributes
    ----------
    recording : Recording
    rules : mapping of names to functions
        What the ATen operation of a name becomes: a function of (walk, recorded node, arguments),
        which may return NotImplemented to leave the operation as it is.
    chosen : Chosen
        Layers on crossbars.
    axis : int or None
        Dimension of the first input that is taken for the batch; None: every call is one piece.
    refusals : bool
        Go on after what cannot be mapped, and list it in ``log``.
    """

    recording: Recording
    rules: Mapping[str, Callable[..., Any]]
    chosen: Chosen
    axis: int | None = 0
    refusals: bool = False
    nodes: list[Node] = field(default_factory=list)
    known: dict[fx.Node, Any] = field(default_factory=dict)
    owners: dict[str, tuple[str, Any]] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    results: Any = None
    values: dict[str, Value] = field(default_factory=dict)
    batch: set[sympy.Symbol] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    axes: tuple[int | None, ...] = ()
    conditions: list[Any] = field(default_factory=list)

    # ------------------------------------------------------------------ the way through

    def run(self) -> Network:
        """Walk to the end and return the graph."""
        axes = self._input_axes()
        for node in self.recording.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, axes)
        self._graph(self.recording.graph)
        self._finish()
        self._forget_unread()
        self.axes = tuple(axes)
        return self.network()

    def network(self) -> Network:
        """Return the graph."""
        first = next(node for node in self.nodes if node.op == "input")
        return Network(
            tuple(self.nodes), first.name, leaves(self.results)[0][0], self.axis, self.results,
            self.axes, (*self.recording.conditions, *self.conditions),
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
        self.batch = {size}
        axes: list[int | None] = [self.axis]
        free = {s for s in first.sizes if isinstance(s, sympy.Symbol)} - self.batch
        for other in self.recording.inputs[1:]:
            found = [d for d, s in enumerate(other.sizes) if s in self.batch]
            if not found and other.sizes:
                # Sizes that nothing compares with those of the first input, such as two towers.
                at = 0 if len(other.sizes) < 2 or self.axis >= len(other.sizes) else self.axis
                own = other.sizes[at]
                if isinstance(own, sympy.Symbol) and own not in free:
                    self.batch.add(own)
                    found = [at]
            axes.append(found[0] if found else None)
        return axes

    def _graph(self, graph: fx.Graph) -> Any:
        """Visit all nodes of a graph; return what leaves it."""
        for node in graph.nodes:
            if node.op == "get_attr":
                self.known[node] = self._attribute(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                return fx.node.map_aggregate(node.args[0], self.read)
        return None

    def _placeholder(self, node: fx.Node, axes: list[int | None]) -> None:
        held = self.recording
        if node.name in held.constants:
            path, tensor = held.constants[node.name]
            trained = isinstance(tensor, torch.nn.Parameter) or (
                tensor is not None and tensor.requires_grad
            )
            self.known[node] = Constant(tensor, path, trained)
        elif node.name in held.placeholders:
            number = held.placeholders[node.name]
            given = held.inputs[number]
            self.nodes.append(Node(given.name, "input"))
            self.taken.add(given.name)
            value = Value(
                given.name, given.sizes, given.dtype, axes[number],
                moves=axes[number] is not None or self.axis is None,
            )  # fmt: skip
            self.values[value.name] = self.known[node] = value
        else:
            self.known[node] = None  # an argument that is no tensor: recorded as it was

    def _attribute(self, node: fx.Node) -> Any:
        found: Any = node.graph.owning_module or self.recording.module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return Constant(found, str(node.target)) if isinstance(found, Tensor) else found

    def read(self, item: Any) -> Any:
        """Return what an argument of a recorded call stands for."""
        if isinstance(item, fx.Node):
            if item in self.known:
                return self.known[item]
            value = item.meta.get("val")
            return expression(value)
        return expression(item)

    def _call(self, node: fx.Node) -> None:
        before = len(self.nodes)
        try:
            self.known[node] = self._result(node)
        except BatchAxisError:
            raise
        except UnsupportedLayerError as error:
            if not self.refusals:
                raise
            name, kind = self.label(node)
            self.log.append(Entry(name, kind, (), str(error)))
            # What follows is looked at as if this were possible.
            self.known[node] = self._stand_in(node)
            return
        made = tuple(n.name for n in self.nodes[before:])
        if made:
            name, kind = self.label(node)
            self.log.append(Entry(name, kind, made))

    def _stand_in(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        many = value if isinstance(value, tuple | list) else (value,)
        made = []
        for part in many:
            if isinstance(part, Tensor):
                made.append(self.emit(f"{self.label(node)[0]} (refused)", "constant", (), part))
            else:
                made.append(expression(part))
        return tuple(made) if isinstance(value, tuple | list) else made[0]

    def _result(self, node: fx.Node) -> Any:
        """Return what a recorded call stands for."""
        target = node.target
        value = node.meta.get("val")
        if target is operator.getitem:
            return self.read(node.args[0])[node.args[1]]
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            return self._number(node, value)
        schema = getattr(target, "_schema", None)
        if schema is None:
            return self._higher(node)
        name = schema.name.partition("::")[2]
        args, kwargs = fx.node.map_aggregate((node.args, dict(node.kwargs)), self.read)
        if name in _ASSERTIONS:
            return None
        if name in RANDOM and not _rests(name, args, kwargs):
            raise unsupported(self.where(node), name)
        if name == "scaled_dot_product_attention" and _drops(args, kwargs):
            raise unsupported(
                self.where(node), name, "its dropout_p draws random numbers in evaluation; give "
                "dropout_p=0.1 if self.training else 0.0",
            )  # fmt: skip
        if name in DATA_DEPENDENT:
            raise unsupported(self.where(node), name)
        if name in RANDOM or name in _IDENTITIES:
            return args[0]
        if self._is_constant(args, kwargs):
            return self._computed(node, args, kwargs)
        rule = self.rules.get(name)
        if rule is not None:
            made = rule(self, node, *args, **kwargs)
            if made is not NotImplemented:
                return made
        return self.generic(node, name, args, kwargs)

    def _number(self, node: fx.Node, value: Any) -> Any:
        name = getattr(node.target, "__name__", str(node.target))
        if any(word in str(node.target) for word in ("_local_scalar_dense", "aten.item")):
            raise unsupported(self.where(node), name, "it takes a number out of a tensor, and what "
                              "follows would depend on data; use torch.where")  # fmt: skip
        return expression(value)

    def _higher(self, node: fx.Node) -> Any:
        """Go through a part of the graph that was recorded under a setting of its own."""
        name = str(node.target)
        if "wrap_with_set_grad_enabled" in name:
            part, given = node.args[1], node.args[2:]
        elif "wrap_with_autocast" in name:
            if node.args[2]:
                raise unsupported(
                    self.where(node), "autocast", "it asks for another number format; leave "
                    "torch.autocast out of the forward method",
                )  # fmt: skip
            part, given = node.args[4], node.args[5:]
        elif name in ("<built-in function getitem>",):
            return self.read(node.args[0])[node.args[1]]
        else:
            raise unsupported(
                self.where(node), getattr(node.target, "__name__", name),
                "its steps depend on data, or it is no operation of ATen",
            )  # fmt: skip
        inner = self.known[part].graph
        holes = [n for n in inner.nodes if n.op == "placeholder"]
        for hole, one in zip(holes, given, strict=True):
            self.known[hole] = self.read(one)
        return self._graph(inner)

    # ------------------------------------------------------------------------- constants

    def _is_constant(self, args: Any, kwargs: Any) -> bool:
        found = True

        def look(part: Any) -> Any:
            nonlocal found
            if isinstance(part, Value | sympy.Basic):
                found = False
            return part

        fx.node.map_aggregate((args, kwargs), look)
        return found

    def _computed(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Return what an operation on constants gives, now."""
        behind: list[Constant] = []

        def use(part: Any) -> Any:
            if isinstance(part, Constant):
                if part.tensor is None or part.tensor.device.type == "meta":
                    raise unsupported(
                        self.where(node), node.name,
                        f"'{part.path}' is on the meta device and has no data; load the weights "
                        "first",
                    )  # fmt: skip
                behind.append(part)
                return part.tensor.detach()
            return part

        args, kwargs = fx.node.map_aggregate((args, kwargs), use)
        kwargs = {k: v for k, v in kwargs.items() if k != "device"}
        # Copies that only put numbers in order were dropped, so a view may need one.
        target = _RESHAPES.get(node.target, node.target)
        with torch.no_grad():
            result = target(*args, **kwargs)
        trained = next((c for c in behind if c.trained), None)
        path = (trained or behind[0]).path if behind else ""

        def keep(part: Any) -> Any:
            if isinstance(part, Tensor):
                return Constant(part, path, trained is not None, stored=False)
            return part

        if isinstance(result, tuple | list):
            return tuple(keep(part) for part in result)
        return keep(result)

    # ---------------------------------------------------------------------- generic nodes

    def generic(self, node: fx.Node, name: str, args: Any, kwargs: Any) -> Any:
        """Emit an operation of ATen with its recorded arguments."""
        record = ATEN.get(name)
        if record is None:
            raise unsupported(self.where(node), name)
        value = node.meta["val"]
        sources, arrays = [], {}
        schema = node.target._schema
        positional = [a.name for a in schema.arguments]
        kwargs = {k: v for k, v in kwargs.items() if k not in _DROPPED}
        args = [
            None if place < len(positional) and positional[place] in _DROPPED else part
            for place, part in enumerate(args)
        ]
        attrs = {
            "args": [self.argument(node, part, sources, arrays) for part in args],
            "kwargs": {k: self.argument(node, v, sources, arrays) for k, v in kwargs.items()},
        }
        if node.target._overloadname not in ("", "default"):
            attrs["overload"] = node.target._overloadname
        about = {"attrs": attrs, "arrays": arrays}
        own = self.name(node)
        if not sources and self._leaf(node):
            own = f"{own}.{name}"  # such as a state of zeros, which is not the layer
        if isinstance(value, Tensor):
            return self.emit(own, record.name, sources, value, node=node, **about)
        return tuple(
            self.emit(
                own, record.name, sources, part, node=node, arrays=arrays,
                attrs={**attrs, "output": place}, unread=True,
            )
            if isinstance(part, Tensor)
            else expression(part)
            for place, part in enumerate(value)
        )  # fmt: skip

    def generic_named(self, node: fx.Node, name: str, args: list) -> Value:
        """Emit an operation of ATen in place of the recorded one."""
        sources: list[Value] = []
        arrays: dict[str, np.ndarray] = {}
        given = [self.argument(node, part, sources, arrays) for part in args]
        return self.emit(self.name(node), name, sources, node.meta["val"], node=node,
                         attrs={"args": given}, arrays=arrays)  # fmt: skip

    def argument(
        self, node: fx.Node, part: Any, sources: list[Value], arrays: dict[str, np.ndarray]
    ) -> Any:
        """Return an argument as JSON; tensors go to the sources and arrays."""
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
        """Return a size as a JSON tree; numbers stay what they are."""
        try:
            return tree(part, self.recording.symbols)
        except UnknownSizeError as error:
            raise unsupported(self.where(node), node.name, str(error)) from None

    def emit(
        self, name: str, op: str, inputs: Any, like: Tensor | tuple, *, node: fx.Node | None = None,
        attrs: dict[str, Any] | None = None, arrays: dict[str, np.ndarray] | None = None,
        modules: tuple[str, ...] = (), unread: bool = False, dtype: torch.dtype | None = None,
    ) -> Value:  # fmt: skip
        """Append a node and return its value.

        Parameters
        ----------
        name : str
            Wish for a name; a number is appended if it is taken.
        op, attrs, arrays, modules
            As in :class:`aimc_sim.mapping.graph.Node`.
        inputs : sequence of Value
        like : tensor or tuple of sizes
            A stand-in of the result, or its sizes.
        node : fx.Node, optional
            The recorded call, for messages.
        """
        unique, number = name, 1
        while unique in self.taken:
            number += 1
            unique = f"{name}#{number}"
        self.taken.add(unique)
        sizes = like if isinstance(like, tuple) else tuple(expression(s) for s in like.shape)
        dtype = dtype or (like.dtype if isinstance(like, Tensor) else torch.float32)
        moves = any(value.moves for value in inputs)
        if dtype.is_complex:
            raise unsupported(
                self.where(node), op, "complex numbers have no counterpart; run this on the host"
            )
        axis = self._axis(unique, op, sizes, moves, node)
        reads = tuple(value.name for value in inputs)
        if not modules and node is not None and (path := self._leaf(node)):
            modules = (path,)
        self.nodes.append(Node(unique, op, reads, attrs or {}, arrays or {}, modules))
        value = Value(unique, sizes, dtype, axis, moves)
        self.values[unique] = value
        return value

    def _axis(
        self, name: str, op: str, sizes: tuple, moves: bool, node: fx.Node | None
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

    # ------------------------------------------------------------------------------ names

    def _leaf(self, node: fx.Node) -> str:
        """Return the path of torch's own module behind a call, if there is one."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if not stack:
            return ""
        path, kind = stack[-1]
        path = _plain(path)
        kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        if not kind.startswith("torch.nn.modules.") or ".container." in kind:
            return ""
        try:
            module = self.recording.model.get_submodule(path)
        except AttributeError:
            return ""
        if any(True for _ in module.children()):
            return ""
        return path or type(module).__name__

    def name(self, node: fx.Node) -> str:
        """Return the name of a call: its module's path, or the operation's."""
        leaf = self._leaf(node)
        if leaf:
            return leaf
        base = node.target._schema.name.partition("::")[2].strip("_")
        name, number = base, 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        return name

    def owner(self, node: fx.Node) -> str:
        """Return the path of the innermost module of any kind behind a call."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = _plain(stack[-1][0]) if stack else ""
        return path or type(self.recording.model).__name__

    def label(self, node: fx.Node) -> tuple[str, str]:
        """Return path (or name) and kind of a recorded call."""
        leaf = self._leaf(node)
        if leaf:
            try:
                kind = type(self.recording.model.get_submodule(leaf)).__name__
            except AttributeError:
                kind = leaf
            return leaf, kind
        kind = getattr(getattr(node.target, "_schema", None), "name", str(node.target))
        return node.name, kind.partition("::")[2] or kind

    def where(self, node: fx.Node | None) -> str:
        """Return "layer '...' (file, line)" or "operation '...' (file, line)"."""
        if node is None:
            return "the network"
        leaf = self._leaf(node)
        noun = f"layer '{leaf}'" if leaf else f"operation '{node.name}'"
        return noun + location(node)

    # ----------------------------------------------------------------------------- the end

    def node_of(self, value: Value) -> Node | None:
        """Return the node that writes a value."""
        return next((n for n in reversed(self.nodes) if value.name in n.values), None)

    def constant(self, node: fx.Node | None, held: Constant, name: str) -> Value:
        """Return a constant as a value."""
        array = as_array(self.where(node), held)
        return self.emit(
            name, "constant", (), tuple(array.shape), node=node, arrays={"value": array},
            dtype=held.tensor.dtype,
        )  # fmt: skip

    def _finish(self) -> None:
        kept = [fx.node.map_aggregate(one, self.read) for one in self.recording.outputs]
        structure = self.recording.structure
        self.results = self._tree(structure, iter(kept))
        if not leaves(self.results):
            raise UnsupportedLayerError(
                f"{type(self.recording.model).__name__}: the model returns no tensor that is "
                "computed from its inputs; return the ones to be computed on the chip"
            )

    def _tree(self, spec: Any, items: Any) -> Any:
        """Return what the model returns as a tree of results."""
        if spec.type is None or spec.is_leaf():
            return self._leaf_of(next(items))
        children = [self._tree(child, items) for child in spec.children()]
        context = spec.context
        if spec.type in (tuple, list):
            return ["list" if spec.type is list else "tuple", children]
        keys = context if isinstance(context, list | tuple) else None
        if keys is not None and len(keys) == 2 and isinstance(keys[1], list | tuple):
            keys = keys[1]
        if (
            keys is not None
            and len(keys) == len(children)
            and all(isinstance(key, str | int) for key in keys)
        ):
            return ["dict", {str(key): child for key, child in zip(keys, children, strict=True)}]
        return ["tuple", children]

    def _leaf_of(self, item: Any) -> Any:
        if item is None:
            return ["none", None]
        if isinstance(item, Constant):
            item = self.constant(None, item, "constant")
        if isinstance(item, Value):
            return ["value", item.name, item.axis]
        raise UnsupportedLayerError(
            f"{type(self.recording.model).__name__}: the model returns {item!r:.80}, expected "
            "tensors in tuples, lists or dictionaries; wrap it in a module that returns the ones "
            "to be computed on the chip"
        )

    def _forget_unread(self) -> None:
        """Drop digital nodes that nobody reads, such as states that the model does not return."""
        wanted = {name for name, _ in leaves(self.results)}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.op in ANALOG or node.op == "input" or not wanted.isdisjoint(node.values):
                kept.append(node)
                wanted.update(node.inputs)
        self.nodes = kept[::-1]


def _plain(path: str) -> str:
    """Return a module's path in the user's model."""
    parts = [part.partition("@")[0] for part in path.split(".")]
    path = ".".join(parts)
    return "" if path == PREFIX.rstrip(".") else path.removeprefix(PREFIX)


def _rests(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a random operation does nothing in evaluation: dropout."""
    if "dropout" not in name:
        return False
    train = args[2] if len(args) > 2 else kwargs.get("train", kwargs.get("training", True))
    p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    return not train or p == 0


def _drops(args: Any, kwargs: Any) -> bool:
    """Whether attention drops some of its weights, which torch does in evaluation as well."""
    return bool(args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0))


def as_array(where: str, held: Constant) -> np.ndarray:
    """Return a constant as an array; floating-point numbers become float32."""
    tensor = held.tensor
    if tensor is None or tensor.device.type == "meta":
        raise unsupported(
            where, held.path, "it is on the meta device and has no data; load the weights first"
        )
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise unsupported(
            where, held.path or "constant",
            f"its type is {str(tensor.dtype).removeprefix('torch.')}, supported now: float32 and "
            "float64; convert the model with model.float()",
        )  # fmt: skip
    if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
        raise unsupported(
            where, held.path or "constant",
            "it is complex, quantised or sparse; convert it to dense float32",
        )  # fmt: skip
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy().copy()
