"""Marks on the channels of a network: constants that meet them, and calls that bind them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx


@dataclass(frozen=True, eq=False)
class Use:
    """A constant as one call reads it.

    Attributes
    ----------
    call : fx.Node
        The call.
    source : fx.Node
        The argument of the call: a parameter, or an expression of some.
    value : tensor
        Its numbers (dimensionless), any shape.
    """

    call: fx.Node
    source: fx.Node
    value: Tensor


@dataclass(frozen=True, eq=False)
class End:
    """A place where constants meet the channels of a space.

    Attributes
    ----------
    kind : str
        "writer": the rows of a product, or of a table of embeddings, that make channels;
        "reader": those that take channels; "constant": numbers that are added to channels.
    use : Use
        The constant.
    axis : int
        Its dimension that runs along channels.
    channels : (n,) int64 tensor
        Number of the channel at each place of that dimension.
    bias : Use or None
        Constant that is added to the product.
    """

    kind: str
    use: Use
    axis: int
    channels: Tensor
    bias: Use | None = None


@dataclass(frozen=True, eq=False)
class Obstacle:
    """A call that commutes with no rotation of some channels.

    Attributes
    ----------
    call : fx.Node
        The call.
    channels : (n,) int64 tensor
        The channels, in rising order.
    reason : str
        The reason, as the end of a sentence.
    """

    call: fx.Node
    channels: Tensor
    reason: str


@dataclass(frozen=True, eq=False)
class Norm:
    """A division by the size of the vector of all channels, without weights.

    Attributes
    ----------
    call : fx.Node
        The call.
    centred : bool
        Whether the mean over channels is subtracted first.
    eps : float or None
        Number added under the square root; None: not noted.
    """

    call: fx.Node
    centred: bool
    eps: float | None = None


@dataclass(frozen=True, eq=False)
class Mix:
    """An attention that mixes tokens of values, head by head.

    Attributes
    ----------
    call : fx.Node
        The call.
    heads : (heads, n) int64 tensor
        Channels of each head, in the order in which they stand.
    """

    call: fx.Node
    heads: Tensor
