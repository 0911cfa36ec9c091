"""Which layers go on crossbars: patterns of names, checked against the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .. import arguments, patterns

Side = Literal["analog", "digital"]
Where = Mapping[str, Side] | Iterable[str] | None
"""{pattern: side}, of which the last match counts; patterns of analog layers; None: all analog."""

WEIGHTED = "layer with weights"
"""The layers that patterns choose among, in words."""


@dataclass
class Chosen:
    """The choice, and the layers that it was asked for."""

    patterns: tuple[tuple[str, Side], ...]
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, where: Where) -> Chosen:
        """Read what a user gives.

        Raises
        ------
        ValueError
            If a side is neither "analog" nor "digital".
        TypeError
            If it is no mapping or list of texts.
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
        """Return whether a layer goes on crossbars."""
        self.asked.append(name)
        return patterns.last(self.patterns, name, "analog") == "analog"

    def check(self) -> None:
        """Raise ValueError if a pattern matched no layer with weights."""
        for pattern, _ in self.patterns:
            if pattern != "*":
                patterns.check("where", pattern, self.asked, WEIGHTED)
