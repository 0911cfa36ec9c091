"""Which layers go on crossbars: patterns of names, checked against the network."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

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
            If it is a single text.
        """
        if where is None:
            return cls(())
        if isinstance(where, str):
            raise TypeError(f"where = '{where}'; give a list of patterns, or a dictionary")
        if not isinstance(where, Mapping):
            return cls((("*", "digital"), *((str(pattern), "analog") for pattern in where)))
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
    near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    shown = ", ".join(names[:8]) + ", ..." * (len(names) > 8)
    raise ValueError(
        f"{where}: '{pattern}' matches no layer with weights; {hint}there are: {shown or 'none'}"
    )
