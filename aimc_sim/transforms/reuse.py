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
from aimc_sim.transforms.flow import Flow


class Kept:
    """A place for the heads' output of an attention, on its way from one module to the next."""

    def __init__(self) -> None:
        self._held: list[Tensor] = []

    def put(self, heads: Tensor) -> None:
        """Keep the heads (any shape) until they are taken."""
        self._held[:] = [heads]

    def take(self) -> Tensor:
        """Return the heads, and keep them no longer.

        Raises
        ------
        RuntimeError
            If no attention has run before.
        """
        if not self._held:
            raise RuntimeError(
                "an attention that re-uses the heads of the one before was called before it; run "
                "the whole network"
            )
        return self._held.pop()


class Remembering(nn.Module):
    """A projection that keeps what it reads for a later attention.

    Parameters
    ----------
    projection : nn.Module
        The layer that reads the heads of an attention, end to end.
    kept : Kept
        Where they are kept.
    """

    def __init__(self, projection: nn.Module, kept: Kept) -> None:
        super().__init__()
        self.projection = projection
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        """Return the projection.

        Parameters
        ----------
        x : (..., channels) tensor
            Heads, end to end (dimensionless).

        Returns
        -------
        (..., outputs) tensor
            The projection.
        """
        self.kept.put(x)
        result: Tensor = self.projection(x)
        return result


class ReusedAttention(nn.Module):
    """The counterpart of an attention that reads another one's heads and none of its own.

    LayerNorm, a square product and GELU transform the heads of the attention before; the
    projection is that of the attention that was left out.

    Parameters
    ----------
    source : Kept
        Where the heads come from.
    kept : Kept or None
        Where the transformed ones are kept for a later attention.
    projection : nn.Module
        The projection.
    channels : int
        Channels of the heads, end to end.
    structure : nested containers of an attention's results
        The first tensor is the place of the result; other leaves become None.
    """

    def __init__(
        self, source: Kept, kept: Kept | None, projection: nn.Module, channels: int, structure: Any
    ) -> None:  # fmt: skip
        super().__init__()
        self.source, self.kept, self.structure = source, kept, structure
        self.norm = nn.LayerNorm(channels)
        self.transform = nn.Linear(channels, channels)
        self.projection = projection

    def forward(self, *_: Any, **__: Any) -> Any:
        """Return the projection of the transformed heads, as the attention returns its result."""
        heads = torch.nn.functional.gelu(self.transform(self.norm(self.source.take())))
        if self.kept is not None:
            self.kept.put(heads)
        result = self.projection(heads)
        if self.structure is None:
            return result
        count = self.structure.num_leaves
        return pytree.tree_unflatten([result] + [None] * (count - 1), self.structure)


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


def _attentions(flow: Flow) -> dict[str, fx.Node]:
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
