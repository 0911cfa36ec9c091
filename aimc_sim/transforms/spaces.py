"""Channels of a network: the tensors that share them, and what reads, writes and binds them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from aimc_sim.transforms.marks import End, Mix, Norm, Obstacle, Use


@dataclass(frozen=True, eq=False)
class Scores:
    """A product of queries and keys, head by head.

    Attributes
    ----------
    call : fx.Node
        The call.
    query, key : Space
        Channels of the queries and of the keys.
    queries, keys : (heads, n) int64 tensor
        Channels that meet each other; a row for each head of the queries.
    """

    call: fx.Node
    query: Space
    key: Space
    queries: Tensor
    keys: Tensor


@dataclass(eq=False)
class Gain:
    """A product of every channel with a constant of its own, and a constant that is added.

    Attributes
    ----------
    call : fx.Node
        The call.
    source, target : Space
        Channels before and behind.
    gain, shift : Use or None
        The constants, of shape (channels,) or broadcast to it; None: ones, zeros.
    """

    call: fx.Node
    source: Space
    target: Space
    gain: Use | None
    shift: Use | None = None


@dataclass(eq=False)
class Space:
    """Channels that several tensors share, because they are added, moved or scaled as wholes.

    Attributes
    ----------
    size : int
        Number of channels.
    call : fx.Node
        The call that makes them first.
    ends, obstacles, norms, mixes, scores : lists
        Constants on them, and calls that bind them.
    gains_out, gains_in : list of Gain
        Gains that lead to other spaces, and that come from others.
    """

    size: int
    call: fx.Node
    ends: list[End] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    mixes: list[Mix] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    gains_out: list[Gain] = field(default_factory=list)
    gains_in: list[Gain] = field(default_factory=list)
    _joined: Space | None = None

    @property
    def root(self) -> Space:
        """The space that this one was joined to, or itself."""
        found = self
        while found._joined is not None:
            found = found._joined
        return found

    def join(self, other: Space) -> None:
        """Make one space of two; both of the same number of channels."""
        mine, theirs = self.root, other.root
        if mine is theirs:
            return
        for name in ("ends", "obstacles", "norms", "mixes", "scores", "gains_out", "gains_in"):
            getattr(mine, name).extend(getattr(theirs, name))
        theirs._joined = mine

    def of(self, kind: str) -> list[End]:
        """Return the ends of one kind."""
        return [end for end in self.ends if end.kind == kind]


@dataclass(frozen=True, eq=False)
class Tagged:
    """A tensor with channels.

    Attributes
    ----------
    space : Space
        The channels.
    channels : int64 tensor of the tensor's shape
        Number of the channel of every element.
    squared : bool
        Whether the numbers are squares of those that carry the channels.
    """

    space: Space
    channels: Tensor
    squared: bool = False

    @property
    def along(self) -> list[int]:
        """Dimensions along which the channel changes."""
        return varied(self.channels)

    @property
    def present(self) -> Tensor:
        """Channels that occur, in rising order."""
        found: Tensor = torch.unique(self.channels)
        return found


def varied(x: Tensor) -> list[int]:
    """Return the dimensions along which a tensor is not constant.

    Parameters
    ----------
    x : tensor
        Any shape.

    Returns
    -------
    list of int
        Dimensions, in rising order.
    """
    return [d for d in range(x.ndim) if x.shape[d] > 1 and bool((x != x.narrow(d, 0, 1)).any())]
