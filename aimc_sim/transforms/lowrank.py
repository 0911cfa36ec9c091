"""Attention of low rank: fewer channels of queries, keys and values per head (Eigen Attention)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from aimc_sim import arguments
from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.transforms import features, heads, parity
from aimc_sim.transforms.edits import Edits
from aimc_sim.transforms.flow import ChannelFlow
from aimc_sim.transforms.marks import Mix
from aimc_sim.transforms.spaces import Scores, Space

FIRST, STEP = 0.98, 0.02
"""Share of the singular values that is kept first, and what it falls by while the error stays
within the budget (code of Eigen Attention)."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of one attention.

    Attributes
    ----------
    layer : str
        Path of the module that computes it.
    scores, values : int
        Channels per head that are left of queries and keys, and of values.
    size : int
        Channels per head before.
    error : float
        Difference of the attention's output, behind its projection, from the one at full rank, as
        a share of its norm.
    """

    layer: str
    scores: int
    values: int
    size: int
    error: float

    @property
    def written(self) -> float:
        """Share of the written cells of keys and values that is left, 0 to 1."""
        return (self.scores + self.values) / (2 * self.size)


@dataclass(frozen=True, eq=False)
class LowRank:
    """A network with attentions of low rank.

    Attributes
    ----------
    model : nn.Module
        A deep copy in which the channels beyond the rank of every head are zero: the last ones of
        each head in the products that make queries, keys and values.
    ranks : tuple of Ranks
        Ranks of every attention, in the order in which they come.
    """

    model: nn.Module
    ranks: tuple[Ranks, ...]


@dataclass(frozen=True, eq=False)
class _Attention:
    """Queries, keys and values of one attention, and their bases."""

    path: str
    scores: Scores
    values: Space
    heads: Tensor
    shared: Tensor
    singular: tuple[Tensor, Tensor]
    bases: tuple[Tensor, Tensor]
    output: fx.Node


def low_rank_attention(
    model: nn.Module,
    example: Any,
    *,
    budget: float | None = None,
    share: float | None = None,
    data: Iterable[Any] | None = None,
) -> LowRank:
    """Return a network whose attentions keep the strongest directions of every head.

    Queries and keys of a head are turned into the singular vectors of both, stacked along tokens,
    values into their own; directions beyond the rank become zero. The rank follows from the share
    of the summed singular values (not of their squares) and is the largest over the heads of an
    attention. With a budget the share starts at 0.98 and falls by 0.02 while the error of the
    attention's output stays within the budget, attention by attention.

    Parameters
    ----------
    model : nn.Module
        The network; it is not changed. Its queries and keys have no rotary positions.
    example : inputs of the forward method
        Inputs to record the network with, see :meth:`aimc_sim.Chip.from_model`.
    budget : float, optional
        Largest error of an attention's output, as a share of its norm, 0 to 1.
    share : float, optional
        Share of the singular values that is kept, 0 to 1, in place of a budget; 1: full rank.
    data : iterable of inputs of the forward method, optional
        Batches of the example's sizes, from which directions are found. Default: the example.

    Returns
    -------
    LowRank
        The network and its ranks. The layers keep their sizes; channels beyond a rank are zero.

    Raises
    ------
    UnsupportedLayerError
        If queries, keys or values are bound to the basis of their channels; names the call.
    ValueError
        If not exactly one of `budget` and `share` is given, or it is out of range.

    Source
        U. Saxena et al., "Eigen Attention: attention in low-rank space for KV cache compression"
        (2024), arXiv:2408.05646.
    """
    if (budget is None) == (share is None):
        raise ValueError(
            f"budget = {budget!r} and share = {share!r}: wanted exactly one of them, such as "
            "budget=0.05 or share=0.9"
        )
    if budget is not None:
        budget = arguments.number(budget, "budget", 0.0, 1.0)
    if share is not None:
        share = arguments.number(share, "share", 0.0, 1.0)
    plain, given, flow = parity.opened(model, example)
    batches = [example] if data is None else list(data)
    edits = Edits(plain, flow)
    found = _attentions(plain, flow, batches)
    full = features.collect(plain, flow, [a.output for a in found], batches)
    ranks = []
    for number, attention in enumerate(found):
        if share is not None:
            chosen = _chosen(attention, share)
            error = _error(plain, flow, attention, chosen, batches, full[number])
        else:
            assert budget is not None
            chosen, error = _within(plain, flow, attention, budget, batches, full[number])
        _apply(edits, attention, chosen)
        size = attention.bases[0].shape[-1]
        ranks.append(Ranks(attention.path, *chosen, size, error))
    whole = Edits(plain, flow)
    for attention in found:
        size = attention.bases[0].shape[-1]
        _apply(whole, attention, (size, size))
    parity.check(plain, whole.result(exact=True), given, "the turning of heads")
    return LowRank(edits.result(), tuple(ranks))


def _attentions(plain: nn.Module, flow: ChannelFlow, batches: list[Any]) -> list[_Attention]:
    """Return all attentions with the bases of their heads."""
    by_path: dict[str, tuple[Scores, Space, Mix]] = {}
    turnable = {id(v.space): v for v in heads.values(flow)}
    mixes = [(mix, space) for space in flow.roots for mix in space.mixes]
    for scores in heads.pairs(flow):
        path = calls.owner(flow.recording.model, scores.call)
        own = [
            (mix, space) for mix, space in mixes
            if calls.owner(flow.recording.model, mix.call) == path and id(space) in turnable
        ]  # fmt: skip
        if len(own) != 1 or path in by_path:
            raise UnsupportedLayerError(
                f"'{path}' has {len(own)} products of attention with values for the scores of "
                f"{flow.where(scores.call)}; expected one of each in a module"
            )
        by_path[path] = scores, own[0][1], own[0][0]
    nodes = []
    for scores, space, _ in by_path.values():
        nodes.extend(_makers(flow, scores, space))
    seen = iter(features.collect(plain, flow, nodes, batches))
    found = []
    for path, (scores, space, mix) in by_path.items():
        query, key, value = (x.reshape(-1, x.shape[-1]) for x in (next(seen) for _ in range(3)))
        shared = torch.unique(scores.keys, dim=0)
        bases, singular = [], []
        for head in shared:
            stacked = [key[:, head]] + [
                query[:, q] for q, k in zip(scores.queries, scores.keys, strict=True)
                if torch.equal(k, head)
            ]  # fmt: skip
            _, s, v = torch.linalg.svd(torch.cat(stacked), full_matrices=True)
            bases.append(v.T)
            singular.append(_filled(s, len(head)))
        own_bases, own_singular = [], []
        for head in mix.heads:
            _, s, v = torch.linalg.svd(value[:, head], full_matrices=True)
            own_bases.append(v.T)
            own_singular.append(_filled(s, len(head)))
        reader = space.of("reader")
        if len(reader) != 1 or len(mix.heads[0]) != len(shared[0]):
            raise UnsupportedLayerError(
                f"'{path}' has {len(reader)} products behind its attention and heads of "
                f"{len(shared[0])} and {len(mix.heads[0])} channels; expected one product and "
                "heads of one size"
            )
        found.append(_Attention(
            path, scores, space, mix.heads, shared,
            (torch.stack(singular), torch.stack(own_singular)),
            (torch.stack(bases), torch.stack(own_bases)), reader[0].use.call,
        ))  # fmt: skip
    return found


def _makers(flow: ChannelFlow, scores: Scores, space: Space) -> list[fx.Node]:
    """Return the products that make queries, keys and values."""
    found = []
    for one in (scores.query.root, scores.key.root, space):
        writers = one.of("writer")
        if len(writers) != 1 or one.of("constant"):
            raise UnsupportedLayerError(
                f"queries, keys or values of {flow.where(scores.call)} come from "
                f"{len(writers)} products and {len(one.of('constant'))} constants; expected one "
                "product"
            )
        found.append(writers[0].use.call)
    return found


def _filled(s: Tensor, size: int) -> Tensor:
    return torch.cat([s, s.new_zeros(size - len(s))])


def _chosen(attention: _Attention, share: float) -> tuple[int, int]:
    """Return the ranks that keep a share of the singular values, the largest over the heads."""
    found = []
    for singular in attention.singular:
        kept = singular.cumsum(1) / singular.sum(1, keepdim=True).clamp(min=1e-300)
        below = (kept < share - 1e-12).sum(1) + 1
        found.append(int(below.max().clamp(max=singular.shape[1])))
    return found[0], found[1]


def _apply(edits: Edits, attention: _Attention, ranks: tuple[int, int]) -> None:
    """Turn the heads of one attention and set the directions beyond the ranks to zero."""
    size = attention.bases[0].shape[-1]
    kept = [(torch.arange(size) < rank).double() for rank in ranks]
    scores = attention.scores
    basis = {
        tuple(k.tolist()): b for k, b in zip(attention.shared, attention.bases[0], strict=True)
    }
    by_query: dict[tuple[int, ...], Tensor] = {}
    for q, k in zip(scores.queries, scores.keys, strict=True):
        by_query[tuple(q.tolist())] = basis[tuple(k.tolist())]
    for space, chosen in ((scores.query.root, by_query), (scores.key.root, basis)):
        rows = torch.tensor(list(chosen))
        turned = [b * kept[0] for b in chosen.values()]
        heads.turn(edits, space, rows, heads.same(turned))
    turned = [b * kept[1] for b in attention.bases[1]]
    heads.turn(edits, attention.values, attention.heads, heads.same(turned))


def _error(
    plain: nn.Module, flow: ChannelFlow, attention: _Attention, ranks: tuple[int, int],
    batches: list[Any], full: Tensor,
) -> float:  # fmt: skip
    """Return the error of an attention's output at some ranks, the others at full rank."""
    edits = Edits(plain, flow)
    _apply(edits, attention, ranks)
    (seen,) = features.collect(edits.result(), flow, [attention.output], batches)
    return float((seen - full).norm() / full.norm().clamp(min=1e-300))


def _within(
    plain: nn.Module, flow: ChannelFlow, attention: _Attention, budget: float, batches: list[Any],
    full: Tensor,
) -> tuple[tuple[int, int], float]:  # fmt: skip
    """Return the ranks of the smallest share whose error is within a budget, and the error."""
    size = attention.bases[0].shape[-1]
    best, lowest = (size, size), 0.0
    share, tried = FIRST, None
    while share > 0:
        ranks = _chosen(attention, share)
        if ranks != tried:
            tried = ranks
            error = _error(plain, flow, attention, ranks, batches, full)
            if error > budget:
                break
            best, lowest = ranks, error
        share -= STEP
    return best, lowest
