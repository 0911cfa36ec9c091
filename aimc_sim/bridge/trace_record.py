"""What a forward method calls, recorded by ``torch.fx``: sizes are symbols, or an example's.

Without an example no input is needed, and sizes are unknown. With one, sizes are numbers, so that
the method may decide and loop by them; those of the batch stay unknown, so that any batch can be
run.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import rnn

from aimc_sim.bridge import trace_rules as rules
from aimc_sim.errors import UnsupportedLayerError


class Wrapper(nn.Module):
    """Calls the model with one argument, so that its optional arguments keep their defaults."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x: Any) -> Any:
        """Call the model."""
        return self.model(x)


class _Two(Wrapper):
    def forward(self, x: Any, y: Any) -> Any:
        return self.model(x, y)


class _Three(Wrapper):
    def forward(self, x: Any, y: Any, z: Any) -> Any:
        return self.model(x, y, z)


def wrapped(model: nn.Module) -> Wrapper:
    """Return a copy of the model, in evaluation mode, that takes only what it needs."""
    names = required_arguments(model)
    if len(names) > 3:
        raise UnsupportedLayerError(
            f"{type(model).__name__}.forward needs {len(names)} arguments ({', '.join(names)}), "
            f"expected at most 3; wrap the model in a module that takes fewer"
        )
    kind = (Wrapper, _Two, _Three)[len(names) - 1]
    return kind(copy.deepcopy(model).eval(), names)


def required_arguments(model: nn.Module) -> list[str]:
    """Return the names of the arguments without default, at least one."""
    kinds = inspect.Parameter
    parameters = [
        p
        for p in inspect.signature(model.forward).parameters.values()
        if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    needed = [p.name for p in parameters if p.default is kinds.empty]
    return needed or [p.name for p in parameters[:1]] or ["input"]


def _changing(operation: Any) -> Any:
    def record(self: fx.Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    return record


class _Proxy(fx.Proxy):
    """Records ``a += b`` as such: as ``a = a + b``, its effect on other readers would be lost."""

    __iadd__, __isub__ = _changing(operator.iadd), _changing(operator.isub)
    __imul__, __itruediv__ = _changing(operator.imul), _changing(operator.itruediv)


class _Tracer(fx.Tracer):
    """Keeps torch's own layers whole, also when subclassed, unless forward was rewritten."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=(rnn.pack_padded_sequence, rnn.pad_packed_sequence))
        # Also where they are called through their module, but nothing else that it holds.
        self._autowrap_search.append(rnn)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        for base in rules.MODULES:
            if isinstance(m, base):
                return type(m).forward is base.forward
        return super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def record_of(wrapper: Wrapper, example: Any = None) -> fx.Graph:
    """Return the record of a model's forward method.

    Parameters
    ----------
    wrapper : Wrapper
    example : tensor or tuple of tensors, optional
        If given, sizes in the record are numbers, except those of the batch.
    """
    name = type(wrapper.model).__name__
    try:
        tracer = _Tracer() if example is None else _SizedTracer(wrapper, example)
        return tracer.trace(wrapper)
    except fx.proxy.TraceError as error:
        raise UnsupportedLayerError(
            f"{name}: its forward method takes decisions that depend on the data or on sizes "
            f"(if, for, while, assert, len; torch.fx: {error}), which a fixed program cannot; "
            f"write the chosen branch out, move the decision to __init__, or, if it depends on "
            f"sizes only, give an input of that size: from_model(model, example=x)"
        ) from error
    except Exception as error:  # the user's code runs here: any error is possible
        raise UnsupportedLayerError(
            f"{name}: its forward method cannot be recorded by torch.fx "
            f"({type(error).__name__}: {error}); use torch operations on tensors only"
        ) from error


# --------------------------------------------------------------------- sizes from an example

_BATCH = 9973
"""Batch of the stand-ins: a prime that no other size is a multiple of."""


class _SizedProxy(_Proxy):
    """Knows the sizes of its stand-in, except where they count the batch."""

    stand_in: Any = None

    @property
    def shape(self) -> Any:
        return self._sizes()

    @property
    def ndim(self) -> Any:
        return self.dim()

    def size(self, dim: int | None = None) -> Any:
        sizes = self._sizes()
        return sizes if dim is None else sizes[dim]

    def dim(self) -> Any:
        if isinstance(self.stand_in, Tensor):
            return self.stand_in.ndim
        return self.tracer.create_proxy("call_method", "dim", (self,), {})

    def __len__(self) -> int:
        if isinstance(self.stand_in, Tensor) and self.stand_in.shape[0] % _BATCH:
            return self.stand_in.shape[0]
        return super().__len__()

    def _sizes(self) -> Any:
        if not isinstance(self.stand_in, Tensor):
            return self.tracer.create_proxy("call_function", getattr, (self, "shape"), {})
        return tuple(
            n if n % _BATCH else self.tracer.create_proxy("call_method", "size", (self, d), {})
            for d, n in enumerate(self.stand_in.shape)
        )


class _SizedTracer(_Tracer):
    """Runs every call on stand-ins without data beside recording it."""

    def __init__(self, wrapper: Wrapper, example: Any) -> None:
        super().__init__()
        given = example if isinstance(example, tuple | list) else (example,)
        if len(given) != len(wrapper.names) or not all(isinstance(x, Tensor) for x in given):
            raise TypeError(
                f"example holds {len(given)} inputs, the model takes {len(wrapper.names)} "
                f"({', '.join(wrapper.names)}); give a tensor for each"
            )
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.waiting = [torch.empty((_BATCH, *x.shape[1:]), dtype=x.dtype) for x in given]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _SizedProxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **also: Any):
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **also)
        try:
            proxy.stand_in = self._stand_in(kind, target, args, kwargs)
        except Exception:  # no stand-in: its sizes stay symbols
            proxy.stand_in = None
        return proxy

    def _stand_in(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = fx.node.map_aggregate((args, kwargs), _stand_in_of)
        with self.mode, torch.no_grad():
            if kind == "placeholder":
                return self.mode.from_tensor(self.waiting.pop(0))
            if kind == "call_module":
                with _unrecorded():
                    return self.root.get_submodule(target)(*args, **kwargs)
            if kind == "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            if kind == "call_function":
                return target(*args, **kwargs)
            with _unrecorded():
                found: Any = self.root
                for part in str(target).split("."):
                    found = getattr(found, part)
                return found


@contextmanager
def _unrecorded() -> Iterator[None]:
    """Let modules be what they are without torch.fx, for the stand-ins."""
    recorded = nn.Module.__call__, nn.Module.__getattr__
    nn.Module.__call__, nn.Module.__getattr__ = _CALL, _GETATTR
    try:
        yield
    finally:
        nn.Module.__call__, nn.Module.__getattr__ = recorded


_CALL, _GETATTR = nn.Module.__call__, nn.Module.__getattr__


def _stand_in_of(part: Any) -> Any:
    return part.stand_in if isinstance(part, _SizedProxy) else part
