"""Layers that take the heads of an attention from one module to the next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


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
