"""From a torch module to the mapper's graph, by symbolic execution of its evaluation form.

``torch.fx`` records which modules and functions the forward method calls; this file walks that
record and :mod:`aimc_sim.bridge.trace_rules` says what each call becomes. No input is needed,
so sizes are unknown: ``x.size(3)`` is a symbol that pooling and reshaping understand
(:class:`aimc_sim.bridge.trace_values.Size`).
"""

from __future__ import annotations

import copy
import inspect
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from aimc_sim.bridge import trace_rules as rules
from aimc_sim.bridge.trace_values import Parameter, Value, unsupported
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.mapping.graph import Network, Node


def trace(model: nn.Module) -> Network:
    """Record what a model computes in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        One tensor in, one tensor out; float32 or float64 weights, which become float32. It is
        neither changed nor run, and may be in training mode.

    Returns
    -------
    Network
        The graph; nodes carry the paths of the torch modules. Identity and dropout vanish.

    Raises
    ------
    UnsupportedLayerError
        If a layer or operation has no counterpart on the chip, control flow depends on data,
        or there are several inputs or outputs.
    ValueError
        If there is no Conv2d and no Linear, or a weight is NaN or infinite.
    TypeError
        If `model` is not a torch module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"trace() got a {type(model).__name__}, expected a torch.nn.Module")
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps the module that was given
    _check_signature(model)
    wrapper = _OneInput(copy.deepcopy(model).eval())
    walk = Walk(wrapper)
    output = walk.run(_record(wrapper))
    if not any(node.op in ("conv2d", "linear") for node in walk.nodes):
        raise ValueError(
            f"the model {type(model).__name__} has no Conv2d and no Linear layer, so nothing "
            f"would run on the chip; expected at least one"
        )
    return Network(tuple(walk.nodes), "input", output)


class _OneInput(nn.Module):
    """Calls the model with one argument, so that its optional arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x)


class _Proxy(fx.Proxy):
    """Records ``a += b`` as such: as ``a = a + b``, its effect on other readers would be lost."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    """Keeps torch's own layers whole, also when subclassed, unless forward was rewritten."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        for base in rules.MODULES:
            if isinstance(m, base):
                return type(m).forward is base.forward
        return super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _check_signature(model: nn.Module) -> None:
    kinds = inspect.Parameter
    required = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.default is kinds.empty and p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    if len(required) > 1:
        raise UnsupportedLayerError(
            f"{type(model).__name__}.forward needs {len(required)} arguments "
            f"({', '.join(required)}), expected one tensor; wrap the model in a module that "
            f"takes one"
        )


def _record(wrapper: _OneInput) -> fx.Graph:
    name = type(wrapper.model).__name__
    try:
        return _Tracer().trace(wrapper)
    except fx.proxy.TraceError as error:
        raise UnsupportedLayerError(
            f"{name}: its forward method takes decisions that depend on the data or on sizes "
            f"(if, for, while, assert, len; torch.fx: {error}), which a fixed program cannot; "
            f"write the chosen branch out, or move the decision to __init__"
        ) from error
    except Exception as error:  # the user's code runs here: any error is possible
        raise UnsupportedLayerError(
            f"{name}: its forward method cannot be recorded by torch.fx "
            f"({type(error).__name__}: {error}); use torch operations on tensors only"
        ) from error


@dataclass
class Walk:
    """The walk over a record: nodes so far, and what each recorded name stands for."""

    wrapper: nn.Module
    nodes: list[Node] = field(default_factory=list)
    known: dict[fx.Node, Any] = field(default_factory=dict)
    crossbars: set[str] = field(default_factory=set)

    def run(self, record: fx.Graph) -> str:
        """Walk to the end and return the name of the output value."""
        result: Any = None
        for item in record.nodes:
            args, kwargs = fx.node.map_arg((item.args, item.kwargs), self._read)
            if item.op == "placeholder":
                self.known[item] = self.emit("input", "input", ())
            elif item.op == "output":
                result = args[0]
            elif item.op == "get_attr":
                path = str(item.target)
                self.known[item] = Parameter(path.removeprefix("model."), self._attribute(path))
            else:
                self.known[item] = self._call(item, args, kwargs)
        if not isinstance(result, Value):
            raise UnsupportedLayerError(
                f"the model returns {result!r:.80}, expected one tensor; wrap it in a module "
                f"that returns the one to be computed on the chip"
            )
        return result.name

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
        """
        taken = {node.name for node in self.nodes}
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}#{number}"
        reads = tuple(value.name for value in inputs)
        self.nodes.append(Node(unique, op, reads, attrs or {}, arrays or {}, modules))
        return Value(unique, ndim, memory or object(), size_of or unique)

    def overwrite(self, old: Value, new: Value) -> Value:
        """Let all readers of `old` see `new`, which was computed in the same memory."""
        for item, value in self.known.items():
            if value is old:
                self.known[item] = new
            elif isinstance(value, Value) and value.memory is old.memory:
                value.stale = True  # a view: its new contents are in no node
        return new

    def claim(self, path: str, where: str) -> None:
        """Reserve the crossbars of a layer; a second call of the layer is refused."""
        if path in self.crossbars:
            raise UnsupportedLayerError(
                f"layer '{where}' is called twice: its weights sit on one set of crossbars with "
                f"one place in the pipeline; give the second call a copy (copy.deepcopy) of the "
                f"layer"
            )
        self.crossbars.add(path)

    def _read(self, item: fx.Node) -> Any:
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
            return self._call_module(path, module, args, kwargs)
        name = item.name.removeprefix("model_")
        table, target = rules.FUNCTIONS, item.target
        if item.op == "call_method":
            table = rules.METHODS
        label = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        if target not in table:
            raise unsupported(f"operation '{name}'", label)
        try:
            return table[target](self, name, *args, **kwargs)
        except TypeError as error:
            raise unsupported(
                f"operation '{name}'", label, f"its arguments are not supported ({error})"
            ) from error

    def _call_module(self, path: str, module: nn.Module, args: tuple, kwargs: dict) -> Any:
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
        tensors = [*args, *kwargs.values()]
        if len(tensors) != 1 or not isinstance(tensors[0], Value):
            raise unsupported(f"layer '{path}'", label, "expected one tensor as its only argument")
        return rule(self, path, module, tensors[0])
