"""The record of what a model computes, by ``torch.export``: the real forward on stand-ins.

torch.export runs the forward method itself, so that ordinary Python around the layers acts as it
always does. Here the model is prepared for it (a copy that shares every tensor, in evaluation
mode), exported under a lock, and the export is put in the words of this room: inputs, constants,
sizes, conditions on sizes.
"""

from __future__ import annotations

import copy
import logging
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy
import torch
from torch import Tensor, fx, nn
from torch.export import Dim
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import functional
from aimc_sim.frontend.calls import PREFIX
from aimc_sim.frontend.conditions import conditions_of, symbols_of
from aimc_sim.frontend.sequences import Sequences
from aimc_sim.frontend.sizes import Tree, expression
from aimc_sim.frontend.threads import alone
from aimc_sim.frontend.values import Input

LOCK = threading.RLock()
"""torch.export changes the state of the process while it runs: one at a time."""

FREE_SECONDS = 20.0
"""Processor time, seconds, for an export with all sizes free. Shifted windows make conditions on
sizes that take minutes to reason about; then only the batch is free, and other sizes are recorded
when they come. Most networks take one to five seconds."""


@dataclass(frozen=True)
class Example:
    """Arguments of a forward method.

    Attributes
    ----------
    args : tuple
        Arguments by place; tensors are found in tuples, lists and dictionaries too.
    kwargs : dict of str to argument
        Arguments by name.
    given : bool
        Whether the user gave them; if not, they were derived and only their form matters.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    given: bool = True

    def tensors(self) -> list[Tensor]:
        """Return all tensors in the arguments, in the order of an export's inputs."""
        return [x for x in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Example:
        """Return the arguments with other tensors.

        Parameters
        ----------
        tensors : sequence of tensors
            A tensor for each of :meth:`tensors`.

        Returns
        -------
        Example
            The arguments in their containers.
        """
        leaves, spec = pytree.tree_flatten((self.args, self.kwargs))
        waiting = iter(tensors)
        leaves = [next(waiting) if isinstance(x, Tensor) else x for x in leaves]
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return Example(args, kwargs, self.given)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of all tensors."""
        return tuple(tuple(x.shape) for x in self.tensors())


Free = Literal["all", "batch", "none"]
"""Sizes of the inputs that stay free in a record."""


@dataclass(frozen=True, eq=False)
class Recording:
    """The record of a model's forward method.

    Attributes
    ----------
    model : nn.Module
        The copy that was recorded; it shares its tensors with the user's model.
    example : Example
        Arguments that the model was recorded with.
    graph : fx.Graph
        ATen operations without effects in place.
    module : nn.Module
        The module in which the graph's own attributes are found.
    constants : mapping of str to (str, tensor)
        Path and tensor of parameters, buffers and other constants, by name of the placeholder.
    inputs : tuple of Input
        Tensors that enter, in the order of ``example.tensors()``.
    placeholders : mapping of str to int
        Number of the input, by name of the placeholder.
    symbols : mapping of sympy.Symbol to tree
        The tree that every symbol in sizes stands for.
    conditions : tuple of trees
        Conditions on the sizes of the inputs under which the record is true of them.
    outputs : tuple of fx.Node, constants and numbers
        Leaves of the tree that the model returns.
    structure : pytree spec
        Containers of that tree.
    called : tuple of (str, str)
        Path and class name of modules without children, in the order in which they were called.
    """

    model: nn.Module
    example: Example
    graph: fx.Graph
    module: nn.Module
    constants: Mapping[str, tuple[str, Tensor]]
    inputs: tuple[Input, ...]
    placeholders: Mapping[str, int]
    symbols: Mapping[sympy.Symbol, Tree]
    conditions: tuple[Tree, ...]
    outputs: tuple[Any, ...]
    structure: Any
    called: tuple[tuple[str, str], ...]


def evaluated_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model in evaluation mode that shares all its tensors.

    Parameters
    ----------
    model : nn.Module
        The model; it is not changed.

    Returns
    -------
    nn.Module
        The copy.
    """
    shared: dict[int, Any] = {}

    def share(x: Any) -> None:
        if isinstance(x, Tensor):
            shared[id(x)] = x
        elif isinstance(x, (list, tuple)):
            for part in x:
                share(part)
        elif isinstance(x, dict):
            for part in x.values():
                share(part)

    for module in model.modules():
        for value in vars(module).values():
            share(value)
    for tensor in (*model.parameters(), *model.buffers()):
        shared[id(tensor)] = tensor
    return copy.deepcopy(model, shared).eval()


class _Caller(nn.Module):
    """Calls the model with what an export hands over."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.budget_seconds: float | None = None

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model; sequences stay whole."""
        with Sequences(self.budget_seconds):
            return self.model(*args, **kwargs)


def record(model: nn.Module, example: Example, free: Free = "all") -> Recording:
    """Return the record of a model's forward method.

    Parameters
    ----------
    model : nn.Module
        The model, from :func:`evaluated_copy`.
    example : Example
        Arguments of the forward method.
    free : "all", "batch" or "none"
        Which sizes stay free: as many as can be, the first ones alone, or none, which is recorded
        faster; the others are those of the example.

    Returns
    -------
    Recording
        The record.

    Raises
    ------
    UnsupportedLayerError
        If the forward method decides by data, or does not run; says where.
    """
    caller = _Caller(model)
    called, handles = _watch(model)
    recurrent = [m for m in model.modules() if isinstance(m, nn.RNNBase)]
    for module in recurrent:
        # Torch's own check would fix the batch of packed sequences; sizes are checked as recorded.
        vars(module)["check_forward_args"] = _unchecked
    try:
        with LOCK, warnings.catch_warnings(), alone(), _quiet():
            warnings.simplefilter("ignore")
            exported = _export(caller, example, called, free)
            names = _input_names(model, example)
            return _as_recording(model, example, exported, names, called)
    finally:
        for handle in handles:
            handle.remove()
        for module in recurrent:
            vars(module).pop("check_forward_args", None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch.export logs of sizes that stay fixed from the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch._export", "torch.export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _unchecked(*_: Any) -> None:
    """Stand for a check of sizes."""


def _watch(model: nn.Module) -> tuple[list[tuple[str, str]], list[Any]]:
    """Note which modules without children are called."""
    called: list[tuple[str, str]] = []
    handles = []
    for path, module in model.named_modules():
        if not any(True for _ in module.children()):
            label = (path or type(module).__name__, type(module).__name__)

            def note(*_: Any, label: tuple[str, str] = label) -> None:
                called.append(label)

            handles.append(module.register_forward_pre_hook(note))
    return called, handles


def _export(
    caller: _Caller, example: Example, called: list[tuple[str, str]], which: Free
) -> Any:  # fmt: skip
    """Export with as many free sizes as possible: all, the first of each input, none."""
    arguments = (example.args, example.kwargs)
    failures: list[Exception] = []
    wanted = {"all": (_all_free, _batch_free, None), "batch": (_batch_free,), "none": (None,)}
    for free in wanted[which]:
        called.clear()
        caller.budget_seconds = FREE_SECONDS if free is _all_free else None
        dynamic = None if free is None else pytree.tree_map(free, arguments)
        try:
            with torch.enable_grad():
                return torch.export.export(
                    caller, arguments, dynamic_shapes=dynamic, strict=False
                )  # fmt: skip
        except Exception as error:  # the user's code runs here: any error is possible
            failures.append(error)
    # The first one; a timeout is ours and says nothing of the model.
    told = next((e for e in failures if not isinstance(e, TimeoutError)), failures[-1])
    raise _refusal(caller.model, told) from told


def _all_free(x: Any) -> Any:
    """Return the free sizes of an argument: all of them."""
    return dict.fromkeys(range(x.ndim), Dim.AUTO) if isinstance(x, Tensor) else None


def _batch_free(x: Any) -> Any:
    """Return the free sizes of an argument: the first one."""
    return {0: Dim.AUTO} if isinstance(x, Tensor) and x.ndim else None


def _refusal(model: nn.Module, error: Exception) -> UnsupportedLayerError:
    """Return why a model cannot be recorded, with the user's own line."""
    name, kind = type(model).__name__, type(error).__name__
    line = _users_line(error)
    text = " ".join(str(error).split())[:300]
    if "data-dependent" in str(error).lower() or kind.startswith("GuardOnDataDependent"):
        return UnsupportedLayerError(
            f"{name}: its forward method takes decisions that depend on the data{line} ({text}), "
            "which a fixed program cannot; write the chosen branch out, or use torch.where"
        )
    return UnsupportedLayerError(
        f"{name}: its forward method cannot be recorded{line} ({kind}: {text}); use torch "
        "operations on tensors only"
    )


def _users_line(error: BaseException | None) -> str:
    """Return " at FILE, line N" of the user's code in a traceback, or nothing."""
    found, behind = "", error
    while behind is not None and not found:
        for frame in traceback.extract_tb(behind.__traceback__):
            inside = ("/torch/", "/aimc_sim/frontend/", "/sympy/", "/concurrent/", "/contextlib")
            if not any(part in frame.filename for part in inside) and "<" not in frame.filename:
                found = f" at {frame.filename}, line {frame.lineno} (`{frame.line}`)"
        behind = behind.__cause__ or behind.__context__
    return found


def _input_names(model: nn.Module, example: Example) -> list[str]:
    """Return a name for every tensor of the arguments; the first one is "input"."""
    import inspect

    try:
        parameters = list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        parameters = []
    names = []
    leaves, _ = pytree.tree_flatten_with_path((example.args, example.kwargs))
    for path, leaf in leaves:
        if not isinstance(leaf, Tensor):
            continue
        keys: list[Any] = [getattr(p, "idx", getattr(p, "key", p)) for p in path]
        side, key, *rest = keys
        own = str(key) if side == 1 or key >= len(parameters) else parameters[key]
        if side == 0 and key >= len(parameters):
            own = f"input{key}"
        names.append("_".join([own, *map(str, rest)]))
    if names:
        names[0] = "input"
    for place, name in enumerate(names):
        if name in names[:place]:
            names[place] = f"{name}#{place}"
    return names


def _as_recording(
    model: nn.Module, example: Example, exported: Any, names: list[str],
    called: list[tuple[str, str]],
) -> Recording:  # fmt: skip
    """Return an export as a record."""
    exported, graph, module = functional.functional(exported)
    signature = exported.graph_signature
    nodes = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    constants: dict[str, tuple[str, Tensor]] = {}
    inputs: list[Input] = []
    placeholders: dict[str, int] = {}
    tensors = example.tensors()
    # A tensor under several names has the first one.
    first = {id(x): name for name, x in (*model.named_parameters(), *model.named_buffers())}
    for spec in signature.input_specs:
        name = spec.arg.name
        if spec.kind == InputKind.USER_INPUT:
            node = nodes.get(name)
            value = None if node is None else node.meta.get("val")
            if isinstance(value, Tensor):
                placeholders[name] = len(inputs)
                sizes = tuple(expression(size) for size in value.shape)
                inputs.append(Input(names[len(inputs)], sizes, tensors[len(inputs)].dtype))
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            held = exported.state_dict.get(spec.target, exported.constants.get(spec.target))
            path = first.get(id(held), spec.target.removeprefix(PREFIX))
            constants[name] = path, held
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            constants[name] = spec.target.removeprefix(PREFIX), exported.constants[spec.target]
    for spec in signature.output_specs:
        if spec.kind == OutputKind.BUFFER_MUTATION:
            path = str(spec.target).removeprefix(PREFIX)
            raise UnsupportedLayerError(
                f"{type(model).__name__}: its forward method changes the buffer '{path}', and a "
                "program keeps nothing from one call to the next; make it an input and an output, "
                "or use nn.LSTM, nn.GRU or nn.RNN"
            )
    returned: Any = graph.output_node().args[0]
    outputs = [
        output
        for spec, output in zip(signature.output_specs, returned, strict=False)
        if spec.kind == OutputKind.USER_OUTPUT
    ]
    symbols = symbols_of(inputs)
    conditions = conditions_of(exported, inputs, symbols)
    return Recording(
        model, example, graph, module, constants, tuple(inputs), placeholders, symbols,
        tuple(conditions), tuple(outputs), exported.call_spec.out_spec, tuple(called),
    )  # fmt: skip
