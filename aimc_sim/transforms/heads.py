"""Channels inside the heads of an attention: turned with values, or with queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aimc_sim.errors import UnsupportedLayerError
from aimc_sim.frontend import calls
from aimc_sim.transforms.edits import Edits
from aimc_sim.transforms.flow import ChannelFlow
from aimc_sim.transforms.marks import End
from aimc_sim.transforms.spaces import Scores, Space


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one attention, head by head.

    Attributes
    ----------
    space : Space
        Their channels.
    heads : (heads, n) int64 tensor
        Channels of each head, in the order in which they stand.
    """

    space: Space
    heads: Tensor


def values(flow: ChannelFlow) -> list[Values]:
    """Return the values of all attentions, each head's channels once.

    Parameters
    ----------
    flow : ChannelFlow
        The channels of the network.

    Returns
    -------
    list of Values
        In the order in which they begin.

    Raises
    ------
    UnsupportedLayerError
        If values are bound to the basis of their channels; names the call.
    """
    found = []
    for space in flow.roots:
        if not space.mixes:
            continue
        heads = torch.unique(torch.cat([mix.heads for mix in space.mixes]), dim=0)
        first = space.mixes[0].call
        _demand(flow, space, heads, first, "the values of an attention")
        pairs = [("queries", "query"), ("keys", "key")]
        for scores in space.scores:
            for name, side in pairs:
                if getattr(scores, side).root is space and _meet(getattr(scores, name), heads):
                    raise _bound(flow, "the values of an attention", scores.call, "they are also "
                                 "queries or keys")  # fmt: skip
        found.append(Values(space, heads))
    return found


def _demand(flow: ChannelFlow, space: Space, heads: Tensor, call: Any, what: str) -> None:
    """Raise unless some blocks of channels can be turned."""
    for obstacle in space.obstacles:
        if _meet(obstacle.channels, heads):
            raise _bound(flow, what, obstacle.call, obstacle.reason)
    bound = [n.call for n in space.norms] + [g.call for g in space.gains_in + space.gains_out]
    if bound:
        raise _bound(flow, what, bound[0], "it normalises or scales them")
    if len(torch.unique(heads)) != heads.numel():
        raise _bound(flow, what, call, "heads share channels")
    for end in space.ends:
        for head in heads:
            if segments(end.channels, head) is None:
                raise _bound(flow, what, end.use.call, "it reads a part of a head")


def _meet(channels: Tensor, heads: Tensor) -> bool:
    return bool(torch.isin(channels.flatten(), heads.flatten()).any())


def _bound(flow: ChannelFlow, what: str, call: Any, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"{what} cannot be turned head by head: the call {flow.where(call)} is bound to the basis "
        f"of their channels, because {reason}; leave the heads as they are (heads=False), or "
        "rewrite this call"
    )


def _between(flow: ChannelFlow) -> str:
    """Return the words for the first call in an attention that binds channels, or nothing."""
    model = flow.recording.model
    homes = {calls.owner(model, mix.call) for space in flow.roots for mix in space.mixes}
    bound = {o.call: o for space in flow.roots for o in space.obstacles}
    for node in flow.recording.graph.nodes:
        if node in bound and calls.owner(model, node) in homes:
            return f": {flow.where(node)} binds them, because {bound[node].reason}"
    return ""


def segments(channels: Tensor, head: Tensor) -> list[Tensor] | None:
    """Return the places that hold a head's channels, copy by copy, in the head's order.

    Parameters
    ----------
    channels : (n,) int64 tensor
        Channel at each place.
    head : (m,) int64 tensor
        The head's channels.

    Returns
    -------
    list of (m,) int64 tensors, or None
        Places of each copy; None if a copy is not whole.
    """
    places = torch.nonzero(torch.isin(channels, head)).flatten()
    copies, rest = divmod(len(places), len(head))
    if rest:
        return None
    found = []
    order = torch.argsort(head)
    for copy in range(copies):
        part = places[copy * len(head) : (copy + 1) * len(head)]
        inner = torch.argsort(channels[part])
        if not torch.equal(channels[part][inner], head[order]):
            return None
        place = torch.empty_like(part)
        place[order] = part[inner]
        found.append(place)
    return found


def turn(
    edits: Edits, space: Space, heads: Tensor, maps: Callable[[int], tuple[Tensor, Tensor]]
) -> None:  # fmt: skip
    """Turn the channels of every head.

    Parameters
    ----------
    edits : Edits
        New numbers of the network's parameters, which are extended.
    space : Space
        The channels.
    heads : (heads, n) int64 tensor
        Channels of each head.
    maps : callable
        Number of the head -> the matrix M for what writes channels (x becomes x M) and the one
        for what reads them, M's inverse transposed; both (n, n) float64, dimensionless.
    """
    for kind in ("reader", "writer"):
        for end in space.of(kind):
            edits.along_use(end, lambda v, e=end, k=kind: _turned(v, e, heads, maps, k))
            if kind == "writer":
                if end.bias is not None:
                    bias = edits.value(end.bias)
                    edits.write(end.bias, _turned(bias, end, heads, maps, kind))
                else:
                    edits.turn_added(
                        end.use, lambda v, e=end: _turned(v, e, heads, maps, "writer")
                    )  # fmt: skip
        edits.apply()
    for end in space.of("constant"):
        edits.along(
            end.use, end.axis, end.channels,
            lambda v, e=end: _turned(v, e, heads, maps, "writer"),
        )  # fmt: skip
    edits.apply()


def same(matrices: list[Tensor]) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Return maps for :func:`turn` that treat writers and readers of a head alike.

    Parameters
    ----------
    matrices : list of (n, n) float64 tensors
        One matrix for each head (dimensionless); orthogonal, or orthogonal with zero columns.

    Returns
    -------
    callable
        Number of the head -> its matrix, twice.
    """
    return lambda head: (matrices[head], matrices[head])


def _turned(
    v: Tensor, end: End, heads: Tensor, maps: Callable[[int], tuple[Tensor, Tensor]], kind: str
) -> Tensor:
    """Return vectors along the places of an end, with the channels of every head turned."""
    made = v.clone()
    for number, head in enumerate(heads):
        writer, reader = maps(number)
        for place in segments(end.channels, head) or ():
            made[..., place] = v[..., place] @ (writer if kind == "writer" else reader)
    return made


def pairs(flow: ChannelFlow) -> list[Scores]:
    """Return the products of queries and keys whose channels can be turned.

    Parameters
    ----------
    flow : ChannelFlow
        The channels of the network.

    Returns
    -------
    list of Scores
        In the order in which they come.

    Raises
    ------
    UnsupportedLayerError
        If queries or keys are bound to the basis of their channels, as by rotary positions; names
        the call.
    """
    found: list[Scores] = []
    for space in flow.roots:
        found.extend(scores for scores in space.scores if scores not in found)
    if not found:
        raise UnsupportedLayerError(
            f"{type(flow.recording.model).__name__} has no attention whose queries and keys have "
            f"known channels where they meet{_between(flow)}; rotary positions and norms of "
            "queries and keys let no rotation pass"
        )
    for scores in found:
        for space, heads in ((scores.query, scores.queries), (scores.key, scores.keys)):
            _demand(flow, space.root, torch.unique(heads, dim=0), scores.call, "queries and keys")
            for mix in space.root.mixes:
                if _meet(mix.heads, heads):
                    raise _bound(flow, "queries and keys", mix.call, "they are also values")
    return found
