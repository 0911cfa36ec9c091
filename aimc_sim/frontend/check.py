"""A record is believed after it was tried: it must give what the model gives, image by image.

Python can branch on things that torch.export cannot follow (the type of a tensor, a counter on the
model). So the model itself is run once on the example, with and without gradients, and the graph is
run on these numbers as well; and since the executor cuts batches into parts, the graph is run on a
part of the batch, where its results must agree with those of the whole.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aimc_sim.chip.program import leaves
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend.evaluate import largest, run_network
from aimc_sim.frontend.recording import Example
from aimc_sim.frontend.values import BatchAxisError
from aimc_sim.mapping.graph import ANALOG, Network, Node

TOLERANCE = 1e-3
"""Largest difference between graph and model, as a share of the largest output: far above the
rounding of another order of sums, far below the difference of another branch."""

_PART_TOLERANCE = 1e-4
"""Largest difference between a graph on a batch and on a part of it, as a share of the largest
output."""


def check(
    model: nn.Module, network: Network, example: Example, references: dict[str, list[Tensor]]
) -> None:
    """Raise unless a graph computes what a model computes, image by image.

    Parameters
    ----------
    model : nn.Module
        The model, in evaluation mode.
    network : Network
        The graph.
    example : Example
        Arguments of the forward method.
    references : dict of str to list of tensors
        Outputs of the model on the example, kept for the next check; filled by the first one.

    Raises
    ------
    UnsupportedLayerError
        If the numbers differ: the forward method does something that a record does not hold.
    BatchAxisError
        If an operation mixes the images of a batch; names it.
    """
    if "whole" not in references:
        references["whole"] = reference(model, example)
    expected = references["whole"]
    values = run_network(network, example.tensors())
    found = [values[name] for name, _ in leaves(network.results)]
    name = type(model).__name__
    if len(found) != len(expected):
        raise UnsupportedLayerError(
            f"{name}: the record of its forward method returns {len(found)} tensors, the model "
            f"{len(expected)}; it decides by what a record does not hold (types, hooks, counters)"
        )
    for place, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        if not alike(mine, theirs, TOLERANCE):
            raise UnsupportedLayerError(
                f"{name}: the record of its forward method gives other numbers than the model "
                f"itself (output {place}: {_difference(mine, theirs)})"
                f"{_first(model, network, example, values)}; it decides by what a record does "
                "not hold, such as the type of a tensor, a counter, the time, or a function that "
                "was replaced; write the chosen branch out"
            )
    if network.axis is not None:
        _check_parts(network, example, values)


def _first(
    model: nn.Module, network: Network, example: Example, values: Mapping[str, Tensor]
) -> str:
    """Return the first layer whose output differs, in words, or nothing."""
    outputs: dict[str, Tensor] = {}
    handles = []
    for path, module in model.named_modules():
        if not any(True for _ in module.children()):

            def keep(_: Any, __: Any, output: Any, path: str = path) -> None:
                if isinstance(output, Tensor):
                    outputs.setdefault(path, output.detach().clone())

            handles.append(module.register_forward_hook(keep))
    try:
        reference(model, example)
    except UnsupportedLayerError:
        return ""
    finally:
        for handle in handles:
            handle.remove()
    last = {path: node.name for node in network.nodes for path in node.modules}
    for path, output in outputs.items():
        if path in last and not alike(values[last[path]], output, TOLERANCE):
            return f", first in layer '{path}' ({type(model.get_submodule(path)).__name__})"
    return ""


def reference(model: nn.Module, example: Example) -> list[Tensor]:
    """Return all tensors that a model gives.

    Parameters
    ----------
    model : nn.Module
        The model, in evaluation mode.
    example : Example
        Arguments of the forward method.

    Returns
    -------
    list of tensors
        Outputs, from left to right in their containers.

    Raises
    ------
    UnsupportedLayerError
        If the model does not run on the example, or gives other numbers with gradients.
    """
    results = []
    for enabled in (False, True):
        tensors = [x.detach().clone() for x in example.tensors()]
        own = example.with_tensors(tensors)
        try:
            with torch.set_grad_enabled(enabled), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, of kernels that are not used here
                made = model(*own.args, **own.kwargs)
        except Exception as error:  # the user's code runs here: any error is possible
            asked = "" if example.given else "; give some: from_model(model, example=...)"
            raise UnsupportedLayerError(
                f"{type(model).__name__} does not run on inputs of the sizes "
                f"{[tuple(x.shape) for x in tensors]} ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}){asked}"
            ) from error
        results.append([x.detach() for x in pytree.tree_leaves(made) if isinstance(x, Tensor)])
    for one, other in zip(*results, strict=True):
        if not alike(one, other, TOLERANCE):
            raise UnsupportedLayerError(
                f"{type(model).__name__}: its forward method gives other numbers with gradients "
                f"than without ({_difference(one, other)}); a program is one of both: leave "
                "torch.is_grad_enabled() out of it"
            )
    return results[0]


def alike(x: Tensor, y: Tensor, tolerance: float) -> bool:
    """Return whether two tensors have equal sizes, and equal numbers to a share of the largest.

    Parameters
    ----------
    x, y : tensors of any shape
        The tensors to be compared.
    tolerance : float
        Largest difference as a share of the largest magnitude in ``y``; whole numbers must be
        equal.

    Returns
    -------
    bool
        True if they are alike.
    """
    if x.shape != y.shape:
        return False
    if not x.is_floating_point() and not y.is_floating_point():
        return bool((x == y).all())
    x, y = x.detach().float(), y.detach().float()  # a parameter may be returned as it is
    scale = max(largest(y), 1e-30)
    return bool(torch.allclose(x, y, rtol=0.0, atol=tolerance * scale, equal_nan=True))


def _difference(x: Tensor, y: Tensor) -> str:
    """Return in words how far a tensor is from another one."""
    if x.shape != y.shape:
        return f"shape {tuple(x.shape)}, wanted {tuple(y.shape)}"
    gap = (x.float() - y.float()).abs().max()
    return f"off by {float(gap):.3g} at most, where numbers go up to {largest(y):.3g}"


def _check_parts(network: Network, example: Example, whole: Mapping[str, Tensor]) -> None:
    """Raise if the graph gives other numbers on the first image than on all of them."""
    tensors = example.tensors()
    assert network.axis is not None
    batch = tensors[0].shape[network.axis]
    parts = [
        x if axis is None else x.narrow(axis, 0, 1)
        for x, axis in zip(tensors, network.axes, strict=True)
    ]
    try:
        part = run_network(network, parts)
    except (RuntimeError, IndexError, ValueError) as error:
        raise BatchAxisError(
            f"the network does not run on a part of a batch ({' '.join(str(error).split())[:160]})"
        ) from None
    for name, axis in leaves(network.results):
        if not _fits(part[name], whole[name], axis, batch):
            raise BatchAxisError(_blame(network, part, whole, batch))
    for node in network.nodes:
        if node.op in ANALOG and not _fits(part[node.inputs[0]], whole[node.inputs[0]],
                                           _axis_of(node, part, whole), batch):  # fmt: skip
            raise BatchAxisError(_blame(network, part, whole, batch))


def _fits(part: Tensor, whole: Tensor, axis: int | None, batch: int) -> bool:
    """Return whether the value of the first image agrees with its part of the batch's value."""
    if axis is None:
        return alike(part, whole, _PART_TOLERANCE)
    several = whole.shape[axis] // batch
    if part.ndim != whole.ndim or part.shape[axis] != several:
        return False
    return alike(part, whole.narrow(axis, 0, several), _PART_TOLERANCE)


def _axis_of(node: Node, part: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> int | None:
    """Return the dimension of a node's input that counts the batch, None if there is none."""
    small, large = part[node.inputs[0]].shape, whole[node.inputs[0]].shape
    differing = [d for d, (a, b) in enumerate(zip(small, large, strict=False)) if a != b]
    return differing[0] if differing else None


def _blame(
    network: Network, part: Mapping[str, Tensor], whole: Mapping[str, Tensor], batch: int
) -> str:
    """Return which operation first gives an image other numbers among other images."""
    for node in network.nodes:
        if node.op == "input":
            continue
        axis = _axis_of(Node("", "relu", (node.name,)), part, whole)
        if not _fits(part[node.name], whole[node.name], axis, batch):
            return (
                f"operation '{node.name}' ({node.op}) mixes the images of a batch: alone, an image "
                "gives other numbers than among others"
            )
    return "the network mixes the images of a batch"


def batch_of_one(model: nn.Module, network: Network, example: Example) -> bool:
    """Return whether a graph agrees with a model for a single image as well.

    Parameters
    ----------
    model : nn.Module
        The model, in evaluation mode.
    network : Network
        The graph.
    example : Example
        Arguments of the forward method, for several images.

    Returns
    -------
    bool
        True if they agree, or if the model takes no single image.
    """
    tensors = [
        x if axis is None else x.narrow(axis, 0, 1)
        for x, axis in zip(example.tensors(), network.axes, strict=True)
    ]
    one = example.with_tensors(tensors)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = model(*one.args, **one.kwargs)
    except Exception:  # the model itself takes no single image
        return True
    expected = [x for x in pytree.tree_leaves(made) if isinstance(x, Tensor)]
    values = run_network(network, tensors)
    found = [values[name] for name, _ in leaves(network.results)]
    pairs: Sequence[Any] = list(itertools.zip_longest(found, expected))
    return all(a is not None and b is not None and alike(a, b, TOLERANCE) for a, b in pairs)
