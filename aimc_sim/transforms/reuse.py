"""Attentions that are left out, and replaced by a transform of the one before (TReX)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from aimc_sim import arguments
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.frontend.recording import evaluated_copy
from aimc_sim.transforms import parity
from aimc_sim.transforms.edits import Edits, put
from aimc_sim.transforms.flow import ChannelFlow
from aimc_sim.transforms.reused import Kept, Remembering, ReusedAttention


def attentions(model: nn.Module, example: Any) -> tuple[str, ...]:
    """Return the paths of the modules that compute an attention, in the order of calls.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.

    Returns
    -------
    tuple of str
        Their paths.
    """
    _, _, flow = parity.opened(model, example)
    return tuple(_attentions(flow))


def _attentions(flow: ChannelFlow) -> dict[str, fx.Node]:
    """Return the product that reads the heads of every attention, by the attention's path."""
    order = {node: place for place, node in enumerate(flow.recording.graph.nodes)}
    found = {}
    mixes = [(mix, space) for space in flow.roots for mix in space.mixes]
    for mix, space in sorted(mixes, key=lambda pair: order[pair[0].call]):
        path = calls.owner(flow.recording.model, mix.call)
        readers = space.of("reader")
        if len(readers) == 1:
            found[path] = readers[0].use.call
    return found


def reuse_attention(
    model: nn.Module, example: Any, reused: Sequence[int], *, seed: int = 0
) -> nn.Module:
    """Return a network in which some attentions transform the heads of the one before.

    In such a block queries, keys, values, their products and the softmax are dropped. The heads'
    output of the attention before, end to end, passes a LayerNorm, a product of that size and a
    GELU; the projection stays. Of d channels, 3 d^2 static weights and all written keys and values
    go, d^2 weights come. The network computes something else until it has been trained again.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed. Each attention is a module of its own whose projection is a
        layer that is called; ``nn.MultiheadAttention`` does not call its own.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.
    reused : sequence of int
        Numbers of the attentions that are dropped, from 1, in the order of :func:`attentions`.
    seed : int
        Root of the random numbers of the new products.

    Returns
    -------
    nn.Module
        A deep copy with :class:`ReusedAttention` in the place of these attentions.

    Raises
    ------
    UnsupportedLayerError
        If a projection is no layer that is called.
    ValueError
        If a number is out of range, or occurs twice.

    Source
        "TReX: reusing vision transformer's attention for efficient xbar-based computing" (2024),
        arXiv:2408.12742; the block is known here from notes on the paper.
    """
    seed = arguments.seed(seed)
    plain, given, flow = parity.opened(model, example)
    found = _attentions(flow)
    paths = list(found)
    numbers = [arguments.whole(n, "reused", 1, len(paths) - 1) for n in reused]
    if len(set(numbers)) < len(numbers) or not numbers:
        raise ValueError(f"reused = {list(reused)!r}: wanted different numbers of attentions")
    edits = Edits(plain, flow)
    results = _structures(plain, given, [paths[n] for n in numbers])
    made = copy.deepcopy(plain)
    kept = {number - 1: Kept() for number in numbers}
    for number in sorted({*kept, *numbers}):
        path, cell = paths[number], kept.get(number)
        projection = _projection(edits, found[path], path)
        layer = made.get_submodule(projection)
        if number not in numbers:
            assert cell is not None
            put(made, projection, Remembering(layer, cell).train(layer.training))
            continue
        use = flow.products[found[path]][0].use
        size = use.value.shape[flow.products[found[path]][0].axis]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            new = ReusedAttention(kept[number - 1], cell, layer, size, results[path])
        put(made, path, new.to(use.value.dtype).train(layer.training))
    return made


def _projection(edits: Edits, call: fx.Node, attention: str) -> str:
    """Return the path of the projection behind an attention."""
    path = calls.owner(edits.flow.recording.model, call)
    home, _ = edits.place(edits.flow.products[call][0].use)
    if path == attention or not path or home.path != path:
        raise UnsupportedLayerError(
            f"the projection {edits.flow.where(call)} of the attention '{attention}' is no layer "
            "that is called; write the attention with an nn.Linear behind its heads"
        )
    return path


def _structures(plain: nn.Module, given: Any, paths: list[str]) -> dict[str, Any]:
    """Return the containers in which attentions return their results; None: a tensor alone."""
    shared = evaluated_copy(plain)
    found: dict[str, Any] = {}
    for path in paths:

        def note(_: Any, __: Any, result: Any, path: str = path) -> None:
            found[path] = None if isinstance(result, Tensor) else pytree.tree_structure(result)

        shared.get_submodule(path).register_forward_hook(note)
    with torch.no_grad():
        shared(*given.args, **given.kwargs)
    return found
