"""Which layers go on crossbars: patterns of names, checked against the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from .. import arguments

Side = Literal["analog", "digital"]
Where = Mapping[str, Side] | Iterable[str] | None
"""{pattern: side}, of which the last match counts; patterns of analog layers; None: all analog."""


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
        found = [side for pattern, side in self.patterns if fnmatchcase(name, pattern)]
        return not found or found[-1] == "analog"

    def check(self) -> None:
        """Raise ValueError if a pattern matched no layer with weights."""
        for pattern, _ in self.patterns:
            if pattern != "*" and not any(fnmatchcase(name, pattern) for name in self.asked):
                check_pattern("where", pattern, self.asked)


def check_pattern(where: str, pattern: str, names: Iterable[str]) -> None:
    """Raise ValueError if a pattern matches none of the names; the message gives the nearest."""
    names = list(names)
    if any(fnmatchcase(name, pattern) for name in names):
        return
    fault = f"{where}: '{pattern}' matches no layer with weights"
    raise ValueError(arguments.unknown(fault, pattern, names, most=8, cutoff=0.4))
