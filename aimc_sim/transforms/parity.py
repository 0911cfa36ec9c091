"""Records of networks for transforms, and the check that a transform has changed no function."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import Source, examples
from aimc_sim.frontend.recording import Example, evaluated_copy, record
from aimc_sim.transforms.flow import ChannelFlow

TOLERANCE = 1e-5
"""Largest difference between the network and its transform, both in float64, as a share of the
largest output: above the rounding of norms that compute in float32 by themselves."""


def opened(model: nn.Module, example: Any) -> tuple[nn.Module, Example, ChannelFlow]:
    """Return a model, an example and the channels of the model.

    Parameters
    ----------
    model : nn.Module
        The model; float32 or float64; it is not changed.
    example : inputs of the forward method
        See :meth:`aimc_sim.Chip.from_model`.

    Returns
    -------
    model : nn.Module
        The model, without what torch wraps around it.
    example : Example
        Arguments of the forward method.
    flow : ChannelFlow
        The channels.

    Raises
    ------
    UnsupportedLayerError
        If the forward method cannot be recorded.
    TypeError
        If `model` is no module, or there is no tensor in the example.
    """
    plain = Source(model).model
    shared = evaluated_copy(plain)
    given = examples.given(shared, example)
    return plain, given, ChannelFlow(record(shared, given, free="none"))


def outputs(model: nn.Module, example: Example) -> list[Tensor]:
    """Return all tensors of numbers that a model returns, computed in float64.

    Parameters
    ----------
    model : nn.Module
        The model; it is not changed.
    example : Example
        Arguments of the forward method.

    Returns
    -------
    list of float64 tensors
        The outputs in evaluation mode, in the order in which the model returns them.
    """
    exact = copy.deepcopy(model).double().eval()
    tensors = [x.double() if x.is_floating_point() else x for x in example.tensors()]
    inputs = example.with_tensors(tensors)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = exact(*inputs.args, **inputs.kwargs)
    return [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]


def error(expected: list[Tensor], found: list[Tensor]) -> float:
    """Return the largest difference between outputs, as a share of the largest of each.

    Parameters
    ----------
    expected, found : list of tensors
        Outputs of two models on the same inputs, of equal shapes.

    Returns
    -------
    float
        The largest share, dimensionless; infinite if shapes differ.
    """
    if [x.shape for x in expected] != [x.shape for x in found]:
        return float("inf")
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        finite = a.isfinite() if a.is_floating_point() else torch.ones_like(a, dtype=torch.bool)
        off = (a.double() - b.double())[finite].abs()
        if not torch.equal(a[~finite], b[~finite]):
            return float("inf")
        if off.numel():
            worst = max(worst, float(off.max() / a.double()[finite].abs().max().clamp(min=1e-300)))
    return worst


def check(model: nn.Module, made: nn.Module, example: Example, what: str) -> None:
    """Raise unless a transform of a model computes what the model computes.

    Parameters
    ----------
    model : nn.Module
        The model.
    made : nn.Module
        The transform, with float64 numbers.
    example : Example
        Arguments of the forward method.
    what : str
        Name of the transform.

    Raises
    ------
    UnsupportedLayerError
        If an output differs by more than :data:`TOLERANCE`.
    """
    off = error(outputs(model, example), outputs(made, example))
    if not off <= TOLERANCE:
        raise UnsupportedLayerError(
            f"{what} of {type(model).__name__} gives other outputs than the network itself (by "
            f"{off:.1e} of the largest output, expected at most {TOLERANCE:.0e}): its forward "
            "method does something that its record does not hold; nothing was changed"
        )
