"""Which layers go on crossbars: patterns of names, checked against the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .. import arguments, patterns

Side = Literal["analog", "digital"]
Where = Mapping[str, Side] | Iterable[str] | None
"""``{pattern: side}``, of which the last match counts; or patterns of analog layers; or None: all
layers are analog."""

WEIGHTED = "layer with weights"
"""The layers that patterns choose among, in words."""


@dataclass
class Chosen:
    """The choice of layers on crossbars.

    Attributes
    ----------
    patterns : tuple of (str, str)
        Shell patterns of layer names, each with its side, "analog" or "digital".
    asked : list of str
        Layers whose side was asked for so far.
    """

    patterns: tuple[tuple[str, Side], ...]
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, where: Where) -> Chosen:
        """Return the choice that a user's argument stands for.

        Parameters
        ----------
        where : mapping of str to str, iterable of str, or None
            The argument, see :data:`Where`.

        Returns
        -------
        Chosen
            The choice.

        Raises
        ------
        ValueError
            If a side is neither "analog" nor "digital".
        TypeError
            If the argument is no mapping or list of texts.
        """
        if where is None:
            return cls(())
        where = arguments.patterns(where, "where")
        if not isinstance(where, Mapping):
            return cls((("*", "digital"), *((pattern, "analog") for pattern in where)))
        for pattern, side in where.items():
            if side not in ("analog", "digital"):
                raise ValueError(f"where['{pattern}'] = {side!r}; choose 'analog' or 'digital'")
        return cls(tuple(where.items()))

    def analog(self, name: str) -> bool:
        """Return whether a layer goes on crossbars.

        Parameters
        ----------
        name : str
            Name of the layer.

        Returns
        -------
        bool
            True for the analog side.
        """
        self.asked.append(name)
        return patterns.last(self.patterns, name, "analog") == "analog"

    def check(self) -> None:
        """Check that every pattern matched a layer with weights.

        Raises
        ------
        ValueError
            If a pattern matched none of the layers asked for; names it.
        """
        for pattern, _ in self.patterns:
            if pattern != "*":
                patterns.check("where", pattern, self.asked, WEIGHTED)
