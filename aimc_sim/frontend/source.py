"""A model for the chip: recorded once, walked for a choice of layers, tried before use."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parallel import DataParallel, DistributedDataParallel

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import examples
from aimc_sim.frontend.check import batch_of_one, check
from aimc_sim.frontend.constants import CONVERT, NO_DATA
from aimc_sim.frontend.recording import LOCK, Example, Recording, evaluated_copy, record
from aimc_sim.frontend.rules import RULES
from aimc_sim.frontend.values import BatchAxisError
from aimc_sim.frontend.walk import Walk
from aimc_sim.mapping.graph import ANALOG, Network
from aimc_sim.mapping.where import Chosen, Where

_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[Any, Recording]] = weakref.WeakKeyDictionary()
"""Records of models that are still there, by what they were recorded with."""

_AXES: tuple[int | None, ...] = (0, 1, None)
"""Dimensions of the inputs that may count the batch, in the order in which they are tried; None: no
batch, the inputs are one image."""


@dataclass(eq=False)
class Source:
    """A torch module, the layers chosen for crossbars, and how to record it for other sizes.

    Parameters
    ----------
    model : nn.Module
        The model; it is not changed, and may be in training mode.
    where : mapping or sequence, optional
        Layers on crossbars, see :data:`aimc_sim.mapping.where.Where`.

    Attributes
    ----------
    walk : Walk or None
        The walk behind the last graph.
    """

    model: nn.Module
    where: Where = None
    walk: Walk | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.model = _plain(self.model)

    def network(self, example: Any = None, exact: bool = False) -> Network:
        """Return the graph of the model for inputs like an example.

        Parameters
        ----------
        example : Example, inputs as the forward method takes them, or None
            Inputs for the record; None: they are derived from the layers.
        exact : bool
            Whether the graph is for exactly as many images as the example has, also if that is
            one.

        Returns
        -------
        Network
            The graph.

        Raises
        ------
        UnsupportedLayerError, ValueError
            See :func:`aimc_sim.frontend.trace`.
        """
        with LOCK:
            model = evaluated_copy(self.model)
            given = example if isinstance(example, Example) or example is None else (
                examples.given(model, example)
            )  # fmt: skip
            records = _KNOWN.setdefault(self.model, {})
            key = None if given is None else (given.shapes, str(given.kwargs.keys()), exact)
            if key in records:
                try:
                    return self._network(records[key], model)
                except (UnsupportedLayerError, RuntimeError):
                    del records[key]  # the model is another one by now
            for axis in (0, 1):
                base = given or self._derived(model)
                if exact:
                    recording = record(model, base)
                    network = self._network(recording, model)
                    break
                recording = record(model, examples.prepared(base, axis))
                try:
                    network = self._network(recording, model, _AXES if axis == 1 else _AXES[:2])
                except BatchAxisError:
                    if base.tensors()[0].ndim < 2 or base.tensors()[0].shape[1] != 1:
                        network = self._network(recording, model)
                        break
                else:
                    break
            if network.axis is None and not exact:
                recording, network = self._of_these_sizes(base, model) or (recording, network)
            records[key] = recording
            return network

    def _of_these_sizes(self, base: Example, model: nn.Module) -> tuple[Recording, Network] | None:
        """Return record and graph for the sizes of an example, the batch alone free.

        A view such as ``x.view(-1, 6, n)`` splits a dimension that has been merged with the batch;
        that it gives the batch back holds for one size and cannot be told where sizes are free.
        None: the images of a batch are mixed then too.
        """
        try:
            recording = record(model, examples.prepared(base, 0), free="batch")
            return recording, self._network(recording, model, (0,))
        except (BatchAxisError, UnsupportedLayerError):
            return None

    def _derived(self, model: nn.Module) -> Example:
        """Return inputs that the layers read; without tensors nothing can be on crossbars."""
        if not any(True for tensors in (model.parameters(), model.buffers()) for _ in tensors):
            raise _nothing_to_map(self)
        return examples.derived(model)

    def _network(
        self, recording: Recording, model: nn.Module, axes: tuple[int | None, ...] = _AXES
    ) -> Network:
        """Walk with the batch along the first dimension that can be one, and try the graph."""
        references: dict[str, list[Tensor]] = {}
        for axis in axes:
            try:
                walk = Walk(recording, RULES, Chosen.of(self.where), axis)
                network = walk.run()
                check(model, network, recording.example, references)
            except BatchAxisError:
                if axis == axes[-1]:
                    raise
                continue
            self.walk = walk
            return _for_any_batch(model, network, recording.example)
        raise AssertionError("unreachable")

    def walked(self, example: Any = None) -> Walk:
        """Return the walk over the model, with the calls that are refused in its log.

        Parameters
        ----------
        example : inputs as the forward method takes them, or None
            Inputs for the record; None: they are derived from the layers.

        Returns
        -------
        Walk
            The walk, which went on after refused calls.

        Raises
        ------
        UnsupportedLayerError
            If the model cannot be recorded, or its record is not true of it.
        """
        with LOCK:
            model = evaluated_copy(self.model)
            if example is not None:
                base = examples.given(model, example)
            else:
                base = examples.derived(model)
            recording = record(model, examples.prepared(base, 0))
        for axis in (0, 1, None):
            walk = Walk(recording, RULES, Chosen.of(self.where), axis, refusals=True)
            try:
                network = walk.run()
                if not any(entry.refused for entry in walk.log):
                    check(model, network, recording.example, {})
            except BatchAxisError:
                continue
            return walk
        return walk


def _for_any_batch(model: nn.Module, network: Network, example: Example) -> Network:
    """Return a graph without the condition of two images at least, if it holds for one."""
    if network.axis is None:
        return network
    sizes = [
        {"size": [name, axis]}
        for name, axis in zip(network.inputs, network.axes, strict=True)
        if axis is not None
    ]
    lone = [{">=": [size, 2]} for size in sizes]
    if not batch_of_one(model, network, example):
        return network
    kept = tuple(c for c in network.conditions if c not in lone)
    return replace(network, conditions=kept)


def _plain(model: Any) -> nn.Module:
    """Return the module that was given, without what torch wraps around it."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"trace() got a {type(model).__name__}, expected a torch.nn.Module")
    # torch.compile wraps the module that was given.
    found: nn.Module = getattr(model, "_orig_mod", model)
    name = type(found).__name__
    if isinstance(found, DataParallel | DistributedDataParallel):
        raise UnsupportedLayerError(f"{name} copies a model to several devices; pass model.module")
    if isinstance(found, torch.jit.ScriptModule):
        raise UnsupportedLayerError(
            f"{name} is a TorchScript program, which does not say what its layers are; pass the "
            "module that was scripted"
        )
    for path, module in found.named_modules():
        if isinstance(module, LazyModuleMixin) and cast(Any, module).has_uninitialized_params():
            raise UnsupportedLayerError(
                f"layer '{path}' ({type(module).__name__}) cannot be mapped: its shape is not "
                "known yet; run one batch first"
            )
        if hasattr(module, "aimc_prepared"):
            raise UnsupportedLayerError(
                f"layer '{path}' ({type(module).__name__}) is prepared for training; finalize "
                "first: training.finalize(model) returns plain torch layers"
            )
    for path, tensor in (*found.named_parameters(), *found.named_buffers()):
        _check_stored(path, tensor)
    return found


def _check_stored(path: str, tensor: Any) -> None:
    """Raise UnsupportedLayerError if a parameter or buffer cannot be read."""
    kind = type(tensor)
    if isinstance(tensor, cast(Any, nn.parameter).UninitializedTensorMixin):
        fault = "has no shape yet; run one batch first"
    elif tensor.device.type == "meta":
        fault = f"is {NO_DATA}"
    elif tensor.is_floating_point() and tensor.dtype in (torch.float16, torch.bfloat16):
        fault = f"has the type {str(tensor.dtype).removeprefix('torch.')}, {CONVERT}"
    elif tensor.is_quantized or kind not in (torch.Tensor, nn.Parameter, nn.Buffer):
        fault = (
            f"is a {kind.__name__}, quantised or packed by another library; give the model as it "
            "was before"
        )
    elif tensor.layout != torch.strided or tensor.is_complex() or tensor.is_nested:
        fault = "is sparse, nested or complex; convert it to dense float32"
    else:
        return
    raise UnsupportedLayerError(f"the parameter '{path}' {fault}")


def trace(model: nn.Module, where: Where = None, example: Any = None) -> Network:
    """Return the graph of the operations of a model in evaluation mode, for the mapper.

    Parameters
    ----------
    model : torch.nn.Module
        The model: tensors in, tensors out; float32 or float64 weights, which become float32. It
        is not changed, and may be in training mode.
    where : mapping or sequence, optional
        Layers on crossbars, see :data:`aimc_sim.mapping.where.Where`; None: all with weights.
    example : inputs of the forward method, or a batch of a DataLoader, optional
        Tensors, tuples and mappings as the forward method takes them. Default: inputs that the
        first layer with weights can read. Sizes stay free unless the forward method decides by
        them.

    Returns
    -------
    Network
        The graph; nodes carry the paths of the torch modules. Identity and dropout vanish.

    Raises
    ------
    UnsupportedLayerError
        If a layer or operation has no counterpart on the chip, control flow depends on data, or
        the record gives other numbers than the model.
    ValueError
        If no layer has weights for a crossbar (an UnsupportedLayerError too), a weight is NaN or
        infinite, or a pattern of `where` matches nothing.
    TypeError
        If `model` is not a torch module.
    """
    source = Source(model, where)
    network = source.network(example)
    demand_layers(source, network)
    return network


def demand_layers(source: Source, network: Network) -> None:
    """Check that some layer of a network runs on crossbars, and that all patterns match.

    Parameters
    ----------
    source : Source
        The model, whose graph was made last.
    network : Network
        Its graph.

    Raises
    ------
    ValueError
        If nothing of the network would run on crossbars, or a pattern matches no layer.
    """
    if not any(node.op in ANALOG for node in network.nodes):
        raise _nothing_to_map(source)
    assert source.walk is not None
    source.walk.chosen.check()


def _nothing_to_map(source: Source) -> ValueError:
    """Return the error for a model without a layer on crossbars."""
    off = " on the analog side" if source.where is not None else ""
    idle = ", ".join(f"'{path}'" for path, _ in source.model.named_parameters())
    if idle and source.where is None:
        idle = f" (what it does with {idle[:120]} is no product with a constant matrix)"
    else:
        idle = ""
    return UnsupportedLayerError(
        f"the model {type(source.model).__name__} has no Conv2d, Linear or recurrent "
        f"layer{off}, so nothing would run on the chip{idle}; expected at least one"
    )
